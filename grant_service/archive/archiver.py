"""The archiver: moves what is over out of the store, trees of runs at a time, files first."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from grant_service.archive.blocks import Block
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.reading import joined
from grant_service.core.errors import StoreFailed
from grant_service.core.journal import Entry, whole_journal
from grant_service.core.report import tell
from grant_service.core.retention import ended_long_ago, is_needed, release_of
from grant_service.core.run import Run, end_of
from grant_service.core.store import Standing, Store
from grant_service.core.verbs import Release

T = TypeVar("T")

_log = structlog.get_logger()

#: How many runs are looked at in one pass, and how many of them at once.
_PASS, _AT_ONCE = 256, 16

#: How long it rests between passes, in seconds; longer when it has been all through the store.
_REST, _LONG_REST = 1.0, 30.0

Seal = Callable[[Run, Sequence[Entry], Standing], Block]


class Archiver:
    """Archives what ended `after_ms` ago. It holds nothing that a crash could lose."""

    def __init__(self, store: Store, files: ArchiveFiles, seal: Seal, after_ms: int, keep_ms: int) -> None:
        """Take a keep_ms of 0 as for ever; `seal` makes the block of a run."""
        self._store, self._files, self._seal = store, files, seal
        self._after_ms, self._keep_ms = after_ms, keep_ms
        self._cursor, self._archived_cursor = 0, ""

    async def work(self) -> None:
        """Keep archiving until cancelled. What fails is logged and tried again."""
        while True:
            try:
                await self.look()
            except Exception as defect:
                _log.error("archive", exc_info=defect)
                self._cursor = 0
            await asyncio.sleep(_REST if self._cursor else _LONG_REST)

    async def look(self) -> int:
        """Look at the next runs, the oldest first, archive those that are over, and tell how many.

        The next of those that were archived before are looked at, too: something may have come since.
        """
        rows = await self._store.oldest_run_ids(self._cursor, _PASS)
        self._cursor = rows[-1][0] if len(rows) == _PASS else 0
        standing = await self._store.standing()
        found = await self._store.runs([run_id for _, run_id in rows])
        roots = await self._roots([run for run in found if run], standing)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def tree(root: Run) -> list[Block]:
            async with turn:
                return await self._tree(root, standing)

        blocks = [block for blocks in await asyncio.gather(*map(tree, roots)) for block in blocks]
        told = [(block, release_of(block.run.run_id, block.entries)) for block in blocks]
        told += await self._late(standing, turn)
        await self._move(told, standing)
        if self._keep_ms and not self._cursor:
            removed = await _finished(self._files.remove_older, standing.now - self._keep_ms)
            if removed:
                _log.info("archive files removed", files=removed)
        return len(told)

    async def _move(self, told: Sequence[tuple[Block, Release]], standing: Standing) -> None:
        """Write what is not written yet, then let the store let go of all of it."""
        if not told:
            return
        new = await _finished(self._files.unwritten, [block for block, _ in told])
        name = await _finished(self._files.write, new, standing.now) if new else ""
        released = await asyncio.gather(*(self._store.release(release) for _, release in told))
        _log.info("archived", runs=sum(released), file=name)

    async def _roots(self, runs: Sequence[Run], standing: Standing) -> list[Run]:
        """Pick the runs that ended long ago and go by themselves: those below another go with that one.

        One that was let go of takes nobody along any more: what was written to while it went is left behind.
        """
        ids = list(dict.fromkeys(one for run in runs for one in run.ancestors))
        above = dict(zip(ids, await self._store.runs(ids), strict=True)) if ids else {}

        def is_root(run: Run) -> bool:
            parent = above.get(run.parent)
            if parent and not parent.is_released:
                return False
            path = [*(above[one] for one in run.ancestors), run]
            end = end_of(path, run.path, standing.epoch, standing.now)
            return ended_long_ago(end, standing.now, self._after_ms)

        return [run for run in runs if is_root(run)]

    async def _tree(self, root: Run, standing: Standing) -> list[Block]:
        """Read a run and all below it; nothing if any of it is still needed, or not all of it is here.

        What was let go of before is not read again.
        """
        blocks: list[Block] = []
        level: list[Run] = [root]
        while level:
            children: list[str] = []
            for run in level:
                entries = await whole_journal(self._store, run.run_id)
                end = end_of([run], (run.run_id,), standing.epoch, standing.now)
                story = tell(entries, end, standing.now)
                if not story.opened or is_needed(story.actions, standing.now):
                    return []
                children += story.children
                blocks.append(self._seal(run, entries, standing))
            found = await self._store.runs(children) if children else []
            lost = [one for one, run in zip(children, found, strict=True) if run is None]
            if not await _finished(self._all_archived, lost):
                return []
            level = [run for run in found if run and not run.is_released]
        return blocks

    def _all_archived(self, ids: Iterable[str]) -> bool:
        return all(self._files.find(one) for one in ids)

    async def _late(self, standing: Standing, turn: asyncio.Semaphore) -> list[tuple[Block, Release]]:
        """Make new blocks of archived runs that were written to since, once that is as old as they were.

        So nobody who writes about a large run again and again has it archived each time.
        """
        ids = await _finished(self._files.runs, self._archived_cursor, _PASS)
        self._archived_cursor = ids[-1] if len(ids) == _PASS else ""

        async def again(run_id: str) -> tuple[Block, Release] | None:
            async with turn:
                if not await self._store.journal(run_id, 0, 1):
                    return None
                (left,) = await self._store.runs([run_id])
                late = await whole_journal(self._store, run_id)
                if left is None or not left.is_released or not late:
                    return None
                if standing.now - late[-1].time < self._after_ms:
                    return None
                try:
                    block = await _finished(self._files.read, run_id)
                except StoreFailed as doubted:
                    _log.error("archive", run=run_id, cause=doubted.refusal.details.get("cause"))
                    return None
                if block is None:
                    return None
                new = [one for one in late if one.seq > block.last_seq]
                if new:
                    run = joined(block.run, left)
                    block = self._seal(run, [*block.entries, *new], standing)
                # What it left before is gone, and the ids of its grants may be another run's by now.
                return block, release_of(run_id, late)

        found = await asyncio.gather(*map(again, ids))
        return [one for one in found if one]


async def _finished(work: Callable[..., T], *told: object) -> T:
    """Do work in a thread. Whoever is cancelled waits for its end: it uses what is closed then."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *told))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise
