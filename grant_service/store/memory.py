"""The store that forgets: for tests and for a first look. It is also the model of the other two."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState, Spending
from grant_service.core.clock import Clock, system_clock
from grant_service.core.duty import ALL_DUTIES, NEVER, Duty, DutyKind, DutyState, which
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run
from grant_service.core.store import Durability, Record, Standing, State
from grant_service.store.by_rules import ByRules, stopped

C = TypeVar("C")
A = TypeVar("A")


@dataclass
class MemoryState:
    """Everything the store knows; the rules see it as it is."""

    epoch: str
    now: int = 0
    behind_ms: int = 0
    seq: int = 0
    runs: dict[str, Run] = field(default_factory=dict)
    #: Runs whose records were let go of.
    unlisted: set[str] = field(default_factory=set)
    grants: dict[str, Grant] = field(default_factory=dict)
    actions: dict[tuple[str, str], Action] = field(default_factory=dict)
    spendings: dict[tuple[str, str], Spending] = field(default_factory=dict)
    fences: dict[str, Fence] = field(default_factory=dict)
    duties: dict[tuple[str, str, str], Duty] = field(default_factory=dict)
    #: Runs below which jobs may have to be called off, with the time to look.
    stops: dict[str, int] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    #: What stopped in the step under way.
    stopped: list[str] = field(default_factory=list)

    def run(self, run_id: str) -> Run | None:
        """Find a run."""
        return self.runs.get(run_id)

    def grant(self, grant_id: str) -> Grant | None:
        """Find a grant."""
        return self.grants.get(grant_id)

    def action(self, run_id: str, op_id: str) -> Action | None:
        """Find an action."""
        return self.actions.get((run_id, op_id))

    def spending(self, run_id: str, op_id: str) -> Spending | None:
        """Find a spending."""
        return self.spendings.get((run_id, op_id))

    def fence(self, fence_id: str) -> Fence | None:
        """Find a fence."""
        return self.fences.get(fence_id)

    def duty(self, run_id: str, op_id: str, kind: DutyKind, job: int = 0) -> Duty | None:
        """Find a duty."""
        return self.duties.get((run_id, op_id, which(kind, job)))

    def last_undo(self, run_id: str) -> str:
        """Name the action that is undone next."""
        return next((one.op_id for one in self.next_undos() if one.run_id == run_id), "")

    def next_undos(self) -> list[Duty]:
        """Find the undo that is next in each run."""
        undos = sorted(self.open_duties(DutyKind.UNDO), key=lambda one: one.fence)
        return list({one.run_id: one for one in undos}.values())

    def open_duties(self, kind: DutyKind) -> list[Duty]:
        """Find all open duties of a kind."""
        return [one for one in self.duties.values() if one.kind is kind and one.state is DutyState.OPEN]

    def look_below(self, run_id: str, at: int) -> None:
        """Note when to look, at the latest."""
        self.stops[run_id] = min(at, self.stops.get(run_id, at))

    def looked_below(self, run_id: str, at: int) -> None:
        """Note when to look next."""
        self.stops[run_id] = at
        if at == NEVER:
            del self.stops[run_id]

    def stops_due(self, limit: int) -> list[str]:
        """Name runs below which it is time to look."""
        due = sorted((at, run_id) for run_id, at in self.stops.items() if at <= self.now)
        return [run_id for _, run_id in due[:limit]]

    def jobs(self, run_id: str, below: bool, limit: int) -> list[Duty]:
        """Find open call-offs that nobody has made due."""
        waiting = [one for one in self.open_duties(DutyKind.CALL_OFF) if one.due == NEVER]
        found = [one for one in waiting if run_id in (self._path(one) if below else [one.run_id])]
        return sorted(found, key=lambda one: (self._path(one), one.op_id, one.job))[:limit]

    def _path(self, duty: Duty) -> tuple[str, ...]:
        run = self.runs.get(duty.run_id)
        return run.path if run else (duty.run_id,)

    @property
    def any_fence(self) -> bool:
        """Whether any fence stands."""
        return any(one.standing for one in self.fences.values())

    def fences_at(self, anchor: str) -> list[Fence]:
        """Find the standing fences under an anchor."""
        return [one for one in self.standing_fences() if one.selector.anchor == anchor]

    def standing_fences(self) -> list[Fence]:
        """Find all standing fences."""
        return [one for one in self.fences.values() if one.standing]

    def fences_since(self, seq: int) -> list[Fence]:
        """Find all fences with a higher number."""
        return [one for one in self.fences.values() if one.seq > seq]

    def put(self, record: Record) -> None:
        """Write a record whole."""
        match record:
            case Run():
                self.runs[record.run_id] = record
            case Grant():
                self.grants[record.grant_id] = record
            case Action():
                self.actions[record.run_id, record.intent.op_id] = record
            case Spending():
                self.spendings[record.run_id, record.op_id] = record
            case Fence():
                self.fences[record.fence_id] = record
            case Duty():
                self.duties[record.run_id, record.op_id, record.which] = record

    def last_seq(self, run_id: str) -> int:
        """Tell the number of a run's last entry."""
        entries = self.entries.get(run_id)
        return entries[-1].seq if entries else 0

    def forget(self, command: verbs.Release) -> None:
        """Delete what a run left."""
        self.unlisted.add(command.run_id)
        self.entries.pop(command.run_id, None)
        for grant_id in command.grant_ids:
            self.grants.pop(grant_id, None)
        for op_id in command.op_ids:
            self.actions.pop((command.run_id, op_id), None)
            for kind, job in ALL_DUTIES:
                self.duties.pop((command.run_id, op_id, which(kind, job)), None)
        for op_id in command.spending_ids:
            self.spendings.pop((command.run_id, op_id), None)

    def append(self, run_id: str, kind: Kind, data: Mapping[str, str]) -> int:
        """Write a journal entry."""
        self.seq += 1
        kept = {name: str(value) for name, value in data.items() if value}
        self.entries.setdefault(run_id, []).append(Entry(self.seq, self.now, run_id, kind, kept))
        self.stopped += stopped(run_id, kind)
        return self.seq


