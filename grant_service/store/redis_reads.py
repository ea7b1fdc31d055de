"""Reading from Redis: runs, the list of runs, journals. Nothing here decides anything."""

from collections.abc import Sequence

from grant_service.core.journal import Entry
from grant_service.core.run import Run
from grant_service.store import answers
from grant_service.store.asking import Asker, Word
from grant_service.store.keys import Keys

#: How many runs of the list are looked at beside those asked for.
_SAMPLE = 50


class RedisReads:
    """Reads over the link on which no decision waits."""

    def __init__(self, control: Asker, keys: Keys) -> None:
        self._control, self._keys = control, keys

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id."""
        replies = await self._control.read(*(("HGETALL", self._keys.run(run_id)) for run_id in ids))
        with self._control.distrusting():
            return [answers.run(run_id, reply) for run_id, reply in zip(ids, replies, strict=True)]

    async def run_ids(self, before_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the youngest first; take those whose records are gone off the list."""
        found: list[tuple[int, str]] = []
        highest = f"({before_seq}" if before_seq else "+inf"
        while (missing := limit - len(found)) > 0:
            rows = await self._listed("ZREVRANGEBYSCORE", highest, "-inf", "WITHSCORES", "LIMIT", 0, missing)
            found += await self._kept(rows)
            if len(rows) < missing:
                break
            highest = f"({rows[-1][0]}"
        # Nobody pages to the end of a long list: a few taken at random keep it from growing for ever.
        await self._kept(await self._listed("ZRANDMEMBER", _SAMPLE, "WITHSCORES"))
        return found

    async def _listed(self, command: str, *words: Word) -> list[tuple[int, str]]:
        (flat,) = await self._control.read((command, self._keys.runs, *words))
        with self._control.distrusting():
            return [(int(seq), run_id) for run_id, seq in answers.fields(flat).items()]

    async def _kept(self, rows: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """Keep the rows whose records say the same, and take the others off the list."""
        stored = await self._control.read(
            *(("HGET", self._keys.run(run_id), "open_seq") for _, run_id in rows)
        )
        gone = [seq for (seq, _), known in zip(rows, stored, strict=True) if known != str(seq)]
        # By number, not by id: the id may have been opened again in the meantime, under a new number.
        await self._control.read(*(("ZREMRANGEBYSCORE", self._keys.runs, seq, seq) for seq in gone))
        return [row for row in rows if row[0] not in gone]

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        words = ("XRANGE", self._keys.journal(run_id), f"({after_seq}-0", "+", "COUNT", limit)
        (rows,) = await self._control.read(words)
        with self._control.distrusting():
            return [answers.entry(run_id, row) for row in rows]
