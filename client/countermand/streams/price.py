"""`Price`: what tokens cost."""

import math
from dataclasses import dataclass

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
