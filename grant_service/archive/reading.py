"""A store that also reads what it has let go of: reports do not notice where a journal is."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from grant_service.archive.blocks import Block
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.index import Place
from grant_service.core.fence import FENCES
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run, RunState
from grant_service.core.store import Store


def reading(store: Store, files: ArchiveFiles) -> Store:
    """Put the archive behind a store."""
    return cast(Store, _WithArchive(store, files))


class _WithArchive:
    """Reads runs and journals from the store, or from the archive; all else is the store's."""

    def __init__(self, store: Store, files: ArchiveFiles) -> None:
        self._store, self._files = store, files
        self._turn = asyncio.Lock()
        #: The block read last: a long journal is asked for page by page.
        self._last: tuple[Place, str, Block] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id: as they were archived, if they were, and as they were ended since."""
        found = await self._store.runs(ids)
        gone = [one for one, run in zip(ids, found, strict=True) if run is None or not run.marks]
        archived = {one: block.run for one in gone if (block := await self._block(one))}
        return [
            joined(archived[one], run) if one in archived else run
            for one, run in zip(ids, found, strict=True)
        ]

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order: what was archived, then what came since."""
        later = await self._store.journal(run_id, after_seq, limit)
        first = await self._store.journal(run_id, 0, 1) if after_seq else later
        if run_id == FENCES or _is_whole(first):
            return later
        block = await self._block(run_id)
        if block is None:
            return later
        archived = [one for one in block.entries if one.seq > after_seq]
        return [*archived, *(one for one in later if one.seq > block.last_seq)][:limit]

    async def _block(self, run_id: str) -> Block | None:
        async with self._turn:
            place = await asyncio.to_thread(self._files.find, run_id)
            if place is None:
                return None
            if self._last is None or self._last[:2] != (place, run_id):
                block = await asyncio.to_thread(self._files.read, run_id)
                self._last = (place, run_id, block) if block else None
            return self._last[2] if self._last else None


def _is_whole(entries: Sequence[Entry]) -> bool:
    """Say whether the store has a journal from its beginning on: then it did not let go of it."""
    return bool(entries) and entries[0].kind is Kind.OPENED


def joined(archived: Run, left: Run | None) -> Run:
    """Put what came after a run was archived onto what was archived of it: its end, and what was counted."""
    if left is None:
        return archived
    counted = replace(
        archived,
        actions=max(archived.actions, left.actions),
        refusals=max(archived.refusals, left.refusals),
    )
    if left.state is RunState.ACTIVE or archived.state is not RunState.ACTIVE:
        return counted
    return replace(
        counted,
        state=left.state,
        end_reason=left.end_reason,
        end_actor=left.end_actor,
        end_note=left.end_note,
        end_tag=left.end_tag,
        end_time=left.end_time,
        end_seq=left.end_seq,
        end_epoch=left.end_epoch,
    )
