"""`Stop`: one reason object, which the exception, the receipt, the token and the log record all carry."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from countermand._words import StopReason

if TYPE_CHECKING:
    from countermand._errors.base import CountermandError
    from countermand._errors.stop import AuthorityEnded
    from countermand._models.runs import End


class StopCause(StrEnum):
    """What set a stop off in this process; the reason says why, in the contract's words."""

    #: Somebody called `cancel`.
    ASKED = "ASKED"
    #: The run was ended, or a fence stands over its grant: the sidecar said so.
    RUN_ENDED = "RUN_ENDED"
    #: Something in the scope failed, and what was at work beside it had no more use.
    FAILURE = "FAILURE"
    #: Another one did the work first.
    LOST = "LOST"
    #: The time of the scope was over.
    TIMEOUT = "TIMEOUT"
    #: The task that held the scope open was cancelled by something else, or the program ends.
    OUTSIDE = "OUTSIDE"


@dataclass(frozen=True, slots=True)
class Stop:
    """Why something was stopped, by whom, and what they had to say. It never changes on its way."""

    reason: StopReason = StopReason.USER_STOP
    note: str = ""
    actor: str = ""
    tag: str = ""
    #: The run it belongs to; where the sidecar told of it, the run that was ended.
    run_id: str = ""
    cause: StopCause = StopCause.ASKED
    #: The number of the journal entry that ended the run; 0 where none did.
    seq: int = 0
    #: When the run was ended, by the store's clock.
    time: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", reason_named(self.reason))

    @classmethod
    def of_end(cls, end: "End") -> Self:
        """Answer the stop that a run's end is for the work it had started here."""
        return cls(
            reason=end.reason,
            note=end.note,
            actor=end.actor,
            tag=end.tag,
            run_id=end.run_id,
            cause=StopCause.RUN_ENDED,
            seq=end.seq,
            time=end.time,
        )

    @classmethod
    def of_error(cls, error: "CountermandError", run_id: str) -> Self:
        """Answer the stop that a run's watcher was told of by what a commit is refused with."""
        from countermand._errors import AuthorityEnded  # the errors are built on this module

        if isinstance(error, AuthorityEnded):
            return cls.of_refusal(error)
        # The store knows nothing of it any more: facts were lost, or it was never there.
        return cls(StopReason.STORE_EPOCH, note=str(error), run_id=run_id, cause=StopCause.RUN_ENDED)

    @classmethod
    def of_refusal(cls, refusal: "AuthorityEnded") -> Self:
        """Answer the stop that a refusal tells of, such as `Revoked`."""
        return cls(
            reason=refusal.stop_reason,
            note=refusal.note,
            actor=refusal.actor,
            tag=refusal.metadata.get("tag", ""),
            run_id=refusal.metadata.get("ended_run", "") or refusal.run_id,
            cause=StopCause.RUN_ENDED,
            seq=refusal.seq,
            time=refusal.ended_time,
        )

    def __str__(self) -> str:
        whose = f" by {self.actor}" if self.actor else ""
        run = f" of run {self.run_id}" if self.run_id else ""
        note = f": {self.note}" if self.note else ""
        return f"{self.reason}{run}{whose}{note}"


def reason_named(word: str) -> StopReason:
    """Answer the reason of this name, which may be one already."""
    if word not in StopReason.__members__:
        from countermand._errors import InvalidRequest  # the errors are built on this module

        rule = f"must be one of {', '.join(StopReason)}"
        raise InvalidRequest(f"a reason {rule}; not {word!r}", metadata={"field": "reason", "rule": rule})
    return StopReason(word)
