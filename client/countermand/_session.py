"""The session: one stream to the sidecar on which calls travel together and stops come back.

It is opened when it is first wanted, and again, with pauses, when it broke. While there is none, calls go
alone; what was asked over one that broke is not known, like any call whose answer got lost. Everything here
is a courtesy: calls and commits are decided as they are without it.

One class for code on an event loop, one for code that blocks.
"""

import asyncio
import contextlib
import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future as Promise
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from typing import Any

import grpc

from countermand._errors import CLASSES, AskOperator, CountermandError, TimedOut, TryAgain, Unavailable
from countermand._rpcs import Rpc, Sealed
from countermand._words import ErrorReason
from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb

_PATH = "/countermand.v1.SessionService/OpenSession"

#: A sidecar takes 64 KiB in one message. Messages one after the other are one message, so several calls
#: are written by joining them, as many as fit.
_MOST_BYTES = 48 * 1024
#: How long a new session may take to say that it is ready, and the pauses before the next try, in seconds.
_READY_WITHIN, _FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 0.05, 2.0
#: How long a sidecar has to hang up when it was told that nothing more comes.
_FAREWELL = 0.5
#: After these the sidecar has no sessions for this client, and will not have any.
_NEVER = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED)

#: Hears once why something stopped.
Heard = Callable[[CountermandError], None]
#: Hears whether the session is there.
Noticed = Callable[[bool], None]


@dataclass(eq=False, slots=True)
class Watched:
    """What is watched, for as long as somebody wants to hear of it, over however many sessions."""

    request: Sealed[Any]
    heard: Heard
    #: What the session there is calls it.
    number: int = 0
    over: bool = False

    def stop(self, told: CountermandError) -> None:
        """Say that it stopped."""
        if not self.over:
            self.over = True
            self.heard(told)

    def is_asked_for(self, done: Any) -> None:
        """Take note of the answer to a watch: no for good reasons is a stop, too."""
        error = None if done.cancelled() else done.exception()
        if isinstance(error, CountermandError) and not isinstance(error, TryAgain):
            self.stop(error)


def refused(told: pb.RefusedCall) -> CountermandError:
    """Translate a refusal that came with others."""
    name = errors_pb2.ErrorReason.Name(told.reason).removeprefix("ERROR_REASON_")
    reason = ErrorReason.__members__.get(name, ErrorReason.UNSPECIFIED)
    if reason is ErrorReason.UNSPECIFIED:
        return AskOperator(told.message, metadata=dict(told.metadata))
    return CLASSES[reason](told.message, reason=reason, metadata=dict(told.metadata))


def joined(parts: list[bytes]) -> Iterator[bytes]:
    """Put parts together to messages that a sidecar takes."""
    first = size = 0
    for index, part in enumerate(parts):
        if size and size + len(part) > _MOST_BYTES:
            yield b"".join(parts[first:index])
            first, size = index, 0
        size += len(part)
    yield b"".join(parts[first:])


_NOBODY: tuple[str, Any, Watched | None] = ("", None, None)


