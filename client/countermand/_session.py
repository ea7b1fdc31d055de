"""The session: one stream to the sidecar on which calls travel together and stops come back.

It is opened when it is first wanted, and again, with pauses, when it broke. While there is none, calls go
alone; what was asked over one that broke is not known, like any call whose answer got lost. Everything here
is a courtesy: calls and commits are decided as they are without it.

One class for code on an event loop, one for code that blocks. What they have in common comes first: what is
watched, over however many streams. Each stream has a desk, where those wait who asked over it.
"""

import asyncio
import contextlib
import math
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as Promise
from concurrent.futures import TimeoutError as Late
from functools import partial
from typing import Any

import grpc

from countermand._desk import LATE, Asked, Desk, Heard, Watched, joined
from countermand._errors import CountermandError, TimedOut, TryAgain, Unavailable
from countermand._rpcs import Rpc, Sealed
from countermand._world import log
from countermand.v1 import session_service_pb2 as pb

_PATH = "/countermand.v1.SessionService/OpenSession"

#: How long a new session may take to say that it is ready, and the pauses before the next try, in seconds.
_READY_WITHIN, _FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 0.05, 2.0
#: A session is let go of when somebody has waited in vain and nothing has come for so long: a sidecar answers
#: everything within its decision timeout (2 s), if only with a refusal.
_SILENCE = 3.0
#: How long a sidecar has to hang up when it was told that nothing more comes.
_FAREWELL = 0.5
#: How many watches are asked for at a time: each takes a slot of the sidecar until it is answered.
_WINDOW = 64
#: After these the sidecar has no sessions for this client, and will not have any.
_NEVER = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED)

#: Hears whether the session is there.
Noticed = Callable[[bool], object]


