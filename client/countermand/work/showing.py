"""Showing what is at work in a bound scope to people who look from elsewhere: `countermand watch RUN`."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from countermand._world import log
from countermand.work.tree import WorkNode

#: Takes what is at work, and under which name of the process; None when nothing is any more.
Show = Callable[[str, WorkNode | None], object]

#: Seconds between two looks for changes; and after which it is shown again without one.
_EVERY, _ANYWAY = 0.5, 5.0


class _Showing:
    """Looks at a scope now and then, and shows it where it has changed. Short ones come and go unseen."""

    def __init__(self, look: Callable[[], WorkNode], show: Show) -> None:
        self._tree, self._show = look, show
        # Two scopes of one process may be bound to one run: each is shown by itself.
        self._process = f"{Path(sys.argv[0]).name or 'python'} {os.getpid()}-{id(self) & 0xFFFF:04x}"
        self._seen: list[tuple[int, str, str]] = []
        self._shown_at = 0.0

    def _look(self) -> None:
        node, now = self._tree(), time.monotonic()
        outline = list(_outline(node, 0))
        if outline != self._seen or now - self._shown_at > _ANYWAY:
            self._seen, self._shown_at = outline, now
            self._show(self._process, node)

    def _end(self) -> None:
        if self._seen:
            self._show(self._process, None)


class ShowingOnLoop(_Showing):
    """Looks from the loop that the scope is on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], WorkNode], show: Show) -> None:
        super().__init__(look, show)
        self._loop = loop
        self._timer = loop.call_later(_EVERY, self._again)

    def _again(self) -> None:
        self._look()
        self._timer = self._loop.call_later(_EVERY, self._again)

    def close(self) -> None:
        """Show it no more."""
        self._timer.cancel()
        self._end()


class ShowingByThread(_Showing):
    """Looks from a thread of its own, because the scope's is at work, or waits."""

    def __init__(self, look: Callable[[], WorkNode], show: Show) -> None:
        super().__init__(look, show)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="countermand showing", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            try:
                self._look()
            except Exception:
                log.exception("showing what is at work failed; it goes on unseen")
                return

    def close(self) -> None:
        """Show it no more."""
        self._over.set()
        self._thread.join()
        self._end()


def _outline(node: WorkNode, depth: int) -> Iterator[tuple[int, str, str]]:
    yield depth, node.path, node.state
    for child in node.children:
        yield from _outline(child, depth + 1)
