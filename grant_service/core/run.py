"""A run: the unit of cancel."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from grant_service.core.budget import Budget

#: How many runs a path from the root to a run may have, the run included. A commit checks each of them.
MAX_DEPTH = 8

#: How long after its end a run is still looked at, in milliseconds: what it was permitted may land so long.
#: No permit lasts longer than its grant, and no grant longer than this.
RECENT_MS = 15 * 60 * 1000


class RunState(StrEnum):
    """Where a run is in its life."""

    ACTIVE = "ACTIVE"
    CANCELLED = "CANCELLED"
    FINISHED = "FINISHED"


class StopReason(StrEnum):
    """Why a run was stopped; the contract's enum of the same name has the same members."""

    USER_STOP = "USER_STOP"
    CLIENT_DISCONNECTED = "CLIENT_DISCONNECTED"
    DEADLINE = "DEADLINE"
    BUDGET = "BUDGET"
    PARENT_CANCELLED = "PARENT_CANCELLED"
    INCIDENT = "INCIDENT"
    POLICY = "POLICY"
    SUPERSEDED = "SUPERSEDED"
    RUN_FINISHED = "RUN_FINISHED"
    STORE_EPOCH = "STORE_EPOCH"


@dataclass(frozen=True, slots=True)
class Run:
    """One agent run as the store holds it. Times are milliseconds of the store's clock."""

    run_id: str
    parent: str = ""
    ancestors: tuple[str, ...] = ()
    subject: str = ""
    agent: str = ""
    tenant: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    state: RunState = RunState.ACTIVE
    epoch: str = ""
    open_time: int = 0
    open_seq: int = 0
    #: The length of life asked for: part of what a repeated request must match.
    ttl_ms: int = 0
    #: When its authority ends at the latest.
    deadline: int = 0
    #: Until when the store keeps its records; a cancelled run's own record stays for ever, as a tombstone.
    keep_until: int = 0
    #: How it was ended. The seq is the cut. All empty while it is active.
    end_reason: str = ""
    end_actor: str = ""
    end_note: str = ""
    end_tag: str = ""
    end_time: int = 0
    end_seq: int = 0
    #: The store epoch it was ended in: of another one than its own, entries may be missing in between.
    end_epoch: str = ""
    #: How many actions were prepared, and how many calls refused, in it.
    actions: int = 0
    refusals: int = 0
    #: What fences know it by: its own marks and those of every run above it.
    marks: tuple[str, ...] = ()
    #: How much it, and every run below it, may use.
    budgets: tuple[Budget, ...] = ()
    #: How many amounts were spent in it, and, of the root, how many grants were delegated in its tree.
    spendings: int = 0
    delegations: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        """The runs that must all be active for this one to act: the root first, itself last."""
        return (*self.ancestors, self.run_id)

    @property
    def was_opened(self) -> bool:
        """False for a tombstone: cancelled before anybody opened it."""
        return self.open_seq > 0

    @property
    def is_released(self) -> bool:
        """True if it was archived and let go of: no run that was opened is without marks."""
        return self.was_opened and not self.marks

    def is_recent(self, now: int) -> bool:
        """Say whether it may still act, or may have been permitted something that still lands."""
        return not self.end_time or now - self.end_time < RECENT_MS


@dataclass(frozen=True, slots=True)
class End:
    """How a run stands ended: by itself, or through a run above it, its deadline or the epoch.

    `seq` is 0 where no entry of the journal ended it; `time` is 0 where nobody knows when.
    """

    state: RunState
    reason: StopReason
    actor: str
    note: str
    tag: str
    time: int
    seq: int
    run_id: str

    def is_before(self, seq: int, time: int) -> bool:
        """Say whether an entry of the journal came after this end."""
        return self.seq < seq if self.seq else 0 < self.time <= time


def end_of(path: Sequence[Run | None], ids: tuple[str, ...], epoch: str, now: int) -> End | None:
    """Tell how a run stands ended: by what came first on its path, or None while it is active."""
    ends = [end for run, run_id in zip(path, ids, strict=True) for end in _ends(run, run_id, epoch, now)]
    return min(ends, key=_moment, default=None)


def may_lack_entries(path: Sequence[Run | None], epoch: str) -> bool:
    """Say whether entries of this run may be lost: an epoch ended while it was active.

    What is lost is the last that was written. A run that was ended in its own epoch, or a run above it that
    was, has the entry of that end, and so everything from before it.
    """
    known = [run for run in path if run]
    if len(known) < len(path):
        return True
    ended_first = any(run.state is not RunState.ACTIVE and run.end_epoch == run.epoch for run in known)
    return not ended_first and any(run.epoch != epoch for run in known)


def _moment(end: End) -> tuple[float, int]:
    """Order ends by time, those of one millisecond by number: what came first must not change later.

    Nobody knows when an epoch ended, so anything else explains more.
    """
    return end.time or math.inf, end.seq


def _ends(run: Run | None, run_id: str, epoch: str, now: int) -> Iterator[End]:
    if run is None:
        yield End(RunState.CANCELLED, StopReason.STORE_EPOCH, "", "", "", 0, 0, run_id)
        return
    if run.state is not RunState.ACTIVE:
        why = StopReason(run.end_reason)
        who = (run.end_actor, run.end_note, run.end_tag)
        yield End(run.state, why, *who, run.end_time, run.end_seq, run_id)
    elif run.epoch != epoch:
        yield End(RunState.CANCELLED, StopReason.STORE_EPOCH, "", "", "", 0, 0, run_id)
    if run.was_opened and now >= run.deadline:
        yield End(RunState.CANCELLED, StopReason.DEADLINE, "", "", "", run.deadline, 0, run_id)


def labels_text(labels: Mapping[str, str]) -> str:
    """Write labels in the one way all stores keep them."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":")) if labels else ""
