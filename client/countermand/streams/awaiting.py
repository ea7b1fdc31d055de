"""A guarded stream on an event loop."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from countermand._errors import FixTheCall, Stopped
from countermand._world import log
from countermand.streams.closing import SHARED, Close, closers_of, is_shared
from countermand.streams.cutting import Cut
from countermand.streams.listening import Heard, Until, listen
from countermand.streams.partial import CLOSING, PATIENCE, Metered, Partial
from countermand.work.loops import hush, running_loop
from countermand.work.place import apart
from countermand.work.stop import Stop

T = TypeVar("T")

_NAMES = ("aclose", "close")


class AsyncMetered(Metered, Protocol):
    """What counts a stream on an event loop."""

    async def begin(self, stops: Heard, /) -> None: ...

    async def settle(self) -> None: ...


class AsyncGuarded(Partial[T]):
    """Hands on a stream's chunks until the stop. However its loop is left, the connection is closed.

    `async with` has it closed when the block is left; without, leaving the loop early closes it soon after.
    """

    def __init__(
        self,
        stream: AsyncIterable[T],
        until: Until | None,
        close: Close | None,
        meter: AsyncMetered | None = None,
    ) -> None:
        if not hasattr(stream, "__aiter__"):
            raise FixTheCall(
                f"{type(stream).__name__} is no async iterator: one that blocks is guarded by "
                "countermand.sync.guard, in a thread"
            )
        super().__init__(stream, meter)
        self._stream: AsyncIterable[T] = stream
        self._meter = meter
        self._until, self._closers = until, closers_of(stream, close, _NAMES)
        self._is_shared = close is None and is_shared(stream)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deaf: Callable[[], None] | None = None
        self._cut = Cut()
        self._closing: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = running_loop()
        try:
            self._listen()
        except BaseException:  # nobody will leave the block, and so close it
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[T]:
        self._read_once()
        return self._chunks()

    async def _chunks(self) -> AsyncGenerator[T, None]:
        self._loop = running_loop()
        try:
            self._listen()
            if self._meter is not None:
                await self._meter.begin(self._heard)
            source = aiter(self._stream)
            while True:
                self._check()
                await self._take(source)
                if self.is_complete:
                    await self._end_whole()
                    return
                self._check()
                yield self.partial[-1]
        except Stopped as stopped:
            self.stop = self.stop or stopped.stop
            await self.aclose()
            self._tell(stopped)
            raise
        finally:
            await self.aclose()

    async def _take(self, source: AsyncIterator[T]) -> None:
        """Wait for the next chunk, and keep it."""
        try:
            with self._cut:
                self._keep(await anext(source))
        except StopAsyncIteration:
            self.is_complete = self.stop is None and self._closing is None
        except Exception as error:
            if self.stop is not None:  # what it says of a connection that we closed is no news
                raise Stopped(self.stop) from error
            raise
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    async def _end_whole(self) -> None:
        await self.aclose()
        self._fail_untold()

    def _check(self) -> None:
        if self.stop is not None:
            raise Stopped(self.stop)
        if self._closing is not None:
            raise FixTheCall(f"this {self._kind} was closed while its loop went on")

    # -- the stop

    def _listen(self) -> None:
        if self._deaf is None:
            self._deaf = listen(self._until, self._heard)

    def _heard(self, stop: Stop) -> None:
        self.stop = self.stop or stop  # the next chunk is refused from here on
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        """Interrupt whoever waits for a chunk; where nobody does, close it."""
        if self._closing is not None:
            return
        if not self._cut.is_open:
            self._close_soon()
            return
        assert self._loop is not None  # noqa: S101 - it listens
        self._cut.strike()
        self._alarm = self._loop.call_later(PATIENCE, self._insist)

    def _insist(self) -> None:
        """The read swallowed its cancellation: close it under its hands."""
        log.warning("%s did not stop in %gs (%s): it is closed all the same", self._kind, PATIENCE, self.stop)
        self._close_soon()

    # -- the close

    async def aclose(self) -> None:
        """Close the provider's connection, and wait until it is; what came is kept."""
        if self._deaf is not None:
            self._deaf()
        # A task of its own: whoever cancels this one must not leave the connection open.
        closing = self._close_soon()
        with hush() or nullcontext():
            await asyncio.shield(closing)

    def _close_soon(self) -> "asyncio.Task[None]":
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.create_task(self._close(), context=apart())
        return self._closing

    async def _close(self) -> None:
        if self._cut.is_open and self._alarm is None:
            await self._interrupt_reader()
        await self._close_all()
        if self._meter is not None:
            await self._meter.settle()

    async def _interrupt_reader(self) -> None:
        """Wake another task that waits for a chunk, for ever: no generator closes till then."""
        self._cut.strike()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._cut.left()

    async def _close_all(self) -> None:
        failures = [failure for closer in self._closers if (failure := await _failure_of(closer))]
        if self.is_complete:
            return
        if len(failures) < len(self._closers):  # one that worked is enough
            if not self._is_shared:
                return
            failures = [SHARED]
        self.not_closed = "; ".join(failures) or f"{self._kind} has no aclose or close: pass close="
        log.warning("the connection of %s may still be open: %s", self._kind, self.not_closed)


async def _failure_of(closer: Close) -> str:
    """Close it, and answer what went wrong; empty if nothing did."""
    try:
        async with asyncio.timeout(CLOSING):
            answer: Any = closer()
            if inspect.isawaitable(answer):
                await answer
    except TimeoutError:
        return f"its close was not done in {CLOSING:g}s"
    except Exception as error:
        return f"its close failed: {type(error).__qualname__}: {error}"
    return ""
