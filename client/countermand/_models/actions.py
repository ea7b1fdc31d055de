"""Actions and permits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from countermand._clock import Clock, elapsing
from countermand._digest import digest
from countermand._ids import new_id
from countermand._models.approvals import Approval
from countermand._models.budgets import costs_of
from countermand._words import ActionState, Reversibility


@dataclass(frozen=True, slots=True)
class Intent:
    """One intended side effect. Its `op_id` names it within its run, for ever."""

    op_id: str
    action: str
    resource: str
    digest: bytes
    reversibility: Reversibility = Reversibility.UNSPECIFIED
    compensation: str = ""
    #: What it takes of budgets, by name. Every action takes 1 of `tool_calls` unless it says otherwise.
    costs: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: One line for the person who may have to agree. It is shown and journalled: no secrets.
    summary: str = ""
    #: What the compensation is called with. Stored, not journalled.
    compensation_args: Mapping[str, object] = field(default_factory=dict, hash=False)
    #: Who can tell what became of the effect, if nobody says so in time.
    probe: str = ""

    @classmethod
    def of(
        cls,
        action: str,
        *,
        resource: str = "",
        args: Mapping[str, object] | None = None,
        op_id: str | None = None,
        reversibility: Reversibility = Reversibility.UNSPECIFIED,
        compensation: str = "",
        compensation_args: Mapping[str, object] | None = None,
        probe: str = "",
        costs: Mapping[str, int] | None = None,
        summary: str = "",
    ) -> Self:
        """Describe an effect by its arguments, under a new op_id unless one is given."""
        name = new_id("o") if op_id is None else op_id
        return cls(
            op_id=name,
            action=action,
            resource=resource,
            digest=digest(args),
            reversibility=Reversibility(reversibility),
            compensation=compensation,
            costs=costs_of(costs),
            summary=summary,
            compensation_args={} if compensation_args is None else compensation_args,
            probe=probe,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """The action is on record and can be committed until `expire_time`.

    If its state is AWAITING_APPROVAL, a person has to agree first: prepare it again under the same op_id,
    until it is PREPARED or refused.
    """

    op_id: str
    seq: int
    expire_time: datetime | None
    state: ActionState
    replayed: bool
    #: What a person agreed to, if one had to.
    approval: Approval | None = None
    #: What is left in each budget that applies.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: Until when the effect may be undone, should it happen. No cancel ends that.
    undo_until_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer "go": for one effect, for as long as something remains of it."""

    op_id: str
    #: Grows with every permit of the store: a target that remembers the highest can refuse a late writer.
    fence: int
    use_by_time: datetime | None
    #: Given before, to the same op_id and digest: the effect may have happened already.
    replayed: bool
    #: When it ends by `clock`, counted from before the request was sent: never later than the store means it.
    ends_at: float = field(repr=False)
    #: An earlier request of the same call went unanswered, so the permit given before may be this call's own.
    asked_before: bool = field(default=False, repr=False)
    clock: Clock = field(default=elapsing, repr=False, compare=False)
    #: What is left in each budget that applies.
    remaining_budgets: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def remaining(self) -> float:
        """How many seconds are left in which the effect may start; 0 means: do not start."""
        return max(0.0, self.ends_at - self.clock())


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome is on record; `after_cut` if the run had been stopped when it came in."""

    op_id: str
    seq: int
    state: ActionState
    after_cut: bool
    replayed: bool
    #: What is left in each budget that applied, as far as the sidecar still knows.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: Why nobody can call off the job that was named, though it is on record; '' if somebody can.
    why_not_called_off: str = ""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The action can never be committed."""

    op_id: str
    seq: int
    replayed: bool
    #: What is left in each budget that applied, as far as the sidecar still knows.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Spent:
    """The amount is taken, for good."""

    op_id: str
    seq: int
    #: What is left in each budget that applies; a name that is missing has no limit.
    remaining: Mapping[str, int]
    replayed: bool
