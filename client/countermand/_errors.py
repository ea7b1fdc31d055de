"""What can go wrong, by what the caller does next: fix the call, stop the run, try again, ask an operator.

Every error carries the sidecar's `reason` and `metadata`; programs read those, people read the message. None
ever carries a token.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from countermand._words import ActionState, ErrorReason, StopReason


class CountermandError(Exception):
    """A call was refused or not answered; the subclass says what to do next."""

    def __init__(
        self,
        message: str = "",
        *,
        reason: ErrorReason = ErrorReason.UNSPECIFIED,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = dict(metadata or {})

    @property
    def run_id(self) -> str:
        """The run the refused call belongs to, if the sidecar named one."""
        return self.metadata.get("run", "")


class FixTheCall(CountermandError):
    """The call is wrong: repeated as it is, it will be refused again."""


class InvalidRequest(FixTheCall, ValueError):
    """The request breaks a rule; `metadata` names the `field` and the `rule`."""


class NotAllowed(FixTheCall):
    """This caller may not do this: wrong socket, or a grant token that is not for it."""


class NoGrant(FixTheCall):
    """No grant is current here. Act inside `with run.grant(...)` or `with cm.use_token(...)`."""


class NotFound(FixTheCall):
    """No such run or action is known."""


class Conflict(FixTheCall):
    """The id was used before for something else, or the action is in another state than the call assumes."""


class AlreadyPermitted(Conflict):
    """The action got its permit in another attempt, so its effect may have happened: do not act again."""


class AlreadySettled(Conflict):
    """The action's outcome is on record: do not act again."""


class DigestMismatch(Conflict):
    """The arguments changed between prepare and commit: do not act with them."""


class TooLate(FixTheCall):
    """The action was not committed in time. It did not happen; do it again as a new action."""


class PermitLapsed(TooLate):
    """The permit's use-by had passed before the tool could start. It did not happen."""


class StopTheRun(CountermandError):
    """The authority is over or does not reach this far: do not act, and stop."""


class RunEnded(StopTheRun):
    """The run, or a run above it, has ended. Nothing this run intends can happen any more."""

    @property
    def stop_reason(self) -> StopReason:
        """Why it was ended."""
        known = self.metadata.get("stop_reason", "") in StopReason.__members__
        return StopReason(self.metadata["stop_reason"]) if known else StopReason.UNSPECIFIED

    @property
    def actor(self) -> str:
        """Who ended it."""
        return self.metadata.get("actor", "")

    @property
    def note(self) -> str:
        """What they had to say about it."""
        return self.metadata.get("note", "")

    @property
    def ended_run(self) -> str:
        """The run that was ended: this one, or one above it."""
        return self.metadata.get("ended_run", "")

    @property
    def ended_time(self) -> datetime | None:
        """When, by the store's clock."""
        text = self.metadata.get("ended_time", "")
        return datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else None

    @property
    def prior_decision(self) -> ActionState | None:
        """PERMITTED if the action had its permit before the stop: its effect may have happened."""
        known = self.metadata.get("prior_decision", "") in ActionState.__members__
        return ActionState(self.metadata["prior_decision"]) if known else None


class Revoked(RunEnded):
    """The run was cancelled."""


class RunFinished(RunEnded):
    """The run has finished."""


class RunDeadline(RunEnded):
    """The run is past its deadline."""


class StoreEpoch(RunEnded):
    """The store may have lost facts since the run was opened, so all older authority is over."""


class GrantUnknown(StopTheRun):
    """The store has no such grant."""


class Expired(StopTheRun):
    """The grant's time is over."""


class OutOfScope(StopTheRun):
    """No scope of the grant allows this action on this resource; `metadata` names the `rule`."""


class Exhausted(StopTheRun):
    """The grant has no uses left, or the run has as many actions as a run may have."""


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


class AskOperator(CountermandError):
    """The sidecar cannot decide until somebody has looked at it; cancelling still works."""


class NotSent(Exception):
    """Raised by a tool inside a commit block: nothing was sent, so the action certainly did not happen.

    `raise NotSent from error` settles the action as failed; any other exception settles it as unknown.
    """


#: Which exception a reason becomes.
CLASSES: dict[ErrorReason, type[CountermandError]] = {
    ErrorReason.UNSPECIFIED: AskOperator,
    ErrorReason.INVALID_REQUEST: InvalidRequest,
    ErrorReason.ROLE_NOT_ALLOWED: NotAllowed,
    ErrorReason.VERB_NOT_SERVED: NotAllowed,
    ErrorReason.TOKEN_MISSING: NoGrant,
    ErrorReason.TOKEN_TOO_LARGE: NotAllowed,
    ErrorReason.TOKEN_MALFORMED: NotAllowed,
    ErrorReason.TOKEN_UNTRUSTED: NotAllowed,
    ErrorReason.WRONG_AUDIENCE: NotAllowed,
    ErrorReason.WRONG_GRANT: NotAllowed,
    ErrorReason.RUN_UNKNOWN: NotFound,
    ErrorReason.RUN_EXISTS: Conflict,
    ErrorReason.RUN_TOO_DEEP: InvalidRequest,
    ErrorReason.GRANT_EXISTS: Conflict,
    ErrorReason.ACTION_UNKNOWN: NotFound,
    ErrorReason.OP_ID_CONFLICT: Conflict,
    ErrorReason.DIGEST_MISMATCH: DigestMismatch,
    ErrorReason.ALREADY_PERMITTED: AlreadyPermitted,
    ErrorReason.ALREADY_SETTLED: AlreadySettled,
    ErrorReason.ACTION_ABANDONED: Conflict,
    ErrorReason.NEVER_PERMITTED: Conflict,
    ErrorReason.PREPARE_EXPIRED: TooLate,
    ErrorReason.ANSWER_TOO_LARGE: InvalidRequest,
    ErrorReason.REVOKED: Revoked,
    ErrorReason.RUN_FINISHED: RunFinished,
    ErrorReason.RUN_DEADLINE: RunDeadline,
    ErrorReason.STORE_EPOCH: StoreEpoch,
    ErrorReason.GRANT_UNKNOWN: GrantUnknown,
    ErrorReason.GRANT_EXPIRED: Expired,
    ErrorReason.OUT_OF_SCOPE: OutOfScope,
    ErrorReason.USES_EXHAUSTED: Exhausted,
    ErrorReason.RUN_FULL: Exhausted,
    ErrorReason.STORE_UNAVAILABLE: Unavailable,
    ErrorReason.TIMED_OUT: TimedOut,
    ErrorReason.OVERLOADED: Overloaded,
    ErrorReason.DRAINING: Unavailable,
    ErrorReason.STORE_FULL: AskOperator,
    ErrorReason.CLOCK_UNSURE: AskOperator,
    ErrorReason.STORE_UNFIT: AskOperator,
    ErrorReason.INTERNAL: AskOperator,
}
