"""Rigs: each kind of store, with its clock and its epoch in the test's hands and its whole state in view.

The rigs that run the Lua scripts are in `redis_rigs.py`.
"""

import asyncio
import dataclasses
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grant_service.core.action import ActionState
from grant_service.core.duty import Duty, DutyKind, DutyState, which
from grant_service.core.fence import Fence
from grant_service.core.store import Store
from grant_service.store import records
from grant_service.store.memory import MemoryState, MemoryStore
from grant_service.store.sqlite import SqliteStore
from grant_service.store.sqlite_state import read_awaiting, read_fences, read_recent_run_ids

#: The time at which every rig begins: later than any real clock, so that no real deadline passes in between.
START = 4_000_000_000_000
EPOCH = "epoch-1"

Fields = Mapping[str, str]


@dataclass
class Dump:
    """Everything a store knows, in one form for all stores."""

    epoch: str
    now: int
    seq: int
    runs: dict[str, Fields] = field(default_factory=dict)
    grants: dict[str, Fields] = field(default_factory=dict)
    actions: dict[tuple[str, str], Fields] = field(default_factory=dict)
    spendings: dict[tuple[str, str], Fields] = field(default_factory=dict)
    fences: dict[str, Fields] = field(default_factory=dict)
    #: By run, action and kind, from the second job on by that, too (`CALL_OFF/1`).
    duties: dict[tuple[str, str, str], Fields] = field(default_factory=dict)
    #: What a store finds without looking through all its records: the runs that nobody ended, or not long
    #: ago, by number; the actions that wait for a person, by number; the standing fences under each
    #: anchor, by number; and of each kind of duty the runs and actions whose duties are open, all of them.
    recent: list[str] = field(default_factory=list)
    awaiting: list[tuple[str, str]] = field(default_factory=list)
    standing: dict[str, list[str]] = field(default_factory=dict)
    open_duties: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    entries: dict[str, list[tuple[int, int, str, Fields]]] = field(default_factory=dict)

    def differences(self, other: "Dump") -> list[str]:
        """Say where two dumps differ, one line for each place; empty if they are the same."""
        if self == other:
            return []
        mine, others = (_flat(dataclasses.asdict(dump)) for dump in (self, other))
        keys = sorted(mine.keys() | others.keys())
        return [
            f"{key}: {mine.get(key)!r} != {others.get(key)!r}"
            for key in keys
            if mine.get(key) != others.get(key)
        ]


def by_anchor(fences: Iterable[tuple[str, int, str]]) -> dict[str, list[str]]:
    """Put fences, each given as anchor, number and id, under their anchors, the oldest first."""
    found: dict[str, list[str]] = {}
    for anchor, _, fence_id in sorted(fences, key=lambda one: one[1]):
        found.setdefault(anchor, []).append(fence_id)
    return found


def in_order(found: Iterable[tuple[str, str, str, int]]) -> dict[str, list[tuple[str, str]]]:
    """Put open duties, each given as kind, run, action and number, in the order in which a store finds them.

    The number of an UNDO is its fence: of each run the last effect comes first. That of the others is when
    they are due. An action may have several jobs to be called off, and is then listed as often.
    """

    def turn(one: tuple[str, str, str, int]) -> tuple[Any, ...]:
        kind, run, op, number = one
        return (run, -number) if kind == DutyKind.UNDO else (number, run, op)

    ordered: dict[str, list[tuple[str, str]]] = {kind.value: [] for kind in DutyKind}
    for kind, run, op, _ in sorted(found, key=lambda one: (one[0], *turn(one))):
        ordered[kind].append((run, op))
    return ordered


def _anchors(fences: Iterable[Fence]) -> dict[str, list[str]]:
    return by_anchor((one.selector.anchor, one.seq, one.fence_id) for one in fences)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return {path: value}
    return {key: leaf for name, part in parts for key, leaf in _flat(part, f"{path}/{name}").items()}


