"""The task that holds a scope open, and whose cancellations are whose."""

import asyncio
from typing import Any

from countermand._errors import FixTheCall
from countermand.work.interrupts import interrupt, level


class Host:
    """Keeps count of our own cancellations of the host task: one from elsewhere is never taken for ours."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise FixTheCall("a scope needs a task: use 'async with countermand.scope()' in a coroutine")
        self.task: asyncio.Task[Any] = task
        #: The shielded sections it was opened in.
        self.level = level(task)
        self._before = task.cancelling()
        self._ours = 0

    @property
    def is_current(self) -> bool:
        """Whether this very task is asking."""
        try:
            return asyncio.current_task() is self.task
        except RuntimeError:
            return False

    def interrupt(self) -> None:
        """Cancel the block that the task is in."""
        self._ours += 1
        interrupt(self.task, self.level)

    def is_from_outside(self, error: BaseException | None) -> bool:
        """Say whether the block was left by a cancellation that is not ours, or not only."""
        others = self.task.cancelling() - self._before - self._ours
        return isinstance(error, asyncio.CancelledError) and (others > 0 or not self._ours)

    async def absorb(self) -> BaseException | None:
        """Take delivery of an interrupt of ours that is still under way, so that it strikes nothing later.

        After this, whatever arrives is from outside. Answers what is from there and arrived already.
        """
        try:
            if self._ours:
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            return error if self.is_from_outside(error) else None
        return None

    def settle(self) -> None:
        """Take our cancellations back; those of others stay."""
        for _ in range(self._ours):
            self.task.uncancel()
        self._ours = 0
