"""What one stream takes of a ledger, counted while it is read."""

import threading

from countermand.streams.ledger import NOTHING, Hold, Ledger
from countermand.streams.tally import CountsTokens, Tally


class Account:
    """Counts each token once: here while they come, and for the sidecar what it has not been told of."""

    def __init__(self, ledger: Ledger, hold: Hold | None, count: CountsTokens | None) -> None:
        self._ledger, self._hold = ledger, hold
        self._tally = Tally(count, hold.input if hold else 0)
        self._lock = threading.Lock()
        #: What was counted so far.
        self.counted = NOTHING
        self._told: dict[str, int] = {}
        self._claims = 0

    def see(self, chunk: object) -> str:
        """Count a chunk. Answers the budget that had less left than that; empty if each had enough."""
        try:
            self._tally.add(chunk)
        finally:
            short = self.count()
        return short

    def count(self) -> str:
        """Count what has been seen."""
        with self._lock:
            now, before = self._tally.usage, self.counted
            self.counted = now
            return self._ledger.count(now, before=before, hold=self._hold)

    def claim(self) -> tuple[str, dict[str, int]]:
        """Answer what the sidecar has to be told, by the names of budgets, and what to call that.

        Whoever asks has to tell it. What it was told too much of, by an estimate, is not asked back.
        """
        with self._lock:
            amounts = self._ledger.amounts(self.counted)
            news = {name: amount - self._told.get(name, 0) for name, amount in amounts.items()}
            more = {name: amount for name, amount in news.items() if amount > 0}
            self._told |= {name: amounts[name] for name in more}
            self._claims += 1
            return f"{self._claims}.estimate" if self.counted.estimated else f"{self._claims}", more

    def close(self) -> None:
        """It takes nothing more: let go of what is held for it."""
        if self._hold is not None:
            self._ledger.release(self._hold)
