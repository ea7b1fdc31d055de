"""A run: the unit of cancel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: How many runs a path from the root to a run may have, the run included. A commit checks each of them.
MAX_DEPTH = 8


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
    #: How many actions were prepared, and how many calls refused, in it.
    actions: int = 0
    refusals: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        """The runs that must all be active for this one to act: the root first, itself last."""
        return (*self.ancestors, self.run_id)

    @property
    def was_opened(self) -> bool:
        """False for a tombstone: cancelled before anybody opened it."""
        return self.open_seq > 0


@dataclass(frozen=True, slots=True)
class End:
    """How a run stands ended: by itself, or through a run above it, its deadline or the epoch."""

    state: RunState
    reason: StopReason
    actor: str
    note: str
    tag: str
    time: int
    seq: int
    run_id: str


def end_of(path: list[Run | None], ids: tuple[str, ...], epoch: str, now: int) -> End | None:
    """Tell how a run stands ended, from its path (root first), or None while it is active.

    The same order of questions as the decision's own check, so that what people are told is what a commit
    would be told.
    """
    for run, run_id in zip(path, ids, strict=True):
        ended = _own_end(run, run_id, epoch, now)
        if ended:
            return ended
    return None


def _own_end(run: Run | None, run_id: str, epoch: str, now: int) -> End | None:
    if run is None:
        return End(RunState.CANCELLED, StopReason.STORE_EPOCH, "", "", "", 0, 0, run_id)
    if run.state is not RunState.ACTIVE:
        return _stored_end(run)
    if run.epoch != epoch:
        return End(RunState.CANCELLED, StopReason.STORE_EPOCH, "", "", "", 0, 0, run_id)
    if now >= run.deadline:
        return End(RunState.CANCELLED, StopReason.DEADLINE, "", "", "", run.deadline, 0, run_id)
    return None


def _stored_end(run: Run) -> End:
    reason = StopReason(run.end_reason)
    return End(
        run.state, reason, run.end_actor, run.end_note, run.end_tag, run.end_time, run.end_seq, run.run_id
    )
