"""Following a journal: a few callers at a time, each until it leaves or the sidecar stops.

No store tells of new entries by itself, so it is asked for them, at a bounded rate. What a caller does not
read is not read for it either: no more is held for it than one page and what the transport takes.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.journal import Entry
from grant_service.core.store import Store

#: How long after there was nothing new a journal is looked at again, in seconds.
LOOK_EVERY = 0.25

#: How many entries are read at a time.
_PAGE = 100


class Followers:
    """Lets `most` callers follow journals, on one listener; a look at a store may take `timeout` seconds."""

    def __init__(self, most: int, timeout: float) -> None:
        self._most, self._timeout = max(1, most), timeout
        self.taken = 0
        self._over = asyncio.Event()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place, or refuse: a stream may last for ever, so nobody can wait for one that is taken."""
        if self._over.is_set() or self.taken >= self._most:
            raise Refused(ErrorReason.DRAINING if self._over.is_set() else ErrorReason.OVERLOADED)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def follow(self, store: Store, run_id: str, after_seq: int) -> AsyncGenerator[Entry, None]:
        """Answer the entries behind a number, then those that come; refuse when the sidecar stops."""
        while not self._over.is_set():
            async with asyncio.timeout(self._timeout):
                entries = await store.journal(run_id, after_seq, _PAGE)
            for entry in entries:
                yield entry
                after_seq = entry.seq
            if len(entries) < _PAGE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), LOOK_EVERY)
        raise Refused(ErrorReason.DRAINING)

    def end(self) -> None:
        """End all that are under way, and let nobody in any more."""
        self._over.set()
