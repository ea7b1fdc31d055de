"""A line for long reads that decide nothing: few at a time, not many waiting, none longer than its caller.

Work goes on when its caller hangs up, and keeps its slot. So a read that nobody waits for any more has to end
by itself, and reads may take some of a listener's slots only: a cancel has to find one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.fence import Selector
from grant_service.core.store import Store
from grant_service.core.sweep import Hit, count

#: How much of its time a call reads: its answer must still get out.
_SHARE = 0.8

#: Until when the caller waits, by the loop's clock.
_ends: ContextVar[float] = ContextVar("ends")


def caller_waits(seconds: float) -> None:
    """Remember for the work of this call how long its caller waits."""
    _ends.set(asyncio.get_running_loop().time() + seconds)


def patience(longest: float) -> float:
    """Tell how long the work of this call may read."""
    now = asyncio.get_running_loop().time()
    return _SHARE * max(0.0, min(longest, _ends.get(now + longest) - now))


class Line:
    """Lets `places` reads go on at once, and refuses whoever comes when `most` are in it."""

    def __init__(self, longest: float, places: int, most: int) -> None:
        self._longest, self._most = longest, max(1, most)
        self._places, self._taken = asyncio.Semaphore(places), 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """Wait for a place, but not longer than the caller; tell how much time is left for the read."""
        if self._taken >= self._most:
            raise Refused(ErrorReason.OVERLOADED)
        clock = asyncio.get_running_loop().time
        until = clock() + patience(self._longest)
        self._taken += 1
        try:
            async with asyncio.timeout_at(until):
                await self._places.acquire()
            try:
                yield max(0.0, until - clock())
            finally:
                self._places.release()
        finally:
            self._taken -= 1

    async def count(self, store: Store, selector: Selector, root_seq: int = 0) -> Hit:
        """Count what a selector names, or as much of it as there is place and time for."""
        try:
            async with self.place() as seconds:
                return await count(store, selector, root_seq, seconds)
        except (TimeoutError, Refused):
            return Hit()
