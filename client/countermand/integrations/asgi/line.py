"""The line to one client: what comes in on it, what goes out, and whether somebody is still there.

A server tells that a client has left in the same queue as the body of its request. So whoever watches has to
read the body, and to keep what it reads for the application.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from countermand._world import log
from countermand.work.interrupts import Shield

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: How much body is kept that nobody has read. A longer one is not read ahead, and then nobody is watching.
MOST_KEPT = 1024 * 1024
_EACH = 64  # bytes that a message counts for beside its body
#: So many messages to a client that left are dropped at once; an endless body must let others have a turn.
_DROPPED_AT_ONCE = 100


class Line:
    """The line to the client of one request. There is one question to the server at a time."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._ask, self._tell = receive, send
        self._asking = asyncio.Lock()
        self._news, self._room, self._unwatched = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._unwatched.set()
        self._kept: deque[Message] = deque()
        self._kept_bytes = 0
        self._looking: asyncio.Task[None] | None = None
        self._watchers: dict[object, Callable[[], Awaitable[None]]] = {}
        self._heard: dict[object, Callable[[], object]] = {}
        self._is_over = False
        self._has_trailers = False
        self._dropped = 0
        #: The client left before it had its answer.
        self.left = False
        #: The whole answer was handed to the server. A client that leaves now has what it wanted.
        self.answered = False

    # -- what comes in

    async def receive(self) -> Message:
        """Answer what the server says next. That the client left is said once the runs for it are over.

        Frameworks cancel the task that writes the answer when they hear of it, again and again, and
        would do so while the run is cleaning up.
        """
        while not self._kept and not self._is_over:
            if self._looking is None:
                await self._pull()
            else:
                self._news.clear()
                await self._news.wait()
        if self._kept:
            return self._take()
        await self._unwatched.wait()
        return {"type": "http.disconnect"}

    async def _pull(self) -> None:
        async with self._asking:
            if not self._is_over:
                self._note(await self._ask())

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._over()
        else:
            self._kept.append(message)
            self._kept_bytes += _size(message)
        self._news.set()

    def _take(self) -> Message:
        message = self._kept.popleft()
        self._kept_bytes -= _size(message)
        self._room.set()
        return message

    def _over(self) -> None:
        self._is_over = True
        if not self.answered and not self.left:
            self.left = True
            for heard in list(self._heard.values()):
                heard()

    # -- whether somebody is there

    def watch(self, end: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Begin to watch it; answer how to end that.

        `end` is called if that was forgotten when the request was over and its client gone.
        """
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        key = object()
        self._watchers[key] = end
        self._unwatched.clear()
        return lambda: self._unwatch(key)

    def _unwatch(self, key: object) -> None:
        self._watchers.pop(key, None)
        if not self._watchers:
            self._unwatched.set()

    def on_leave(self, heard: Callable[[], object]) -> Callable[[], object]:
        """Call this once the client has left without its answer, or at once; answer how to end that."""
        key = object()
        if self.left:
            heard()
        else:
            self._heard[key] = heard
        return lambda: self._heard.pop(key, None)

    async def _look(self) -> None:
        try:
            while not self._is_over:
                while self._kept_bytes > MOST_KEPT:
                    self._room.clear()
                    await self._room.wait()
                await self._pull()
        except Exception as error:  # who cannot be watched must not be worked for
            log.warning("a client could not be watched and is taken to have left: %r", error)
            self._over()
            self._news.set()

    async def close(self) -> None:
        """The application is done with the request."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        if self.left:
            for end in list(self._watchers.values()):
                await end()

    # -- what goes out

    async def send(self, message: Message) -> None:
        """Hand it to the server; nothing goes to a client that left.

        A stop is held back meanwhile.
        """
        if self.left:
            self._dropped += 1
            if self._dropped % _DROPPED_AT_ONCE == 0:
                await asyncio.sleep(0)
            return
        self.answered = self._is_last(message)  # nothing that the client does now can be a reason to stop
        if not self._watchers:
            await self._tell(message)
            return
        async with _Aside():
            try:
                await self._tell(message)
            except OSError:  # how a server may say that the client left
                self._over()
                self._news.set()

    def _is_last(self, message: Message) -> bool:
        kind = message["type"]
        if kind == "http.response.start":
            self._has_trailers = message.get("trailers", False)
        if kind == "http.response.trailers":
            return not message.get("more_trailers", False)
        is_whole = kind == "http.response.pathsend"
        is_part = kind in ("http.response.body", "http.response.zerocopysend")
        ends_body = is_whole or (is_part and not message.get("more_body", False))
        return self.answered or (ends_body and not self._has_trailers)


class _Aside(Shield):
    """Holds a stop back until whoever sends goes on.

    It would strike outside of a body that is an async generator, and that then could not clean up.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()


def _size(message: Message) -> int:
    return len(message.get("body", b"")) + _EACH
