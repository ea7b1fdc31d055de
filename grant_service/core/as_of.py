"""Reading a store as it stood when one entry of a journal had just been written.

A journal only grows, so what it held then can be read at any time. Of the records, what came later is taken
back: ends, fences and lifts carry the numbers of their entries. So whoever reads through this is told what
was known then, and knows nothing of it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import Fence
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run, RunState
from grant_service.core.store import Standing

_PAGE = 1000


class Source(Protocol):
    """What a report is compiled from."""

    async def standing(self) -> Standing: ...
    async def runs(self, ids: Sequence[str]) -> list[Run | None]: ...
    async def fences(self) -> list[Fence]: ...
    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]: ...


@dataclass(slots=True)
class _Counts:
    """How many entries of each kind a run's journal had by then, and has in all."""

    then: Counter[Kind] = field(default_factory=Counter)
    in_all: Counter[Kind] = field(default_factory=Counter)


class AsOf:
    """A source as of an entry. Its time is that of the last thing known of the run by then."""

    def __init__(self, source: Source, at_seq: int, standing: Standing) -> None:
        self._source, self._at, self._standing = source, at_seq, standing
        self._counts: dict[str, _Counts] = {}

    @classmethod
    async def of(cls, source: Source, run_id: str, at_seq: int) -> "AsOf | Refusal":
        """Look at a run and all below it once, or refuse a number that none of it can be told of."""
        standing = await source.standing()
        (run,) = await source.runs([run_id])
        if run is None:
            return Refusal(ErrorReason.RUN_UNKNOWN, {"run": run_id})
        first = run.open_seq or run.end_seq
        if not first <= at_seq <= standing.last_seq:
            rule = (
                f"must be the number of an entry from {first}, the first of run {run_id}, to "
                f"{standing.last_seq}, the last there is"
            )
            return Refusal(ErrorReason.INVALID_REQUEST, {"field": "at_seq", "rule": rule})
        view = cls(source, at_seq, standing)
        await view._look(run)
        return view

    async def _look(self, run: Run) -> None:
        """Find out what time it was, and how much each journal had by then."""
        times = [run.open_time]
        above = await self.runs(run.ancestors) if run.ancestors else []
        times += [one.end_time for one in [*above, run] if one and 0 < one.end_seq <= self._at]
        for fence in await self.fences():
            times += [fence.time, fence.lift_time]
        tree = [run.run_id]
        for run_id in tree:
            counts = self._counts[run_id] = _Counts()
            async for entry in self._whole(run_id):
                counts.in_all[entry.kind] += 1
                if entry.seq > self._at:
                    continue
                counts.then[entry.kind] += 1
                times.append(entry.time)
                if entry.kind is Kind.CHILD_OPENED:
                    tree.append(entry.data["child"])
        now = min(max(times), self._standing.now)
        path = await self._source.runs(run.path)
        # Ended later, and in its own epoch: so nothing from before that is lost, whatever epoch it is now.
        intact = any(one and one.end_seq > self._at and one.end_epoch == run.epoch for one in path)
        epoch = run.epoch if intact else self._standing.epoch
        self._standing = replace(self._standing, now=now, last_seq=self._at, epoch=epoch)

    async def _whole(self, run_id: str) -> AsyncIterator[Entry]:
        after = 0
        while page := await self._source.journal(run_id, after, _PAGE):
            for entry in page:
                yield entry
            after = page[-1].seq

    async def standing(self) -> Standing:
        """Tell how the store stood. Where facts may be lost since, its epoch is the present one."""
        return self._standing

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs as they stood."""
        return [run and self._run(run) for run in await self._source.runs(ids)]

    def _run(self, run: Run) -> Run:
        """Take back an end that came later, and what was counted later. Budgets have no history."""
        if run.end_seq > self._at:
            run = replace(run, state=RunState.ACTIVE, end_reason="", end_actor="", end_note="", end_tag="")
            run = replace(run, end_time=0, end_seq=0, end_epoch="")
        counts = self._counts.get(run.run_id, _Counts())
        lost = max(0, run.actions - counts.in_all[Kind.PREPARED])
        return replace(
            run,
            actions=counts.then[Kind.PREPARED] + lost,
            refusals=counts.then[Kind.REFUSED],
            budgets=(),
        )

    async def fences(self) -> list[Fence]:
        """Read the fences that were set, lifted if they were."""
        return [_fence(one, self._at) for one in await self._source.fences() if one.seq <= self._at]

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read the entries that were there."""
        page = await self._source.journal(run_id, after_seq, limit)
        return [entry for entry in page if entry.seq <= self._at]


def _fence(fence: Fence, at_seq: int) -> Fence:
    if fence.lift_seq <= at_seq:
        return fence
    return replace(fence, lift_actor="", lift_note="", lift_time=0, lift_seq=0)
