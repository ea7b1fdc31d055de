"""`Work` of a blocking scope: a function in a thread of its own."""

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from countermand._errors import Stopped
from countermand._span import Span, seconds
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind, WorkNode, WorkState

if TYPE_CHECKING:
    from countermand.work.blocking import WorkScope

T = TypeVar("T")


class Work(Generic[T]):
    """A piece of work that a scope owns, in a thread: ask for its result, or leave it to the scope."""

    def __init__(self, scope: "WorkScope", name: str, kind: WorkKind, *, stands_alone: bool) -> None:
        self.name = name
        self.kind = kind
        #: Its failure does not stop what is at work beside it.
        self.stands_alone = stands_alone
        #: Tells it to stop.
        self.token: CancellationToken = scope.token.follower()
        self.state = WorkState.QUEUED
        self.error: BaseException | None = None
        self.thread_id = 0
        #: It was told of as work that did not stop.
        self.was_named = False
        self._scope = scope
        self._result: T
        self._over = threading.Event()
        self._begun = time.monotonic()
        self._ended: float | None = None

    def __repr__(self) -> str:
        return f"<Work {self.path} {self.state}>"

    @property
    def path(self) -> str:
        """The names from the outermost scope down to it."""
        return f"{self._scope.path}/{self.name}"

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self._ended is not None

    @property
    def age(self) -> float:
        """Seconds since it was begun, until it ended."""
        return (time.monotonic() if self._ended is None else self._ended) - self._begun

    def node(self) -> WorkNode:
        """Answer what it is at this moment."""
        told = self.token.is_cancelled and self.state is WorkState.RUNNING
        return WorkNode(self.path, self.kind, WorkState.STOPPING if told else self.state, self.age)

    def result(self, timeout: Span | None = None) -> T:
        """Wait for its result, or raise what it raised; TimeoutError if that takes longer."""
        if not self.wait(timeout):
            raise TimeoutError(f"{self.path} is still at work")
        if self.error is not None:
            raise self.error
        return self._result

    def wait(self, timeout: Span | None = None) -> bool:
        """Wait until it has ended, or so long at most, and answer whether it has."""
        return self._over.wait(None if timeout is None else seconds(timeout))

    def cancel(self, stop: Stop) -> None:
        """Tell this alone to stop. Its scope goes on."""
        self.token.cancel(stop)

    def _begin(self, function: Callable[[], T]) -> None:
        run = contextvars.copy_context().run
        name = f"countermand {self.path}"
        threading.Thread(target=run, args=(self._main, function), name=name, daemon=True).start()

    def _main(self, function: Callable[[], T]) -> None:
        self.thread_id = threading.get_ident()
        if self.token.is_cancelled:
            self._end(WorkState.NEVER_RAN, Stopped(self.token.stop))
            return
        self.state = WorkState.RUNNING
        try:
            self._result = function()
        except Stopped as stopped:
            self._end(WorkState.STOPPED, stopped)
        except BaseException as error:  # it ends a thread, and no more than that
            self._end(WorkState.FAILED, error)
        else:
            self._end(WorkState.DONE, None)

    def _end(self, state: WorkState, error: BaseException | None) -> None:
        self.state, self.error = state, error
        self._ended = time.monotonic()  # last: who sees it sees all of it, before anybody is told
        self._scope._ended(self)
        self._over.set()
