"""What the service needs of a store: the verbs, and reading.

A verb is one atomic step: it validates first, writes last, and appends its journal entry in the same step.
It answers with the verb's answer or a Refusal, and raises StoreFailed when the store could not decide. A
caller that goes away does not take the decision with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from grant_service.core import verbs
from grant_service.core.action import Action, Spending
from grant_service.core.duty import Duty, DutyKind
from grant_service.core.errors import Refusal
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry, Kind
from grant_service.core.neighbours import Neighbours
from grant_service.core.run import Run


class Durability(StrEnum):
    """What an acknowledged decision survives."""

    SYNCED = "SYNCED"
    EVERY_SECOND = "EVERY_SECOND"
    VOLATILE = "VOLATILE"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the store stands at one moment. Asking for it proves that the store answers."""

    epoch: str
    durability: Durability
    now: int
    last_seq: int
    #: What is wrong though the store answers, such as a full disk; '' if nothing is. It never stops a report.
    trouble: str = ""


#: Hears which run has stopped; '' if it may be any.
Heard = Callable[[str], None]

Record = Run | Grant | Action | Spending | Fence | Duty


class Store(Protocol):
    """The verbs. Every one is idempotent by the id it is given."""

    async def open(self, command: verbs.Open) -> verbs.Opened | Refusal: ...
    async def issue(self, command: verbs.Issue) -> verbs.Issued | Refusal: ...
    async def prepare(self, command: verbs.Prepare) -> verbs.Prepared | Refusal: ...
    async def commit(self, command: verbs.Commit) -> verbs.Permitted | Refusal: ...
    async def perform(self, command: verbs.Perform) -> verbs.Permitted | Refusal: ...
    async def settle(self, command: verbs.Settle) -> verbs.Settled | Refusal: ...
    async def abandon(self, command: verbs.Abandon) -> verbs.Abandoned | Refusal: ...
    async def cancel(self, command: verbs.Cancel) -> verbs.Cancelled: ...
    async def finish(self, command: verbs.Finish) -> verbs.Finished | Refusal: ...
    async def delegate(self, command: verbs.Delegate) -> verbs.Delegated | Refusal: ...
    async def extend(self, command: verbs.Extend) -> verbs.Extended | Refusal: ...
    async def spend(self, command: verbs.Spend) -> verbs.Spent | Refusal: ...
    async def revoke(self, command: verbs.Revoke) -> verbs.Fenced | Refusal: ...
    async def freeze(self, command: verbs.Freeze) -> verbs.Fenced | Refusal: ...
    async def lift(self, command: verbs.Lift) -> verbs.Lifted | Refusal: ...
    async def approve(self, command: verbs.Approve) -> verbs.Approved | Refusal: ...
    async def deny(self, command: verbs.Deny) -> verbs.Denied | Refusal: ...
    async def resolve(self, command: verbs.Resolve) -> verbs.Resolved | Refusal: ...
    async def undo(self, command: verbs.Undo) -> verbs.UndoAsked | Refusal: ...
    async def withdraw(self, command: verbs.Withdraw) -> verbs.Withdrawn | Refusal: ...
    async def claim(self, command: verbs.Claim) -> verbs.Claimed | Refusal: ...
    async def renew(self, command: verbs.Renew) -> verbs.Claimed | Refusal: ...
    async def complete(self, command: verbs.Complete) -> verbs.Completed | Refusal: ...
    async def fail(self, command: verbs.Fail) -> verbs.Failed | Refusal: ...

    def on_stop(self, heard: Heard) -> None:
        """Say from now on when something stops, to whoever asks here.

        It is a hint: it may come late, twice, for nothing, or not at all. Who hears it looks.
        """
        ...

    def aside(self) -> "Store":
        """Answer the same store by another way, for reading much: no decision or cancel waits behind that."""
        ...

    def neighbours(self, name: str) -> Neighbours | None:
        """Answer a way to the other sidecars on this store, for the one of this name, if there can be any."""
        ...

    async def release(self, command: verbs.Release) -> bool:
        """Let go of all a run left but its record; False if it goes on or was written to since."""
        ...

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id, in the order asked for."""
        ...

    async def run_ids(self, before_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read `(open_seq, run_id)` of opened runs, the youngest first, older than `before_seq` (0: all)."""
        ...

    async def oldest_run_ids(self, after_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read the same the other way round: the oldest first, younger than `after_seq`."""
        ...

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries with a higher number than `after_seq`, in order."""
        ...

    async def recent_run_ids(self, before_seq: int, limit: int, now: int) -> list[tuple[int, str]]:
        """Read the same of runs that nobody ended, or not longer ago than RECENT_MS.

        `now` is the store's own time: what ended longer before it may be forgotten.
        """
        ...

    async def grants(self, ids: Sequence[str]) -> list[Grant | None]:
        """Read grants by id, in the order asked for."""
        ...

    async def actions(self, ids: Sequence[tuple[str, str]]) -> list[Action | None]:
        """Read actions by run and op_id, in the order asked for."""
        ...

    async def awaiting(self) -> list[tuple[str, str]]:
        """Read run and op_id of the actions that wait for a person, the oldest first."""
        ...

    async def open_duties(self, kind: DutyKind, limit: int) -> list[Duty]:
        """Read open duties of a kind: of UNDO the next one of each run, of the others those due first.

        Of what can be called off only what is due: runs that were stopped are looked for first.
        """
        ...

    async def fences(self) -> list[Fence]:
        """Read all fences, the oldest first."""
        ...

    async def standing(self) -> Standing:
        """Tell how the store stands now, or raise StoreFailed."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""
        ...


class View(Protocol):
    """What questions ask of a store: enough to refuse, nothing to write with."""

    @property
    def epoch(self) -> str:
        """The store's epoch."""
        ...

    @property
    def now(self) -> int:
        """The store's time, which never goes back."""
        ...

    @property
    def behind_ms(self) -> int:
        """How far the clock is behind the highest time seen; 0 if it is not."""
        ...

    @property
    def any_fence(self) -> bool:
        """Whether any fence stands: most of the time none does, and a commit need not look for one."""
        ...

    def run(self, run_id: str) -> Run | None: ...
    def grant(self, grant_id: str) -> Grant | None: ...

    def fences_at(self, anchor: str) -> Sequence[Fence]:
        """Find the standing fences that are kept under this anchor."""
        ...


class State(View, Protocol):
    """What the rules see of a store inside one atomic step."""

    def action(self, run_id: str, op_id: str) -> Action | None: ...
    def spending(self, run_id: str, op_id: str) -> Spending | None: ...
    def fence(self, fence_id: str) -> Fence | None: ...
    def duty(self, run_id: str, op_id: str, kind: DutyKind, job: int = 0) -> Duty | None: ...

    def last_undo(self, run_id: str) -> str:
        """Name the action whose UNDO is open and whose permit is the last of the run's, or ''."""
        ...

    def look_below(self, run_id: str, at: int) -> None:
        """Note that from then on, at the latest, jobs of this run or below it may have to be called off."""
        ...

    def looked_below(self, run_id: str, at: int) -> None:
        """Note that there is nothing to look for before then; with NEVER it is taken off the list."""
        ...

    def stops_due(self, limit: int) -> Sequence[str]:
        """Name runs below which it is time to look, those noted for the earliest time first."""
        ...

    def jobs(self, run_id: str, below: bool, limit: int) -> Sequence[Duty]:
        """Find open call-offs of a run, and of the runs below it, that nobody has made due; its own first."""
        ...

    def standing_fences(self) -> Sequence[Fence]:
        """Find all standing fences, the oldest first."""
        ...

    def fences_since(self, seq: int) -> Sequence[Fence]:
        """Find all fences with a higher number, standing or not, the oldest first."""
        ...

    def put(self, record: Record) -> None: ...

    def last_seq(self, run_id: str) -> int:
        """Tell the number of a run's last entry, or 0."""
        ...

    def forget(self, command: verbs.Release) -> None:
        """Delete a run's journal and records but its own, and take it off the list of runs."""
        ...

    def append(self, run_id: str, kind: Kind, data: Mapping[str, str]) -> int:
        """Write a journal entry and answer its number. Empty values are left out."""
        ...
