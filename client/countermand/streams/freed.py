"""How a request waits for what others hold of a budget."""

import asyncio
import threading
from types import TracebackType
from typing import Self

from countermand._errors import Stopped
from countermand.streams.ledger import Ledger
from countermand.streams.listening import listen
from countermand.work.loops import running_loop
from countermand.work.stop import Stop


class AsyncFreed:
    """Hears of what is freed from the beginning of its block on; a stop of the scope interrupts its task."""

    def __init__(self, ledger: Ledger) -> None:
        self._loop = running_loop()
        #: Whoever waits.
        self.who: object = asyncio.current_task()
        self._event = asyncio.Event()
        self._end = ledger.wait(self._wake)

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    async def wait(self) -> None:
        """Wait until something was."""
        await self._event.wait()


class Freed:
    """The same, for a thread. Nothing interrupts that, so it listens to the scope it is in."""

    def __init__(self, ledger: Ledger) -> None:
        self._event = threading.Event()
        #: Whoever waits.
        self.who: object = threading.get_ident()
        self._stop: Stop | None = None
        self._end = ledger.wait(self._event.set)
        self._deaf = listen(None, self._heard)

    def _heard(self, stop: Stop) -> None:
        self._stop = stop
        self._event.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._deaf()

    def wait(self) -> None:
        """Wait until something was."""
        self._event.wait()
        if self._stop is not None:
            raise Stopped(self._stop)
