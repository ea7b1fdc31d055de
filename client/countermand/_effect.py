"""What a tool intends, what it says of its effect while it runs, and what that comes to in the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from countermand._approval import waiting_time
from countermand._errors import NotSent
from countermand._models.actions import Intent
from countermand._span import Span
from countermand._text import kind_of, line
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
        limit = waiting_time(approval_timeout)
        return cls(intent, {} if args is None else args, op_id is None, timeout, limit)


@dataclass(slots=True)
class Word:
    """The tool's own word on the outcome, if it gave one, and the outside world's id of the effect."""

    outcome: Outcome | None = None
    note: str = ""
    receipt: object = None

    def last(self, error: BaseException | None) -> tuple[Outcome, str, str]:
        """Answer outcome, receipt and note of a block that was left, by an exception or not.

        An exception says nothing about what reached the world, so it makes the outcome unknown, unless the
        tool said that nothing was sent.
        """
        receipt = line(self.receipt) if self.receipt is not None else ""
        if self.outcome is not None:
            return self.outcome, receipt, line(self.note)
        if error is None:
            return Outcome.SUCCEEDED, receipt, ""
        if isinstance(error, NotSent):
            cause = f": {kind_of(error.__cause__)}" if error.__cause__ else ""
            return Outcome.FAILED, receipt, line(f"not sent{cause}")
        return Outcome.UNKNOWN, receipt, line(f"left by {kind_of(error)}")
