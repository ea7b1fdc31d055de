"""An action: one intended side effect."""

from dataclasses import dataclass
from enum import StrEnum

from grant_service.core.budget import Costs
from grant_service.core.scope import Reversibility


class ActionState(StrEnum):
    """Where an action is in its life. The last five are derived: from time, an end, an undo."""

    PREPARED = "PREPARED"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    DENIED = "DENIED"
    PERMITTED = "PERMITTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    ABANDONED = "ABANDONED"
    INTERRUPTED = "INTERRUPTED"
    EXPIRED = "EXPIRED"
    UNDO_PENDING = "UNDO_PENDING"
    UNDONE = "UNDONE"
    UNDO_FAILED = "UNDO_FAILED"


#: What a tool may say became of a permitted action.
OUTCOMES = frozenset({ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Intent:
    """One intended side effect, as its tool describes it. `digest` is hexadecimal SHA-256."""

    op_id: str
    action: str
    resource: str
    digest: str
    reversibility: Reversibility
    compensation: str = ""
    #: What it takes of budgets, and one line for whoever may have to agree.
    costs: Costs = ()
    summary: str = ""
    #: What the compensation is called with, as a JSON object, and who can tell what became of the effect.
    compensation_args: str = ""
    probe: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person said: yes until a time of the store's clock, or no, which is until 0."""

    actor: str
    note: str
    seq: int
    until: int = 0
    #: How long it was asked to last.
    ttl_ms: int = 0
    #: The arguments agreed to instead, as JSON, and their digest; '' where the prepared ones stand.
    amendment: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Spending:
    """An amount taken from budgets for what is no action."""

    run_id: str
    grant_id: str
    op_id: str
    budget: str
    amount: int
    incurred: bool
    seq: int


@dataclass(frozen=True, slots=True)
class Action:
    """An action as the store holds it. Times are milliseconds of the store's clock."""

    run_id: str
    grant_id: str
    intent: Intent
    #: The index of the grant's scope that allowed it: its uses are counted there.
    scope: int
    state: ActionState
    prepare_time: int
    prepare_seq: int
    #: Until when it can be committed.
    expire_time: int
    #: Until when anybody may undo it, call it off or ask what became of it.
    undo_until: int = 0
    #: The permit, once there is one: its number, and until when it can be used.
    fence: int = 0
    use_by: int = 0
    #: The entry that settled or abandoned it, once there is one.
    settle_seq: int = 0
    #: Somebody else found out its outcome, and its tool has not said so itself yet.
    resolved: bool = False
    #: What only the outcome told: more for the compensation, and what the outside world calls its jobs.
    result_args: str = ""
    handles: tuple[str, ...] = ()
    #: What a person said about it, if one had to be asked and has answered.
    approval: Approval | None = None

    @property
    def digest(self) -> str:
        """The digest that a commit must come with."""
        return (self.approval and self.approval.digest) or self.intent.digest
