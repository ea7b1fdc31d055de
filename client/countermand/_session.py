"""The session: one stream to the sidecar on which calls travel together and stops come back.

It is opened when it is first wanted, and again, with pauses, when it broke. While there is none, calls go
alone; what was asked over one that broke is not known, like any call whose answer got lost. Everything here
is a courtesy: calls and commits are decided as they are without it.

One class for code on an event loop, one for code that blocks. What they have in common comes first: the desk,
where those wait who asked over one stream, and what is watched, over however many streams.
"""

import asyncio
import contextlib
import itertools
import math
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future as Promise
from concurrent.futures import InvalidStateError
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from countermand._errors import CLASSES, AskOperator, CountermandError, TimedOut, TryAgain, Unavailable
from countermand._rpcs import Rpc, Sealed
from countermand._words import ErrorReason
from countermand._world import log
from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb

_PATH = "/countermand.v1.SessionService/OpenSession"

#: A sidecar takes 64 KiB and 512 calls in one message. Messages one after the other are one message, so calls
#: are written by joining them, as many as fit; one that is longer goes alone.
MOST_BYTES, MOST_CALLS = 48 * 1024, 256
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

#: Hears once why something stopped.
Heard = Callable[[CountermandError], None]
#: Hears whether the session is there.
Noticed = Callable[[bool], object]


@dataclass(eq=False, slots=True)
class Watched:
    """What is watched for as long as somebody wants to hear of it."""

    request: Sealed[Any]
    heard: Heard
    #: What the stream there is calls it; 0 before it was answered.
    number: int = 0
    over: bool = False
    #: As of where it was last told to go on.
    position: pb.Position | None = None


@dataclass(eq=False, slots=True)
class _Asked:
    """A call without an answer."""

    name: str
    future: Any
    watched: Watched | None
    part: bytes
    #: When its caller has waited long enough, by the loop's clock, where nobody else sees to that.
    until: float


def refused(told: pb.RefusedCall) -> CountermandError:
    """Translate a refusal that came with others; a reason of a later sidecar's is for an operator to read."""
    number = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number.get(told.reason)
    name = number.name.removeprefix("ERROR_REASON_") if number else ""
    reason = ErrorReason.__members__.get(name, ErrorReason.UNSPECIFIED)
    if reason is ErrorReason.UNSPECIFIED:
        return AskOperator(told.message, metadata=dict(told.metadata))
    return CLASSES[reason](told.message, reason=reason, metadata=dict(told.metadata))


def joined(parts: list[bytes]) -> Iterator[bytes]:
    """Put parts together to messages that a sidecar takes."""
    first = size = 0
    for index, part in enumerate(parts):
        if index > first and (size + len(part) > MOST_BYTES or index - first == MOST_CALLS):
            yield b"".join(parts[first:index])
            first, size = index, 0
        size += len(part)
    if first < len(parts):
        yield b"".join(parts[first:])


#: Tells why something stopped; or that what was told of it is older than what is known.
_Tell = Callable[[Watched, CountermandError | None], None]


class _Desk:
    """Where those wait who asked over one stream."""

    def __init__(self, put: Callable[[_Asked], None]) -> None:
        self._put = put
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Asked] = {}
        self.watched: dict[int, Watched] = {}
        self.heard_at = time.monotonic()
        self.is_over = False

    def ask(
        self,
        name: str,
        sealed: Sealed[Any],
        timeout: float,
        future: Any,
        watched: Watched | None = None,
        until: float = math.inf,
    ) -> None:
        """Send a call, and write down who waits for its answer."""
        number = next(self._numbers)
        asked = _Asked(name, future, watched, Sealed.write_call(sealed, name, number, timeout), until)
        self._waiting[number] = asked
        self._put(asked)
        if self.is_over:  # it ended just now, and may not have known of this one
            self.fail()

    def take(self, frame: bytes, tell: "_Tell") -> None:
        """Give everybody what a message has for them: first of all what stopped."""
        self.heard_at = time.monotonic()
        told = pb.OpenSessionResponse.FromString(frame)
        asked = [(self._waiting.pop(answer.call_id, None), answer) for answer in told.answers]
        for one, answer in asked:
            if one and one.watched and answer.WhichOneof("answer") == one.name:
                self._begin(one.watched, answer.watch, tell)
        for stop in told.stops:
            if watched := self.watched.pop(stop.watch_id, None):
                tell(watched, None if _is_before(stop, watched) else refused(stop.refusal))
        for one, answer in asked:
            if one:
                _answer(one, answer)

    def _begin(self, watched: Watched, told: pb.WatchRunResponse, tell: "_Tell") -> None:
        """Take note of a watch; its stop may be in this same message."""
        if told.HasField("refusal"):
            tell(watched, refused(told.refusal))
            return
        watched.number, watched.position = told.watch_id, told.position
        self.watched[told.watch_id] = watched

    def pass_over(self, now: float) -> tuple[bool, float]:
        """Give up on those whose time is over; say whether there were any, and when the next one's is."""
        waiting = [one for one in self._waiting.values() if not one.future.done()]
        late = [one for one in waiting if one.until <= now]
        for asked in late:
            _fail(asked.future, TimedOut(_LATE))
        return bool(late), min((one.until for one in waiting if one.until > now), default=math.inf)

    def fail(self) -> None:
        """Tell everybody who waits that no answer comes any more."""
        self.is_over = True
        while self._waiting:
            with contextlib.suppress(KeyError):  # somebody else was here
                _, asked = self._waiting.popitem()
                _fail(asked.future, Unavailable(f"the session ended before {asked.name} was answered"))


