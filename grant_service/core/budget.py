"""A budget: how much of something a run or grant, and everything below it, may use.

What is taken is taken for good. What a prepared action will need is held for it until the second in which the
action expires, and comes back then by itself: nothing has to be swept.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_BUDGETS = 16

#: The largest amount. Sums of a few are whole numbers in every store, Lua's doubles included.
MAX_AMOUNT = 10**15

#: The most that can be on record as taken. What was used up already is taken whatever the limit is.
_MOST_TAKEN = 4 * MAX_AMOUNT

#: Every action costs one of this, unless it says otherwise.
TOOL_CALLS = "tool_calls"

#: Amounts are held until the end of a slot of this many milliseconds, so that few numbers tell all of them.
_SLOT_MS = 1000

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


class Exhaustion(StrEnum):
    """What happens when more is asked for than is left."""

    CANCEL = "CANCEL"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget as the store holds it. `reserved` is what is held: (until when, how much), by time."""

    name: str
    limit: int
    on_exhausted: Exhaustion = Exhaustion.CANCEL
    taken: int = 0
    reserved: tuple[tuple[int, int], ...] = ()

    @property
    def asked(self) -> "Budget":
        """The budget as it was asked for."""
        return Budget(self.name, self.limit, self.on_exhausted)

    def held(self, now: int) -> int:
        """Tell how much is held for prepared actions."""
        return sum(amount for until, amount in self.reserved if until > now)

    def left(self, now: int) -> int:
        """Tell how much can still be asked for."""
        return max(0, self.limit - self.taken - self.held(now))

    def reserve(self, amount: int, until: int, now: int) -> "Budget":
        """Hold an amount for an action that expires then."""
        return self._changed(amount, until, now)

    def give_back(self, amount: int, until: int, now: int) -> "Budget":
        """Let go of what was held; what has lapsed is free already."""
        return self._changed(-amount, until, now)

    def take(self, amount: int) -> "Budget":
        """Take an amount for good."""
        return replace(self, taken=min(self.taken + amount, _MOST_TAKEN))

    def _changed(self, amount: int, until: int, now: int) -> "Budget":
        slots = {end: held for end, held in self.reserved if end > now}
        slot = -(-until // _SLOT_MS) * _SLOT_MS
        if slot > now:
            slots[slot] = max(0, slots.get(slot, 0) + amount)
        return replace(self, reserved=tuple(sorted((end, held) for end, held in slots.items() if held)))


Costs = tuple[tuple[str, int], ...]


def charges(costs: Costs) -> dict[str, int]:
    """Tell what an action takes of each budget that is set."""
    return {TOOL_CALLS: 1} | dict(costs)


def remaining(budgets: Iterable[Budget], now: int) -> dict[str, int]:
    """Tell what is left under each name: the least of all budgets of that name."""
    left: dict[str, int] = {}
    for one in budgets:
        left[one.name] = min(left.get(one.name, MAX_AMOUNT), one.left(now))
    return dict(sorted(left.items()))


def name_fault(name: str) -> str | None:
    """Say why this is no name of a budget, or None if it is one."""
    if not _NAME.fullmatch(name):
        return "must be 1 to 64 of a-z, 0-9, '_', '.' and '-', and begin with a letter"
    return None


def budgets_text(budgets: Iterable[Budget]) -> str:
    """Write budgets as they were asked for, in the one way all stores keep them."""
    return ";".join(f"{one.name} {one.limit} {one.on_exhausted}" for one in budgets)


def costs_text(costs: Costs) -> str:
    """Write costs in the one way all stores keep them."""
    return ",".join(f"{name}={amount}" for name, amount in costs)


def costs_of(amounts: Mapping[str, int]) -> Costs:
    """Put costs into their one order."""
    return tuple(sorted(amounts.items()))


def wider(asked: Iterable[Budget], above: Iterable[Budget]) -> Iterator[str]:
    """Name the budgets that would hold more than the one of the same name above."""
    limits: dict[str, int] = {}
    for one in above:
        limits[one.name] = min(limits.get(one.name, MAX_AMOUNT), one.limit)
    for one in asked:
        if one.limit > limits.get(one.name, MAX_AMOUNT):
            yield one.name
