"""Actions and permits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from countermand._clock import Clock, elapsing
from countermand._digest import digest
from countermand._ids import new_id
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
    ) -> Self:
        """Describe an effect by its arguments, under a new op_id unless one is given."""
        name = new_id("o") if op_id is None else op_id
        return cls(name, action, resource, digest(args), Reversibility(reversibility), compensation)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The action is on record and can be committed until `expire_time`."""

    op_id: str
    seq: int
    expire_time: datetime | None
    state: ActionState
    replayed: bool


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


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The action can never be committed."""

    op_id: str
    seq: int
    replayed: bool
