"""The account of what models took: by the names of budgets, what was used and what is known to be left."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from countermand._errors import InvalidRequest
from countermand._models.budgets import costs_of
from countermand.streams.usage import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in dollars for a million tokens, which is millionths of a dollar for one.

    Input that came from a cache or was written to one costs what input costs, unless it says otherwise.
    """

    input: float
    output: float
    cached: float | None = None
    cache_written: float | None = None

    def of(self, usage: Usage) -> int:
        """Answer the price of these tokens in millionths of a dollar, rounded up."""
        apart = ((usage.cached, self.cached), (usage.cache_written, self.cache_written))
        plain = usage.input - sum(count for count, price in apart if price is not None)
        cached = sum(count * price for count, price in apart if price is not None)
        return math.ceil(max(0, plain) * self.input + cached + usage.output * self.output)


class Ledger:
    """What was used and is left. Any thread may use it."""

    def __init__(
        self, input: str, output: str, cost: str, price: Price | None, limits: Mapping[str, int] | None
    ) -> None:
        self._input, self._output, self._cost, self._price = input, output, cost, price
        self._lock = threading.Lock()
        self._left = costs_of(limits)
        self._told: dict[str, int] = {}
        self.used = Usage()
        names = {input, output, *([cost] if price else [])}
        if unknown := set(self._left) - names:
            rule = f"must be of {', '.join(sorted(names))}"
            raise InvalidRequest(
                f"limits {rule}; not of {', '.join(sorted(unknown))}",
                metadata={"field": "limits", "rule": rule},
            )

    def amounts(self, usage: Usage) -> dict[str, int]:
        """Answer what this takes of each budget."""
        taken = {self._input: usage.input, self._output: usage.output}
        if self._price is not None:
            taken[self._cost] = self._price.of(usage)
        return {name: amount for name, amount in taken.items() if amount}

    def count(self, usage: Usage) -> str:
        """Count it. Answers the budget that had less left than that; empty if each had enough."""
        short = ""
        with self._lock:
            self.used += usage
            for name, amount in self.amounts(usage).items():
                for left in (self._left, self._told):
                    if name in left:
                        short = short or (name if amount > left[name] else "")
                        left[name] = max(0, left[name] - amount)
        return short

    def learn(self, remaining: Mapping[str, int]) -> None:
        """Take over what the sidecar says is left."""
        with self._lock:
            self._told.update(remaining)

    @property
    def left(self) -> dict[str, int]:
        """What is left of each budget: the least of the limits here and of what the sidecar told."""
        with self._lock:
            mine = {self._input, self._output, self._cost}
            names = [name for name in {**self._left, **self._told} if name in mine]
            return {name: min(one[name] for one in (self._left, self._told) if name in one) for name in names}

    def room(self, input: int) -> dict[str, int]:
        """Answer for each budget how many tokens of output it has room for, after so many of input."""
        room = {}
        for name, left in self.left.items():
            if name == self._output:
                room[name] = left
            elif name == self._input:
                if left < max(1, input):
                    room[name] = 0
            elif self._price is not None:
                spare = left - self._price.of(Usage(input))
                room[name] = math.floor(spare / self._price.output) if self._price.output else spare
        return room
