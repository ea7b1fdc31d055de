"""What a tool says of its effect while it runs, and what that comes to when its block is left."""

from dataclasses import dataclass

from countermand._errors import NotSent
from countermand._text import kind_of, line
from countermand._words import Outcome


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
