"""Showing what is at work in a bound scope to people who look from elsewhere: `countermand watch RUN`."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from countermand.work.tree import WorkNode

if TYPE_CHECKING:
    from countermand.work.owner import Owner

#: Takes what is at work, and under which name of the process; None when nothing is any more.
Show = Callable[[str, WorkNode | None], object]

#: Seconds between two looks for changes; and after which it is shown again without one.
_EVERY, _ANYWAY = 0.5, 5.0


class Showing:
    """Looks at a scope now and then, and shows it where it has changed. Short ones come and go unseen."""

    def __init__(self, owner: "Owner", show: Show) -> None:
        self._owner, self._show = owner, show
        # Two scopes of one process may be bound to one run: each is shown by itself.
        self._process = f"{Path(sys.argv[0]).name or 'python'} {os.getpid()}-{id(owner) & 0xFFFF:04x}"
        self._seen: list[tuple[int, str, str]] = []
        self._shown_at = 0.0
        self._timer = owner.loop.call_later(_EVERY, self._look)

    def _look(self) -> None:
        node, now = self._owner.node(), self._owner.loop.time()
        outline = list(_outline(node, 0))
        if outline != self._seen or now - self._shown_at > _ANYWAY:
            self._seen, self._shown_at = outline, now
            self._show(self._process, node)
        self._timer = self._owner.loop.call_later(_EVERY, self._look)

    def close(self) -> None:
        """Show it no more."""
        self._timer.cancel()
        if self._seen:
            self._show(self._process, None)


def _outline(node: WorkNode, depth: int) -> Iterator[tuple[int, str, str]]:
    yield depth, node.path, node.state
    for child in node.children:
        yield from _outline(child, depth + 1)