class _Desk:
    """What the two have in common: the calls that wait for an answer, and the watches."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        #: What was asked, who waits for the answer, and what is watched from then on.
        self._waiting: dict[int, tuple[str, Any, Watched | None]] = {}
        self._watched: dict[int, Watched] = {}
        self.heard_at = 0.0

    def take(self, frame: bytes) -> None:
        """Give everybody what a message has for them."""
        self.heard_at = time.monotonic()
        told = pb.OpenSessionResponse.FromString(frame)
        for answer in told.answers:
            name, future, watched = self._waiting.pop(answer.call_id, _NOBODY)
            kind = answer.WhichOneof("answer")
            if watched and kind == name:
                watched.number = answer.watch.watch_id
                self._watched[watched.number] = watched  # its stop may be in this same message
            if future is None or future.done():
                continue
            if kind == name:
                future.set_result(getattr(answer, name))
            elif kind == "refusal":
                future.set_exception(refused(answer.refusal))
            else:
                future.set_exception(AskOperator(f"the sidecar answered {name} with {kind}: do not act"))
        for stop in told.stops:
            if stopped := self._watched.pop(stop.watch_id, None):
                stopped.stop(refused(stop.refusal))

    def fail(self) -> None:
        """Tell everybody who waits that no answer comes any more."""
        waiting, self._waiting = self._waiting, {}
        self._watched.clear()
        for name, future, _ in waiting.values():
            if not future.done():
                future.set_exception(Unavailable(f"the session ended before {name} was answered"))

    def forget(self, watched: Watched) -> bool:
        """Tell nothing more of it; say whether the sidecar has to be told so."""
        return self._watched.pop(watched.number, None) is not None

    def write(
        self,
        name: str,
        sealed: Sealed[Any],
        timeout: float,
        future: Any,
        watched: Watched | None = None,
    ) -> bytes:
        """Write a call down, and who waits for its answer."""
        number = next(self._numbers)
        part = Sealed.write_call(sealed, name, number, max(1, round(timeout * 1000)))
        self._waiting[number] = (name, future, watched)
        return part


class AsyncSession:
    """For code on an event loop: the calls of one turn of it travel together."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._open: Callable[[], Any] = channel.stream_stream(_PATH)
        self._stream: Any = None
        self._noticed: list[Noticed] = []
        self._watches: list[Watched] = []
        self._outbox: list[bytes] = []
        self._something = asyncio.Event()
        self._wanted = asyncio.Event()
        self._desk: _Desk | None = None
        self._never = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether calls can travel on it."""
        return self._desk is not None

    def want(self) -> bool:
        """Have it opened, and say whether it is; nobody waits for it."""
        if self._desk is None and not self._never:
            self._wanted.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._work(), name="countermand session")
        return self._desk is not None

    async def call(self, rpc: Rpc[Any, Any], sealed: Sealed[Any], timeout: float) -> Any:
        """Ask, and wait for the answer."""
        desk = self._desk
        if desk is None:
            raise Unavailable("the session is not there")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._put(desk.write(rpc.session, sealed, timeout, future))
        timer = loop.call_later(timeout, self._be_late, desk, future, time.monotonic())
        try:
            return await future
        finally:
            timer.cancel()

    def _put(self, part: bytes) -> None:
        self._outbox.append(part)
        self._something.set()

    def _be_late(self, desk: _Desk, future: "asyncio.Future[Any]", asked_at: float) -> None:
        """End a wait; a session on which nothing has come since is no good any more."""
        if not future.done():
            future.set_exception(TimedOut("no answer came in time: nothing is known of the decision"))
            if desk is self._desk and desk.heard_at < asked_at:
                self._stream.cancel()

    def watch(self, request: Sealed[Any], heard: Heard) -> Watched:
        """Hear of a stop, once; also of one from before, or from while there was no session."""
        watched = Watched(request, heard)
        self._watches.append(watched)
        if self.want():
            self._ask_to_watch(watched)
        return watched

    def unwatch(self, watched: Watched) -> None:
        """Hear nothing more of it."""
        watched.over = True
        if watched in self._watches:
            self._watches.remove(watched)
        if self._desk and self._desk.forget(watched):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_looked_at)
            self._put(self._desk.write("unwatch", unwatching(watched), _READY_WITHIN, future))

    def on_change(self, noticed: Noticed) -> None:
        """Hear when it comes and goes."""
        self._noticed.append(noticed)

    def _ask_to_watch(self, watched: Watched) -> None:
        if self._desk:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.add_done_callback(watched.is_asked_for)
            self._put(self._desk.write("watch", watched.request, _READY_WITHIN, future, watched))

    async def _work(self) -> None:
        """Keep a session while anybody wants one."""
        pause = _FIRST_PAUSE
        while not self._never:
            self._wanted.clear()
            if await self._keep():
                pause = _FIRST_PAUSE
            self._watches = [one for one in self._watches if not one.over]
            if not self._watches:
                await self._wanted.wait()
            if not self._never:
                await asyncio.sleep(_spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _keep(self) -> bool:
        """Open a session and take what comes until it ends; say whether it was ever ready."""
        self._stream = stream = self._open()
        writing: asyncio.Task[None] | None = None
        desk = _Desk()
        try:
            async with asyncio.timeout(_READY_WITHIN):
                if await stream.read() is grpc.aio.EOF:
                    return False
            self._outbox, self._desk = [], desk
            writing = asyncio.get_running_loop().create_task(self._write(stream))
            self._watches = [one for one in self._watches if not one.over]
            for watched in self._watches:
                self._ask_to_watch(watched)
            self._say(True)
            while (frame := await stream.read()) is not grpc.aio.EOF:
                desk.take(frame)
        except grpc.RpcError as error:
            self._never = error.code() in _NEVER
        except TimeoutError:
            pass  # nobody answers
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # It was the stream that was cancelled, because nothing came any more.
        finally:
            was_ready, self._desk = self._desk is desk, None
            if writing:
                writing.cancel()
            stream.cancel()
            desk.fail()
            if was_ready:
                self._say(False)
        return was_ready

    def _say(self, is_there: bool) -> None:
        for noticed in self._noticed:
            noticed(is_there)

    async def _write(self, stream: Any) -> None:
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                await self._something.wait()
                self._something.clear()
                parts, self._outbox = self._outbox, []
                for message in joined(parts):
                    if message:
                        await stream.write(message)
                if self._never:
                    await stream.done_writing()

    async def close(self) -> None:
        """End it for good; the sidecar is told first, so that nothing comes when the loop has ended."""
        self._never = True
        self._wanted.set()
        self._something.set()
        if self._task:
            await asyncio.wait([self._task], timeout=_FAREWELL if self.is_ready else 0)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Session:
    """For code that blocks: what threads ask while a message is on its way travels in the next one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._open: Any = channel.stream_stream(_PATH)
        self._lock = threading.Lock()
        self._noticed: list[Noticed] = []
        self._watches: list[Watched] = []
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._wanted = threading.Event()
        self._desk: _Desk | None = None
        self._never = False
        self._stream: Any = None
        self._thread: threading.Thread | None = None

    @property
    def is_ready(self) -> bool:
        """Whether calls can travel on it."""
        return self._desk is not None

    def want(self) -> bool:
        """Have it opened, and say whether it is; nobody waits for it."""
        if self._desk is None and not self._never:
            self._wanted.set()
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, name="countermand session", daemon=True
                    )
                    self._thread.start()
        return self._desk is not None

    def call(self, rpc: Rpc[Any, Any], sealed: Sealed[Any], timeout: float) -> Any:
        """Ask, and wait for the answer."""
        desk, asked_at, promise = self._desk, time.monotonic(), Promise[Any]()
        if desk is None:
            raise Unavailable("the session is not there")
        self._outbox.put(desk.write(rpc.session, sealed, timeout, promise))
        if desk is not self._desk:  # it ended just now, and may not have known of this call
            desk.fail()
        try:
            return promise.result(timeout)
        except Late:
            if desk is self._desk and desk.heard_at < asked_at:
                self._stream.cancel()
            raise TimedOut("no answer came in time: nothing is known of the decision") from None

    def watch(self, request: Sealed[Any], heard: Heard) -> Watched:
        """Hear of a stop, once; also of one from before, or from while there was no session."""
        watched = Watched(request, heard)
        with self._lock:
            self._watches.append(watched)
        if self.want():
            self._ask_to_watch(watched)
        return watched

    def unwatch(self, watched: Watched) -> None:
        """Hear nothing more of it."""
        watched.over = True
        with self._lock:
            if watched in self._watches:
                self._watches.remove(watched)
        desk = self._desk
        if desk and desk.forget(watched):
            self._outbox.put(desk.write("unwatch", unwatching(watched), _READY_WITHIN, Promise[Any]()))

    def on_change(self, noticed: Noticed) -> None:
        """Hear when it comes and goes."""
        self._noticed.append(noticed)

    def _ask_to_watch(self, watched: Watched) -> None:
        desk = self._desk
        if desk is None:
            return
        promise = Promise[Any]()
        promise.add_done_callback(watched.is_asked_for)
        self._outbox.put(desk.write("watch", watched.request, _READY_WITHIN, promise, watched))

    def _work(self) -> None:
        """Keep a session while anybody wants one."""
        pause = _FIRST_PAUSE
        while not self._never:
            self._wanted.clear()
            if self._keep():
                pause = _FIRST_PAUSE
            with self._lock:
                self._watches = [one for one in self._watches if not one.over]
                idle = not self._watches
            if idle:
                self._wanted.wait()
            if not self._never:
                time.sleep(_spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _keep(self) -> bool:
        """Open a session and take what comes until it ends; say whether it was ever ready."""
        desk, self._outbox = _Desk(), queue.SimpleQueue()
        self._stream = stream = self._open(_parts(self._outbox))
        opening = threading.Timer(_READY_WITHIN, stream.cancel)
        opening.daemon = True
        opening.start()
        try:
            for frame in stream:
                if self._desk is not desk:
                    opening.cancel()
                    self._be_ready(desk)
                desk.take(frame)
        except grpc.RpcError as error:
            self._never = self._never or error.code() in _NEVER
        finally:
            opening.cancel()
            was_ready, self._desk = self._desk is desk, None
            self._outbox.put(None)
            stream.cancel()
            desk.fail()
            if was_ready:
                self._say(False)
        return was_ready

    def _be_ready(self, desk: _Desk) -> None:
        self._desk = desk
        with self._lock:
            watches = [one for one in self._watches if not one.over]
        for watched in watches:
            self._ask_to_watch(watched)
        self._say(True)

    def _say(self, is_there: bool) -> None:
        for noticed in self._noticed:
            noticed(is_there)

    def close(self) -> None:
        """End it for good."""
        self._never = True
        self._wanted.set()
        if self._stream is not None:
            self._stream.cancel()
        if self._thread:
            self._thread.join(_READY_WITHIN)


def unwatching(watched: Watched) -> Sealed[pb.UnwatchRunRequest]:
    """Write that something is watched no more."""
    return Sealed(pb.UnwatchRunRequest(watch_id=watched.number))


def _looked_at(done: "asyncio.Future[Any]") -> None:
    """Nobody waits for this answer, and nobody is to be warned of it."""
    if not done.cancelled():
        done.exception()


def _spread(pause: float) -> float:
    """Vary a pause, so that clients do not come back in step."""
    return random.uniform(pause / 2, pause)  # noqa: S311 - no secret


def _parts(outbox: "queue.SimpleQueue[bytes | None]") -> Iterator[bytes]:
    """Give out messages: what there is, put together, as soon as there is something."""
    while True:
        part = outbox.get()
        if part is None:
            return
        parts = [part]
        with contextlib.suppress(queue.Empty):
            while (part := outbox.get_nowait()) is not None:
                parts.append(part)
        yield from joined(parts)
        if part is None:
            return
