"""Reports and journal entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from countermand._models.fences import Fence
from countermand._models.runs import Run
from countermand._words import ActionState, CallOffState, Durability, ErrorReason, Reversibility


@dataclass(frozen=True, slots=True)
class Undo:
    """Whether an effect can be undone, `how` or else `why_not`; and what was asked and tried so far."""

    undoable: bool
    how: str
    why_not: str
    reversibility: Reversibility
    #: Until when it may be undone.
    until_time: datetime | None = None
    #: Who asked for it, and when; empty if nobody did.
    asked_by: str = ""
    ask_time: datetime | None = None
    #: How often it was tried, and by whom last.
    attempts: int = 0
    worker: str = ""
    #: The outside world's own id of the undo, and the last line anybody left about it.
    receipt: str = ""
    note: str = ""
    #: When it was undone, given up or taken back.
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class CallOff:
    """A job that the outside world had only accepted, and what became of calling it off."""

    #: Who can call it off, '' if nobody can, and what the outside world calls it.
    canceller: str
    handle: str
    #: NOT_TRIED: nobody has heard yet, and nobody tries unless the run is cancelled. IMPOSSIBLE: nobody can,
    #: and the note says why.
    state: CallOffState
    attempts: int
    worker: str
    note: str
    #: When it was acknowledged, refused or given up.
    end_time: datetime | None


@dataclass(frozen=True, slots=True)
class ReportedAction:
    """One action as far as it is known."""

    op_id: str
    run_id: str
    action: str
    resource: str
    state: ActionState
    #: The outside world's own id of the effect.
    receipt: str
    note: str
    prepare_time: datetime | None
    permit_time: datetime | None
    use_by_time: datetime | None
    settle_time: datetime | None
    fence: int
    settled_after_cut: bool
    undo: Undo
    #: Who said first what became of it, if its tool did not, and how they knew.
    resolved_by: str = ""
    evidence: str = ""
    #: Set if the outside world had only accepted it.
    call_off: CallOff | None = None
    #: The same of the further jobs that it began, in the order in which they were told.
    more_call_offs: tuple[CallOff, ...] = ()

    @property
    def call_offs(self) -> tuple[CallOff, ...]:
        """All jobs that the outside world had only accepted, the first one first."""
        return (*([self.call_off] if self.call_off else []), *self.more_call_offs)


@dataclass(frozen=True, slots=True)
class LateAttempt:
    """A call that came after the stop and was refused."""

    seq: int
    time: datetime | None
    run_id: str
    #: `prepare`, `commit` or `perform`.
    verb: str
    op_id: str
    action: str
    resource: str
    reason: ErrorReason
    #: PERMITTED if the action had its permit before the stop.
    prior_decision: ActionState | None


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What a run's journal held at one moment, signed.

    Keep it: held against the journal later, it shows whether anything it covers was changed
    (`countermand.evidence`).
    """

    run_id: str
    #: The last entry it covers, and how many there are.
    last_seq: int
    entry_count: int
    hash: bytes
    #: The beginnings of the hashes after every `stride`-th entry.
    marks: bytes
    stride: int
    #: The time the report it came with tells of.
    time: datetime | None
    store_epoch: str
    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class EvidenceKey:
    """A public key by which signed heads are verified; `signing` if it signs now."""

    key_id: str
    public_key: bytes
    signing: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The stop report: what is known of every action of a run and the runs below it.

    Later reports of the same run only ever become more certain.
    """

    run: Run
    descendant_run_ids: tuple[str, ...]
    #: The journal entry that stopped the run; 0 if none did.
    cut_seq: int
    last_seq: int
    time: datetime | None
    store_epoch: str
    durability: Durability
    #: Nothing is in flight: no permit can be used any more.
    quiesced: bool
    #: False if part of the journal is missing; `gaps` says which.
    complete: bool
    gaps: tuple[str, ...]
    #: Happened, says the tool.
    done: tuple[ReportedAction, ...]
    #: Prepared, never permitted when the run was stopped: did not happen and cannot happen any more.
    interrupted: tuple[ReportedAction, ...]
    #: Permitted, and may still land until its use-by.
    in_flight: tuple[ReportedAction, ...]
    #: Permitted, with no outcome known: may have happened.
    unknown: tuple[ReportedAction, ...]
    #: Did not happen, for another reason than the stop.
    not_done: tuple[ReportedAction, ...]
    #: Still to be decided: only while the run is active.
    pending: tuple[ReportedAction, ...]
    late_attempts: tuple[LateAttempt, ...]
    #: How many there were, if more than are listed.
    late_attempt_count: int
    #: What this report does not promise.
    small_print: tuple[str, ...]
    #: Those that stand, or stood, over this run or one below it, the oldest first.
    fences: tuple[Fence, ...] = ()
    #: The signed heads of the journals it was told from: the run's own first, then those of the runs below.
    heads: tuple[SignedHead, ...] = ()
    #: The entry as of which it was asked for; 0 if it tells what is known now.
    at_seq: int = 0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run is stopped; `replayed` if it had ended before, not `known` if it had never been opened."""

    report: Report
    replayed: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a run's journal."""

    seq: int
    time: datetime | None
    run_id: str
    kind: str
    op_id: str
    data: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Some entries, in order; if there are `more`, ask again with the last one's seq."""

    entries: tuple[Entry, ...]
    more: bool
