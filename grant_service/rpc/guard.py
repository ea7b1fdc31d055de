"""What happens around every handler: role, slots, deadline, shield, one translator for errors.

It wraps the handlers when they are registered, so a call pays for nothing it does not need.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from grant_service.core.errors import ErrorReason, Refusal, Refused
from grant_service.rpc.errors import ALARMS, status
from grant_service.rpc.following import Followers
from grant_service.rpc.line import caller_waits
from grant_service.rpc.roles import ALLOWED, Role
from grant_service.rpc.tally import Tally, verb_of

if TYPE_CHECKING:
    from grant_service.rpc.session import Sessions

Method = Callable[[Any], Awaitable[Any]]
Stream = Callable[[Any], AsyncIterator[Any]]
Handler = Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]

_log = structlog.get_logger()


class Slots:
    """How many calls may be under way, and which are: draining waits for them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: set[asyncio.Task[Any]] = set()
        self.draining = False

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Start a call's work as a task of its own, or refuse at once: a queue would only age."""
        if self.draining or len(self._under_way) >= self._limit:
            work.close()
            raise Refused(ErrorReason.DRAINING if self.draining else ErrorReason.OVERLOADED)
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may have gone; looked at here so that nobody is warned of it

    def __len__(self) -> int:
        return len(self._under_way)

    async def drain(self, timeout: float) -> int:
        """Refuse what comes, wait for what is under way, and tell how many calls were left at the end."""
        self.draining = True
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout)
        return len(self._under_way)


