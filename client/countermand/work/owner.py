"""The state of one scope: what it owns, where it is in its life, and how it is stopped."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from countermand._errors import FixTheCall
from countermand._words import StopReason
from countermand._world import log
from countermand.work.causes import because_of
from countermand.work.cleanup import CleanUps
from countermand.work.closing import Closing
from countermand.work.host import Host
from countermand.work.loops import running_loop
from countermand.work.names import name_of
from countermand.work.piece import Work
from countermand.work.place import Body, Place, above_here, apart, enter, here
from countermand.work.receipt import WorkFailure
from countermand.work.showing import ShowingOnLoop
from countermand.work.stop import Stop, StopCause
from countermand.work.stopping import Stopping
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind, WorkNode, WorkState

if TYPE_CHECKING:
    from countermand.work.scope import WorkScope

T = TypeVar("T")

GRACE = 5.0  # seconds until what has not stopped is named
_KEPT = 100  # pieces of work that came to their end and are still known by name


class StopSource(Protocol):
    """Something whose end stops the scope that is bound to it, such as a run."""

    def watch(self, callback: Callable[[Stop], object], /) -> Callable[[], object]:
        """Call back once it is stopped, from any thread, at once if it was before; answer how to end that."""
        ...


def open_place() -> Place | None:
    """Answer the place the running code is in; where a task that nobody owns outlived that, the one above."""
    place = here.get()
    while place is not None and place.owner.is_settled:
        place = place.owner.place
    return place.owner.body if place is not None and place.is_over else place


class Owner:
    """Owns the work of one scope."""

    def __init__(self, face: "WorkScope", name: str, grace: float | None, source: StopSource | None) -> None:
        self.face = face
        self.name = name
        self.token = CancellationToken()
        self.failures: list[WorkFailure] = []
        #: The place it was opened in; None if that was outside of all scopes.
        self.place: Place | None = None
        self.body: Body
        self.host: Host
        self.loop: asyncio.AbstractEventLoop
        self.grace = GRACE
        #: What is at work, in the order in which it was begun.
        self.works: dict[Work[Any], None] = {}
        self.stopping: Stopping | None = None
        self.first_failure: BaseException | None = None
        self.clean_ups = CleanUps()
        #: It was opened within a shielded section: what is above does not stop it.
        self.is_sheltered = False
        self.is_open = False
        self.is_closed = False
        self._grace, self._source = grace, source
        self._unwatch: list[Callable[[], object]] = []
        self._showing: ShowingOnLoop | None = None
        self._finished: deque[WorkNode] = deque(maxlen=_KEPT)
        self._finished_count = 0
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._outer: tuple[Place | None, CancellationToken | None] = (None, None)
        self.closing = Closing(self)

    # -- its life

    def open(self) -> None:
        """Begin to own, within the place that the running code is in."""
        if self.is_open:
            raise FixTheCall(f"scope {self.name} was opened before; make a new one with countermand.scope()")
        self.loop, self.host = running_loop(), Host()
        place = open_place()
        is_near = place is None or place.owner.loop is self.loop
        self.place = place if is_near else None
        # What is above, and not on this loop: a blocking scope, or a scope on a loop in another thread.
        above = above_here.get() or (None if is_near or place is None else place.owner.token)
        self.is_sheltered = self.host.level > 0
        if self.place is not None and not self.is_sheltered:
            self.place.owner.token.check()
        self.grace = self._grace or (self.place.owner.grace if self.place else GRACE)
        self.body = Body(self)
        if self.place is not None:
            self.place.nested[self] = None
        self.is_open, self._outer = True, (here.get(), above_here.get())
        enter(self.body)
        self.token._scope = self._source_stopped  # to cancel the token is to stop the scope
        try:
            self._listen(above)
        except BaseException:
            self.close()  # else the scope above would wait for it
            raise

    def _listen(self, above: CancellationToken | None) -> None:
        """Hear of the stops of what is not on this loop."""
        if self._source is not None:
            self._unwatch.append(self._source.watch(self._source_stopped))
            show = getattr(self._source, "show", None)
            self._showing = ShowingOnLoop(self.loop, self.node, show) if show else None
        if above is not None:
            self._unwatch.append(above.on_cancel(self._source_stopped))

    def close(self) -> None:
        """Let go of everything; there is no more work."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for unwatch in self._unwatch:
            try:
                unwatch()
            except Exception as error:  # such as that of a client that is closed: the scope ends all the same
                self.note(WorkFailure("callback", name_of(unwatch), error))
        if self._showing is not None:
            self._showing.close()
        if self.place is not None:
            self.place.owner.nested_closed(self)
        if self.stopping is not None:
            self.stopping.close()
        self.leave()

    def leave(self) -> None:
        """Let the running code be where it was before."""
        if here.get() is self.body:
            here.set(self._outer[0])
            above_here.set(self._outer[1])

    def nested_closed(self, nested: "Owner") -> None:
        """A scope within is closed."""
        for place in (nested.place, self.body):
            if place is not None:
                place.nested.pop(nested, None)
        self.closing.look()

    @property
    def is_settled(self) -> bool:
        """Whether all of its work has ended: it takes no more."""
        return self.is_closed or self.closing.is_cleaning

    @property
    def is_here(self) -> bool:
        """Whether its event loop is the one that runs in this thread."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def must_be_here(self) -> None:
        """Refuse a call on a scope that is not open, or from another thread."""
        if not self.is_open:
            raise FixTheCall(f"scope {self.name} is not open: use 'async with countermand.scope() as scope'")
        if not self.is_here:
            raise FixTheCall(
                f"scope {self.path} belongs to an event loop that does not run in this thread: "
                "use its cancel_threadsafe, or its token"
            )

    # -- its work

    def start(
        self,
        body: Callable[[Work[T]], Coroutine[Any, Any, T]],
        name: str,
        kind: WorkKind,
        *,
        stands_alone: bool = False,
        answers: bool = False,
    ) -> Work[T]:
        """Start a piece of work; refused once the scope was stopped or closed."""
        self.must_be_here()
        self._must_take(name)
        work: Work[T] = Work(self, name, kind)
        work.stands_alone, work.answers = stands_alone, answers
        self.works[work] = None
        try:
            work._begin(body)
        except BaseException:
            del self.works[work]
            raise
        return work

    def hand_over(self, work: Work[Any], to: "Owner") -> None:
        """Let another scope own a piece of work."""
        self.must_be_here()
        if work not in self.works:
            raise FixTheCall(f"{work.path} is not at work in scope {self.path}: it cannot be handed over")
        self.token.check()  # what was told to stop is not let off
        to.must_be_here()
        to._must_take(work.name)
        if to.is_within(work):
            raise FixTheCall(
                f"scope {to.path} is within {work.path} and cannot own it: each would wait for the other; "
                "hand it over to a scope that is not"
            )
        del self.works[work]
        to.works[work] = None
        if work.token is not None:
            self.token.release(work.token)
            to.token.adopt(work.token)
        work.owner = to
        self.closing.look()

    def is_within(self, place: Place) -> bool:
        """Say whether it was opened in this place, or in a scope that was."""
        above = self.place
        while above is not None and above is not place:
            above = above.owner.place
        return above is not None

    def _must_take(self, name: str) -> None:
        self.token.check()
        if self.is_settled:
            raise FixTheCall(f"scope {self.path} is closed: open one for {name}")

    def ended(self, work: Work[Any]) -> None:
        """A piece of work has ended."""
        self.works.pop(work, None)
        if work.state is WorkState.FAILED:
            self.failed(work.error, work)
        elif self.stopping is None and work.state is WorkState.DONE:
            self._finished.append(work.node())
            self._finished_count += 1
        if self.stopping is not None:
            self.stopping.check()
        self.closing.look()

    def failed(self, error: BaseException | None, place: Place) -> None:
        """Something failed: the first failure of what does not stand alone stops the scope."""
        assert error is not None  # noqa: S101 - it failed
        work = place if isinstance(place, Work) and isinstance(error, Exception) else None
        alone = work is not None and work.stands_alone
        if not alone and self.stopping is None:
            self.first_failure = error
            self.begin_stop(because_of(error), culprit=place)
        elif not (work is not None and work.answers):
            self.note(WorkFailure("body" if place is self.body else "work", place.name, error))

    def note(self, failure: WorkFailure) -> None:
        """Keep a failure that stops nothing, and log it."""
        self.failures.append(failure)
        log.warning("scope %s: %s", self.path, failure)

    def finished(self) -> tuple[tuple[WorkNode, ...], int]:
        """Answer what has come to its end so far: the last of it, and how much it was."""
        return tuple(self._finished), self._finished_count

    # -- how it is stopped

    def begin_stop(self, stop: Stop, *, from_above: bool = False, culprit: Place | None = None) -> Stopping:
        """Stop it, if it has not been stopped before; the first stop stands."""
        if self.stopping is None:
            stop = self.token._claim(stop)  # another thread may have come first
            self.stopping = Stopping(self, stop, culprit)
            self.stopping.begin(from_above=from_above)
            if not from_above and not self.loop.is_closed():
                # A signal handler runs while the loop sleeps, which would sleep on.
                self.loop.call_soon_threadsafe(_nothing, context=apart())
        return self.stopping

    def reached(self, stop: Stop, above: object) -> Stopping | None:
        """Be stopped with the place it is in, whose task is `above`; not if it is sheltered from that."""
        return None if self.is_sheltered else self.begin_stop(stop, from_above=self.host.task is above)

    def _source_stopped(self, stop: Stop) -> None:
        if self.is_here:
            self.begin_stop(stop)
        else:
            self.begin_stop_elsewhere(stop, lambda _: None)

    def begin_stop_elsewhere(self, stop: Stop, tell: Callable[[Any], object]) -> bool:
        """Stop it from another thread; answer False if its loop is closed and there is nobody to tell."""
        try:
            self.loop.call_soon_threadsafe(lambda: self.begin_stop(stop).tell(tell))
        except RuntimeError:
            return False
        finally:  # threads need not wait for the loop; but it is told before one can end, and be left out
            self.token.cancel(stop)
        return True

    def shorten(self, seconds: float) -> None:
        """Let it last so long from now at most."""
        deadline = self.loop.time() + max(0.0, seconds)
        if not self.is_closed and (self._deadline is None or deadline < self._deadline):
            self._deadline = deadline
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(deadline, self._time_over, context=apart())

    def shorten_until(self, deadline: datetime) -> None:
        """Let it last until then at most."""
        self.shorten((deadline - datetime.now(UTC)).total_seconds())

    def _time_over(self) -> None:
        note = f"the time of scope {self.name} was over"
        self.begin_stop(Stop(StopReason.DEADLINE, note, cause=StopCause.TIMEOUT))

    @property
    def remaining(self) -> float | None:
        """Seconds until its deadline, or that of a scope above if that is earlier; None if there is none."""
        above = self.place.owner.remaining if self.place and not self.is_sheltered else None
        own = None if self._deadline is None else self._deadline - self.loop.time()
        return min((one for one in (own, above) if one is not None), default=None)

    # -- how it looks

    @property
    def path(self) -> str:
        """The names from the outermost scope down to it, with slashes between."""
        return f"{self.place.path}/{self.name}" if self.place else self.name

    @property
    def state(self) -> WorkState:
        """Where it is in its life."""
        if not self.is_open:
            return WorkState.QUEUED
        is_stopped = self.stopping is not None and not self.stopping.late
        if self.is_closed:
            return WorkState.STOPPED if is_stopped else WorkState.DONE
        return WorkState.STOPPING if is_stopped else WorkState.RUNNING

    def node(self) -> WorkNode:
        """Answer what it is at this moment, and what is at work in it."""
        places = [self.body, *self.works] if self.is_open else []
        age = self.body.age if places else 0.0
        return WorkNode(self.path, "scope", self.state, age, tuple(one.node() for one in places))


def _nothing() -> None:
    """Wake a loop."""
