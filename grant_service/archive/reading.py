"""A store that also reads what it has let go of: reports do not notice where a journal is."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from grant_service.archive.files import ArchiveFiles, Block
from grant_service.core.journal import Entry
from grant_service.core.run import Run
from grant_service.core.store import Store


def reading(store: Store, files: ArchiveFiles) -> Store:
    """Put the archive behind a store."""
    return cast(Store, _WithArchive(store, files))


class _WithArchive:
    """Reads runs and journals from the store, or from the archive; all else is the store's."""

    def __init__(self, store: Store, files: ArchiveFiles) -> None:
        self._store, self._files = store, files
        self._turn = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id: as they were archived, if they were."""
        found = await self._store.runs(ids)
        gone = [one for one, run in zip(ids, found, strict=True) if run is None or not run.marks]
        archived = {one: block.run for one in gone if (block := await self._block(one))}
        return [archived.get(one, run) for one, run in zip(ids, found, strict=True)]

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        if entries := await self._store.journal(run_id, after_seq, limit):
            return entries
        block = await self._block(run_id)
        return [one for one in block.entries if one.seq > after_seq][:limit] if block else []

    async def _block(self, run_id: str) -> Block | None:
        async with self._turn:
            return await asyncio.to_thread(self._files.read, run_id)