class Rig(ABC):
    """A store, and what a test may do to the world around it."""

    store: Store
    #: How many callers at once are many: what the slowest rig does in a second.
    many = 1000
    #: Whether it says when something stops, and whether it does so over a connection of its own.
    says_stops, says_them_from_afar = True, False

    def __init__(self) -> None:
        self.time = START

    async def advance(self, ms: int) -> None:
        """Move the store's clock on, or back if `ms` is negative."""
        await self.set_time(self.time + ms)

    async def set_time(self, time: int) -> None:
        """Set the store's clock."""
        self.time = time

    @abstractmethod
    async def renew_epoch(self, epoch: str) -> None:
        """Begin a new epoch, as a store does that may have lost facts."""

    @abstractmethod
    async def lose_grant(self, grant_id: str) -> None:
        """Forget a grant, as eviction or a repair by hand does."""

    @abstractmethod
    async def leave_open(self, duty: Duty) -> None:
        """Open a duty that was closed, as if the step that closed it had broken off before."""

    @abstractmethod
    async def dump(self) -> Dump:
        """Read the whole state, past the store's own doors."""

    @abstractmethod
    async def last_seq(self) -> int:
        """Read the number of the last journal entry, without showing a time as `standing` would."""

    @abstractmethod
    async def reset(self) -> None:
        """Make it as new: empty, at START, in EPOCH."""

    async def close(self) -> None:
        """Let go of everything."""
        await self.store.close()


def copied(state: MemoryState) -> MemoryState:
    """The same state, to try something on: records are never changed, only put anew."""
    names = ("runs", "grants", "actions", "spendings", "duties", "fences", "stops")
    copies = {name: dict(getattr(state, name)) for name in names}
    entries = {run: list(lines) for run, lines in state.entries.items()}
    return dataclasses.replace(state, **copies, entries=entries, unlisted=set(state.unlisted))


class MemoryRig(Rig):
    """The model."""

    store: MemoryStore

    @classmethod
    async def start(cls) -> "MemoryRig":
        """Make a new store."""
        rig = cls()
        await rig.reset()
        return rig

    async def reset(self) -> None:
        """Forget the store and make another."""
        self.time = START
        self.store = MemoryStore(lambda: self.time, EPOCH)

    async def renew_epoch(self, epoch: str) -> None:
        """Begin a new epoch."""
        self.store.renew_epoch(epoch)

    async def lose_grant(self, grant_id: str) -> None:
        """Forget a grant."""
        del self.state.grants[grant_id]

    async def leave_open(self, duty: Duty) -> None:
        """Put it back."""
        self.state.put(dataclasses.replace(duty, state=DutyState.OPEN))

    @property
    def state(self) -> MemoryState:
        """The model's own records."""
        return self.store.state

    async def last_seq(self) -> int:
        """Read the number of the last entry without showing a time."""
        return self.state.seq

    async def dump(self) -> Dump:
        """Write the model's records as fields."""
        state = self.state
        return Dump(
            epoch=state.epoch,
            now=state.now,
            seq=state.seq,
            runs={run_id: records.run_fields(run) for run_id, run in state.runs.items()},
            grants={grant_id: records.grant_fields(grant) for grant_id, grant in state.grants.items()},
            actions={key: records.action_fields(action) for key, action in state.actions.items()},
            spendings={key: records.spending_fields(told) for key, told in state.spendings.items()},
            fences={fence_id: records.fence_fields(fence) for fence_id, fence in state.fences.items()},
            duties={key: records.duty_fields(one) for key, one in state.duties.items()},
            recent=self._recent(),
            awaiting=self._awaiting(),
            standing=_anchors(fence for fence in state.fences.values() if fence.standing),
            open_duties=in_order(
                (one.kind, one.run_id, one.op_id, one.fence if one.kind is DutyKind.UNDO else one.due)
                for one in state.duties.values()
                if one.state is DutyState.OPEN
            ),
            entries={
                run_id: [(entry.seq, entry.time, entry.kind.value, dict(entry.data)) for entry in entries]
                for run_id, entries in state.entries.items()
            },
        )

    def _recent(self) -> list[str]:
        listed = self.state.runs.keys() - self.state.unlisted
        opened = [run for run in self.state.runs.values() if run.was_opened and run.run_id in listed]
        recent = [run for run in opened if run.is_recent(self.state.now)]
        return [run.run_id for run in sorted(recent, key=lambda run: run.open_seq)]

    def _awaiting(self) -> list[tuple[str, str]]:
        actions = self.state.actions.items()
        waiting = [
            (one.prepare_seq, key) for key, one in actions if one.state is ActionState.AWAITING_APPROVAL
        ]
        return [key for _, key in sorted(waiting)]


