"""The verbs: what each one is told, and what it answers when it does not refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grant_service.core.action import ActionState, Approval, Intent
from grant_service.core.budget import Budget
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.fence import Fence, Selector
from grant_service.core.grant import Grant, GrantRef
from grant_service.core.run import Run, RunState, StopReason
from grant_service.core.scope import Scope


@dataclass(frozen=True, slots=True)
class Open:
    """Open a run. It is kept `keep_ms` beyond its deadline."""

    run_id: str
    ttl_ms: int
    keep_ms: int
    parent: str = ""
    subject: str = ""
    agent: str = ""
    tenant: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """The run is open."""

    run: Run
    replayed: bool


@dataclass(frozen=True, slots=True)
class Issue:
    """Issue a grant."""

    grant_id: str
    run_id: str
    audience: str
    scopes: tuple[Scope, ...]
    ttl_ms: int
    budgets: tuple[Budget, ...] = ()
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """The grant is issued; the subject is the run's."""

    grant: Grant
    subject: str
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delegate:
    """Hand on part of a grant, to its own run or to a run opened below it, which `child` describes.

    The child's parent, subject and tenant are those of the grant's run; a ttl of 0 lasts as long as that.
    `peer` '' is one that may hand on anybody's grant.
    """

    grant: GrantRef
    peer: str
    grant_id: str
    scopes: tuple[Scope, ...]
    ttl_ms: int
    max_delegations: int
    #: '' for that of the grant it comes from.
    audience: str = ""
    budgets: tuple[Budget, ...] = ()
    sealed: bool = False
    child: Open | None = None


@dataclass(frozen=True, slots=True)
class Delegated:
    """The narrower grant is issued, and its run opened if one was asked for; the subject is the run's."""

    grant: Grant
    subject: str
    run: Run | None
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extend:
    """Let a grant that is good but for its time last so long from now on. `peer` is as in Delegate."""

    grant: GrantRef
    peer: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Extended:
    """The same grant, as long as it lasts now; replayed if it lasted that long already."""

    grant: Grant
    subject: str
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepare:
    """Record an intended action. `peer` is the identity the caller's listener gave it."""

    grant: GrantRef
    peer: str
    intent: Intent
    ttl_ms: int
    max_actions: int
    #: How long it may wait, if a person has to agree first.
    wait_ms: int = 0
    #: How long from now on it may be undone, called off or asked about; never longer than its run is kept.
    undo_ms: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The action is on record; nothing may happen yet, and nothing at all until its state is PREPARED."""

    op_id: str
    seq: int
    expire_time: int
    replayed: bool
    state: ActionState = ActionState.PREPARED
    approval: Approval | None = None
    #: What is left in each budget that applies.
    remaining: Mapping[str, int] = field(default_factory=dict)
    #: Until when the effect may be undone, should it happen.
    undo_until: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """Ask whether a prepared action may happen now; the permit lasts `use_ms`."""

    grant: GrantRef
    peer: str
    op_id: str
    digest: str
    use_ms: int


@dataclass(frozen=True, slots=True)
class Perform:
    """Prepare and commit in one atomic step."""

    grant: GrantRef
    peer: str
    intent: Intent
    use_ms: int
    max_actions: int
    #: How long it may wait, if a person has to agree first.
    wait_ms: int = 0
    #: How long from now on it may be undone, called off or asked about; never longer than its run is kept.
    undo_ms: int = 0


@dataclass(frozen=True, slots=True)
class Permitted:
    """The action may happen until `use_by`; `left_ms` of that are left, by the store's clock."""

    op_id: str
    fence: int
    use_by: int
    left_ms: int
    replayed: bool
    #: What is left in each budget that applies.
    remaining: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settle:
    """Record what became of a permitted action.

    `result_args` is a JSON object that completes what its compensation is called with. A `handle` is what the
    outside world calls what it has only accepted, and `canceller` names who can call that off; where nobody
    is named, `why_not` says why.
    """

    grant: GrantRef
    peer: str
    op_id: str
    outcome: ActionState
    receipt: str = ""
    note: str = ""
    result_args: str = ""
    handle: str = ""
    canceller: str = ""
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome is on record; `after_cut` if the run had been ended by then."""

    op_id: str
    seq: int
    state: ActionState
    after_cut: bool
    replayed: bool
    #: What is left in each budget that applied, as far as it is on record.
    remaining: Mapping[str, int] = field(default_factory=dict)
    #: Why nobody can call off the job that was named; '' if somebody can, or none was.
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give up a prepared action."""

    grant: GrantRef
    peer: str
    op_id: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The action can never be committed."""

    op_id: str
    seq: int
    replayed: bool
    #: What is left in each budget that applied, as far as it is on record.
    remaining: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Revoke every grant of a run and of the runs below it."""

    run_id: str
    reason: StopReason
    actor: str = ""
    note: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """From now on no commit is accepted. `seq` is the cut; the first one stands.

    `known` is false if no such run had ever been opened: then a tombstone was left.
    """

    run_id: str
    state: RunState
    seq: int
    time: int
    known: bool
    replayed: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """End a run that did its work."""

    run_id: str
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over."""

    run: Run
    replayed: bool


@dataclass(frozen=True, slots=True)
class Spend:
    """Take an amount for what is no action; `incurred` if it was used up already, whatever is left."""

    grant: GrantRef
    peer: str
    op_id: str
    budget: str
    amount: int
    max_spendings: int
    incurred: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """The amount is taken."""

    op_id: str
    seq: int
    replayed: bool
    #: What is left in each budget that applies.
    remaining: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Revoke:
    """Kill what was issued before. No grant from before can be alive after `kill_ms`."""

    fence_id: str
    selector: Selector
    reason: StopReason
    kill_ms: int
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Kill what was issued before, and block what comes later for `ttl_ms`; 0 is until it is lifted."""

    fence_id: str
    selector: Selector
    reason: StopReason
    kill_ms: int
    actor: str = ""
    note: str = ""
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True)
class Fenced:
    """The fence stands."""

    fence: Fence
    replayed: bool


