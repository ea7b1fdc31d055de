"""The call is wrong."""

from countermand._errors.base import CountermandError
from countermand._words import DutyState


class FixTheCall(CountermandError):
    """The call is wrong: repeated as it is, it will be refused again."""


class InvalidRequest(FixTheCall, ValueError):
    """The request breaks a rule; `metadata` names the `field` and the `rule`."""


class NotAllowed(FixTheCall):
    """This caller may not do this: wrong socket, or a grant token that is not for it."""


class NoGrant(FixTheCall):
    """No grant is current here. Act inside `with run.grant(...)` or `with cm.use_token(...)`."""


class NotFound(FixTheCall):
    """No such run, action, fence or duty is known."""


class Conflict(FixTheCall):
    """The id was used before for something else, or the action is in another state than the call assumes."""


class AlreadyPermitted(Conflict):
    """The action got its permit in another attempt, so its effect may have happened: do not act again."""


class AlreadySettled(Conflict):
    """The action's outcome is on record: do not act again."""


class RunActive(Conflict):
    """The run is still at work: cancel or finish it before what it did is undone."""


class NotUndoable(Conflict):
    """The effect cannot be undone; `metadata` names the `rule`."""


class DutyOver(Conflict):
    """The duty is done, given up, taken back or pointless: do nothing more about it."""

    @property
    def state(self) -> DutyState:
        """Which of these it is."""
        return self._word(DutyState, "state") or DutyState.UNSPECIFIED


class DigestMismatch(Conflict):
    """The arguments changed between prepare and commit: do not act with them."""


class TooLate(FixTheCall):
    """The action was not committed in time. It did not happen; do it again as a new action."""


class PermitLapsed(TooLate):
    """The permit's use-by had passed before the tool could start. It did not happen."""
