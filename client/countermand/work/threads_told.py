"""A cancel of a blocking scope: who was told, and the receipt when that is known."""

import threading
import time
from typing import Any

from countermand.work.receipt import StopReceipt, WorkFailure
from countermand.work.stop import Stop
from countermand.work.thread_work import Work
from countermand.work.told import not_stopped, stopped
from countermand.work.tree import WorkNode, WorkState


class ThreadsTold:
    """Keeps who was told to stop, and writes the receipt once."""

    def __init__(
        self, stop: Stop, late: bool, told: list[Work[Any]], first: tuple[tuple[WorkNode, ...], int]
    ) -> None:
        self.stop = stop
        #: Nothing was at work any more.
        self.late = late
        self.receipt: StopReceipt | None = None
        self.begun = time.monotonic()
        self._told = told
        self._first, self._first_count = first

    def wait(self, patience: float) -> None:
        """Wait until all have ended, so many seconds at most; the work that is waiting is left out."""
        end = time.monotonic() + patience
        for work in self._told:
            if work.thread_id != threading.get_ident():
                work._over.wait(max(0.0, end - time.monotonic()))

    def written(self, path: str, failures: tuple[WorkFailure, ...], patience: float) -> StopReceipt:
        """Answer the receipt; it is written the first time."""
        if self.receipt is None:
            self.receipt = self._write(path, failures)
            stopped(self.receipt)
            for work in self._told:
                if not work.is_over and work.thread_id != threading.get_ident():
                    not_stopped(work, self.stop, patience)
        return self.receipt

    def _write(self, path: str, failures: tuple[WorkFailure, ...]) -> StopReceipt:
        nodes = [(work.is_over, work.node()) for work in self._told]

        def those(*states: WorkState) -> tuple[WorkNode, ...]:
            return tuple(node for is_over, node in nodes if is_over and node.state in states)

        return StopReceipt(
            scope=path,
            stop=self.stop,
            stopped=those(WorkState.STOPPED, WorkState.NEVER_RAN),
            finished_anyway=those(WorkState.DONE),
            failed=those(WorkState.FAILED),
            not_stopped=tuple(node for is_over, node in nodes if not is_over),
            finished_first=self._first,
            finished_first_count=self._first_count,
            callbacks_failed=failures,
            late=self.late,
        )
