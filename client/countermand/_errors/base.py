"""What every error carries."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from countermand._words import ErrorReason

W = TypeVar("W", bound=StrEnum)


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

    def _number(self, name: str) -> int:
        """Read a number the sidecar told, 0 if it told none."""
        text = self.metadata.get(name, "")
        return int(text) if text.isdecimal() else 0

    def _word(self, kind: type[W], name: str) -> W | None:
        """Read a word of the contract; None if none was told, or one that is newer than this client."""
        return kind.__members__.get(self.metadata.get(name, ""))


class NotSent(Exception):
    """Raised by a tool inside a commit block: nothing was sent, so the action certainly did not happen.

    `raise NotSent from error` settles the action as failed; any other exception settles it as unknown.
    """


class NotDone(Exception):
    """Raised by a compensation, canceller or probe: this attempt did not work, a later one may.

    Its text is one line for people and goes into the report; of any other exception only the type does.
    """


class GiveUp(NotDone):
    """Raised by a compensation, canceller or probe: no further attempt will work. A person has to look."""


class Refused(Exception):
    """Answered, or raised, by a canceller: the outside world said that it will not call the job off.

    Its text is one line for people and goes into the report.
    """


class WorkerDied(Exception):
    """A worker process ended without an answer: what it was doing may be done in part.

    It was killed by somebody else, such as a system that ran out of memory; or it crashed, or ended itself.
    """
