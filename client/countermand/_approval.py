"""How long an action waits for a person, and when it looks again."""

from countermand._errors import ApprovalTimedOut
from countermand._retry import Pacing
from countermand._span import Span, seconds

#: How long `action` and `perform` wait if they are not told. The sidecar's own limit, or the end of the
#: grant, may come first.
APPROVAL_TIMEOUT = "10m"

_FIRST_PAUSE = 0.1  # seconds
_LONGEST_PAUSE = 1.0
_NOTHING = 0.001  # less than this is not worth another look


def waiting_time(span: Span | None) -> float:
    """Read how long to wait, in seconds; None and 0 are not at all."""
    return 0.0 if span is None or span == 0 else seconds(span)


class Waiting:
    """Counts how long one action has waited for a person. Begins when it is first told to."""

    def __init__(self, op_id: str, limit: float, pacing: Pacing) -> None:
        self._op_id = op_id
        self._limit = limit
        self.pacing = pacing
        self._ends_at: float | None = None
        self._looks = 0
        #: A look went unanswered, so what a later one is told may have been decided in that one.
        self.unanswered = False

    @property
    def is_on(self) -> bool:
        """Say whether the action is known to wait for a person."""
        return self._ends_at is not None

    def begin(self) -> bool:
        """Wait from now on, if it has not begun; answer whether there is any waiting."""
        if self._ends_at is None and self._limit:
            self._ends_at = self.pacing.clock() + self._limit
        return self.is_on

    def pause(self) -> float | None:
        """Answer how long to wait before the next look, or None if the time is over."""
        left = (self._ends_at or 0.0) - self.pacing.clock()
        if left < _NOTHING:
            return None
        span = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._looks, 10))
        self._looks += 1
        return min(left, span * (0.5 + self.pacing.jitter() / 2))  # spread, as in _retry

    def timed_out(self) -> ApprovalTimedOut:
        """Say that the time is over."""
        cause = f"nobody agreed within the {self._limit:g}s this client waited"
        return ApprovalTimedOut(
            f"action {self._op_id} may not happen, {cause}: do not act; it is given up, intend a new action",
            metadata={"op": self._op_id, "cause": cause},
        )
