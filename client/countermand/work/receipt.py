"""What a cancel answers: what stopped, what had come to its end before, and what would not stop."""

from dataclasses import dataclass

from countermand.work.stop import Stop
from countermand.work.tree import WorkNode


@dataclass(frozen=True, slots=True)
class WorkFailure:
    """Something that failed beside the work itself: a callback, a clean-up, or work that stood alone."""

    #: `callback`, `clean-up`, `work` or `body`.
    what: str
    name: str
    error: BaseException

    def __str__(self) -> str:
        return f"{self.what} {self.name}: {type(self.error).__qualname__}: {self.error}"


@dataclass(frozen=True, slots=True)
class StopReceipt:
    """What came of a cancel, in this process. Nothing is listed as stopped unless it has ended.

    It covers the scopes within, too. It is about this process only: what the run's actions came to is in the
    stop report.
    """

    #: The path of the scope that was cancelled.
    scope: str
    stop: Stop
    #: What was at work, was told to stop, and stopped.
    stopped: tuple[WorkNode, ...] = ()
    #: What came to its end all the same: it was as good as done, or it swallowed the cancellation.
    finished_anyway: tuple[WorkNode, ...] = ()
    #: What failed: what set the stop off, if that was a failure, and what failed while it was stopping.
    failed: tuple[WorkNode, ...] = ()
    #: What was still at work when the grace period was over. It may end later, or never.
    not_stopped: tuple[WorkNode, ...] = ()
    #: What had come to its end before the cancel: the last of them, and how many there were.
    finished_first: tuple[WorkNode, ...] = ()
    finished_first_count: int = 0
    #: What was to be called at the stop, and failed.
    callbacks_failed: tuple[WorkFailure, ...] = ()
    #: Nothing was at work any more: the scope had come to its end before the cancel.
    late: bool = False

    @property
    def cancelled(self) -> int:
        """How many pieces of work were cut short; blocks are not counted."""
        return sum(one.kind != "body" for one in self.stopped)

    @property
    def is_clean(self) -> bool:
        """Whether everything stopped that was told to, and no callback failed."""
        return not (self.not_stopped or self.failed or self.callbacks_failed)

    def __str__(self) -> str:
        parts = [f"{self.cancelled} cancelled", f"{self.finished_first_count} had finished"]
        for word, nodes in (
            ("finished all the same", self.finished_anyway),
            ("failed", self.failed),
            ("did not stop", self.not_stopped),
        ):
            if nodes:
                parts.append(f"{word}: " + ", ".join(f"{one.path} ({one.kind})" for one in nodes))
        parts += [str(failure) for failure in self.callbacks_failed]
        return f"{self.scope}: {self.stop}; {'; '.join(parts)}"
