"""Saying that a scope was stopped: the log record and the event, both with the very stop it was."""

from typing import Protocol

from countermand._events import ScopeStopped, WorkUnstopped, tell
from countermand._world import log
from countermand.work.receipt import StopReceipt
from countermand.work.stop import Stop
from countermand.work.tree import WorkNode


class Unstopped(Protocol):
    """A piece of work, or the block of a scope, that was told to stop."""

    #: It was told of before.
    was_named: bool

    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    def node(self) -> WorkNode: ...


def stopped(receipt: StopReceipt) -> None:
    """Say what came of a stop."""
    log.info("stopped %s", receipt, extra={"stop": receipt.stop, "receipt": receipt})
    tell(ScopeStopped(receipt))


def not_stopped(one: Unstopped, stop: Stop, patience: float) -> None:
    """Name what has not stopped; each time in the log, once as an event."""
    log.warning(
        "%s (%s) did not stop in %gs (%s)", one.path, one.kind, patience, stop, extra={"stop": stop}
    )  # fmt: skip
    if not one.was_named:
        one.was_named = True
        tell(WorkUnstopped(one.node(), stop))
