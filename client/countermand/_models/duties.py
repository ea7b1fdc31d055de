"""Duties: what a compensator is to do about an action. And what an operator is told who asks for undos."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from countermand._clock import Clock
from countermand._errors import CountermandError, InvalidRequest
from countermand._words import ActionState, DutyKind, DutyState, Outcome

#: What a probe can find out. UNKNOWN is no finding.
_FOUND = (Outcome.SUCCEEDED, Outcome.FAILED)


class Lease:
    """How long a duty is its claimer's alone. Kept by whoever renews it, looked at by the function."""

    def __init__(self, lease_id: str, ends_at: float, clock: Clock) -> None:
        self.lease_id = lease_id
        #: When it ends by `clock`, counted from before it was asked for: never later than the store means it.
        self.ends_at = ends_at
        self.clock = clock
        #: Why the authority is gone, whatever the clock says: somebody else has it, or it was taken back.
        self.loss: CountermandError | None = None

    @property
    def remaining(self) -> float:
        """How many seconds are left; 0 means: begin nothing more."""
        return 0.0 if self.loss else max(0.0, self.ends_at - self.clock())


@dataclass(frozen=True, slots=True)
class Duty:
    """What is to be done about one action: given to a compensation, a canceller or a probe."""

    run_id: str
    op_id: str
    kind: DutyKind
    #: The function that does it.
    name: str
    #: Names this duty for ever, whoever carries it out: pass it on as the idempotency key.
    key: str
    #: The action, and what it acted on.
    action: str
    resource: str
    #: What prepare said and what the result added.
    args: Mapping[str, object] = field(hash=False)
    #: What the outside world calls the job, if it had only accepted it. Of several an UNDO is told the last.
    handle: str
    #: Which attempt this is, from 1: an earlier one may have done the work and not lived to tell.
    attempt: int
    #: Until when it may be done at all, by the store's clock.
    until_time: datetime | None
    lease: Lease = field(repr=False, compare=False)
    #: Of a CALL_OFF: which of the action's jobs, from 0.
    job: int = 0

    @property
    def remaining(self) -> float:
        """How many seconds the duty is surely the caller's; a lease that is renewed grows again."""
        return self.lease.remaining

    @property
    def is_held(self) -> bool:
        """False once the duty is another compensator's, or nobody's: a long function looks, and stops."""
        return self.remaining > 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe answers: SUCCEEDED, or FAILED, and how it knows.

    FAILED says that it certainly did not happen, and will not. A probe that cannot tell answers None.
    """

    outcome: Outcome | str
    #: One line for people; it goes into the report.
    evidence: str

    def __post_init__(self) -> None:
        if self.outcome not in _FOUND or not self.evidence.strip():
            rule = "must be SUCCEEDED or FAILED, with evidence; a probe that cannot tell answers None"
            raise InvalidRequest(f"a finding {rule}", metadata={"field": "outcome", "rule": rule})


class Progress(StrEnum):
    """What happened to a duty in a compensator."""

    BEGUN = "BEGUN"
    #: Carried out, and on record.
    DONE = "DONE"
    #: The outside world will not be called off.
    REFUSED = "REFUSED"
    #: This attempt did not work; another one is due later.
    TRIED = "TRIED"
    #: Given up: a person has to look.
    FAILED = "FAILED"
    #: It is not this compensator's any more; nothing was reported.
    LOST = "LOST"
    #: What became of it could not be put on record; whoever claims it next does it again.
    UNTOLD = "UNTOLD"


@dataclass(frozen=True, slots=True)
class DutyStep:
    """One thing that happened to a duty in a compensator, as it is told to `on_step`."""

    what: Progress
    duty: Duty
    receipt: str = ""
    note: str = ""
    #: When the next attempt is due, if there is one.
    due_time: datetime | None = None
    #: What the function raised, if it did. Its text stays in this process.
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class DutyCompleted:
    """The duty is on record as carried out: DONE, or REFUSED by the outside world."""

    state: DutyState
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class DutyFailed:
    """The attempt is on record: OPEN and due again at `due_time`, or FAILED for good."""

    state: DutyState
    due_time: datetime | None
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class ActionResolved:
    """The outcome is on record, with the evidence for it."""

    state: ActionState
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class UndoStep:
    """What is done about one effect: `how`, or else `why_not`."""

    run_id: str
    op_id: str
    action: str
    resource: str
    how: str
    why_not: str
    #: One that is in flight or unknown is undone once it is known to have happened.
    state: ActionState
    #: The journal entry by which it was asked; 0 for a dry run.
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """Every effect and what is done about it, of each run the last one first."""

    steps: tuple[UndoStep, ...]

    @property
    def op_ids(self) -> tuple[str, ...]:
        """The actions whose compensation is due."""
        return tuple(step.op_id for step in self.steps if not step.why_not)


@dataclass(frozen=True, slots=True)
class UndoWithdrawn:
    """Nobody can begin these undos any more."""

    seqs: tuple[int, ...]
    #: Until when somebody who had begun one may still be at it; None if nobody had.
    busy_until_time: datetime | None
