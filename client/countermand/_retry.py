"""Whether a call that failed is asked again, and when."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from countermand._clock import Clock
from countermand._errors import AwaitingApproval, CountermandError, InFlight, NotRunning, TryAgain

_FIRST_PAUSE = 0.02  # seconds
_LONGEST_PAUSE = 0.4


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a call waits: tests give their own."""

    sleep: Callable[[float], Any]
    clock: Clock = time.monotonic
    jitter: Callable[[], float] = random.random


class Patience:
    """Counts one call's attempts and its deadline.

    Every call of the contract is idempotent by its op_id, run_id or request_id, so it may be repeated as long
    as nothing is known of the decision. After a definite answer it never is.
    """

    def __init__(self, timeout: float, pacing: Pacing) -> None:
        self._pacing = pacing
        self._ends_at = pacing.clock() + timeout
        self.attempts = 0

    @property
    def left(self) -> float:
        """How many seconds the call still has."""
        return self._ends_at - self._pacing.clock()

    def pause_after(self, failure: CountermandError, answered_before: bool) -> float | None:
        """Answer how long to wait before the next attempt, or None if there is to be none.

        A sidecar that has answered before and is not there now is being restarted: it is waited for. One that
        never has is not running, and waiting would only delay saying so.
        """
        if not isinstance(failure, TryAgain) or (isinstance(failure, NotRunning) and not answered_before):
            return None
        if isinstance(failure, AwaitingApproval | InFlight):
            return None  # a person, or a permit, takes longer than an outage: who waits has another pace
        span = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.attempts, 10))
        pause = span * (0.5 + self._pacing.jitter() / 2)  # spread, so that callers do not come back in step
        return pause if pause < self.left else None
