"""How a scope ends: its work first, then its clean-up, and then the one exception that says how it went."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from countermand._errors import Stopped
from countermand._world import log
from countermand.work.causes import because_of
from countermand.work.loops import hush
from countermand.work.place import apart
from countermand.work.receipt import WorkFailure
from countermand.work.tree import WorkState

if TYPE_CHECKING:
    from countermand.work.owner import Owner


#: The ends of scopes that were thrown away: a loop alone keeps no task.
_endings: set[asyncio.Task[None]] = set()


class Closing:
    """The end of one owner."""

    def __init__(self, owner: "Owner") -> None:
        self._owner = owner
        self.is_cleaning = False
        self._idle: asyncio.Future[None] | None = None
        #: A cancellation of the host task by something else, the last one: it has to go on.
        self._outside: BaseException | None = None
        self._hushed: ExitStack | None = None
        #: KeyboardInterrupt or SystemExit, which end the program.
        self._end: BaseException | None = None
        self._clean_up_failure: WorkFailure | None = None

    async def run(self, error: BaseException | None) -> None:
        """Leave the block that was left by this; raises something else, or lets that go on."""
        owner = self._owner
        if isinstance(error, GeneratorExit):  # its coroutine is thrown away: this one must not wait
            self._throw_away(error)
            return
        self._leave_body(error)
        if (late := await owner.host.absorb()) is not None:
            self._cancelled(late)
        await self._end_work()
        owner.host.settle()
        owner.close()
        self._say(error)

    def look(self) -> None:
        """Wake up, if there is nothing left to wait for."""
        if self._idle is not None and not self._idle.done() and self._is_idle:
            self._idle.set_result(None)

    @property
    def _is_idle(self) -> bool:
        return not self._owner.works and not self._owner.body.nested

    async def _end_work(self) -> None:
        with ExitStack() as self._hushed:
            self._hush()
            await self._join()
            self.is_cleaning = True
            await self._clean_up()

    def _leave_body(self, error: BaseException | None) -> None:
        owner = self._owner
        is_outside = owner.host.is_from_outside(error)
        if is_outside:
            self._outside = error
        if error is None:
            state = WorkState.DONE
        elif isinstance(error, asyncio.CancelledError | Stopped):
            state = WorkState.STOPPED
        else:
            state = WorkState.FAILED
        owner.body.over(state)
        if isinstance(error, asyncio.CancelledError):
            if is_outside:
                owner.begin_stop(because_of(error))
        elif error is not None and not self._is_own_stop(error):
            owner.failed(error, owner.body)
        if owner.stopping is not None:
            owner.stopping.check()

    def _is_own_stop(self, error: BaseException) -> bool:
        own = self._owner.stopping
        return own is not None and isinstance(error, Stopped) and error.stop is own.stop

    async def _join(self) -> None:
        """Wait until nothing is at work any more. Whoever cancels the host task stops the work, not this."""
        while not self._is_idle:
            self._idle = self._owner.loop.create_future()
            try:
                await self._idle
            except asyncio.CancelledError as error:
                self._cancelled(error)

    def _cancelled(self, error: BaseException) -> None:
        self._outside = error
        self._hush()
        self._owner.begin_stop(because_of(error))

    def _hush(self) -> None:
        """What was cancelled need not be told so again and again."""
        if self._outside is not None and self._hushed is not None and (quiet := hush()) is not None:
            self._hushed.enter_context(quiet)

    async def _clean_up(self) -> None:
        owner = self._owner
        while (one := owner.clean_ups.take()) is not None:
            try:
                await one.run(self._outlast)
            except BaseException as error:
                if not isinstance(error, Exception | asyncio.CancelledError):
                    self._end = self._end or error
                failure = WorkFailure("clean-up", one.name, error)
                self._clean_up_failure = self._clean_up_failure or failure
                owner.note(failure)
        owner.clean_ups.is_over = True

    async def _outlast(self, future: "asyncio.Future[Any]") -> None:
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError as error:
                self._cancelled(error)

    def _say(self, error: BaseException | None) -> None:
        """Raise what the block has to raise. The first thing that went wrong is what is told."""
        told = self._told(error)
        if self._clean_up_failure is not None:
            if told is None:
                told = self._clean_up_failure.error
            else:
                told.add_note(f"countermand: scope {self._owner.path}: {self._clean_up_failure}")
        if told is None or told is error:
            return
        try:
            if isinstance(error, asyncio.CancelledError):
                raise told from None
            raise told
        finally:
            del told, error  # no cycle through this frame

    def _told(self, error: BaseException | None) -> BaseException | None:
        owner = self._owner
        first, stopping = owner.first_failure, owner.stopping
        for end in (error, first, self._end):
            if isinstance(end, KeyboardInterrupt | SystemExit):
                return end
        if self._outside is not None:  # and no interrupt of ours: whoever cancelled knows their own
            return self._outside
        if first is not None:
            return first
        if stopping is None or stopping.late:
            return error
        if stopping.spares_body and error is None:
            return None
        return error if error is not None and self._is_own_stop(error) else Stopped(stopping.stop)

    def _throw_away(self, error: GeneratorExit) -> None:
        """Stop what can be stopped without waiting; what takes waiting is done behind, or said to be left."""
        owner = self._owner
        owner.body.over(WorkState.STOPPED)
        owner.begin_stop(because_of(error))
        if owner.is_here:  # an async generator that was left early, mostly
            owner.leave()
            ending = owner.loop.create_task(
                self._end_behind(), name=f"countermand {owner.path}", context=apart()
            )
            _endings.add(ending)
            ending.add_done_callback(_endings.discard)
            return
        left = [*(work.path for work in owner.works), *(["clean-up"] if owner.clean_ups.take() else [])]
        owner.clean_ups.is_over = True
        log.warning(
            "scope %s was thrown away with its event loop; left: %s", owner.path, ", ".join(left) or "nothing"
        )
        owner.close()

    async def _end_behind(self) -> None:
        await self._end_work()
        self._owner.close()