class Guard:
    """Guards the handlers of one listener."""

    def __init__(
        self,
        role: Role,
        slots: Slots,
        followers: Followers,
        tally: Tally,
        decision_timeout: float,
        report_timeout: float,
    ) -> None:
        self._role, self.tally = role, tally
        self.slots, self._followers = slots, followers
        self.decision_timeout, self._report_timeout = decision_timeout, report_timeout

    def handler(
        self, rpc: str, request_type: type[Message], method: Method | Stream | None, *, streams: bool = False
    ) -> Handler:
        """Wrap one RPC's method; an RPC that is not in the table, or has no method, is refused.

        Bytes come in and bytes go out, so that what cannot be read, or written, is refused like all else.
        """
        allowed = ALLOWED.get(rpc, frozenset())
        if self._role not in allowed:
            roles = ", ".join(sorted(allowed)) or "nobody"
            return self._refusing(
                rpc, Refusal(ErrorReason.ROLE_NOT_ALLOWED, {"role": self._role, "rpc": rpc, "allowed": roles})
            )
        if method is None:
            return self._refusing(rpc, Refusal(ErrorReason.VERB_NOT_SERVED, {"rpc": rpc}))
        guarded: Any = self._streamed if streams else self._guarded
        handler: Handler = guarded(rpc, request_type, method)
        return handler

    def _timeout(self, rpc: str) -> float:
        """Give a call that may have to compile a report its longer time, whoever asks."""
        slow = rpc.startswith(("ControlService.", "JournalService."))
        return self._report_timeout if slow else self.decision_timeout

    def _refusing(self, rpc: str, refusal: Refusal) -> Handler:
        verb = verb_of(rpc)

        async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            self.tally.no(verb, refusal.reason)
            await self._abort(rpc, context, refusal)

        return refuse

    def _guarded(self, rpc: str, request_type: type[Message], method: Method) -> Handler:
        longest, verb, tally = self._timeout(rpc), verb_of(rpc), self.tally
        clock = time.perf_counter

        async def handle(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = clock()
            try:
                remaining: float | None = context.time_remaining()
                timeout = longest if remaining is None else min(longest, remaining)
                caller_waits(timeout)
                answer = await self._decide(method(_parsed(request_type, request)), timeout)
                written = answer.SerializeToString()
            except Exception as error:
                refusal = refusal_of(rpc, error)
            else:
                tally.yes(verb, clock() - began)
                return written
            tally.no(verb, refusal.reason, clock() - began)
            return await self._abort(rpc, context, refusal)

        return handle

    def _streamed(self, rpc: str, request_type: type[Message], method: Stream) -> Handler:
        """Wrap a method that answers again and again, until its caller leaves or its deadline is over.

        It has a place of its own and no slot: it decides nothing, so it goes with its caller. Each answer is
        written before the next is asked for, so that whoever does not read holds up nothing but itself.
        """

        async def handle(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                with self._followers.place():
                    async with aclosing(method(_parsed(request_type, request))) as answers:  # type: ignore[type-var]
                        async for answer in answers:
                            await context.write(answer.SerializeToString())
                    return
            except TimeoutError:
                refusal = Refusal(ErrorReason.TIMED_OUT)
            except Exception as error:
                refusal = refusal_of(rpc, error)
            self.tally.no(verb_of(rpc), refusal.reason)
            await self._abort(rpc, context, refusal)

        return handle

    def session(self, rpc: str, sessions: "Sessions") -> Handler:
        """Wrap the RPC that keeps a session: who may open one is asked here, each call when it comes."""
        allowed = ALLOWED.get(rpc, frozenset())
        if self._role not in allowed:
            return self.handler(rpc, Message, None)

        async def keep(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                await sessions.OpenSession(context, self)
            except Exception as error:
                refusal = refusal_of(rpc, error)
                self.tally.no(verb_of(rpc), refusal.reason)
                await self._abort(rpc, context, refusal)

        return keep

    def allows(self, rpc: str) -> bool:
        """Say whether the role may make a call."""
        return self._role in ALLOWED.get(rpc, frozenset())

    def tell(self, rpc: str, refusal: Refusal) -> None:
        """Log a refusal."""
        tell = _log.warning if refusal.reason in ALARMS else _log.info
        tell("refused", rpc=rpc, role=self._role.value, reason=refusal.reason.value, **_named(refusal))

    async def _decide(self, work: Any, timeout: float) -> Any:
        """Run a call's work so that a caller who hangs up does not take the decision with it."""
        task = self.slots.start(work)
        await _wait(task, timeout)
        if not task.done():
            raise Refused(ErrorReason.TIMED_OUT)
        try:
            return task.result()
        except TimeoutError:
            raise Refused(ErrorReason.TIMED_OUT) from None

    async def _abort(self, rpc: str, context: grpc.aio.ServicerContext[Any, Any], refusal: Refusal) -> None:
        self.tell(rpc, refusal)
        await context.abort_with_status(status(refusal))


async def _wait(task: asyncio.Task[Any], timeout: float) -> None:
    """Wait for a task or the time. Waiting is cancelled with the caller; what is waited for is not.

    asyncio.wait does the same for many tasks, and costs each call a few microseconds more.
    """
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(timeout, _end, over)
    task.add_done_callback(partial(_end, over))
    try:
        await over
    finally:
        timer.cancel()


def _end(over: asyncio.Future[None], *_: object) -> None:
    if not over.done():
        over.set_result(None)


def _parsed(request_type: type[Message], request: bytes) -> Message:
    try:
        return request_type.FromString(request)
    except DecodeError:
        rule = f"must be the bytes of a {request_type.DESCRIPTOR.full_name}"
        # The decoder's own words may quote what it could not read.
        raise Refused(ErrorReason.INVALID_REQUEST, field="request", rule=rule) from None


def _named(refusal: Refusal) -> dict[str, str]:
    return {name: value for name, value in refusal.details.items() if name in ("run", "grant", "op", "cause")}


def refusal_of(rpc: str, error: Exception) -> Refusal:
    """Say why a call is refused that raised this; what nobody foresaw becomes an incident."""
    if not isinstance(error, Refused):
        return _incident(rpc, error)
    refusal = error.refusal
    if refusal.reason is ErrorReason.INTERNAL and "incident" not in refusal.details:
        return _incident(rpc, error, **refusal.details)
    return refusal


def _incident(rpc: str, defect: Exception, **details: str) -> Refusal:
    """Refuse for a reason nobody foresaw; the log has the trace under the incident's number."""
    incident = secrets.token_hex(4)
    _log.error("failed", rpc=rpc, incident=incident, exc_info=defect)
    return Refusal(ErrorReason.INTERNAL, details | {"incident": incident})
