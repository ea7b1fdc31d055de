"""SessionService: many calls in one message, and stops as they happen.

gRPC costs by the message. So what a client asks at one moment comes in one message and is handed to the store
at one moment, and what is answered at one moment goes out in one. Each call is decided by itself, by the same
servicers as the calls that travel alone.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb
from grant_service.core.errors import ErrorReason, Refusal, Refused, explain
from grant_service.core.store import Store
from grant_service.rpc import encode
from grant_service.rpc.action import ActionServicer
from grant_service.rpc.decode import Decoder
from grant_service.rpc.guard import Guard, refusal_of
from grant_service.rpc.roles import Role
from grant_service.rpc.watching import Watch, Watching

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
}

#: How many answers may wait for a client that does not read before no more of its calls are read.
_MOST_WAITING = 4096
#: How many watches a session may have.
_MOST_WATCHES = 10_000


class Sessions:
    """The sessions of one listener."""

    def __init__(self, store: Store, decode: Decoder, actions: ActionServicer, watching: Watching) -> None:
        self.store, self.decode, self.actions, self.watching = store, decode, actions, watching
        self._kept: set[_Session] = set()

    async def OpenSession(self, context: "grpc.aio.ServicerContext[Any, Any]", guard: Guard) -> None:
        """Keep a session until its client leaves, or the sidecar stops."""
        session = _Session(self, context, guard)
        self._kept.add(session)
        try:
            await session.keep()
        finally:
            self._kept.discard(session)
            session.end()

    def close(self) -> None:
        """End all sessions; what they were asked is being decided all the same."""
        for session in list(self._kept):
            session.leave()


class _Session:
    """One client's stream."""

    def __init__(
        self, sessions: Sessions, context: "grpc.aio.ServicerContext[Any, Any]", guard: Guard
    ) -> None:
        self._all, self._context, self._guard = sessions, context, guard
        self._loop = asyncio.get_running_loop()
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(sessions.actions, rpc.partition(".")[2])
            for name, rpc in _RPCS.items()
            if rpc.startswith("ActionService.")
        }
        self._methods |= {"watch": self._watch, "unwatch": self._unwatch}
        #: The calls that have no answer yet, and what each is.
        self._open: dict[int, str] = {}
        self._outbox: list[bytes] = []
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._watches: dict[int, Watch] = {}
        self._next_watch = 0
        self._left = asyncio.Event()

    async def keep(self) -> None:
        """Read and write until one of the two ends."""
        reading = self._loop.create_task(self._read())
        writing = self._loop.create_task(self._write())
        leaving = self._loop.create_task(self._left.wait())
        tasks = (reading, writing, leaving)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self) -> None:
        """Have it end."""
        self._left.set()

    def end(self) -> None:
        """Watch nothing more."""
        for watch in self._watches.values():
            self._all.watching.remove(watch)
        self._watches.clear()

    async def _read(self) -> None:
        while True:
            await self._room.wait()
            frame = await self._context.read()
            if frame is grpc.aio.EOF:
                return
            try:
                calls = pb.OpenSessionRequest.FromString(frame).calls
            except DecodeError:
                return  # nothing on it can be told apart any more; the client comes back
            longest, ends = round(self._guard.decision_timeout * 1000), dict[int, list[int]]()
            for call in calls:
                if call.call_id in self._open:
                    return
                self._start(call)
                ends.setdefault(min(call.timeout_ms or longest, longest), []).append(call.call_id)
            for timeout, named in ends.items():
                self._loop.call_later(timeout / 1000, self._be_late, named)

    def _start(self, call: pb.SessionCall) -> None:
        """Decide a call in a slot of its own, like one that travels alone: who asks may leave meanwhile."""
        name = call.WhichOneof("request")
        rpc = self._open[call.call_id] = _RPCS.get(name or "", "")
        if name is None or not self._guard.allows(rpc):
            self._refuse(call.call_id, _not_allowed(self._all.decode.role, rpc))
            return
        try:
            self._guard.slots.start(self._decide(call.call_id, name, getattr(call, name)))
        except Refused as full:
            self._refuse(call.call_id, full.refusal)

    async def _decide(self, call_id: int, name: str, request: Any) -> None:
        try:
            answer = await self._methods[name](request)
        except Exception as error:
            self._refuse(call_id, refusal_of(_RPCS[name], error))
        else:
            self._answer(call_id, pb.SessionAnswer(call_id=call_id, **{name: answer}))

    def _be_late(self, call_ids: list[int]) -> None:
        for call_id in call_ids:
            if call_id in self._open:
                self._refuse(call_id, Refusal(ErrorReason.TIMED_OUT))

    def _refuse(self, call_id: int, refusal: Refusal) -> None:
        if call_id in self._open:
            self._guard.tell(self._open[call_id], refusal)
            self._answer(call_id, pb.SessionAnswer(call_id=call_id, refusal=refused_call(refusal)))

    def _answer(self, call_id: int, answer: pb.SessionAnswer) -> None:
        if call_id in self._open:  # or it was told already that it is late
            del self._open[call_id]
            self._send(pb.OpenSessionResponse(answers=[answer]))

    def _send(self, response: pb.OpenSessionResponse) -> None:
        """Put it into the next message: messages one after the other are one message, too."""
        self._outbox.append(response.SerializeToString())
        self._something.set()
        if len(self._outbox) > _MOST_WAITING:
            self._room.clear()

    async def _write(self) -> None:
        """Say that the session is ready, then send what there is at each moment."""
        await self._context.write(b"")
        while True:
            await self._something.wait()
            self._something.clear()
            frame, self._outbox = b"".join(self._outbox), []
            self._room.set()
            await self._context.write(frame)

    async def _watch(self, request: pb.WatchRunRequest) -> pb.WatchRunResponse:
        """Watch a run, by a grant or by its id, and say so before any stop of it is told."""
        if len(self._watches) >= _MOST_WATCHES:
            raise Refused(ErrorReason.OVERLOADED)
        path, grant_id = await self._watched(request)
        runs = await self._all.store.runs(path)
        deadline = min((run.deadline for run in runs if run), default=0)
        self._next_watch += 1
        number = self._next_watch
        watch = Watch(path, grant_id, lambda refusal: self._stopped(number, path[-1], refusal), deadline)
        self._watches[number] = watch
        self._loop.call_soon(self._all.watching.add, watch)
        return pb.WatchRunResponse(watch_id=number, run_id=path[-1], deadline_time=encode.moment(deadline))

    async def _watched(self, request: pb.WatchRunRequest) -> tuple[tuple[str, ...], str]:
        decode = self._all.decode
        if decode.role is Role.TOOL or request.grant_token:
            ref = decode.watched(request)
            return ref.path, ref.grant_id
        run_id = decode.watched_run(request)
        (run,) = await self._all.store.runs([run_id])
        if run is None or not run.was_opened:
            raise Refused(ErrorReason.RUN_UNKNOWN, run=run_id)
        return run.path, ""

    async def _unwatch(self, request: pb.UnwatchRunRequest) -> pb.UnwatchRunResponse:
        watch = self._watches.pop(request.watch_id, None)
        if watch:
            self._all.watching.remove(watch)
        return pb.UnwatchRunResponse()

    def _stopped(self, number: int, run_id: str, refusal: Refusal) -> None:
        if self._watches.pop(number, None):
            stop = pb.Stop(watch_id=number, run_id=run_id, refusal=refused_call(refusal))
            self._send(pb.OpenSessionResponse(stops=[stop]))


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
