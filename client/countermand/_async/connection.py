"""Calls to one sidecar: a channel for each role, a deadline for each call, and no blind retries."""

import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal

import grpc

from countermand import _wire as wire
from countermand._address import Address, Role
from countermand._clock import Clock
from countermand._desk import MOST_BYTES, Heard
from countermand._errors import CountermandError, FixTheCall, NotRunning, Unavailable
from countermand._events import SessionChanged, tell
from countermand._retry import Pacing, Patience
from countermand._rpcs import Q, R, Rpc, Sealed
from countermand._secret import SecretToken
from countermand._session import AsyncSession
from countermand._status import failure_of
from countermand._words import ErrorReason, StopReason
from countermand._world import AsyncChannel, AsyncWorld, log
from countermand.v1 import session_service_pb2 as sessions
from countermand.work.stop import Stop, StopCause
from countermand.work.tree import WorkNode

#: What happens to bound work while no session tells of stops: it goes on, each commit being decided as ever,
#: or it is stopped.
OnDisconnect = Literal["keep", "stop"]

_GONE = "the session with the sidecar ended, and on_disconnect is 'stop'"

#: A stream that lasted so long was answered, also if nothing came, in seconds.
_WAS_ANSWERED = 1.0


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """A definite answer, when its request was sent, and whether an earlier one went unanswered."""

    message: R
    sent_at: float
    asked_before: bool


