"""The verbs: what each one is told, and what it answers when it does not refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from grant_service.core.action import ActionState, Intent
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


@dataclass(frozen=True, slots=True)
class Issued:
    """The grant is issued; the subject is the run's."""

    grant: Grant
    subject: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class Prepare:
    """Record an intended action. `peer` is the identity the caller's listener gave it."""

    grant: GrantRef
    peer: str
    intent: Intent
    ttl_ms: int
    max_actions: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """The action is on record; nothing may happen yet."""

    op_id: str
    seq: int
    expire_time: int
    replayed: bool


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


@dataclass(frozen=True, slots=True)
class Permitted:
    """The action may happen until `use_by`; `left_ms` of that are left, by the store's clock."""

    op_id: str
    fence: int
    use_by: int
    left_ms: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """Record what became of a permitted action."""

    grant: GrantRef
    peer: str
    op_id: str
    outcome: ActionState
    receipt: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome is on record; `after_cut` if the run had been ended by then."""

    op_id: str
    seq: int
    state: ActionState
    after_cut: bool
    replayed: bool


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