class MemoryStore(ByRules):
    """Decides by the rules, in one event-loop step each; nothing survives the process."""

    def __init__(self, clock: Clock = system_clock, epoch: str | None = None) -> None:
        self.state = MemoryState(epoch or f"mem-{secrets.token_hex(8)}")
        self._clock = clock

    def renew_epoch(self, epoch: str | None = None) -> None:
        """End everything issued so far, as a loss of facts would have to."""
        self.state.epoch = epoch or f"mem-{secrets.token_hex(8)}"
        self.state.stops = dict.fromkeys(self.state.stops, 0)

    async def _decide(self, rule: Callable[[State, C], A], command: C) -> A:
        self._tick()
        answer = rule(self.state, command)
        if self.state.stopped:
            told, self.state.stopped = self.state.stopped, []
            self._tell(told)
        return answer

    def _tick(self) -> None:
        clock = self._clock()
        self.state.behind_ms = max(0, self.state.now - clock)
        self.state.now = max(self.state.now, clock)

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id."""
        return [self.state.runs.get(run_id) for run_id in ids]

    async def run_ids(self, before_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the youngest first."""
        opened = reversed(self._listed())
        return [row for row in opened if not before_seq or row[0] < before_seq][:limit]

    async def oldest_run_ids(self, after_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the oldest first."""
        return [row for row in self._listed() if row[0] > after_seq][:limit]

    def _listed(self) -> list[tuple[int, str]]:
        runs = [run for run in self.state.runs.values() if run.run_id not in self.state.unlisted]
        return sorted((run.open_seq, run.run_id) for run in runs if run.was_opened)

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        entries = self.state.entries.get(run_id, ())
        return [entry for entry in entries if entry.seq > after_seq][:limit]

    async def recent_run_ids(self, before_seq: int, limit: int, now: int) -> list[tuple[int, str]]:
        """Read runs that nobody ended, or not long ago, the youngest first."""
        rows = await self.run_ids(before_seq, len(self.state.runs))
        return [row for row in rows if self.state.runs[row[1]].is_recent(now)][:limit]

    async def grants(self, ids: Sequence[str]) -> list[Grant | None]:
        """Read grants by id."""
        return [self.state.grants.get(grant_id) for grant_id in ids]

    async def actions(self, ids: Sequence[tuple[str, str]]) -> list[Action | None]:
        """Read actions by run and op_id."""
        return [self.state.actions.get(one) for one in ids]

    async def awaiting(self) -> list[tuple[str, str]]:
        """Read which actions wait for a person."""
        actions = self.state.actions.values()
        waiting = [one for one in actions if one.state is ActionState.AWAITING_APPROVAL]
        return [(one.run_id, one.intent.op_id) for one in sorted(waiting, key=lambda one: one.prepare_seq)]

    async def open_duties(self, kind: DutyKind, limit: int) -> list[Duty]:
        """Read open duties of a kind."""
        if kind is DutyKind.UNDO:
            return sorted(self.state.next_undos(), key=lambda one: one.run_id)[:limit]
        if kind is DutyKind.CALL_OFF:
            await self._call_off_stopped()
        due = [one for one in self.state.open_duties(kind) if one.due != NEVER]
        return sorted(due, key=lambda one: (one.due, one.run_id, one.op_id, one.job))[:limit]

    async def _any_stopped(self) -> bool:
        self._tick()
        return bool(self.state.stops_due(1))

    async def fences(self) -> list[Fence]:
        """Read all fences."""
        return list(self.state.fences.values())

    async def standing(self) -> Standing:
        """Tell how the store stands."""
        self._tick()
        return Standing(self.state.epoch, Durability.VOLATILE, self.state.now, self.state.seq)

    async def close(self) -> None:
        """Nothing to let go of."""
