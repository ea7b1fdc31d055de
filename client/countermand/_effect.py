"""What a tool intends, what it says of its effect while it runs, and what that comes to in the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from countermand._approval import waiting_time
from countermand._errors import InvalidRequest, NotSent
from countermand._models.actions import Intent
from countermand._span import Span
from countermand._text import kind_of, line
from countermand._wire import args_text
from countermand._words import Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """What `action` and `perform` are told; times in seconds."""

    intent: Intent
    args: Mapping[str, object]
    #: Its op_id was made here, so nobody else can have asked under it.
    own_op_id: bool
    timeout: float | None
    approval_timeout: float

    @classmethod
    def of(
        cls,
        name: str,
        args: Mapping[str, object] | None,
        op_id: str | None,
        timeout: float | None,
        approval_timeout: Span | None,
        **told: Any,
    ) -> Self:
        """Describe an effect by its arguments."""
        intent = Intent.of(name, args=args, op_id=op_id, **told)
        args_text("compensation_args", intent.compensation_args)  # refuses what cannot be told
        limit = waiting_time(approval_timeout)
        return cls(intent, {} if args is None else args, op_id is None, timeout, limit)


@dataclass(frozen=True, slots=True)
class Told:
    """What is put on record of an effect."""

    outcome: Outcome
    note: str
    receipt: str = ""
    undo_with: Mapping[str, object] = field(default_factory=dict)
    #: The handle of each job, and who can call it off.
    jobs: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Word:
    """The tool's own word on the outcome, if it gave one, and what the outside world answered."""

    outcome: Outcome | None = None
    note: str = ""
    receipt: object = None
    #: What only the result told the compensation needs.
    undo_with: dict[str, object] = field(default_factory=dict)
    #: What the outside world calls each job that it has only accepted, and who can call that off.
    jobs: dict[str, str] = field(default_factory=dict)

    def add(self, args: Mapping[str, object]) -> None:
        """Keep what the compensation needs; what it cannot be told is refused now, not when it is settled."""
        together = {**self.undo_with, **args}
        args_text("undo_with", together)
        self.undo_with = together

    def accept(self, handle: object, canceller: str) -> None:
        """Keep what the outside world calls the job; its whole name, or it would call off another."""
        told = str(handle)
        if not told or line(told) != told:
            rule = "must be a handle of one line, at most 300 characters"
            raise InvalidRequest(f"accepted {rule}", metadata={"field": "handle", "rule": rule})
        self.jobs[told] = canceller

    def last(self, error: BaseException | None) -> Told:
        """Answer what is known of a block that was left, by an exception or not.

        An exception says nothing about what reached the world, so it makes the outcome unknown, unless the
        tool said that nothing was sent.
        """
        outcome, note = self._outcome(error)
        receipt = line(self.receipt) if self.receipt is not None else ""
        if outcome is Outcome.FAILED:  # then there is nothing to undo, and no job to call off
            return Told(outcome, note, receipt)
        return Told(outcome, note, receipt, self.undo_with, self.jobs)

    def _outcome(self, error: BaseException | None) -> tuple[Outcome, str]:
        if self.outcome is not None:
            return self.outcome, line(self.note)
        if error is None:
            return Outcome.SUCCEEDED, ""
        if isinstance(error, NotSent):
            cause = f": {kind_of(error.__cause__)}" if error.__cause__ else ""
            return Outcome.FAILED, line(f"not sent{cause}")
        return Outcome.UNKNOWN, line(f"left by {kind_of(error)}")