class Connection:
    """Opens the channel of a role when it is first called, and closes them all."""

    def __init__(
        self, address: Address, clock: Clock, pacing: Pacing, on_disconnect: OnDisconnect = "keep"
    ) -> None:
        self._address = address
        self._clock = clock
        self._on_disconnect = on_disconnect
        self._pacing = pacing
        self._channels: dict[Role, AsyncChannel] = {}
        self._methods: dict[tuple[Role, str], Callable[..., Any]] = {}
        self._sessions: dict[Role, AsyncSession] = {}
        self._opening = threading.Lock()
        self._answered: set[Role] = set()
        self._closed = False

    async def call(
        self, role: Role, rpc: Rpc[Q, R], request: Q, timeout: float, token: SecretToken | None = None
    ) -> Answer[R]:
        """Ask until there is a definite answer or the time is over; whatever is not an answer is raised."""
        patience = Patience(timeout, self._pacing)
        while True:
            sent_at = self._clock()
            try:
                message = await self._ask(role, rpc, Sealed(request, token), patience.left)
            except grpc.RpcError as error:
                failure = self._failure(role, failure_of(error), error)
            except CountermandError as error:
                failure = self._failure(role, error, error.__cause__)
            else:
                self._answered.add(role)
                return Answer(message, sent_at, asked_before=patience.attempts > 0)
            pause = patience.pause_after(failure, role in self._answered)
            if pause is None:
                raise failure
            patience.attempts += 1
            await self._pacing.sleep(pause)

    async def follow(
        self, role: Role, rpc: Rpc[Q, R], request: Callable[[R | None], Q], timeout: float
    ) -> AsyncIterator[R]:
        """Answer what comes, without end. `request` asks for what is behind the last message, if any came.

        A stream that breaks is asked for again, until for `timeout` seconds nobody answers.
        """
        last: R | None = None
        patience = Patience(timeout, self._pacing)
        while True:
            began_at, before = self._pacing.clock(), last
            call = self._method(role, rpc)(Sealed(request(last)))
            try:
                async for message in call:
                    self._answered.add(role)
                    last = message
                    yield message
                return
            except grpc.RpcError as error:
                failure = self._failure(role, failure_of(error), error)
            finally:
                call.cancel()
            if last is not before or self._pacing.clock() - began_at > _WAS_ANSWERED:
                self._answered.add(role)
                patience = Patience(timeout, self._pacing)
            pause = patience.pause_after(failure, role in self._answered)
            if pause is None:
                raise failure
            patience.attempts += 1
            await self._pacing.sleep(pause)

    async def _ask(self, role: Role, rpc: Rpc[Q, R], sealed: Sealed[Q], timeout: float) -> R:
        """Ask once: together with others where there is a session, alone where there is none."""
        session = self.session(role) if rpc.session and sealed.size < MOST_BYTES // 2 else None
        if session and session.want():
            answer: R = await session.call(rpc, sealed, timeout)
            return answer
        alone: R = await self._method(role, rpc)(sealed, timeout=timeout)
        return alone

    def session(self, role: Role) -> AsyncSession:
        """Answer the session of a role; it is opened when it is wanted."""
        session = self._sessions.get(role)
        if session is None:
            self._refuse_if_closed()
            made = AsyncSession(self._channel(role))
            with self._opening:
                session = self._sessions.setdefault(role, made)
            if session is made:
                session.on_change(partial(self._changed, role))
        return session

    def _changed(self, role: Role, is_there: bool) -> None:
        """Say that a session came or went; its owner closes it without a word."""
        if self._closed:
            return
        if is_there:
            log.info("the session as %s is there: stops are told on it", role)
        else:
            log.warning("the session as %s ended: until it is back no stop is told, and calls go alone", role)
        tell(SessionChanged(role, is_there))

    def watch(self, role: Role, request: Any, token: SecretToken | None, heard: Heard) -> Callable[[], None]:
        """Hear once of a stop. Answers how to hear no more of it."""
        session = self.session(role)
        return partial(session.unwatch, session.watch(Sealed(request, token), heard))

    def stop_source(
        self,
        role: Role,
        request: Any,
        token: SecretToken | None,
        run_id: str,
        callback: Callable[[Stop], Any],
    ) -> Callable[[], None]:
        """Call back once something stops, or, if the client is to stop then, once the session is gone."""
        ends = [self.watch(role, request, token, lambda error: callback(Stop.of_error(error, run_id)))]
        if self._on_disconnect == "stop":
            gone = Stop(StopReason.POLICY, _GONE, run_id=run_id, cause=StopCause.RUN_ENDED)
            ends.append(self.session(role).on_change(lambda there: None if there else callback(gone)))
        return partial(_all, ends)

    def show(
        self, role: Role, run_id: str, token: SecretToken | None, process: str, node: WorkNode | None
    ) -> None:
        """Show what a process has at work for a run to people who look; None for nothing any more."""
        nodes = wire.work_nodes(node) if node else []
        request = sessions.ShowWorkRequest(run_id=run_id, process=process, nodes=nodes)
        if not self._closed:
            self.session(role).show(Sealed(request, token))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise FixTheCall("the client is closed; call connect() again")

    def _method(self, role: Role, rpc: Rpc[Q, R]) -> Callable[..., Any]:
        self._refuse_if_closed()
        method = self._methods.get((role, rpc.path))
        if method is None:
            channel = self._channel(role)
            make = channel.unary_stream if rpc.streams else channel.unary_unary
            method = self._methods[role, rpc.path] = make(
                rpc.path, request_serializer=Sealed.write, response_deserializer=rpc.response.FromString
            )
        return method

    def _channel(self, role: Role) -> AsyncChannel:
        with self._opening:  # never held across an await; two threads must not open two channels
            if role not in self._channels:
                self._channels[role] = AsyncWorld.open_channel(self._address.target(role))
            return self._channels[role]

    def _failure(
        self, role: Role, failure: CountermandError, error: BaseException | None
    ) -> CountermandError:
        """Say what went wrong; where nobody answers at all, look whether anybody is there."""
        if failure.reason is ErrorReason.UNSPECIFIED:
            fault = self._address.fault(role) if isinstance(failure, Unavailable) else None
            failure = NotRunning(fault) if fault else failure
        else:
            self._answered.add(role)
        failure.__cause__ = error
        return failure

    async def close(self) -> None:
        """Close every channel; calls under way end with an error."""
        self._closed = True
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()


def _all(ends: list[Callable[[], None]]) -> None:
    for end in ends:
        end()
