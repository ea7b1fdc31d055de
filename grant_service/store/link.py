"""The way to Redis: every call of one event-loop turn leaves in one write, and replies are matched in order.

Nothing is ever sent twice. A connection that breaks, or on which a reply is late, fails every call on it with
its outcome unknown, and is never read again; the next call makes a new one. A caller that goes away does not
take its command back.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    RedisError,
    ResponseError,
    TimeoutError,
)

Call = Callable[..., Awaitable[Any]]

_NO_MORE = object()


class Link(Protocol):
    """Sends commands to one Redis."""

    async def call(self, *args: str | int) -> Any:
        """Send a command and answer its reply, its text decoded; raise what redis-py raises, or OSError."""
        ...

    def drop(self, why: str) -> None:
        """Let go of the connection, because what came over it cannot be trusted."""
        ...

    async def close(self) -> None:
        """Wait for what is under way, then let go of the connection for good."""
        ...


class LinkBroken(ConnectionError):
    """The connection broke with this call on it; what it did is not known. The cause says how it broke."""


class PipeliningLink:
    """One connection, made when it is needed and shared by all callers."""

    def __init__(
        self,
        connection: Callable[[], AbstractConnection],
        greet: Callable[[Call], Awaitable[None]],
        *,
        connect_timeout: float = 2.0,
        command_timeout: float = 2.0,
    ) -> None:
        """Take how to make a connection and what to ask of it before it is used. Timeouts are seconds."""
        self._make, self._greet = connection, greet
        self._connect_timeout, self._command_timeout = connect_timeout, command_timeout
        self._session: _Session | None = None
        self._closed = False

    async def call(self, *args: str | int) -> Any:
        """Send a command and answer its reply."""
        if self._closed:
            raise ConnectionError("the link is closed")
        packed = _packed(*args)
        if self._session is None or self._session.broken:
            self._session = _Session(self._make(), self._greet, self._connect_timeout, self._command_timeout)
        return await self._session.send(packed)

    def drop(self, why: str) -> None:
        """Let go of the connection."""
        if self._session:
            self._session.fail(ConnectionError(why))

    async def close(self) -> None:
        """Wait for what is under way: replies come in order, so that of a PING comes after all others."""
        session, self._closed = self._session, True
        if session is None or session.broken:
            return
        with contextlib.suppress(ConnectionError, ResponseError):
            await session.send(_packed("PING"))
        session.fail(ConnectionError("the link is closed"))
        await session.ended()


class _Session(asyncio.Protocol):
    """One connection from its making to its end; a reply can only reach a call of the same session.

    Connecting, TLS and logging in are redis-py's, and so are the errors that replies stand for. The session
    takes over the transport, so that a call is not handed from task to task on its way out and back.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        greet: Callable[[Call], Awaitable[None]],
        connect_timeout: float,
        command_timeout: float,
    ) -> None:
        self.broken = False
        self._connection, self._greet = connection, greet
        self._connect_timeout, self._command_timeout = connect_timeout, command_timeout
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._replies = hiredis.Reader(
            InvalidResponse,
            BaseParser.parse_error,
            encoding="utf-8",
            errors="strict",
            notEnoughData=_NO_MORE,
        )
        self._outbox: list[bytes] = []
        #: What was called, the oldest first: the future its caller waits on, and when its time is up.
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._run())

    async def send(self, packed: bytes) -> Any:
        """Put a command into this turn's write and wait for its reply."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._outbox:
            self._loop.call_soon(self._write)
        self._outbox.append(packed)
        self._waiting.append((future, self._loop.time() + self._command_timeout))
        if self._watch is None:
            self._watch = self._loop.call_later(self._command_timeout, self._look)
        return await future

    def fail(self, error: BaseException) -> None:
        """End this session and every call on it."""
        if self.broken:
            return
        self.broken = True
        if self._watch:
            self._watch.cancel()
        for future, _ in self._waiting:
            if not future.done():
                broken = LinkBroken("the connection broke before the reply came")
                broken.__cause__ = error
                future.set_exception(broken)
        self._waiting.clear()
        self._task.cancel()

    async def ended(self) -> None:
        """Wait until the connection is let go of."""
        await asyncio.wait([self._task])

    def _look(self) -> None:
        """See whether the oldest call is late; if not, look again when it would be."""
        self._watch = None
        if not self._waiting:
            return
        deadline = self._waiting[0][1]
        if self._loop.time() >= deadline:
            self.fail(TimeoutError(f"no reply within {self._command_timeout:g} s"))
        else:
            self._watch = self._loop.call_at(deadline, self._look)

    async def _run(self) -> None:
        """Connect, and hold the connection until the session fails, which cancels this."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._connection.connect()  # type: ignore[no-untyped-call]
                await self._greet(self._ask)
            self._take_over()
            await self._loop.create_future()
        except asyncio.CancelledError:
            self.fail(ConnectionError("the session was cancelled"))
        except Exception as error:
            self.fail(error)
        finally:
            await self._connection.disconnect(nowait=True)

    async def _ask(self, *args: str | int) -> Any:
        """Send one command and read its reply, before anybody else uses the connection."""
        await self._connection.send_packed_command(_packed(*args), check_health=False)
        return await self._connection.read_response(timeout=math.inf)

    def _take_over(self) -> None:
        """Read and write the transport from here on; every reply that redis-py asked for has come."""
        writer = self._connection._writer
        if writer is None:
            raise ConnectionError("the connection is gone")
        writer.transport.set_protocol(self)
        self._transport = writer.transport
        self._write()

    def _write(self) -> None:
        """Send what this turn's callers left, in the order in which they wait; the slots bound how much."""
        if self._transport and self._outbox and not self.broken:
            packed, self._outbox = b"".join(self._outbox), []
            self._transport.write(packed)

    def data_received(self, data: bytes) -> None:
        """Give each reply to the oldest call; one whose caller has gone away is read all the same."""
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _NO_MORE:
                if not self._waiting:
                    raise ConnectionError("a reply came that nobody had asked for")
                future, _ = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, RedisError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except Exception as error:
            self.fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that the other end hung up, or that the connection was let go of here."""
        self.fail(error or ConnectionError("Redis closed the connection"))


def _packed(*args: str | int) -> bytes:
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type] # its stub says "a tuple of one"
    return packed