class _Either:
    """What both sessions do alike: whether there is one, and what is watched."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._desk: Desk | None = None
        self._stream: Any = None
        self._never = False
        self._noticed: list[Noticed] = []
        self._watches: dict[Watched, None] = {}
        self._to_ask: deque[Watched] = deque()
        self._asking = 0
        #: What was watched before this stream and has no answer on it yet: until it has, calls go alone.
        self._resuming: set[Watched] = set()
        self._is_resumed = False

    def _start(self) -> None:
        raise NotImplementedError

    def _future(self) -> Any:
        raise NotImplementedError

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        raise NotImplementedError

    def _deliver(self, work: Callable[[], None]) -> None:
        raise NotImplementedError

    @property
    def is_ready(self) -> bool:
        """Whether calls can travel on it."""
        return self._desk is not None and self._is_resumed

    def want(self) -> bool:
        """Have it opened, and say whether calls can travel on it; nobody waits. A forked child has none."""
        return self._has_stream() and self._is_resumed

    def _has_stream(self) -> bool:
        if self._pid != os.getpid():
            return False
        if self._desk is None and not self._never:
            self._start()
        return self._desk is not None

    def on_change(self, noticed: Noticed) -> Callable[[], None]:
        """Hear when it comes and goes. Answers how to hear no more."""
        self._noticed.append(noticed)
        return partial(_without, self._noticed, noticed)

    def watch(self, request: Sealed[Any], heard: Heard) -> Watched:
        """Hear of a stop, once; also of one from before, or from while there was no session."""
        watched = Watched(request, heard)
        with self._lock:
            self._watches[watched] = None
            self._to_ask.append(watched)
        if self._has_stream():
            self._ask_some()
        return watched

    def unwatch(self, watched: Watched) -> None:
        """Hear nothing more of it."""
        with self._lock:
            watched.over = True
            self._watches.pop(watched, None)
            desk = self._desk
            if desk and desk.watched.get(watched.number) is watched:
                self._forget(desk, watched)
        self._has_resumed(watched)

    def show(self, request: Sealed[Any]) -> None:
        """Show what is at work, if there is a session; nobody waits for the answer."""
        with self._lock:
            if self._desk:
                future = self._future()
                future.add_done_callback(_looked_at)
                self._desk.ask("show", request, _READY_WITHIN, future)

    def _forget(self, desk: Desk, watched: Watched) -> None:
        """Have the sidecar forget a watch; nobody waits for the answer."""
        del desk.watched[watched.number]
        future = self._future()
        future.add_done_callback(_looked_at)
        request = Sealed(pb.UnwatchRunRequest(watch_id=watched.number))
        desk.ask("unwatch", request, _READY_WITHIN, future)

    def _ask_some(self) -> None:
        """Ask for watches, as many as may be under way."""
        with self._lock:
            while self._desk and self._to_ask and self._asking < _WINDOW:
                watched = self._to_ask.popleft()
                if watched.over:
                    continue
                self._asking += 1
                watched.number = 0
                future = self._future()
                future.add_done_callback(partial(self._is_asked_for, self._desk, watched))
                request = watched.request
                if watched.position:
                    request = request.with_more(pb.WatchRunRequest(after=watched.position))
                self._desk.ask("watch", request, _READY_WITHIN, future, watched)

    def _is_asked_for(self, desk: Desk, watched: Watched, done: Any) -> None:
        """Take note of the answer to a watch: no, for good reasons, is a stop, too."""
        error = None if done.cancelled() else done.exception()
        with self._lock:
            if desk is not self._desk:
                return  # the next session asks for everything again
            self._asking -= 1
            if error is None and watched.over and desk.watched.get(watched.number) is watched:
                self._forget(desk, watched)
            elif isinstance(error, TryAgain):
                self._later(_spread(_FIRST_PAUSE * 4), partial(self._ask_again, desk, watched))
            elif error is not None:
                self._tell(watched, error)
        self._ask_some()
        if not isinstance(error, TryAgain):  # that one has not said how it stands
            self._has_resumed(watched)

    def _ask_again(self, desk: Desk, watched: Watched) -> None:
        with self._lock:
            if desk is self._desk:
                self._to_ask.append(watched)
        self._ask_some()

    def _take(self, desk: Desk, frame: bytes) -> None:
        desk.take(frame, partial(self._tell_or_ask, desk))

    def _tell_or_ask(self, desk: Desk, watched: Watched, error: CountermandError | None) -> None:
        """Tell of a stop, or ask again how it stands."""
        if error is None:
            self._ask_again(desk, watched)
        else:
            self._tell(watched, error)

    def _tell(self, watched: Watched, error: BaseException) -> None:
        with self._lock:
            if watched.over or not isinstance(error, CountermandError):
                return
            watched.over = True
            self._watches.pop(watched, None)
        self._deliver(partial(_heard, watched.heard, error))

    def _come(self, desk: Desk) -> None:
        """Begin a stream: first of all what was watched is asked for."""
        with self._lock:
            self._desk, self._asking, self._is_resumed = desk, 0, False
            self._to_ask = deque(self._watches)
            self._resuming = set(self._watches)
        self._ask_some()
        if self._resuming:
            self._later(_SILENCE, partial(self._must_resume, desk))
        else:
            self._use(desk)

    def _must_resume(self, desk: Desk) -> None:
        """Let go of a stream on which nothing comes any more before all that was watched is answered for."""
        if self._desk is not desk or self._is_resumed:
            return
        if self._is_silent(desk):
            self._stream.cancel()
        else:
            self._later(_SILENCE, partial(self._must_resume, desk))

    def _has_resumed(self, watched: Watched) -> None:
        """Let calls travel on the stream once all that was missed is told, and heard."""
        with self._lock:
            self._resuming.discard(watched)
            if self._desk and not self._resuming and not self._is_resumed:
                self._deliver(partial(self._use, self._desk))

    def _use(self, desk: Desk) -> None:
        with self._lock:
            if self._desk is not desk or self._is_resumed:
                return
            self._is_resumed = True
        self._say(True)

    def _go(self, desk: Desk) -> bool:
        """Use a stream no more; say whether it ever came."""
        with self._lock:
            came, was_ready = self._desk is desk, self.is_ready
            if came:
                self._desk, self._is_resumed = None, False
                self._resuming.clear()
        desk.fail()
        if came and was_ready:
            self._say(False)
        return came

    def _say(self, is_there: bool) -> None:
        for noticed in tuple(self._noticed):
            self._deliver(partial(_heard, noticed, is_there))

    def _is_silent(self, desk: Desk) -> bool:
        return desk is self._desk and time.monotonic() - desk.heard_at > _SILENCE


class AsyncSession(_Either):
    """For code on an event loop: the calls of one turn of it travel together."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._open: Callable[[], Any] = channel.stream_stream(_PATH)
        self._outbox: list[Asked] = []
        self._something = asyncio.Event()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def _start(self) -> None:
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="countermand session")

    def _future(self) -> Any:
        return asyncio.get_running_loop().create_future()

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, work)

    def _deliver(self, work: Callable[[], None]) -> None:
        work()

    async def call(self, rpc: Rpc[Any, Any], sealed: Sealed[Any], timeout: float) -> Any:
        """Ask, and wait for the answer."""
        desk = self._desk
        if desk is None or not self._is_resumed:
            raise Unavailable("the session is not there")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        until = loop.time() + timeout
        desk.ask(rpc.session, sealed, timeout, future, until=until)
        self._look_by(until)
        return await future

    def _put(self, asked: Asked) -> None:
        self._outbox.append(asked)
        self._something.set()

    def _look_by(self, until: float) -> None:
        """Look for calls that are late by then: one timer for all of them is what makes a call cheap."""
        if until == math.inf or (self._timer and self._timer.when() <= until):
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until, self._look)

    def _look(self) -> None:
        self._timer, desk = None, self._desk
        if desk is None:
            return  # they were all told when it ended
        any_late, until = desk.pass_over(asyncio.get_running_loop().time())
        self._look_by(until)
        if any_late and self._is_silent(desk):
            self._stream.cancel()

    async def _work(self) -> None:
        """Keep a session while anybody wants one."""
        pause = _FIRST_PAUSE
        while not self._never:
            self._wanted.clear()
            if await self._keep():
                pause = _FIRST_PAUSE
            if not self._watches and not self._never:
                await self._wanted.wait()
            if not self._never:
                await asyncio.sleep(_spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _keep(self) -> bool:
        """Open a stream and take what comes until it ends; say whether it was ever ready."""
        self._stream = stream = self._open()
        self._outbox, desk = [], Desk(self._put)
        writing: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(_READY_WITHIN):
                if await stream.read() is grpc.aio.EOF:
                    return False
            writing = asyncio.get_running_loop().create_task(self._write(stream))
            self._come(desk)
            while (frame := await stream.read()) is not grpc.aio.EOF:
                self._take(desk, frame)
        except grpc.RpcError as error:
            if error.code() in _NEVER:
                self._never = True
        except TimeoutError:
            pass  # nobody answers
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise
            # It was the stream that was cancelled, because nothing came any more.
        except Exception:
            log.exception("the session ended by a fault; it is opened again")
        finally:
            was_ready = self._go(desk)
            if writing:
                writing.cancel()
            stream.cancel()
        return was_ready

    async def _write(self, stream: Any) -> None:
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            while True:
                await self._something.wait()
                self._something.clear()
                asked, self._outbox = self._outbox, []
                # Who does not wait any more does not want it decided any more.
                for message in joined([one.part for one in asked if not one.future.done()]):
                    await stream.write(message)
                if self._never:
                    await stream.done_writing()

    async def close(self) -> None:
        """End it for good; the sidecar is told first, so that nothing comes when the loop has ended."""
        self._never = True
        self._wanted.set()
        self._something.set()
        if self._task:
            await asyncio.wait([self._task], timeout=_FAREWELL if self._desk else 0)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._timer:
            self._timer.cancel()


class Session(_Either):
    """For code that blocks: what threads ask while a message is on its way travels in the next one.

    Who hears of stops does so on a thread of its own, and may use the client there.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        super().__init__()
        self._open: Any = channel.stream_stream(_PATH)
        self._wanted, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._to_tell: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._teller: threading.Thread | None = None

    def _start(self) -> None:
        self._wanted.set()
        with self._lock:
            if self._thread is None:
                self._thread = _daemon(self._work, "countermand session")

    def _future(self) -> Any:
        return Promise[Any]()

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        def wait() -> None:
            if not self._closed.wait(seconds):
                work()

        _daemon(wait, "countermand session, later")

    def _deliver(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._teller is None:
                self._teller = _daemon(self._do_tell, "countermand stops")
        self._to_tell.put(work)

    def _do_tell(self) -> None:
        while (work := self._to_tell.get()) is not None:
            try:
                work()
            except BaseException:  # such as SystemExit: others are still to hear
                log.exception("a function that was to hear ended its thread")

    def call(self, rpc: Rpc[Any, Any], sealed: Sealed[Any], timeout: float) -> Any:
        """Ask, and wait for the answer."""
        desk, promise = self._desk, Promise[Any]()
        if desk is None or not self._is_resumed:
            raise Unavailable("the session is not there")
        desk.ask(rpc.session, sealed, timeout, promise)
        try:
            return promise.result(timeout)
        except Late:
            if promise.cancel() and self._is_silent(desk):
                self._stream.cancel()
            raise TimedOut(LATE) from None

    def _work(self) -> None:
        """Keep a session while anybody wants one."""
        pause = _FIRST_PAUSE
        while not self._never:
            self._wanted.clear()
            if self._keep():
                pause = _FIRST_PAUSE
            if not self._watches and not self._never:
                self._wanted.wait()
            self._closed.wait(_spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _keep(self) -> bool:
        """Open a stream and take what comes until it ends; say whether it was ever ready."""
        outbox: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        desk = Desk(outbox.put)
        with self._lock:  # who closes it in this moment finds the stream, or there is none
            if self._never:
                return False
            self._stream = stream = self._open(_messages(outbox))
        opening = threading.Timer(_READY_WITHIN, stream.cancel)
        opening.daemon = True
        opening.start()
        try:
            for frame in stream:
                if self._desk is not desk:
                    opening.cancel()
                    self._come(desk)
                self._take(desk, frame)
        except grpc.RpcError as error:
            if error.code() in _NEVER:
                self._never = True
        except Exception:
            log.exception("the session ended by a fault; it is opened again")
        finally:
            opening.cancel()
            was_ready = self._go(desk)
            outbox.put(None)
            stream.cancel()
        return was_ready

    def close(self) -> None:
        """End it for good."""
        with self._lock:
            self._never = True
            stream = self._stream
        self._closed.set()
        self._wanted.set()
        self._to_tell.put(None)
        if stream is not None:
            stream.cancel()
        for thread in (self._thread, self._teller):
            if thread and thread is not threading.current_thread():
                thread.join(_READY_WITHIN)


def _daemon(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _heard(hears: Callable[[Any], object], told: Any) -> None:
    """Let somebody hear; what goes wrong there is theirs, and is not to end the session."""
    try:
        hears(told)
    except Exception:
        log.exception("a function that was to hear of %s failed", type(told).__name__)


def _without(some: list[Any], one: Any) -> None:
    if one in some:
        some.remove(one)


def _looked_at(done: Any) -> None:
    """Nobody waits for this answer, and nobody is to be warned of it."""
    if not done.cancelled():
        done.exception()


def _spread(pause: float) -> float:
    """Vary a pause, so that clients do not come back in step."""
    return random.uniform(pause / 2, pause)  # noqa: S311 - no secret


def _messages(outbox: "queue.SimpleQueue[Asked | None]") -> Iterator[bytes]:
    """Give out messages: what there is, put together, as soon as there is something."""
    while True:
        asked = [outbox.get()]
        with contextlib.suppress(queue.Empty):
            while asked[-1] is not None:
                asked.append(outbox.get_nowait())
        # Who does not wait any more does not want it decided any more.
        yield from joined([one.part for one in asked if one is not None and not one.future.done()])
        if asked[-1] is None:
            return
