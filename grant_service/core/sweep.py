"""A sweep: what a fence stands over, or would, counted run by run.

What a run that has ended was permitted may still land, so that is counted, too.

It only counts. Who is refused is decided in each commit, so a sweep that comes late, or breaks off, lets
nobody through; its counts are then lower bounds, and say so.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from grant_service.core.errors import StoreFailed
from grant_service.core.fence import Selector, grant_mark, run_mark
from grant_service.core.journal import Entry, Kind, whole_journal
from grant_service.core.run import RECENT_MS, End, Run, end_of
from grant_service.core.scope import action_matches, actions_meet
from grant_service.core.store import Standing, Store

#: How many runs are looked at together.
_RUNS = 50
_SAMPLES = 10


@dataclass(slots=True)
class Row:
    """How many actions of one name are hit in one tenant."""

    prepared: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class HitRun:
    """A run that is hit."""

    run: Run
    grants: int
    prepared: int
    in_flight: int


@dataclass(slots=True)
class Hit:
    """What was found so far."""

    time: int = 0
    run_count: int = 0
    grant_count: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    complete: bool = False
    _most: list[HitRun] = field(default_factory=list)

    def samples(self) -> list[HitRun]:
        """Pick some runs, those with most in flight first."""
        return self._most

    def add(self, found: HitRun, actions: Iterable["_Open"]) -> None:
        """Count a run."""
        self.run_count += 1
        self.grant_count += found.grants
        tenant = _tenant(found.run)
        for one in actions:
            row = self.rows.setdefault((tenant, one.action), Row())
            row.prepared += not one.permitted
            row.in_flight += one.permitted
        ordered = sorted([*self._most, found], key=lambda one: (-one.in_flight, -one.prepared, -one.grants))
        self._most = ordered[:_SAMPLES]


@dataclass(frozen=True, slots=True)
class _Given:
    """A grant as its journal line tells it."""

    root_seq: int
    expire_time: int
    chain: tuple[str, ...]
    marks: frozenset[str]
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Open:
    """An action that was prepared, or permitted and not settled."""

    grant_id: str
    action: str
    until: int
    permitted: bool = False


@dataclass(frozen=True, slots=True)
class _Story:
    """What a journal tells of one run: its grants, those of them that ended, and what is still open."""

    given: Mapping[str, _Given]
    ended: frozenset[str]
    actions: tuple[_Open, ...]


class Sweep:
    """Counts what a selector names among all that is alive; with `root_seq`, what goes back to before it."""

    def __init__(self, store: Store, selector: Selector, root_seq: int = 0) -> None:
        self._store, self._selector, self._root_seq = store, selector, root_seq
        self._run_marks = [mark for mark in selector.marks if not mark.startswith("grant=")]
        self._grant_marks = [mark for mark in selector.marks if mark.startswith("grant=")]
        self.hit = Hit()

    async def look(self) -> None:
        """Look at every run that may act, or land something. May be broken off; what was counted stays."""
        standing = await self._store.standing()
        self.hit.time, before = standing.now, 0
        await self._find_grants()
        while True:
            rows = await self._store.recent_run_ids(before, _RUNS, standing.now)
            await self._look_at([run_id for _, run_id in rows], standing)
            if len(rows) < _RUNS:
                break
            before = rows[-1][0]
        self.hit.complete = True

    async def _find_grants(self) -> None:
        """Look for a grant in its own run and the runs below alone: what is delegated from it is there, too.

        One whose record is lost may still be named in any journal.
        """
        names = [mark.partition("=")[2] for mark in self._grant_marks]
        found = await self._store.grants(names) if names else []
        self._run_marks += [run_mark(one.run_id) for one in found if one]

    async def _look_at(self, ids: Sequence[str], standing: Standing) -> None:
        found = [run for run in await self._store.runs(ids) if run]
        runs = [run for run in found if set(self._run_marks) <= set(run.marks)]
        above = sorted({one for run in runs for one in run.ancestors})
        known = dict(zip(above, await self._store.runs(above) if above else [], strict=True))
        ends = {run.run_id: _end(run, known, standing) for run in runs}
        asked = [run for run in runs if _is_open(run, ends[run.run_id], standing.now)]
        journals = await asyncio.gather(*(whole_journal(self._store, run.run_id) for run in asked))
        stories = [_fold(entries) for entries in journals]
        dead = await self._dead(stories)
        for run, story in zip(asked, stories, strict=True):
            self._count(run, story, dead, standing.now, active=ends[run.run_id] is None)

    async def _dead(self, stories: Sequence["_Story"]) -> frozenset[str]:
        """Find the marks of grants that are gone or ended, as far as others hang below them."""
        above = sorted({one for story in stories for given in story.given.values() for one in given.chain})
        found = await self._store.grants(above) if above else []
        ended = {name for name, grant in zip(above, found, strict=True) if grant is None or grant.end_seq}
        return frozenset(map(grant_mark, ended.union(*(story.ended for story in stories))))

    def _count(self, run: Run, story: "_Story", dead: frozenset[str], now: int, *, active: bool) -> None:
        given = story.given
        hit_grants = {
            name
            for name, one in given.items()
            if active and now < one.expire_time and not one.marks & dead and self._names(one)
        }
        # A permit outlives neither its use-by nor, by much, its grant. It may outlive the end of both grant
        # and run: then it still counts.
        hit_actions = [
            one
            for one in story.actions
            if now < one.until
            and (one.permitted or one.grant_id in hit_grants)
            and one.grant_id in given
            and self._names(given[one.grant_id])
            and (not self._selector.action or action_matches(self._selector.action, one.action))
        ]
        if hit_grants or hit_actions:
            in_flight = sum(one.permitted for one in hit_actions)
            found = HitRun(run, len(hit_grants), len(hit_actions) - in_flight, in_flight)
            self.hit.add(found, hit_actions)

    def _names(self, given: _Given) -> bool:
        """Say whether a grant is one that the selector names, and can do what it is about."""
        if self._root_seq and given.root_seq >= self._root_seq:
            return False
        wanted = self._selector.action
        can = not wanted or any(actions_meet(wanted, one) for one in given.actions)
        return can and given.marks.issuperset(self._grant_marks)


async def count(store: Store, selector: Selector, root_seq: int, patience: float) -> Hit:
    """Count what a selector names, or as much of it as there is time for; a store that fails ends it too."""
    sweep = Sweep(store, selector, root_seq)
    with suppress(TimeoutError, StoreFailed):
        async with asyncio.timeout(patience):
            await sweep.look()
    return sweep.hit


def _end(run: Run, above: Mapping[str, Run | None], standing: Standing) -> End | None:
    path = [*(above[one] for one in run.ancestors), run]
    return end_of(path, run.path, standing.epoch, standing.now)


def _is_open(run: Run, end: End | None, now: int) -> bool:
    """Say whether a run may act, or something it was permitted may still land."""
    return end is None or (run.actions > 0 and now - (end.time or run.deadline) < RECENT_MS)


def _fold(entries: Iterable[Entry]) -> _Story:
    """Fold a journal into the grants that were given, and the actions that are still open."""
    given: dict[str, _Given] = {}
    ended: set[str] = set()
    actions: dict[str, _Open] = {}
    for entry in entries:
        data = entry.data
        match entry.kind:
            case Kind.ISSUED | Kind.DELEGATED:
                given[data["grant"]] = _given(entry)
            case Kind.EXTENDED if data["grant"] in given:
                given[data["grant"]] = replace(given[data["grant"]], expire_time=int(data["expire"]))
            case Kind.EXHAUSTED:
                ended.add(data["grant"])
            case Kind.PREPARED:
                actions[entry.op_id] = _Open(data["grant"], data["action"], int(data["expire"]))
            case Kind.APPROVED if entry.op_id in actions:
                one = actions[entry.op_id]
                actions[entry.op_id] = _Open(one.grant_id, one.action, int(data["until"]))
            case Kind.PERMITTED if entry.op_id in actions:
                one = actions[entry.op_id]
                actions[entry.op_id] = _Open(one.grant_id, one.action, int(data["use_by"]), permitted=True)
            case Kind.SETTLED | Kind.ABANDONED | Kind.DENIED:
                actions.pop(entry.op_id, None)
    return _Story(given, frozenset(ended), tuple(actions.values()))


def _given(entry: Entry) -> _Given:
    data = entry.data
    chain = tuple(data["chain"].split(",")) if "chain" in data else ()
    return _Given(
        chain=chain,
        root_seq=int(data.get("root", entry.seq)),
        expire_time=int(data["expire"]),
        marks=frozenset(map(grant_mark, [*chain, data["grant"]])),
        actions=tuple(scope[0] for scope in json.loads(data["scopes"])),
    )


def _tenant(run: Run) -> str:
    """Tell whose data a run works on: its own tenant, or that of the nearest run above it that has one."""
    tenants = [mark.removeprefix("tenant=") for mark in run.marks if mark.startswith("tenant=")]
    return run.tenant or (tenants[-1] if tenants else "")
