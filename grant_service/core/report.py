"""The report: what is known of every action of a run and of the runs below it.

A report is a fold of the journal and nothing else, so it can be told again later and only ever becomes more
certain: what was interrupted stays interrupted, what was done stays done; only what was in flight or unknown
moves on. What follows from time (a permit's use-by, a run's end) is derived here and never written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from grant_service.core.action import OUTCOMES, ActionState
from grant_service.core.duty import DutyKind, DutyState
from grant_service.core.errors import AFTER_THE_STOP, ErrorReason
from grant_service.core.evidence import Head
from grant_service.core.fence import Fence, grant_mark
from grant_service.core.journal import ABOUT_DUTIES, Entry, Kind
from grant_service.core.run import End, Run
from grant_service.core.scope import NOT_UNDOABLE, PERMIT_MAY_BE_LOST, Reversibility
from grant_service.core.store import Durability

#: What no report promises.
SMALL_PRINT = (
    "Code that is already running is signalled, not owned: it may go on, but its commits are refused.",
    "What was sent to a third party cannot be recalled; an action in flight may still land until its use-by.",
    "Effects of tools that never ask this service are not seen here.",
)

_ATTEMPTS = frozenset({"prepare", "commit", "perform"})


@dataclass(frozen=True, slots=True)
class ReportedAction:
    """One action as it is known at the time of the report."""

    op_id: str
    run_id: str
    grant_id: str
    action: str
    resource: str
    reversibility: Reversibility
    compensation: str
    prepare_time: int
    expire_time: int
    state: ActionState = ActionState.PREPARED
    permit_time: int = 0
    use_by: int = 0
    fence: int = 0
    settle_time: int = 0
    settle_seq: int = 0
    settled_after_cut: bool = False
    receipt: str = ""
    note: str = ""
    #: A person agreed to it, until its expiry.
    approved: bool = False
    #: Who said what became of it, and how they knew, if its tool was not the first to do so.
    resolved_by: str = ""
    evidence: str = ""
    #: Until when it may be undone.
    undo_until: int = 0
    undo: "Undoing | None" = None
    #: One for each job that the outside world had only accepted, in the order in which they were told.
    call_offs: tuple["CallingOff", ...] = ()

    def why_not_undoable(self, now: int) -> str:
        """Say why nothing can be undone, or '' if a compensation is registered and may still be used."""
        if why := NOT_UNDOABLE.get(self.reversibility, ""):
            return why
        if not self.compensation:
            return "no compensation is registered"
        if self.state is ActionState.FAILED:
            return "it did not happen"
        if self.state is ActionState.UNKNOWN and not self.fence:
            return PERMIT_MAY_BE_LOST
        if self.undo and self.undo.why_over:
            return self.undo.why_over
        return "the time in which it could be undone is over" if now >= self.undo_until else ""


@dataclass(frozen=True, slots=True)
class Undoing:
    """What was asked, tried and reached about undoing one effect."""

    state: DutyState = DutyState.OPEN
    asked_by: str = ""
    ask_time: int = 0
    attempts: int = 0
    worker: str = ""
    #: The outside world's own id of the undo, and the last line anybody left about it.
    receipt: str = ""
    note: str = ""
    #: When it was undone, given up or taken back.
    end_time: int = 0

    @property
    def why_over(self) -> str:
        """Say why nobody may undo it any more, though somebody could have; '' if that is not so."""
        return "the authority to undo it was taken back" if self.state is DutyState.WITHDRAWN else ""


@dataclass(frozen=True, slots=True)
class CallingOff:
    """What became of calling off what the outside world had only accepted."""

    canceller: str
    handle: str = ""
    #: ACKNOWLEDGED, REFUSED, UNREACHABLE, or IMPOSSIBLE if nobody can; '' while nobody has heard.
    outcome: str = ""
    attempts: int = 0
    worker: str = ""
    note: str = ""
    end_time: int = 0


@dataclass(frozen=True, slots=True)
class LateAttempt:
    """A call that came after the stop and was refused."""

    seq: int
    time: int
    run_id: str
    verb: str
    op_id: str
    action: str
    resource: str
    reason: ErrorReason
    was_permitted: bool


@dataclass(frozen=True, slots=True)
class RunStory:
    """What one run's journal says."""

    actions: tuple[ReportedAction, ...]
    late_attempts: tuple[LateAttempt, ...]
    children: tuple[str, ...]
    #: How many refusals the journal holds, of how many kinds soever.
    refusals: int
    opened: bool
    last_seq: int
    #: What fences know its grants by: their own marks and those of the grants they came from.
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to cancel, and to everybody who asks later."""

    run: Run
    end: End | None
    descendants: tuple[str, ...]
    last_seq: int
    time: int
    epoch: str
    durability: Durability
    gaps: tuple[str, ...]
    #: Entries of a run in this report may be lost, and a permit with them.
    may_lack: bool
    actions: tuple[ReportedAction, ...]
    late_attempts: tuple[LateAttempt, ...]
    late_attempt_count: int
    #: Fences that stand, or stood, over a run of this report.
    fences: tuple[Fence, ...] = ()
    small_print: tuple[str, ...] = field(default=SMALL_PRINT)
    #: The heads of the journals it was told from, its own run's first.
    heads: tuple[Head, ...] = ()
    #: The entry as of which it is told, or 0.
    at_seq: int = 0

    def in_state(self, *states: ActionState) -> list[ReportedAction]:
        """Pick the actions that are in one of these states."""
        return [action for action in self.actions if action.state in states]

    @property
    def cut_seq(self) -> int:
        """The entry that cut this run off: its own, or that of a run above it; 0 if no entry did."""
        return self.run.end_seq or (self.end.seq if self.end else 0)

    @property
    def quiesced(self) -> bool:
        """True if no permit can be used any more and none can be given, as far as is known for sure."""
        return self.end is not None and not self.may_lack and not self.in_state(ActionState.PERMITTED)


def tell(
    entries: Iterable[Entry],
    end: End | None,
    now: int,
    may_lack: bool = False,
    fences: Sequence[Fence] = (),
) -> RunStory:
    """Fold a run's journal into its story, as of a time of the store's clock.

    Where entries may be lost, an action without a permit on record may have had one. `fences` are those that
    name the run; which of its actions they killed is told by the grants these were prepared under.
    """
    actions: dict[str, ReportedAction] = {}
    grants: dict[str, _Given] = {}
    late: list[LateAttempt] = []
    children: list[str] = []
    refusals, opened, last_seq = 0, False, 0
    killer = _Killers(grants, fences)
    for entry in entries:
        last_seq = entry.seq
        match entry.kind:
            case Kind.OPENED:
                opened = True
            case Kind.CHILD_OPENED:
                children.append(entry.data["child"])
            case Kind.ISSUED | Kind.DELEGATED:
                grants[entry.data["grant"]] = _given(entry)
            case Kind.PREPARED:
                actions[entry.op_id] = _prepared(entry)
            case Kind.PERMITTED | Kind.SETTLED | Kind.RESOLVED | Kind.APPROVED if entry.op_id in actions:
                actions[entry.op_id] = _moved(actions[entry.op_id], entry, end)
            case kind if kind in ABOUT_DUTIES and entry.op_id in actions:
                actions[entry.op_id] = _cleaned(actions[entry.op_id], entry)
            case Kind.ABANDONED | Kind.DENIED if entry.op_id in actions:
                action = actions[entry.op_id]
                killed = killer.of(action)
                # Interrupted by a fence stays interrupted, as it does by the cut.
                if not killed or entry.seq < killed.seq:
                    actions[entry.op_id] = _moved(action, entry, end)
            case Kind.EXHAUSTED:
                killer.ended(entry)
            case Kind.REFUSED:
                refusals += 1
                if _is_late(entry):
                    late.append(_late(entry))
    settled = tuple(
        _as_of(action, end, now, may_lack, killed.time if (killed := killer.of(action)) else None)
        for action in actions.values()
    )
    marks = frozenset(mark for grant in grants.values() for mark in grant.marks)
    return RunStory(settled, tuple(late), tuple(children), refusals, opened, last_seq, marks)


def _prepared(entry: Entry) -> ReportedAction:
    return ReportedAction(
        op_id=entry.op_id,
        run_id=entry.run_id,
        grant_id=entry.data["grant"],
        action=entry.data["action"],
        resource=entry.data.get("resource", ""),
        state=ActionState.AWAITING_APPROVAL if "awaits" in entry.data else ActionState.PREPARED,
        reversibility=Reversibility(entry.data["reversibility"]),
        compensation=entry.data.get("compensation", ""),
        prepare_time=entry.time,
        expire_time=int(entry.data["expire"]),
        undo_until=int(entry.data["undo_until"]),
    )


def _moved(action: ReportedAction, entry: Entry, end: End | None) -> ReportedAction:
    after_cut = end is not None and end.is_before(entry.seq, entry.time)
    if entry.kind is Kind.PERMITTED:
        use_by = int(entry.data["use_by"])
        return replace(
            action, state=ActionState.PERMITTED, fence=entry.seq, permit_time=entry.time, use_by=use_by
        )
    if entry.kind is Kind.APPROVED:
        until = int(entry.data["until"])
        return replace(action, state=ActionState.PREPARED, expire_time=until, approved=True)
    if entry.kind in _GIVEN_UP:
        # Interrupted by the cut stays interrupted: giving up afterwards is no news.
        note = entry.data.get("note", "")
        return action if after_cut else replace(action, state=_GIVEN_UP[entry.kind], note=note)
    known = replace(
        action,
        state=ActionState(entry.data["outcome"]),
        settle_time=entry.time,
        settle_seq=entry.seq,
        settled_after_cut=after_cut,
    )
    if entry.kind is Kind.RESOLVED:
        who, how = entry.data.get("actor", ""), entry.data.get("evidence", "")
        return replace(known, resolved_by=who, evidence=how)
    receipt, note = entry.data.get("receipt", ""), entry.data.get("note", "")
    call_offs = _with_job(action.call_offs, entry)
    if action.state is known.state:  # said before: the first words stand, and the tool may add to them
        receipt, note = action.receipt or receipt, action.note or note
        return replace(action, receipt=receipt, note=note, call_offs=call_offs)
    receipt, note = receipt or action.receipt, note or action.note
    return replace(known, receipt=receipt, note=note, call_offs=call_offs)


def _with_job(call_offs: tuple[CallingOff, ...], entry: Entry) -> tuple[CallingOff, ...]:
    """Add the job that a tool named, or who can call it off after all."""
    data = entry.data
    if not (handle := data.get("handle", "")):
        return call_offs
    canceller, why_not = data.get("canceller", ""), data.get("why_not", "")
    told = CallingOff(canceller, handle, "" if canceller else "IMPOSSIBLE", note=why_not)
    was = next((one for one in call_offs if one.handle == handle), None)
    if was is None:
        return (*call_offs, told)
    if was.canceller or not canceller:
        return call_offs
    return tuple(told if one is was else one for one in call_offs)


def _cleaned(action: ReportedAction, entry: Entry) -> ReportedAction:
    """Take in what was asked, tried or reached about undoing an effect or calling it off."""
    data, note = entry.data, entry.data.get("note", "")
    if entry.kind is Kind.UNDO_ASKED:
        return replace(action, undo=Undoing(asked_by=data.get("actor", ""), ask_time=entry.time, note=note))
    worker = data.get("worker", "")
    if entry.kind is Kind.CALLED_OFF or data.get("duty") == DutyKind.CALL_OFF:
        return replace(action, call_offs=_called_off(action.call_offs or (CallingOff(""),), entry))
    if data.get("duty") == DutyKind.ASK or entry.kind is Kind.UNANSWERED:
        return action
    undo = action.undo or Undoing(DutyState.WITHDRAWN)
    undo = replace(undo, worker=worker or undo.worker, note=note or undo.note)
    if entry.kind is Kind.CLAIMED:
        undo = replace(undo, attempts=int(data["attempt"]))
    elif entry.kind in _UNDO_ENDS:
        receipt = data.get("receipt", "")
        undo = replace(undo, state=_UNDO_ENDS[entry.kind], receipt=receipt, end_time=entry.time)
    return replace(action, undo=undo)


def _called_off(call_offs: tuple[CallingOff, ...], entry: Entry) -> tuple[CallingOff, ...]:
    """Take in what was tried or reached about calling off one job."""
    data, handle = entry.data, entry.data.get("handle", "")
    was = next((one for one in call_offs if one.handle == handle), call_offs[-1])
    now = replace(was, worker=data.get("worker", was.worker), note=data.get("note", was.note))
    if entry.kind is Kind.CALLED_OFF:
        now = replace(now, outcome=data["outcome"], end_time=entry.time)
    elif entry.kind is Kind.CLAIMED:
        now = replace(now, attempts=int(data["attempt"]))
    return tuple(now if one is was else one for one in call_offs)


_UNDO_ENDS = {
    Kind.UNDONE: DutyState.DONE,
    Kind.UNDO_FAILED: DutyState.FAILED,
    Kind.UNDO_WITHDRAWN: DutyState.WITHDRAWN,
}

#: What an undo makes of an effect that happened.
_UNDO_STATES = {
    DutyState.OPEN: ActionState.UNDO_PENDING,
    DutyState.DONE: ActionState.UNDONE,
    DutyState.FAILED: ActionState.UNDO_FAILED,
}


_GIVEN_UP = {Kind.ABANDONED: ActionState.ABANDONED, Kind.DENIED: ActionState.DENIED}

#: What becomes of an action in silence: one that nobody agreed to in time is denied, and one that somebody
#: agreed to and nobody used in time, too.
_LAPSED = {ActionState.PREPARED: ActionState.EXPIRED, ActionState.AWAITING_APPROVAL: ActionState.DENIED}


def _as_of(
    action: ReportedAction, end: End | None, now: int, may_lack: bool, killed: int | None
) -> ReportedAction:
    """Apply what follows from time: a lapsed prepare, a stop, a fence, a lapsed permit."""
    if action.state is ActionState.PERMITTED and now >= action.use_by:
        return replace(action, state=ActionState.UNKNOWN)
    if action.state is ActionState.SUCCEEDED and action.undo:
        undo = action.undo.state
        if undo is DutyState.OPEN and now >= action.undo_until:
            undo = DutyState.FAILED  # whoever claims it hears that; perhaps nobody does
        return replace(action, state=_UNDO_STATES.get(undo, action.state))
    if action.state is ActionState.FAILED and action.undo and action.undo.state is DutyState.OPEN:
        return replace(action, undo=replace(action.undo, state=DutyState.MOOT))
    if action.state not in _LAPSED:
        return action
    if may_lack:
        return replace(action, state=ActionState.UNKNOWN)
    stops = [time for time in (end.time if end else None, killed) if time is not None]
    if not stops and now < action.expire_time:
        return action
    if stops and min(stops) < action.expire_time:
        return replace(action, state=ActionState.INTERRUPTED)
    return replace(action, state=ActionState.DENIED if action.approved else _LAPSED[action.state])


@dataclass(frozen=True, slots=True)
class _Given:
    """A grant as its journal line tells it."""

    root_seq: int
    marks: tuple[str, ...]


def _given(entry: Entry) -> _Given:
    chain = entry.data["chain"].split(",") if "chain" in entry.data else []
    marks = tuple(map(grant_mark, [*chain, entry.data["grant"]]))
    return _Given(int(entry.data.get("root", entry.seq)), marks)


class _Killers:
    """Finds what first killed the grant of an action for what it is: a fence, or the end of its chain."""

    def __init__(self, grants: Mapping[str, _Given], fences: Sequence[Fence]) -> None:
        self._grants, self._fences = grants, fences
        self._fenced: dict[tuple[str, str], Fence | None] = {}
        self._ended: dict[str, Entry] = {}

    def ended(self, entry: Entry) -> None:
        """Take the line that says that a grant was ended."""
        self._ended[grant_mark(entry.data["grant"])] = entry

    def of(self, action: ReportedAction) -> Fence | Entry | None:
        """Find it; None if nothing did. The line of the action's grant must have been read."""
        grant = self._grants.get(action.grant_id)
        if grant is None:
            return None
        fence = self._fence(action, grant)
        killers: list[Fence | Entry] = [fence] if fence else []
        killers += [self._ended[mark] for mark in grant.marks if mark in self._ended]
        return min(killers, key=lambda one: one.seq, default=None)

    def _fence(self, action: ReportedAction, grant: _Given) -> Fence | None:
        """Find the first fence; each grant's and action's is looked for once."""
        asked = (action.grant_id, action.action)
        if asked not in self._fenced:
            killers = self._killers(grant, action.action)
            self._fenced[asked] = min(killers, key=lambda fence: fence.seq, default=None)
        return self._fenced[asked]

    def _killers(self, grant: _Given, action: str) -> Iterable[Fence]:
        for fence in self._fences:
            marks = frozenset({*fence.run_marks, *grant.marks})
            if grant.root_seq < fence.seq and fence.selector.names(marks, action):
                yield fence


