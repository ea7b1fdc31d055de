"""A wait that a stop can cut short, counted as a timeout counts: cancellations of others stay theirs."""

import asyncio
from types import TracebackType
from typing import Any


class Cut:
    """A block of one task that can be interrupted, and is then left without an exception."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._before = 0
        self._struck = False
        self._left = asyncio.Event()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101 - a coroutine of asyncio
        self._before = self._task.cancelling()
        self._left.clear()

    @property
    def is_open(self) -> bool:
        """Whether a task is in the block."""
        return self._task is not None

    def strike(self) -> None:
        """Interrupt it, while its task waits: called by the loop, and not by that task."""
        if self._task is not None:
            self._struck = True
            self._task.cancel()

    async def left(self) -> None:
        """Wait until no task is in the block."""
        if self.is_open:
            await self._left.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._left.set()
        if task is None or not self._struck:
            return False
        self._struck = False
        # It may have swallowed the interrupt, and then it is left as it is.
        return task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError)
