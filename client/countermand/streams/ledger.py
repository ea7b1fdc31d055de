"""What models took, by the names of budgets: what was used, what is held, and what is known to be left."""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from countermand._errors import FixTheCall, InvalidRequest
from countermand._models.budgets import costs_of
from countermand.streams.price import Price
from countermand.streams.usage import Usage

NOTHING = Usage()


@dataclass(eq=False, slots=True)
class Hold:
    """What is kept back for one request, until its answer has come: by the names of budgets."""

    input: int
    max_tokens: int
    amounts: dict[str, int]
    #: The task or thread that asked for it.
    who: object


class Ledger:
    """What was used, is held and is left. Any thread may use it."""

    def __init__(
        self, input: str, output: str, cost: str, price: Price | None, limits: Mapping[str, int] | None
    ) -> None:
        self._input, self._output, self._cost, self._price = input, output, cost, price
        self._lock = threading.Lock()
        self._limits = costs_of(limits)
        self._taken: defaultdict[str, int] = defaultdict(int)
        #: What the sidecar said is left, and what was counted here that it has not heard of.
        self._told: dict[str, int] = {}
        self._untold: defaultdict[str, int] = defaultdict(int)
        self._holds: dict[Hold, None] = {}
        self._waiting: dict[object, Callable[[], object]] = {}
        self.used = NOTHING
        names = {input, output, *([cost] if price else [])}
        if unknown := set(self._limits) - names:
            rule = f"must be of {', '.join(sorted(names))}"
            raise InvalidRequest(
                f"limits {rule}; not of {', '.join(sorted(unknown))}",
                metadata={"field": "limits", "rule": rule},
            )

    # -- what was used

    def amounts(self, usage: Usage) -> dict[str, int]:
        """Answer what this takes of each budget."""
        taken = {self._input: usage.input, self._output: usage.output}
        if self._price is not None:
            taken[self._cost] = self._price.of(usage)
        return {name: amount for name, amount in taken.items() if amount}

    def count(self, usage: Usage, *, before: Usage = NOTHING, hold: Hold | None = None) -> str:
        """Count what was used, of which some may have been counted `before`; it is held no longer.

        Answers the budget that had less left than that; empty if each had enough.
        """
        short, old = "", self.amounts(before)
        with self._lock:
            self.used += usage - before
            for name, amount in (dict.fromkeys(old, 0) | self.amounts(usage)).items():
                more = amount - old.get(name, 0)
                left = self._left_of(name)
                short = short or (name if more > 0 and left is not None and more > left else "")
                self._taken[name] += more
                self._untold[name] += more
                if hold is not None:
                    hold.amounts[name] = max(0, hold.amounts.get(name, 0) - max(0, more))
        return short

    # -- what is left

    def learn(self, remaining: Mapping[str, int]) -> None:
        """Take over what the sidecar says is left."""
        with self._lock:
            self._told.update(remaining)

    def told(self, name: str, amount: int, remaining: Mapping[str, int] | None) -> None:
        """The sidecar was told of an amount, and said what is left; None: nobody knows whether it heard."""
        with self._lock:
            self._untold[name] -= amount
            if remaining is not None:
                self._told.update(remaining)
            elif name in self._told:  # it counts here until the sidecar says what is left
                self._told[name] -= amount

    @property
    def left(self) -> dict[str, int]:
        """What is left of each budget: the least of the limits here and of what the sidecar told."""
        with self._lock:
            return {name: max(0, left) for name, left in self._all_left().items()}

    @property
    def held(self) -> dict[str, int]:
        """What is held of each budget for requests under way."""
        with self._lock:
            return {name: held for name in self._all_left() if (held := self._held_of(name))}

    def _all_left(self) -> dict[str, int]:
        names = dict.fromkeys(name for name in {**self._limits, **self._told} if name in self._mine)
        return {name: left for name in names if (left := self._left_of(name)) is not None}

    @property
    def _mine(self) -> set[str]:
        return {self._input, self._output, self._cost}

    def _left_of(self, name: str) -> int | None:
        """Answer what is left, less than nothing where more was used; None without a known limit."""
        left = []
        if name in self._limits:
            left.append(self._limits[name] - self._taken[name])
        if name in self._told:
            left.append(self._told[name] - self._untold[name])
        return min(left, default=None)

    def _held_of(self, name: str) -> int:
        return sum(hold.amounts.get(name, 0) for hold in self._holds)

    # -- what is held

    def reserve(self, wanted: int, input: int, least: int, who: object = None) -> Hold | str:
        """Hold what a request may take; in one step, so that all together never hold more than is left.

        Where not even `least` are left, answers the budget; empty if that is only because others hold it.
        Refused if all of them are of the task or thread that asks: it would wait for itself.
        """
        with self._lock:
            left = self._all_left()
            free = self._room(input, {name: one - self._held_of(name) for name, one in left.items()})
            most = min([wanted, *free.values()])
            if most >= least:
                hold = Hold(input, most, self.amounts(Usage(input, most)), who)
                self._holds[hold] = None
                return hold
            room = self._room(input, left)
            tightest = min(room, key=lambda name: room[name])
            if room[tightest] < least:
                return tightest
            if who is not None and all(hold.who == who for hold in self._holds):
                raise FixTheCall(
                    "this request is made within the block of another, which holds what is left: take the "
                    "answer of that one first, or let it ask for less"
                )
            return ""

    def release(self, hold: Hold) -> None:
        """Hold it no longer."""
        with self._lock:
            self._holds.pop(hold, None)
        self.wake()

    def _room(self, input: int, left: Mapping[str, int]) -> dict[str, int]:
        """Answer for each budget how many tokens of output it has room for, after so many of input."""
        room = {}
        for name, one in left.items():
            if name == self._output:
                room[name] = one
            elif name == self._input:
                if one < max(1, input):
                    room[name] = 0
            elif self._price is not None:
                spare = one - self._price.of(Usage(input))
                room[name] = math.floor(spare / self._price.output) if self._price.output else spare
        return room

    # -- who waits for that

    def wait(self, wake: Callable[[], object]) -> Callable[[], None]:
        """Have this called, from any thread, when there may be more to hold; answer how to end that."""
        key = object()
        with self._lock:
            self._waiting[key] = wake

        def end() -> None:
            with self._lock:
                self._waiting.pop(key, None)

        return end

    def wake(self) -> None:
        """Wake whoever waits."""
        with self._lock:
            waiting = [*self._waiting.values()]
        for wake in waiting:
            wake()