def _is_late(entry: Entry) -> bool:
    return entry.data["verb"] in _ATTEMPTS and entry.data["reason"] in AFTER_THE_STOP


def _late(entry: Entry) -> LateAttempt:
    return LateAttempt(
        seq=entry.seq,
        time=entry.time,
        run_id=entry.run_id,
        verb=entry.data["verb"],
        op_id=entry.op_id,
        action=entry.data.get("action", ""),
        resource=entry.data.get("resource", ""),
        reason=ErrorReason(entry.data["reason"]),
        was_permitted=entry.data.get("prior_decision") == ActionState.PERMITTED,
    )


#: The parts of a report, by the states whose actions they list.
PARTS = {
    "done": (
        ActionState.SUCCEEDED,
        ActionState.UNDO_PENDING,
        ActionState.UNDONE,
        ActionState.UNDO_FAILED,
    ),
    "interrupted": (ActionState.INTERRUPTED,),
    "in_flight": (ActionState.PERMITTED,),
    "unknown": (ActionState.UNKNOWN,),
    "not_done": (ActionState.FAILED, ActionState.ABANDONED, ActionState.EXPIRED, ActionState.DENIED),
    "pending": (ActionState.PREPARED, ActionState.AWAITING_APPROVAL),
}

assert {state for states in PARTS.values() for state in states} >= OUTCOMES  # noqa: S101 - a rule of this file
