"""Budgets: how much of something a run or grant, and everything below it, may use."""

from collections.abc import Mapping
from dataclasses import dataclass

from countermand._errors import InvalidRequest
from countermand._words import Exhaustion

#: What the contract can say of an amount; how large one may be is for the sidecar to say.
_LARGEST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in whole units of its own, such as calls, tokens or millionths of a dollar.

    When more is asked for than is left, CANCEL ends the run or grant that set it, and REFUSE only refuses.
    """

    limit: int
    on_exhausted: Exhaustion | str = Exhaustion.CANCEL


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """How a budget stands."""

    limit: int
    on_exhausted: Exhaustion
    #: For good.
    taken: int
    #: Held for prepared actions: it comes back if they are abandoned or expire.
    reserved: int
    remaining: int


#: Budgets by name: a limit alone cancels.
Budgets = Mapping[str, int | Budget]


def budgets_of(budgets: Budgets | None) -> dict[str, Budget]:
    """Read limits and budgets, by name."""
    told = {}
    for name, asked in (budgets or {}).items():
        budget = asked if isinstance(asked, Budget) else Budget(asked)
        limit = amount(f"budgets[{name!r}]", budget.limit)
        told[name] = Budget(limit, Exhaustion(budget.on_exhausted))
    return told


def costs_of(costs: Mapping[str, int] | None) -> dict[str, int]:
    """Read what an action costs."""
    return {name: amount(f"costs[{name!r}]", cost) for name, cost in (costs or {}).items()}


def amount(field: str, value: object) -> int:
    """Take a whole number that is not negative; the contract has no others."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    rule = "must be a whole number, 0 or more"
    raise InvalidRequest(f"{field} {rule}, not {value!r}", metadata={"field": field, "rule": rule})
