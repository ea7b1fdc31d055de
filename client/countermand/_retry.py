"""Whether a call that failed is asked again, and when."""

from collections.abc import Callable

from countermand._clock import Clock
from countermand._errors import CountermandError, NotRunning, TryAgain

_FIRST_PAUSE = 0.02  # seconds
_LONGEST_PAUSE = 0.4


class Patience:
    """Counts one call's attempts and its deadline.

    Every call of the contract is idempotent by its op_id, run_id or request_id, so it may be repeated as long
    as nothing is known of the decision. After a definite answer it never is.
    """

    def __init__(self, timeout: float, clock: Clock, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._ends_at = clock() + timeout
        self.attempts = 0

    @property
    def left(self) -> float:
        """How many seconds the call still has."""
        return self._ends_at - self._clock()

    def pause_after(self, failure: CountermandError, answered_before: bool) -> float | None:
        """Answer how long to wait before the next attempt, or None if there is to be none.

        A sidecar that has answered before and is not there now is being restarted: it is waited for. One that
        never has is not running, and waiting would only delay saying so.
        """
        if not isinstance(failure, TryAgain) or (isinstance(failure, NotRunning) and not answered_before):
            return None
        span = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.attempts, 10))
        pause = span * (0.5 + self._random() / 2)  # spread, so that callers do not come back in step
        return pause if pause < self.left else None
