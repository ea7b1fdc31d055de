"""How a task is interrupted, and how a section of it is shielded from that.

An interrupt is a cancellation of the task. One that reaches a shielded section is held back until the section
is over, unless it comes from a scope that was opened within the section.
"""

import asyncio
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

from countermand._errors import FixTheCall

Task = asyncio.Task[Any]


class _Shields:
    """The shielded sections a task is in, and the interrupts that are held back."""

    def __init__(self) -> None:
        self.depth = 0
        self.held: list[int] = []


_shields: WeakKeyDictionary[Task, _Shields] = WeakKeyDictionary()


def level(task: Task | None) -> int:
    """Answer how many shielded sections a task is in. A scope that is opened there is within all of them."""
    shields = _shields.get(task) if task is not None else None
    return shields.depth if shields else 0


def interrupt(task: Task, at: int) -> None:
    """Cancel a task, for a scope that was opened in it at some level of shields."""
    if task.get_loop().is_closed():
        return  # nothing of it will ever run again
    if level(task) > at:
        _shields[task].held.append(at)
    else:
        task.cancel()


class Shield:
    """A section that a stop does not cut in half; one that came meanwhile arrives at its end."""

    def __init__(self) -> None:
        self._task: Task | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._task is None:
            raise FixTheCall("a shield needs a task: use 'async with scope.shield()' in a coroutine")
        _shields.setdefault(self._task, _Shields()).depth += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._release() and error is None:
            await asyncio.sleep(0)  # what was held back arrives here, and not somewhere after the section

    def _release(self) -> bool:
        """Leave the section; deliver what was held back, and answer whether there was anything."""
        assert self._task is not None  # noqa: S101 - entered
        shields = _shields[self._task]
        shields.depth -= 1
        due = [at for at in shields.held if at >= shields.depth]
        shields.held = [at for at in shields.held if at < shields.depth]
        for _ in due:
            self._task.cancel()
        if not shields.depth:
            del _shields[self._task]
        return bool(due)