@dataclass(frozen=True, slots=True)
class Lift:
    """End a freeze."""

    fence_id: str
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lifted:
    """The fence blocks nothing any more."""

    fence: Fence
    replayed: bool


@dataclass(frozen=True, slots=True)
class Approve:
    """Agree to an action that waits for a person; an `amendment` is narrower arguments, with their digest."""

    run_id: str
    op_id: str
    digest: str
    ttl_ms: int
    actor: str = ""
    note: str = ""
    amendment: str = ""
    amended_digest: str = ""


@dataclass(frozen=True, slots=True)
class Approved:
    """The action can be committed until then."""

    op_id: str
    seq: int
    until: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse an action that waits for a person, or take back an approval that was not used yet."""

    run_id: str
    op_id: str
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Denied:
    """The action can never be committed."""

    op_id: str
    seq: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Resolve:
    """Say what became of an action whose outcome is unknown, and how one knows."""

    run_id: str
    op_id: str
    outcome: ActionState
    actor: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome is on record."""

    op_id: str
    seq: int
    state: ActionState
    replayed: bool


@dataclass(frozen=True, slots=True)
class Undo:
    """Ask for the compensation of an effect."""

    run_id: str
    op_id: str
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """How the undo stands; `replayed` if it had been asked for before."""

    op_id: str
    seq: int
    state: DutyState
    replayed: bool


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back the authority to undo an effect."""

    run_id: str
    op_id: str
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Nobody can claim the undo any more. Whoever has claimed it may still be at it until `lease_until`."""

    op_id: str
    seq: int
    lease_until: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """Take on a duty for `lease_ms`; `lease` names this claim."""

    run_id: str
    op_id: str
    kind: DutyKind
    worker: str
    lease: str
    lease_ms: int
    max_attempts: int
    #: Of a CALL_OFF: which of its action's jobs.
    job: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The duty is the caller's until its lease ends."""

    duty: Duty
    left_ms: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Renew:
    """Keep a duty for another `lease_ms` from now."""

    run_id: str
    op_id: str
    kind: DutyKind
    lease: str
    lease_ms: int
    #: Of a CALL_OFF: which of its action's jobs.
    job: int = 0


@dataclass(frozen=True, slots=True)
class Complete:
    """Say that a duty is carried out.

    `outcome` is DONE for an UNDO, DONE or REFUSED for a CALL_OFF, SUCCEEDED or FAILED for an ASK.
    """

    run_id: str
    op_id: str
    kind: DutyKind
    lease: str
    outcome: str
    receipt: str = ""
    note: str = ""
    #: Of a CALL_OFF: which of its action's jobs.
    job: int = 0


@dataclass(frozen=True, slots=True)
class Completed:
    """It is on record."""

    op_id: str
    seq: int
    state: DutyState
    replayed: bool


@dataclass(frozen=True, slots=True)
class Fail:
    """Say that an attempt did not work. The next one, if any, is due after `retry_ms`, doubled each time."""

    run_id: str
    op_id: str
    kind: DutyKind
    lease: str
    retry_ms: int
    max_attempts: int
    note: str = ""
    #: No further attempt will work.
    final: bool = False
    #: Of a CALL_OFF: which of its action's jobs.
    job: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """How the duty stands: OPEN and due again, or FAILED."""

    op_id: str
    seq: int
    state: DutyState
    due: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of what a run left: its journal, archived up to `last_seq`, and the records named."""

    run_id: str
    last_seq: int
    grant_ids: tuple[str, ...] = ()
    op_ids: tuple[str, ...] = ()
    spending_ids: tuple[str, ...] = ()
