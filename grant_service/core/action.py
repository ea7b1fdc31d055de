"""An action: one intended side effect."""

from dataclasses import dataclass
from enum import StrEnum

from grant_service.core.scope import Reversibility


class ActionState(StrEnum):
    """Where an action is in its life. The last two are derived from time and the run's end, never stored."""

    PREPARED = "PREPARED"
    PERMITTED = "PERMITTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    ABANDONED = "ABANDONED"
    INTERRUPTED = "INTERRUPTED"
    EXPIRED = "EXPIRED"


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
    #: The permit, once there is one: its number, and until when it can be used.
    fence: int = 0
    use_by: int = 0
    #: The entry that settled or abandoned it, once there is one.
    settle_seq: int = 0