class SqliteRig(Rig):
    """The embedded store on a file of its own."""

    store: SqliteStore

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._resets = folder, 0

    @classmethod
    async def start(cls, folder: Path) -> "SqliteRig":
        """Make a new store in `folder`."""
        rig = cls(folder)
        await rig.open()
        await rig.renew_epoch(EPOCH)
        return rig

    async def open(self) -> None:
        """Open the store as a new process does."""
        path = self._folder / str(self._resets) / "countermand.db"
        self.store = await SqliteStore.start(path, lambda: self.time)

    async def renew_epoch(self, epoch: str) -> None:
        """Begin a new epoch."""
        await self.store.renew_epoch(epoch)

    async def reset(self) -> None:
        """Close the store, delete its files and make another; only the reserve of 8 MB stays: it is empty."""
        await self.close()
        before, after = (self._folder / str(number) for number in (self._resets, self._resets + 1))
        after.mkdir(mode=0o700)
        if (before / "headroom").exists():
            (before / "headroom").rename(after / "headroom")
        shutil.rmtree(before)
        self._resets += 1
        self.time = START
        await self.open()
        await self.renew_epoch(EPOCH)

    async def last_seq(self) -> int:
        """Read the number when all that was asked before is decided."""
        await self.store._idle.wait()
        return int(self.store._state.seq)

    async def lose_grant(self, grant_id: str) -> None:
        """Delete a grant's row, and what is known of it."""

        def lose() -> None:
            self.store._state._db.execute("DELETE FROM grants WHERE grant_id = ?", (grant_id,))
            self.store._state._forget()

        await self._run(lose)

    async def leave_open(self, duty: Duty) -> None:
        """Write its row again."""

        def write() -> None:
            state = self.store._state
            state.put(dataclasses.replace(duty, state=DutyState.OPEN))
            state._writes.keep()
            state._writes.out()

        await self._run(write)

    async def dump(self) -> Dump:
        """Read every table."""
        return await self._run(self._read)

    def _read(self) -> Dump:
        db = self.store._state._db
        epoch, now, seq = db.execute("SELECT epoch, now, seq FROM meta").fetchone()
        # A time that only a report has shown is written with the next decision.
        dump = Dump(epoch, max(now, self.store._state.now), seq)
        dump.runs = {run: json.loads(text) for run, text in db.execute("SELECT run_id, fields FROM runs")}
        grants = db.execute("SELECT grant_id, fields FROM grants")
        dump.grants = {grant: json.loads(text) for grant, text in grants}
        actions = db.execute("SELECT run_id, op_id, fields FROM actions")
        dump.actions = {
            (run, op): dict(zip(records._ACTION, json.loads(text), strict=True)) for run, op, text in actions
        }
        for seq, run, time, kind, text in db.execute(
            "SELECT seq, run_id, time, kind, data FROM journal ORDER BY seq"
        ):
            dump.entries.setdefault(run, []).append((seq, time, kind, json.loads(text)))
        spendings = db.execute("SELECT run_id, op_id, fields FROM spendings")
        dump.spendings = {(run, op): json.loads(text) for run, op, text in spendings}
        fences = db.execute("SELECT fence_id, fields FROM fences")
        dump.fences = {fence: json.loads(text) for fence, text in fences}
        for run, op, kind, job, text in db.execute("SELECT run_id, op_id, kind, job, fields FROM duties"):
            dump.duties[run, op, which(kind, job)] = json.loads(text)
        self._read_indexes(dump)
        return dump

    def _read_indexes(self, dump: Dump) -> None:
        """Read what the store's own queries select by, and make sure that what it keeps in memory agrees."""
        state, db = self.store._state, self.store._state._db
        dump.recent = [run for _, run in reversed(read_recent_run_ids(db, 0, -1, dump.now))]
        dump.awaiting = read_awaiting(db)
        dump.standing = _anchors(read_fences(db, "WHERE standing"))
        assert dump.standing == _anchors(state.standing_fences()), "it looks for other fences than it wrote"
        numbers = "CASE kind WHEN 'UNDO' THEN fence ELSE due END"
        found = db.execute(f"SELECT kind, run_id, op_id, {numbers} FROM duties WHERE open")  # noqa: S608
        dump.open_duties = in_order(found)

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.store._writer, work)
