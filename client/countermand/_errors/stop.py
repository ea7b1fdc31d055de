"""The authority is over, or does not reach this far."""

from datetime import UTC, datetime
from typing import Self

from countermand._errors.base import CountermandError
from countermand._words import ActionState, FenceKind, StopReason
from countermand.work.stop import Stop, StopCause


class StopTheRun(CountermandError):
    """The authority is over or does not reach this far: do not act, and stop."""


class _SaidBySomebody(StopTheRun):
    """Somebody may have decided this, and may have said why."""

    @property
    def actor(self) -> str:
        """Who decided it; empty where nobody did."""
        return self.metadata.get("actor", "")

    @property
    def note(self) -> str:
        """What they had to say about it."""
        return self.metadata.get("note", "")


class AuthorityEnded(_SaidBySomebody):
    """What the call acts by was ended: its run, its grant, or all that a fence stands over."""

    @property
    def stop_reason(self) -> StopReason:
        """Why it was ended."""
        return self._word(StopReason, "stop_reason") or StopReason.UNSPECIFIED

    @property
    def ended_time(self) -> datetime | None:
        """When, by the store's clock."""
        text = self.metadata.get("ended_time", "")
        return datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else None

    @property
    def seq(self) -> int:
        """The number of the journal entry that ended it; 0 where none did."""
        return self._number("seq")

    @property
    def stop(self) -> Stop:
        """All of this as the stop that it is for the work of a scope."""
        return Stop.of_refusal(self)

    @property
    def prior_decision(self) -> ActionState | None:
        """PERMITTED if the action had its permit before the stop: its effect may have happened."""
        return self._word(ActionState, "prior_decision")


class RunEnded(AuthorityEnded):
    """The run, or a run above it, has ended. Nothing this run intends can happen any more."""

    @property
    def ended_run(self) -> str:
        """The run that was ended: this one, or one above it."""
        return self.metadata.get("ended_run", "")


class Revoked(RunEnded):
    """The run was cancelled."""


class RunFinished(RunEnded):
    """The run has finished."""


class RunDeadline(RunEnded):
    """The run is past its deadline."""


class StoreEpoch(RunEnded):
    """The store may have lost facts since the run was opened, so all older authority is over."""


class Fenced(AuthorityEnded):
    """A fence stands over the grant: it was revoked with all that the fence names, or that is frozen.

    The run itself has not ended: a grant that is issued after a revoke, or out of a freeze's reach, counts.
    """

    @property
    def fence_id(self) -> str:
        """The fence."""
        return self.metadata.get("fence", "")

    @property
    def kind(self) -> FenceKind:
        """REVOKE, or FREEZE: that blocks new grants too."""
        return self._word(FenceKind, "kind") or FenceKind.UNSPECIFIED

    @property
    def selector(self) -> str:
        """What it stands over, in one line."""
        return self.metadata.get("selector", "")


class GrantEnded(AuthorityEnded):
    """The grant, or one it was delegated from, was ended because its budget ran out."""

    @property
    def stop_reason(self) -> StopReason:
        """BUDGET: nothing else ends a grant alone."""
        return StopReason.BUDGET

    @property
    def ended_grant(self) -> str:
        """The grant that was ended: this one, or one above it."""
        return self.metadata.get("ended_grant", "")

    @property
    def budget(self) -> str:
        """The budget that ran out."""
        return self.metadata.get("budget", "")


class GrantUnknown(StopTheRun):
    """The store has no such grant."""


class Expired(StopTheRun):
    """The grant's time is over."""


class OutOfScope(StopTheRun):
    """No scope of the grant allows this action on this resource; `metadata` names the `rule`."""


class Exhausted(StopTheRun):
    """No uses or budget are left, or the run or tree has as many actions or grants as it may have."""


class BudgetExhausted(Exhausted):
    """A budget has less left than was asked for. If it ran out for good, what set it may have been ended."""

    @property
    def budget(self) -> str:
        """The budget."""
        return self.metadata.get("budget", "")

    @property
    def owner(self) -> str:
        """What set it: `run` or `grant`, and its id."""
        return self.metadata.get("owner", "")

    @property
    def limit(self) -> int:
        """How much there was."""
        return self._number("limit")

    @property
    def remaining(self) -> int:
        """How much is left."""
        return self._number("remaining")

    @property
    def asked(self) -> int:
        """How much was asked for."""
        return self._number("asked")


class Denied(_SaidBySomebody):
    """A person said no, nobody agreed in time, or it was not used in time: do not act. The run may go on."""

    @property
    def cause(self) -> str:
        """Which of these it was, in words."""
        return self.metadata.get("cause", "")


class Stopped(_SaidBySomebody):
    """The work was stopped in this process: its scope was cancelled, or the run it works for."""

    def __init__(self, stop: Stop | str | None = None) -> None:
        """A text is what is left of it where only that travels, as in the results of some queues."""
        told = Stop(StopReason.UNSPECIFIED, note=stop) if isinstance(stop, str) else stop
        self.stop = Stop() if told is None else told
        message = stop if isinstance(stop, str) else f"stopped ({self.stop}): do not act"
        super().__init__(message, metadata=_told(self.stop))

    def __reduce__(self) -> tuple[type[Self], tuple[Stop]]:
        return type(self), (self.stop,)

    @property
    def stop_reason(self) -> StopReason:
        """Why it was stopped."""
        return self.stop.reason


def _told(stop: Stop) -> dict[str, str]:
    """Tell a stop as the sidecar tells of the end of a run, so that both are read alike."""
    told = {"stop_reason": str(stop.reason), "actor": stop.actor, "note": stop.note, "tag": stop.tag}
    told |= {"run": stop.run_id, "seq": str(stop.seq or "")}
    if stop.cause is StopCause.RUN_ENDED:
        told["ended_run"] = stop.run_id
    return {name: value for name, value in told.items() if value}


class LeaseLost(StopTheRun):
    """Another compensator has claimed the duty since: stop, and leave it to that one."""


class ApprovalTimedOut(Denied):
    """Nobody agreed while this client waited. It gives the action up, so nobody can agree to it later."""
