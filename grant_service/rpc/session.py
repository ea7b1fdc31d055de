"""SessionService: many calls in one message, and stops as they happen.

gRPC costs by the message. So what a client asks at one moment comes in one message and is handed to the store
at one moment, and what is answered at one moment goes out in one. Each call is decided by itself, by the same
servicers as the calls that travel alone.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb
from grant_service.core.errors import ErrorReason, Refusal, Refused, explain
from grant_service.rpc import limits
from grant_service.rpc.action import ActionServicer
from grant_service.rpc.decode import Decoder
from grant_service.rpc.guard import Guard, refusal_of
from grant_service.rpc.limits import invalid
from grant_service.rpc.roles import Role
from grant_service.rpc.tally import verb_of
from grant_service.rpc.watching import Position, Watch, Watching
from grant_service.rpc.works import Works, checked

#: The calls of a session, by the name that request and answer have in common, and what each is when alone.
_RPCS = {
    "prepare": "ActionService.PrepareAction",
    "commit": "ActionService.CommitAction",
    "perform": "ActionService.PerformAction",
    "settle": "ActionService.SettleAction",
    "abandon": "ActionService.AbandonAction",
    "spend": "ActionService.SpendBudget",
    "watch": "SessionService.OpenSession",
    "unwatch": "SessionService.OpenSession",
    "show": "SessionService.OpenSession",
}

#: How many sessions a listener keeps, and how many watches each of them: both cost memory while they last.
_MOST_SESSIONS, _MOST_WATCHES = 256, 10_000
#: How many calls one message may have, and how many are begun before other work gets its turn.
_MOST_CALLS, _AT_ONCE = 512, 32
#: How many answers may wait for a client that does not read before no more of its calls are read.
_MOST_WAITING = 4096
#: How long answers that are decided have to get out when the session ends, in seconds.
_FAREWELL = 1.0


class Sessions:
    """The sessions of one listener."""

    def __init__(self, decode: Decoder, actions: ActionServicer, watching: Watching, works: Works) -> None:
        self.decode, self.actions = decode, actions
        self.watching, self.works = watching, works
        self._kept: set[_Session] = set()
        self._closing = False

    async def OpenSession(self, context: "grpc.aio.ServicerContext[Any, Any]", guard: Guard) -> None:
        """Keep a session until its client leaves, or the sidecar stops."""
        if self._closing or len(self._kept) >= _MOST_SESSIONS:
            raise Refused(ErrorReason.DRAINING if self._closing else ErrorReason.OVERLOADED)
        session = _Session(self, context, guard)
        self._kept.add(session)
        try:
            await session.keep()
        finally:
            self._kept.discard(session)
            session.end()

    def __len__(self) -> int:
        return len(self._kept)

    async def close(self) -> None:
        """End all sessions, once what was decided of what they asked is told."""
        self._closing = True
        await asyncio.gather(*(session.leave() for session in list(self._kept)))


@dataclass(eq=False, slots=True)
class _Call:
    """A call that has no answer yet."""

    call_id: int
    name: str
    #: When it came, by the process's clock.
    began: float

    @property
    def rpc(self) -> str:
        """What it is when it travels alone."""
        return _RPCS.get(self.name, "")


class _Session:
    """One client's stream."""

    def __init__(self, sessions: Sessions, context: "grpc.aio.ServicerContext[Any, Any]", guard: Guard):
        self._all, self._context, self._guard = sessions, context, guard
        self._loop = asyncio.get_running_loop()
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(sessions.actions, rpc.partition(".")[2])
            for name, rpc in _RPCS.items()
            if rpc.startswith("ActionService.")
        }
        self._methods |= {"unwatch": self._unwatch, "show": self._show}
        self._open: dict[int, _Call] = {}
        self._outbox = pb.OpenSessionResponse()
        self._something, self._room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle.set()
        self._watches: dict[int, Watch] = {}
        self._next_watch = 0
        self._written, self._left, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._written.set()

    async def keep(self) -> None:
        """Read and write until one of the two ends; then let out what is being decided."""
        reading = self._loop.create_task(self._read())
        writing = self._loop.create_task(self._write())
        leaving = self._loop.create_task(self._left.wait())
        try:
            await asyncio.wait((reading, writing, leaving), return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            if not writing.done():
                await self._say_the_last(writing)
        finally:
            for task in (reading, writing, leaving):
                task.cancel()
            ended = await asyncio.gather(reading, writing, leaving, return_exceptions=True)
            self._over.set()
        fault = ended[0]
        if isinstance(fault, Exception) and not isinstance(fault, grpc.RpcError | grpc.aio.UsageError):
            raise fault

    async def _say_the_last(self, writing: "asyncio.Task[None]") -> None:
        """Wait until what was asked is answered and written; decisions end by themselves in their time."""
        waiting = self._loop.create_task(self._idle.wait())
        try:
            await asyncio.wait(
                (waiting, writing), timeout=self._guard.decision_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if not writing.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), _FAREWELL)

    async def leave(self) -> None:
        """Have it end, and wait until it has."""
        self._left.set()
        await self._over.wait()

    def end(self) -> None:
        """Watch nothing more, not even what is being asked for."""
        self._over.set()
        for watch in self._watches.values():
            self._all.watching.remove(watch)
        self._watches.clear()
        self._all.works.forget(self)

    async def _read(self) -> None:
        while True:
            await self._room.wait()
            frame = await self._context.read()
            if frame is grpc.aio.EOF:
                return
            try:
                calls = pb.OpenSessionRequest.FromString(frame).calls
            except DecodeError:
                raise invalid("message", "must be the bytes of an OpenSessionRequest") from None
            if len(calls) > _MOST_CALLS:
                raise invalid("calls", f"must be {_MOST_CALLS} at the most in one message")
            longest, came = round(self._guard.decision_timeout * 1000), time.perf_counter()
            begun: dict[int, list[_Call]] = {}
            for index, told in enumerate(calls):
                if call := self._begin(told, came):
                    begun.setdefault(min(told.timeout_ms or longest, longest), []).append(call)
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            for timeout, together in begun.items():  # one timer for those that came together
                self._loop.call_later(timeout / 1000, self._be_late, together)

    def _begin(self, told: pb.SessionCall, came: float) -> _Call | None:
        """Decide a call in a slot of its own, like one that travels alone: who asks may leave meanwhile."""
        if told.call_id in self._open:
            raise invalid("call_id", "must not be that of a call without an answer")
        name = told.WhichOneof("request") or ""
        call = self._open[told.call_id] = _Call(told.call_id, name, came)
        self._idle.clear()
        if not self._guard.allows(call.rpc):
            self._refuse(call, _not_allowed(self._all.decode.role, call.rpc))
            return None
        try:
            self._guard.slots.start(self._decide(call, getattr(told, name)))
        except Refused as full:
            self._refuse(call, full.refusal)
            return None
        return call

    async def _decide(self, call: _Call, request: Any) -> None:
        try:
            method = self._methods.get(call.name) or partial(self._watch, call)
            if self._answer(call, call.name, await method(request)):
                self._guard.tally.yes(verb_of(call.rpc), time.perf_counter() - call.began)
        except TimeoutError:
            self._refuse(call, Refusal(ErrorReason.TIMED_OUT))
        except Exception as error:
            self._refuse(call, refusal_of(call.rpc, error))

    def _be_late(self, calls: list[_Call]) -> None:
        for call in calls:
            if self._is_open(call):
                self._refuse(call, Refusal(ErrorReason.TIMED_OUT))

    def _is_open(self, call: _Call) -> bool:
        """Say whether it has no answer yet; its id may be another one's by now."""
        return self._open.get(call.call_id) is call

    def _refuse(self, call: _Call, refusal: Refusal) -> None:
        if self._is_open(call):
            self._guard.tell(call.rpc, refusal)
            self._guard.tally.no(verb_of(call.rpc), refusal.reason, time.perf_counter() - call.began)
            self._answer(call, "refusal", refused_call(refusal))

    def _answer(self, call: _Call, kind: str, answer: Any) -> bool:
        """Put an answer into the next message, unless its call was told already that it is late."""
        if not self._is_open(call):
            return False
        told = getattr(self._outbox.answers.add(call_id=call.call_id), kind)
        told.CopyFrom(answer)
        told.SetInParent()  # one that says nothing is an answer, too
        del self._open[call.call_id]
        if not self._open:
            self._idle.set()
        self._send()
        return True

    def _send(self) -> None:
        """Have the next message written, with what else comes until then."""
        self._written.clear()
        self._something.set()
        if len(self._outbox.answers) + len(self._outbox.stops) > _MOST_WAITING:
            self._room.clear()

    async def _write(self) -> None:
        """Say that the session is ready, then send what there is at each moment."""
        await self._context.write(b"")
        while True:
            await self._something.wait()
            self._something.clear()
            message, self._outbox = self._outbox, pb.OpenSessionResponse()
            self._room.set()
            await self._context.write(message.SerializeToString())
            if not self._something.is_set():
                self._written.set()

    async def _watch(self, call: _Call, request: pb.WatchRunRequest) -> pb.WatchRunResponse:
        """Watch a run, by a grant or by its id, and say how it stands before any stop of it is told."""
        path, grant_id = await self._watched(request)
        if self._over.is_set():
            raise Refused(ErrorReason.TIMED_OUT)
        if len(self._watches) >= _MOST_WATCHES or self._all.watching.is_full:
            raise Refused(ErrorReason.OVERLOADED)
        self._next_watch += 1
        number = self._next_watch
        watch = Watch(path, grant_id, partial(self._stopped, number, path[-1]), _after(request))
        self._watches[number] = watch
        answer = pb.WatchRunResponse(run_id=path[-1])
        try:
            async with asyncio.timeout(self._guard.decision_timeout):
                as_of, refusal = await self._all.watching.add(watch)
            answer.position.CopyFrom(_position(as_of))
            if refusal:
                answer.refusal.CopyFrom(refused_call(refusal))
            elif self._is_open(call):
                answer.watch_id = number
        finally:
            if not answer.watch_id:  # it has stopped, or nobody would know its number
                self._forget(number)
        return answer

    def _forget(self, number: int) -> None:
        if watch := self._watches.pop(number, None):
            self._all.watching.remove(watch)

    async def _show(self, request: pb.ShowWorkRequest) -> pb.ShowWorkResponse:
        """Keep what a process has at work, for people who look."""
        path, _ = await self._watched(request)
        if not self._over.is_set():
            process = limits.text("process", request.process)
            self._all.works.show(self, path, process, checked(request.nodes))
        return pb.ShowWorkResponse()

    async def _watched(self, request: pb.WatchRunRequest | pb.ShowWorkRequest) -> tuple[tuple[str, ...], str]:
        decode = self._all.decode
        if decode.role is Role.TOOL or request.grant_token:
            ref = decode.watched(request)
            return ref.path, ref.grant_id
        run_id = decode.watched_run(request)
        (run,) = await self._all.watching.store.runs([run_id])
        if run is None or not run.was_opened:
            raise Refused(ErrorReason.RUN_UNKNOWN, run=run_id)
        return run.path, ""

    async def _unwatch(self, request: pb.UnwatchRunRequest) -> pb.UnwatchRunResponse:
        self._forget(request.watch_id)
        return pb.UnwatchRunResponse()

    def _stopped(self, number: int, run_id: str, refusal: Refusal, as_of: Position) -> None:
        if self._watches.pop(number, None):
            told, position = refused_call(refusal), _position(as_of)
            self._outbox.stops.add(watch_id=number, run_id=run_id, refusal=told, position=position)
            self._send()


def _after(request: pb.WatchRunRequest) -> Position | None:
    if not request.HasField("after"):
        return None
    return Position(limits.text("after.store_epoch", request.after.store_epoch), request.after.seq)


def _position(told: Position) -> pb.Position:
    return pb.Position(store_epoch=told.epoch, seq=told.seq)


def refused_call(refusal: Refusal) -> pb.RefusedCall:
    """Write a refusal that travels with others."""
    return pb.RefusedCall(
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{refusal.reason}"),
        message=explain(refusal),
        metadata=dict(refusal.details),
    )


def _not_allowed(role: Role, rpc: str) -> Refusal:
    if not rpc:
        rule = "must be one of the calls of a session"
        return Refusal(ErrorReason.INVALID_REQUEST, {"field": "request", "rule": rule})
    return Refusal(ErrorReason.ROLE_NOT_ALLOWED, {"role": role, "rpc": rpc, "allowed": Role.TOOL})