def _answer(asked: _Asked, answer: pb.SessionAnswer) -> None:
    """Give an answer to whoever waits for it."""
    kind = answer.WhichOneof("answer")
    if kind == asked.name:
        _give(asked.future, getattr(answer, asked.name))
    elif kind == "refusal":
        _fail(asked.future, refused(answer.refusal))
    else:
        _fail(asked.future, AskOperator(f"the sidecar answered {asked.name} with {kind}: do not act"))


def _is_before(stop: pb.Stop, watched: Watched) -> bool:
    """Say whether a stop is older than what is known: what stopped then may go on by now."""
    told, known = stop.position, watched.position
    return known is not None and told.store_epoch == known.store_epoch and told.seq < known.seq


class _Either:
    """What both sessions do alike: whether there is one, and what is watched."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._desk: _Desk | None = None
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

    def _forget(self, desk: _Desk, watched: Watched) -> None:
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

    def _is_asked_for(self, desk: _Desk, watched: Watched, done: Any) -> None:
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
        self._has_resumed(watched)

    def _ask_again(self, desk: _Desk, watched: Watched) -> None:
        with self._lock:
            if desk is self._desk:
                self._to_ask.append(watched)
        self._ask_some()

    def _take(self, desk: _Desk, frame: bytes) -> None:
        desk.take(frame, partial(self._tell_or_ask, desk))

    def _tell_or_ask(self, desk: _Desk, watched: Watched, error: CountermandError | None) -> None:
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

    def _come(self, desk: _Desk) -> None:
        """Begin a stream: first of all what was watched is asked for."""
        with self._lock:
            self._desk, self._asking, self._is_resumed = desk, 0, False
            self._to_ask = deque(self._watches)
            self._resuming = set(self._watches)
        self._ask_some()
        if not self._resuming:
            self._use(desk)

    def _has_resumed(self, watched: Watched) -> None:
        """Let calls travel on the stream once all that was missed is told, and heard."""
        with self._lock:
            self._resuming.discard(watched)
            if self._desk and not self._resuming and not self._is_resumed:
                self._deliver(partial(self._use, self._desk))

    def _use(self, desk: _Desk) -> None:
        with self._lock:
            if self._desk is not desk or self._is_resumed:
                return
            self._is_resumed = True
        self._say(True)

    def _go(self, desk: _Desk) -> bool:
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

    def _is_silent(self, desk: _Desk) -> bool:
        return desk is self._desk and time.monotonic() - desk.heard_at > _SILENCE


class AsyncSession(_Either):
    """For code on an event loop: the calls of one turn of it travel together."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._open: Callable[[], Any] = channel.stream_stream(_PATH)
        self._stream: Any = None
        self._outbox: list[_Asked] = []
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

    def _put(self, asked: _Asked) -> None:
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
        self._outbox, desk = [], _Desk(self._put)
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
        self._stream: Any = None
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
        timer = threading.Timer(seconds, work)
        timer.daemon = True
        timer.start()

    def _deliver(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._teller is None:
                self._teller = _daemon(self._do_tell, "countermand stops")
        self._to_tell.put(work)

    def _do_tell(self) -> None:
        while (work := self._to_tell.get()) is not None:
            work()

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
            raise TimedOut(_LATE) from None

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
        outbox: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        desk = _Desk(outbox.put)
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


def _give(future: Any, answer: Any) -> None:
    """Answer somebody who may have stopped waiting, in this very moment too."""
    with contextlib.suppress(InvalidStateError, asyncio.InvalidStateError):
        future.set_result(answer)


def _fail(future: Any, error: CountermandError) -> None:
    """The same with a refusal."""
    with contextlib.suppress(InvalidStateError, asyncio.InvalidStateError):
        future.set_exception(error)


_LATE = "no answer came in time: nothing is known of the decision"


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


def _messages(outbox: "queue.SimpleQueue[_Asked | None]") -> Iterator[bytes]:
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
