"""Nothing was decided: yet, or as far as is known, or at all."""

from countermand._errors.base import CountermandError


class TryAgain(CountermandError):
    """Nothing is known of the decision: do not act; ask again with the same op_id."""


class Unavailable(TryAgain):
    """The sidecar or its store did not answer."""


class NotRunning(Unavailable):
    """No sidecar listens where this client looks for one."""


class TimedOut(TryAgain):
    """The answer did not come in time."""


class Overloaded(TryAgain):
    """The sidecar has too many calls under way."""


class AwaitingApproval(TryAgain):
    """A person has to agree first. It is on record and waits; `action` and `perform` wait with it."""


class InFlight(TryAgain):
    """The permit can still be used, so nobody can know what became of it. Ask again after its use-by."""

    @property
    def left(self) -> float:
        """How many seconds that is from now."""
        return self._number("left_ms") / 1000


class AskOperator(CountermandError):
    """The sidecar cannot decide until somebody has looked at it; cancelling still works."""
