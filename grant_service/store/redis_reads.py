"""Reading from Redis: records, the lists of them, journals. Nothing here decides anything."""

import asyncio
from collections.abc import Callable, Sequence

from grant_service.core.action import Action, ActionState
from grant_service.core.duty import JOBS_AT_ONCE, LOOKS, RUNS_AT_ONCE, Duty, DutyKind, DutyState
from grant_service.core.errors import Refusal
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry
from grant_service.core.run import RECENT_MS, Run
from grant_service.store import answers
from grant_service.store.asking import Word
from grant_service.store.by_scripts import ByScripts

#: How many runs of the list are looked at beside those asked for.
_SAMPLE = 50

#: Says of a record's state, and when it ended, whether it stays on a list.
Stays = Callable[[str, str | None], bool]


class RedisReads(ByScripts):
    """Reads over the link on which no decision waits."""

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id."""
        replies = await self._control.read(*(("HGETALL", self._keys.run(run_id)) for run_id in ids))
        with self._control.distrusting():
            return [answers.run(run_id, reply) for run_id, reply in zip(ids, replies, strict=True)]

    async def grants(self, ids: Sequence[str]) -> list[Grant | None]:
        """Read grants by id."""
        replies = await self._control.read(*(("HGETALL", self._keys.grant(grant_id)) for grant_id in ids))
        with self._control.distrusting():
            return [answers.grant(grant_id, reply) for grant_id, reply in zip(ids, replies, strict=True)]

    async def actions(self, ids: Sequence[tuple[str, str]]) -> list[Action | None]:
        """Read actions by run and op_id."""
        replies = await self._control.read(*(("HGETALL", self._keys.action(*one)) for one in ids))
        with self._control.distrusting():
            return [answers.action(*one, reply) for one, reply in zip(ids, replies, strict=True)]

    async def fences(self) -> list[Fence]:
        """Read all fences."""
        (kept,) = await self._control.read(("HVALS", self._keys.fences))
        with self._control.distrusting():
            return sorted((answers.fence(one) for one in kept), key=lambda one: one.seq)

    async def run_ids(self, before_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the youngest first; take those whose records are gone off the list."""
        return await self._page(self._keys.runs, before_seq, limit, lambda *_: True)

    async def oldest_run_ids(self, after_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the oldest first; take those whose records are gone off the list."""
        found: list[tuple[int, str]] = []
        while (missing := limit - len(found)) > 0:
            words = (f"({after_seq}", "+inf", "WITHSCORES", "LIMIT", 0, missing)
            rows = await self._listed("ZRANGEBYSCORE", self._keys.runs, *words)
            found += await self._opened(self._keys.runs, rows, lambda *_: True)
            if len(rows) < missing:
                break
            after_seq = rows[-1][0]
        return found

    async def recent_run_ids(self, before_seq: int, limit: int, now: int) -> list[tuple[int, str]]:
        """Read runs that nobody ended, or not long ago, the youngest first; take the others off the list."""

        def recent(_: str, end_time: str | None) -> bool:
            ended = int(end_time or 0)
            return not ended or now - ended < RECENT_MS

        return await self._page(self._keys.active, before_seq, limit, recent)

    async def _page(self, key: str, before_seq: int, limit: int, stays: Stays) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        highest = f"({before_seq}" if before_seq else "+inf"
        while (missing := limit - len(found)) > 0:
            words = (highest, "-inf", "WITHSCORES", "LIMIT", 0, missing)
            rows = await self._listed("ZREVRANGEBYSCORE", key, *words)
            found += await self._opened(key, rows, stays)
            if len(rows) < missing:
                break
            highest = f"({rows[-1][0]}"
        # Nobody pages to the end of a long list: a few taken at random keep it from growing for ever.
        await self._opened(key, await self._listed("ZRANDMEMBER", key, _SAMPLE, "WITHSCORES"), stays)
        return found

    async def awaiting(self) -> list[tuple[str, str]]:
        """Read which actions wait for a person, the oldest first; take the others off the list."""
        key, keys = self._keys.awaiting, self._keys
        rows = await self._listed("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES")
        records = [keys.action(*_action(name)) for _, name in rows]

        def waits(state: str, _: str | None) -> bool:
            return state == ActionState.AWAITING_APPROVAL

        return [_action(name) for _, name in await self._kept(key, rows, records, "prepare_seq", waits)]

    async def open_duties(self, kind: DutyKind, limit: int) -> list[Duty]:
        """Read open duties of a kind; take the others off the lists."""
        if kind is DutyKind.UNDO:
            return await self._next_undos(limit)
        if kind is DutyKind.CALL_OFF:
            await self._call_off_stopped()
        key = self._keys.calling_off if kind is DutyKind.CALL_OFF else self._keys.asking
        while True:
            rows = await self._listed("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES", "LIMIT", 0, limit)
            if len(rows) == limit > 0:  # those due at the same time are listed in an order of their own
                rows = await self._listed("ZRANGEBYSCORE", key, "-inf", rows[-1][0], "WITHSCORES")
            found = await self._open([(key, name, _duty(name, kind)) for _, name in rows])
            if None not in found:
                return sorted(filter(None, found), key=_turn)[:limit]

    async def _call_off_stopped(self) -> None:
        """Look at runs that were stopped, until something is to be called off or none is left."""
        keys = self._keys
        words = (RUNS_AT_ONCE, JOBS_AT_ONCE)
        for _ in range(LOOKS):
            names = [keys.meta, keys.cuts, keys.jobs]
            found = await self._decide("stopped", names, words, answers.stopped, self._control)
            if isinstance(found, Refusal) or not found:
                break
            if sum(await asyncio.gather(*(self._call_off_below(*one) for one in found))):
                break
        # What ended while it waited among the jobs, or is no longer kept, is not met there for long.
        sample = await self._control.read(("ZRANDMEMBER", keys.jobs, _SAMPLE))
        with self._control.distrusting():
            rows = [(keys.jobs, job, _waiting(job)) for job in sample[0]]
        await self._open(rows)

    async def _call_off_below(self, path: str, jobs: Sequence[str]) -> int:
        keys, runs = self._keys, path.split(",")
        with self._control.distrusting():
            duties = [keys.duty(*_waiting(one)) for one in jobs]
        names = [keys.meta, keys.cuts, keys.jobs, keys.calling_off, *duties, *keys.path(runs)]
        words = (runs[-1], *jobs, ",".join(runs[:-1]))
        count = await self._decide("call_off", names, words, answers.called_off, self._control)
        return count if isinstance(count, int) else 0

    async def _next_undos(self, limit: int) -> list[Duty]:
        """Read the undo that is next in each run; take runs that have none off the list."""
        keys = self._keys
        rows = await self._listed("ZRANGEBYSCORE", keys.undoing, "-inf", "+inf", "WITHSCORES")
        runs, found = sorted((run_id, seq) for seq, run_id in rows), list[Duty]()
        while asked := runs[: limit - len(found)]:
            words = ("+inf", "-inf", "LIMIT", 0, 1)
            last = await self._control.read(
                *(("ZREVRANGEBYSCORE", keys.undo(run_id), *words) for run_id, _ in asked)
            )
            # By number: of a run that an undo is asked for in the meantime it is another one.
            ended = [seq for (_, seq), ops in zip(asked, last, strict=True) if not ops]
            await self._control.read(*(("ZREMRANGEBYSCORE", keys.undoing, seq, seq) for seq in ended))
            going_on = [(run, op) for run, ops in zip(asked, last, strict=True) for op in ops]
            undos = await self._open(
                [(keys.undo(run_id), op, (run_id, op, DutyKind.UNDO, 0)) for (run_id, _), op in going_on]
            )
            found += filter(None, undos)
            again = [run for (run, _), undo in zip(going_on, undos, strict=True) if undo is None]
            runs = again + runs[len(asked) :]
        return found

    async def _open(self, rows: Sequence[tuple[str, str, answers.Which]]) -> list[Duty | None]:
        """Read the duties that are on a list under a name; take those that are not open off it."""
        replies = await self._control.read(*(("HGETALL", self._keys.duty(*which)) for *_, which in rows))
        with self._control.distrusting():
            duties = [answers.duty(*which, reply) for (*_, which), reply in zip(rows, replies, strict=True)]
        found = [duty if duty and duty.state is DutyState.OPEN else None for duty in duties]
        gone: dict[str, list[tuple[str, str]]] = {}
        for (key, name, which), duty in zip(rows, found, strict=True):
            if duty is None:
                gone.setdefault(key, []).append((name, self._keys.duty(*which)))
        for key, some in gone.items():
            keys = [self._keys.meta, key, *(record for _, record in some)]
            await self._decide("prune", keys, [name for name, _ in some], answers.pruned, self._control)
        return found

    async def _listed(self, command: str, key: str, *words: Word) -> list[tuple[int, str]]:
        (flat,) = await self._control.read((command, key, *words))
        with self._control.distrusting():
            return [(int(seq), name) for name, seq in answers.fields(flat).items()]

    async def _opened(self, key: str, rows: Sequence[tuple[int, str]], stays: Stays) -> list[tuple[int, str]]:
        records = self._keys.path([run_id for _, run_id in rows])
        return await self._kept(key, rows, records, "open_seq", stays)

    async def _kept(
        self,
        key: str,
        rows: Sequence[tuple[int, str]],
        records: Sequence[str],
        field: str,
        stays: Stays,
    ) -> list[tuple[int, str]]:
        """Keep the rows whose records say the same and that stay, and take the others off the list."""
        asked = (field, "state", "end_time")
        stored = await self._control.read(*(("HMGET", record, *asked) for record in records))
        with self._control.distrusting():
            gone = {
                seq
                for (seq, _), (known_seq, state, end_time) in zip(rows, stored, strict=True)
                if known_seq != str(seq) or not stays(state, end_time)
            }
        # By number, not by name: the name may have been given again in the meantime, under a new number.
        await self._control.read(*(("ZREMRANGEBYSCORE", key, seq, seq) for seq in gone))
        return [row for row in rows if row[0] not in gone]

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        words = ("XRANGE", self._keys.journal(run_id), f"({after_seq}-0", "+", "COUNT", limit)
        (rows,) = await self._control.read(words)
        with self._control.distrusting():
            return [answers.entry(run_id, row) for row in rows]


def _turn(duty: Duty) -> tuple[int, str, str, int]:
    """Put what is due first first; what is due at the same time has an order of its own."""
    return (duty.due, duty.run_id, duty.op_id, duty.job)


def _duty(name: str, kind: DutyKind) -> answers.Which:
    run_id, op_id, *job = name.split("/")
    return run_id, op_id, kind, int(*job)


def _waiting(name: str) -> answers.Which:
    """Read the name of a job that waits: the path of its run, its action, and which job of that it is."""
    path, _, rest = name.partition(",/")
    return _duty(f"{path.rpartition(',')[2]}/{rest}", DutyKind.CALL_OFF)


def _action(name: str) -> tuple[str, str]:
    run_id, _, op_id = name.partition("/")
    return run_id, op_id
