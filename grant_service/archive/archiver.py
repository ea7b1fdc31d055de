"""The archiver: moves what is over out of the store, trees of runs at a time, files first."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from grant_service.archive.files import ArchiveFiles, Block
from grant_service.core.journal import Entry, whole_journal
from grant_service.core.report import tell
from grant_service.core.retention import ended_long_ago, is_needed, release_of
from grant_service.core.run import Run, end_of
from grant_service.core.store import Standing, Store

_log = structlog.get_logger()

#: How many runs are looked at in one pass, and how many of them at once.
_PASS, _AT_ONCE = 256, 16

#: How long it rests between passes, in seconds; longer when it has been all through the store.
_REST, _LONG_REST = 1.0, 30.0

Sign = Callable[[str, Sequence[Entry], Standing], dict[str, Any]]


class Archiver:
    """Archives what ended `after_ms` ago. It holds nothing that a crash could lose."""

    def __init__(self, store: Store, files: ArchiveFiles, sign: Sign, after_ms: int, keep_ms: int) -> None:
        """Take a keep_ms of 0 as for ever; `sign` makes the signed head of a journal."""
        self._store, self._files, self._sign = store, files, sign
        self._after_ms, self._keep_ms = after_ms, keep_ms
        self._cursor = 0

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
        """Look at the next runs, the oldest first, archive those that are over, and tell how many."""
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
        if blocks:
            name = await asyncio.to_thread(self._files.write, blocks, standing.now)
            told = (release_of(one.run.run_id, one.entries) for one in blocks)
            released = await asyncio.gather(*map(self._store.release, told))
            _log.info("archived", runs=sum(released), file=name)
        if self._keep_ms and not self._cursor:
            removed = await asyncio.to_thread(self._files.remove_older, standing.now - self._keep_ms)
            if removed:
                _log.info("archive files removed", files=removed)
        return len(blocks)

    async def _roots(self, runs: Sequence[Run], standing: Standing) -> list[Run]:
        """Pick the runs that ended long ago and go by themselves: those below another go with that one."""
        parents = list(dict.fromkeys(run.parent for run in runs if run.parent))
        kept = {one.run_id for one in await self._store.runs(parents) if one} if parents else set()
        return [
            run
            for run in runs
            if run.parent not in kept
            and ended_long_ago(
                end_of([run], (run.run_id,), standing.epoch, standing.now), standing.now, self._after_ms
            )
        ]

    async def _tree(self, root: Run, standing: Standing) -> list[Block]:
        """Read a run and all below it; nothing if any of it is still needed, or not all of it is here."""
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
                head = self._sign(run.run_id, entries, standing)
                blocks.append(Block(run, tuple(entries), head))
            found = await self._store.runs(children) if children else []
            if None in found:
                return []
            level = [run for run in found if run]
        return blocks
