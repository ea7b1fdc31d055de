"""`Work`: a piece of work that a scope owns."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from countermand._errors import Stopped
from countermand.work.interrupts import interrupt
from countermand.work.place import Place, enter
from countermand.work.stop import Stop, StopCause
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind, WorkState

if TYPE_CHECKING:
    from countermand.work.owner import Owner

T = TypeVar("T")


class Work(Place, Generic[T]):
    """A piece of work that a scope owns: await it for its result, or leave it to the scope.

    Whoever awaits it may be cancelled, the work is not: it belongs to its scope.
    """

    def __init__(self, owner: "Owner", name: str, kind: WorkKind) -> None:
        super().__init__(owner, name, kind, WorkState.QUEUED)
        #: Its failure does not stop what is at work beside it.
        self.stands_alone = False
        #: Somebody awaits it and tells of its failure; the scope need not.
        self.answers = False
        #: Why it was told to stop, if it was.
        self.stop: Stop | None = None
        #: What tells its thread, if it runs in one.
        self.token: CancellationToken | None = None
        self.task: asyncio.Task[T]

    def __repr__(self) -> str:
        return f"<Work {self.path} {self.state}>"

    def _begin(self, body: Callable[["Work[T]"], Coroutine[Any, Any, T]]) -> None:
        """Start it, in the place that it is itself."""
        context = contextvars.copy_context()
        context.run(enter, self)
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(body), name=f"countermand {self.path}", context=context)
        self.task.add_done_callback(self._done)

    async def _run(self, body: Callable[["Work[T]"], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self.task = task  # a loop may run the first step before it answers the task
        self._has_its_turn()
        return await body(self)

    def _take_token(self) -> CancellationToken:
        self.token = self.owner.token.follower()
        return self.token

    def _drop_token(self) -> None:
        if self.token is not None:
            self.owner.token.release(self.token)

    def _has_its_turn(self) -> None:
        """Note that it runs now."""
        if self._state is WorkState.QUEUED:
            self._state = WorkState.RUNNING

    def _waits(self) -> None:
        """Note that it waits for its turn."""
        if self._state is WorkState.RUNNING:
            self._state = WorkState.QUEUED

    def _interrupt(self, stop: Stop) -> None:
        """Tell it to stop, and the scopes that are open in it. What has not begun never will."""
        self.stop = self.stop or stop
        if not self.task.done():
            if self._state is WorkState.RUNNING:
                self._state = WorkState.STOPPING
            interrupt(self.task, 0)
            for nested in list(self.nested):
                nested.reached(stop, self.task)

    async def cancel(self, stop: Stop) -> None:
        """Stop this alone, and wait until it has ended. Its scope goes on."""
        self._interrupt(stop)
        if self.task is not asyncio.current_task():
            await self.wait()

    async def wait(self) -> None:
        """Wait until it has ended, one way or another."""
        if not self.task.done():
            await asyncio.wait({self.task})

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self.wait().__await__()
        if self.error is not None:
            raise self.error
        return self.task.result()

    @property
    def error(self) -> BaseException | None:
        """What it ended with, other than a result. `Stopped` for what was cancelled."""
        if self.task.cancelled():
            return Stopped(self.stop or Stop(cause=StopCause.OUTSIDE, note="its task was cancelled"))
        return self.task.exception()

    def _done(self, task: "asyncio.Task[T]") -> None:
        self.over(self._last_state(task))
        self.owner.ended(self)

    def _last_state(self, task: "asyncio.Task[T]") -> WorkState:
        if task.cancelled():
            return WorkState.NEVER_RAN if self._state is WorkState.QUEUED else WorkState.STOPPED
        error = task.exception()  # looked at here, so that the loop does not complain that nobody did
        if error is None:
            return WorkState.DONE
        return WorkState.STOPPED if isinstance(error, Stopped) else WorkState.FAILED
