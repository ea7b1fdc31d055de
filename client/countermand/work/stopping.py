"""A cancel under way: who was told, who is still at work, and the receipt when that is known."""

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from countermand.work.piece import Work
from countermand.work.place import Place, apart
from countermand.work.receipt import StopReceipt, WorkFailure
from countermand.work.stop import Stop
from countermand.work.told import not_stopped, stopped
from countermand.work.tree import WorkNode, WorkState

if TYPE_CHECKING:
    from countermand.work.owner import Owner


class Stopping:
    """The cancel of a scope. It has happened; await it for the receipt.

    The block of the scope may await it too, and is then not interrupted itself.
    """

    def __init__(self, owner: "Owner", stop: Stop, culprit: Place | None) -> None:
        self.stop = stop
        #: Nothing was at work any more.
        self.late = owner.is_settled
        #: The block asked for it, and waits for the receipt: it is not interrupted.
        self.spares_body = False
        self._owner = owner
        self._told: list[Place] = [culprit] if culprit else []
        self._nested: list[Stopping] = []
        self._undecided = False
        self._interrupted_body = False
        self._watchers: list[Callable[[StopReceipt], object]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._first = owner.finished()
        self._done: asyncio.Future[StopReceipt] = owner.loop.create_future()
        self.receipt: StopReceipt | None = None

    def begin(self, *, from_above: bool) -> None:
        """Tell everybody. Tasks first: what the token calls may take its time."""
        owner = self._owner
        if not self.late:
            for work in owner.works:
                self._tell(work)
            self._tell_body(from_above)
            for place in (owner.body, *owner.works):
                for nested in list(place.nested):
                    self._reach(nested, above=place.task)
            self._set_timer()
        try:
            owner.token._announce()
        finally:
            self.check()

    def _tell(self, one: Work[Any]) -> None:
        self._told.append(one)
        one._interrupt(self.stop)

    def _tell_body(self, from_above: bool) -> None:
        owner = self._owner
        if owner.body.is_over:
            return
        if from_above:  # the task it runs in was interrupted by the scope above: once is enough
            if not owner.host.is_current:  # else it is that block which asks, and may be spared
                self._told.append(owner.body)
                owner.body.told()
        elif owner.host.is_current:
            self._undecided = True
            owner.loop.call_soon(self._decide)
        else:
            self._interrupt_body()

    def _decide(self) -> None:
        """Interrupt the block that asked for this, unless it waits for the receipt."""
        self._undecided = False
        if not self.spares_body and not self._owner.body.is_over:
            self._interrupt_body()
        self.check()

    def _interrupt_body(self) -> None:
        self._told.append(self._owner.body)
        self._owner.body.told()
        self._interrupted_body = True
        self._owner.host.interrupt()

    def _reach(self, nested: "Owner", above: Any) -> None:
        below = nested.reached(self.stop, above)
        if below is not None:
            self._nested.append(below)
            below.tell(lambda _: self.check())

    def tell(self, watcher: Callable[[StopReceipt], object]) -> None:
        """Call this with the receipt once there is one."""
        if self.receipt is None:
            self._watchers.append(watcher)
        else:
            watcher(self.receipt)

    def check(self) -> None:
        """Write the receipt, if everybody has ended."""
        waiting = self._undecided or any(not one.is_over for one in self._told)
        if self.receipt is None and not waiting and all(below.receipt for below in self._nested):
            self._write()

    def _set_timer(self) -> None:
        if not self._owner.loop.is_closed():
            loop, context = self._owner.loop, apart()
            self._timer = loop.call_later(self._owner.grace, self._grace_over, context=context)

    def _grace_over(self) -> None:
        """Name those who are still at work, and tell them once more: some swallow the first cancellation."""
        self._write_all()
        late = [one for one in self._told if not one.is_over]
        for one in late:
            not_stopped(one, self.stop, self._owner.grace)
            if isinstance(one, Work):
                one._interrupt(self.stop)
            elif self._interrupted_body:
                self._owner.host.interrupt()
        if late:
            self._set_timer()

    def _write_all(self) -> None:
        """Write the receipt with what there is by now, from the innermost scope outwards."""
        for below in self._nested:
            below._write_all()
        if self.receipt is None:
            self._write()

    def close(self) -> None:
        """The scope is closed: nobody is at work any more."""
        if self._timer is not None:
            self._timer.cancel()
        self.check()

    def _write(self) -> None:
        nodes = [(one, one.node()) for one in self._told]
        below = [each.receipt for each in self._nested if each.receipt is not None]

        def those(*states: WorkState) -> list[WorkNode]:
            return [node for one, node in nodes if one.is_over and node.state in states]

        self.receipt = StopReceipt(
            scope=self._owner.path,
            stop=self.stop,
            stopped=_joined(those(WorkState.STOPPED, WorkState.NEVER_RAN), *(each.stopped for each in below)),
            finished_anyway=_joined(those(WorkState.DONE), *(each.finished_anyway for each in below)),
            failed=_joined(those(WorkState.FAILED), *(each.failed for each in below)),
            not_stopped=_joined(
                [node for one, node in nodes if not one.is_over], *(each.not_stopped for each in below)
            ),
            finished_first=_joined(self._first[0], *(each.finished_first for each in below)),
            finished_first_count=self._first[1] + sum(each.finished_first_count for each in below),
            callbacks_failed=self._failures(below),
            late=self.late,
        )
        stopped(self.receipt)
        if not self._done.done() and not self._owner.loop.is_closed():
            self._done.set_result(self.receipt)
        for watcher in self._watchers:
            watcher(self.receipt)

    def _failures(self, below: list[StopReceipt]) -> tuple[WorkFailure, ...]:
        return (*self._owner.token.failures, *(one for each in below for one in each.callbacks_failed))

    def __await__(self) -> Generator[Any, Any, StopReceipt]:
        if self._undecided and self._owner.host.is_current:
            self.spares_body = True
        if self.receipt is None:
            yield from asyncio.shield(self._done).__await__()
        assert self.receipt is not None  # noqa: S101 - that is what was waited for
        return self.receipt


def _joined(*lists: "list[WorkNode] | tuple[WorkNode, ...]") -> tuple[WorkNode, ...]:
    return tuple(node for each in lists for node in each)
