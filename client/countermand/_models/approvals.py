"""What waits for a person, and what people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from countermand._words import ActionState, Reversibility


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """An action that waits for a person. Of its arguments only the digest is known here."""

    run_id: str
    op_id: str
    action: str
    resource: str
    digest: bytes
    reversibility: Reversibility
    #: One line of the tool's about it.
    summary: str
    costs: Mapping[str, int]
    subject: str
    agent: str
    tenant: str
    prepare_time: datetime | None
    #: Until when it can wait.
    expire_time: datetime | None


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """The actions that wait, the oldest first. If there are `more`, answer these first."""

    approvals: tuple[PendingApproval, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person agreed to, until `expire_time`; the commit uses it up."""

    actor: str
    note: str
    expire_time: datetime | None
    #: The arguments to use instead, as JSON, and their digest; empty if those prepared stand.
    amendment: str = ""
    amended_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class ActionApproved:
    """The action can be committed until `expire_time`."""

    state: ActionState
    seq: int
    expire_time: datetime | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class ActionDenied:
    """The action can never be committed."""

    state: ActionState
    seq: int
    replayed: bool
