"""Clean-up: the last that was asked for comes first, each exactly once, each within its time."""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from countermand._errors import FixTheCall
from countermand.work.place import apart
from countermand.work.threads import start

#: Waits until a future is done, whatever happens to whoever waits.
Outlast = Callable[[asyncio.Future[Any]], Coroutine[Any, Any, None]]

CLEAN_UP_LIMIT = 10.0  # seconds for one, if nothing else was said
_LAST_CHANCE = 1.0  # seconds for a clean-up that was cancelled because its time is over


@dataclass(frozen=True, slots=True)
class CleanUp:
    """One clean-up that was asked for."""

    function: Callable[[], Any]
    name: str
    #: Seconds.
    limit: float
    in_thread: bool

    async def run(self, outlast: Outlast) -> None:
        """Do it. Raises what it raises, and TimeoutError if its time was over first."""
        if self.in_thread:
            await self._wait(start(self.function, f"clean-up {self.name}"), outlast)
            return
        context = apart()  # what it opens is no part of a scope that has been stopped
        begun = time.monotonic()
        result = context.run(self.function)
        if inspect.isawaitable(result):
            loop = asyncio.get_running_loop()
            await self._wait(loop.create_task(_finish(result), context=context), outlast)
        elif time.monotonic() - begun > self.limit:
            raise self._late("took longer: it blocks, so it could not be cut short; use in_thread=True")

    async def _wait(self, future: asyncio.Future[Any], outlast: Outlast) -> None:
        await _within(self.limit, future, outlast)
        if not future.done():
            if isinstance(future, asyncio.Task):  # a thread cannot be cancelled
                future.cancel()
                await _within(_LAST_CHANCE, future, outlast)
            if not future.done():
                raise self._late("was not done by then, would not end, and was left behind")
            if future.cancelled():
                raise self._late("was not done by then")
        future.result()

    def _late(self, what: str) -> TimeoutError:
        return TimeoutError(f"clean-up {self.name} has {self.limit:g}s, and {what}")


class CleanUps:
    """What is still to be cleaned up."""

    def __init__(self) -> None:
        self._stack: list[CleanUp] = []
        self.is_over = False

    def add(self, one: CleanUp, whose: str) -> None:
        """Ask for one more; refused once all of it was done."""
        if self.is_over:
            raise FixTheCall(f"scope {whose} is closed, so nothing would run {one.name}: open a scope for it")
        self._stack.append(one)

    def take(self) -> CleanUp | None:
        """Take the next one, so that nobody else can; None if there is none left."""
        return self._stack.pop() if self._stack else None


def _ring(bell: "asyncio.Future[None]") -> None:
    if not bell.done():
        bell.set_result(None)


async def _within(seconds: float, future: "asyncio.Future[Any]", outlast: Outlast) -> None:
    """Wait until it is done, so many seconds at most."""
    loop = asyncio.get_running_loop()
    bell: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _ring, bell)
    future.add_done_callback(lambda _: _ring(bell))
    await outlast(bell)
    timer.cancel()


async def _finish(awaitable: Any) -> None:
    await awaitable
