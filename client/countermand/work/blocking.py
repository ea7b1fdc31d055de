"""`scope` for code that blocks: it owns threads and processes, tells them to stop, and waits for them."""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from countermand._errors import FixTheCall, Stopped
from countermand._span import Span, seconds
from countermand._words import StopReason
from countermand._world import log
from countermand.work.blocking_cleanup import BlockingCleanUp
from countermand.work.causes import because_of
from countermand.work.cleanup import CLEAN_UP_LIMIT
from countermand.work.names import name_of
from countermand.work.offload import call_in_process, packed
from countermand.work.owner import GRACE, StopSource, open_place
from countermand.work.place import above_here
from countermand.work.receipt import StopReceipt, WorkFailure
from countermand.work.showing import ShowingByThread
from countermand.work.stop import Stop, StopCause, reason_named
from countermand.work.thread_work import Work
from countermand.work.threads_told import ThreadsTold
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind, WorkNode, WorkState

__all__ = ["Work", "WorkScope", "current_scope", "scope"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_KEPT = 100  # pieces of work that came to their end and are still known by name

_here: ContextVar["WorkScope | None"] = ContextVar("countermand_blocking_scope", default=None)


def scope(
    name: str = "",
    *,
    timeout: Span | None = None,
    deadline: datetime | None = None,
    grace: Span | None = None,
    source: StopSource | None = None,
) -> "WorkScope":
    """Open an owner of threads and processes: `with countermand.scope("agent") as scope`.

    It ends when all of its work has. What is opened within another scope, also one of an event loop, is
    stopped with it, and never stops it. `timeout` and `deadline` can only shorten; `grace` is how long a
    cancel waits before it names what has not stopped. With a `source`, such as a run, it is stopped when that
    is.
    """
    return WorkScope(name or "scope", timeout, deadline, grace, source)


def current_scope() -> "WorkScope | None":
    """Answer the innermost open scope that the running code is in; None outside of all."""
    found = _here.get()
    while found is not None and found.state not in (WorkState.RUNNING, WorkState.STOPPING):
        found = found._above
    return found


class WorkScope:
    """Owns the threads that are started within its block: it never closes while any of them is alive."""

    def __init__(
        self,
        name: str,
        timeout: Span | None,
        deadline: datetime | None,
        grace: Span | None,
        source: StopSource | None,
    ) -> None:
        self.name = name
        #: Is cancelled with the scope, and the scope with it. For code that asks by itself.
        self.token = CancellationToken()
        self._limits = _limits(timeout, deadline)
        self._grace, self._source = grace, source
        self._changed = threading.Condition(threading.RLock())
        self._state = WorkState.QUEUED
        self._works: dict[Work[Any], None] = {}
        self._below: dict[WorkScope, None] = {}
        self._clean_ups: list[BlockingCleanUp] = []
        self._finished: deque[WorkNode] = deque(maxlen=_KEPT)
        self._finished_count = 0
        self._failures: list[WorkFailure] = []
        self._first_failure: BaseException | None = None
        self._stop: ThreadsTold | None = None
        self._asked_itself = False
        self._clean_ups_over = False
        self._above: WorkScope | None = None
        self._undo: list[Callable[[], object]] = []
        self._deadline: float | None = None
        self._timer: threading.Timer | None = None

    def __repr__(self) -> str:
        return f"<WorkScope {self.path} {self.state}>"

    # -- the block

    def __enter__(self) -> Self:
        if self._state is not WorkState.QUEUED:
            raise FixTheCall(f"scope {self.name} was opened before; make a new one with countermand.scope()")
        above = self._token_above()
        if above is not None:
            above.check()
        self._thread, self._begun = threading.get_ident(), time.monotonic()
        self._state, self._outer = WorkState.RUNNING, (_here.get(), above_here.get())
        if above is not None:
            self._undo.append(above.on_cancel(self._tell))
        if self._above is not None:
            self._above._below[self] = None
        self.token._scope = self._tell  # to cancel the token is to stop the scope
        _here.set(self)
        above_here.set(self.token)
        try:
            if self._source is not None:
                self._undo.append(self._source.watch(self._tell))
                if show := getattr(self._source, "show", None):
                    self._undo.append(ShowingByThread(self.tree, show).close)
        except BaseException:
            self._close()
            raise
        for limit in self._limits:
            self._shorten(limit())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._is_own_stop(error):
            self._failed(error, "body", "body")
        end, stop = self._join()
        failure = self._clean_up()
        self._close()
        told = end or self._first_failure
        if told is None and stop is not None and not (self._asked_itself and error is None):
            told = error if error is not None and self._is_own_stop(error) else Stopped(stop.stop)
        if failure is not None and told is not None:
            told.add_note(f"countermand: scope {self.path}: {failure}")
        elif failure is not None:
            told = failure.error
        if told is not None and told is not error:
            raise told

    def _token_above(self) -> CancellationToken | None:
        """Answer what this is stopped with: the innermost scope around, blocking or of an event loop."""
        if above_here.get() is not None:
            self._above = current_scope()
            return self._above.token if self._above else None
        place = open_place()
        return place.owner.token if place else None

    def _join(self) -> tuple[BaseException | None, ThreadsTold | None]:
        """Wait until nothing is at work any more, and take nothing more from then on.

        Ctrl-C stops the work; a second one leaves it behind.
        """
        end: BaseException | None = None
        while True:
            try:
                with self._changed:
                    while self._works:
                        self._changed.wait(self._until_named())
                    if self._stop is not None:
                        self._written(self._stop)
                    self._state = WorkState.DONE  # in one step with the look: nothing is started between
                    return end, self._stop
            except KeyboardInterrupt as error:
                if end is not None:
                    log.warning(
                        "scope %s: left behind: %s", self.path, ", ".join(w.path for w in self._works)
                    )
                    raise
                end = error
                self._tell(because_of(error))

    def _until_named(self) -> float | None:
        """Answer the seconds until what has not stopped is to be named; name it, if they are over."""
        if self._stop is None or self._stop.receipt is not None:
            return None
        left = self._stop.begun + self._patience - time.monotonic()
        if left > 0:
            return left
        self._written(self._stop)
        return None

    def _clean_up(self) -> WorkFailure | None:
        first = None
        while self._clean_ups:
            one = self._clean_ups.pop()
            try:
                one.run()
            except BaseException as error:  # also Ctrl-C: the others come first
                failure = WorkFailure("clean-up", one.name, error)
                self._note(failure)
                first = first if first and isinstance(error, Exception) else failure
        self._clean_ups_over = True
        return first

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for undo in self._undo:
            try:
                undo()
            except Exception as error:  # such as that of a client that is closed: the scope ends all the same
                self._note(WorkFailure("callback", name_of(undo), error))
        if self._above is not None:
            self._above._below.pop(self, None)
        if _here.get() is self:
            _here.set(self._outer[0])
            above_here.set(self._outer[1])

    def _is_own_stop(self, error: BaseException) -> bool:
        return isinstance(error, Stopped) and self._stop is not None and error.stop is self._stop.stop

    # -- start work

    def spawn(
        self,
        fn: Callable[[CancellationToken, *Ts], T],
        *args: *Ts,
        name: str = "",
        kind: WorkKind = "io",
    ) -> Work[T]:
        """Start a function in a thread of its own, as `fn(token, *args)`.

        If it fails, all in the scope is stopped, and the block raises that. A thread can be told to stop,
        never made to: the function has to look at its token. One that would not is named.
        """
        return self._start(fn, args, name or name_of(fn), kind, stands_alone=False)

    def background(
        self,
        fn: Callable[[CancellationToken, *Ts], T],
        *args: *Ts,
        name: str = "",
        kind: WorkKind = "io",
    ) -> Work[T]:
        """Start a function that stands alone: the scope waits for it, its failure stops nothing."""
        return self._start(fn, args, name or name_of(fn), kind, stands_alone=True)

    def offload(self, fn: Callable[[*Ts], T], *args: *Ts, name: str = "", kind: WorkKind = "cpu") -> Work[T]:
        """Start a function that computes, in a process of its own. A stop kills it, whatever it is doing.

        It has to be importable, from the top of a module, and its arguments and result have to be picklable.
        """
        call, known_as = packed(fn, args), name or name_of(fn)
        begin = functools.partial(call_in_process, call=call, name=known_as)
        return self._start(begin, (), known_as, kind, stands_alone=False)

    def _start(
        self, fn: Callable[..., T], args: tuple[Any, ...], name: str, kind: WorkKind, *, stands_alone: bool
    ) -> Work[T]:
        with self._changed:  # a stop comes before, and refuses it, or after, and finds it
            self.token.check()
            if self._state is not WorkState.RUNNING:
                raise FixTheCall(f"scope {self.path} is not open: use 'with countermand.scope() as scope'")
            work: Work[T] = Work(self, name, kind, stands_alone=stands_alone)
            self._works[work] = None
        try:
            work._begin(lambda: fn(work.token, *args))
        except BaseException:
            self._release(work)
            with self._changed:
                del self._works[work]
            raise
        return work

    def _release(self, work: Work[Any]) -> None:
        self.token.release(work.token)

    def _ended(self, work: Work[Any]) -> None:
        self._release(work)
        if work.error is not None and work.state is WorkState.FAILED:
            self._failed(work.error, "work", work.name, stands_alone=work.stands_alone)
        with self._changed:
            if self._stop is None and work.state is WorkState.DONE:
                self._finished.append(work.node())
                self._finished_count += 1
            self._works.pop(work, None)
            self._changed.notify_all()

    def _failed(self, error: BaseException, what: str, name: str, *, stands_alone: bool = False) -> None:
        stop = because_of(error)
        if not stands_alone:
            self._tell(stop)
        with self._changed:
            if self.token.stop is stop and self._first_failure is None and not stands_alone:
                self._first_failure = error
                return
        if error is not self._first_failure:
            self._note(WorkFailure(what, name, error))

    def _note(self, failure: WorkFailure) -> None:
        self._failures.append(failure)
        log.warning("scope %s: %s", self.path, failure)

    # -- stop it

    def cancel(
        self,
        stop: Stop | StopReason | str = StopReason.USER_STOP,
        *,
        note: str = "",
        actor: str = "",
        tag: str = "",
    ) -> StopReceipt:
        """Stop everything in it, from any thread; answer the receipt, after the grace period at the latest.

        The block itself is told by the token, and raises `Stopped` at its end, unless it is what called this.
        A second cancel changes nothing and answers the same.
        """
        if self._state is WorkState.QUEUED:
            raise FixTheCall(f"scope {self.name} is not open: use 'with countermand.scope() as scope'")
        self._asked_itself = self._asked_itself or (
            not self.token.is_cancelled and threading.get_ident() == self._thread
        )
        self._tell(stop if isinstance(stop, Stop) else Stop(reason_named(stop), note, actor, tag))
        return self._receipt_in_time()

    def _tell(self, stop: Stop) -> None:
        """Stop it; the first stop stands. Does not wait."""
        with self._changed:  # nothing that is at work can end meanwhile, and be left out
            if self._stop is None:
                late = self._state is WorkState.DONE
                works = [] if late else self._all_works()
                first = tuple(self._finished), self._finished_count
                self._stop = ThreadsTold(self.token._claim(stop), late, works, first)
                self._changed.notify_all()
        self.token._announce()

    def _all_works(self) -> list[Work[Any]]:
        """What is at work in it, and in the scopes within."""
        with self._changed:
            works, below = list(self._works), list(self._below)
        return [*works, *(work for scope in below for work in scope._all_works())]

    def _receipt_in_time(self) -> StopReceipt:
        stopping = self._stop
        assert stopping is not None  # noqa: S101 - told right before
        stopping.wait(self._patience)
        with self._changed:
            return self._written(stopping)

    def _written(self, stopping: ThreadsTold) -> StopReceipt:
        return stopping.written(self.path, self.token.failures, self._patience)

    def check(self) -> None:
        """Raise `Stopped` if the scope was stopped."""
        self.token.check()

    # -- limits, clean-up

    def limit(self, timeout: Span) -> None:
        """Let it last so long from now at most. Never gives it more time than it has."""
        self._shorten(seconds(timeout))

    def _shorten(self, left: float) -> None:
        deadline = time.monotonic() + max(0.0, left)
        with self._changed:
            if self._deadline is not None and self._deadline <= deadline:
                return
            self._deadline = deadline
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(max(0.0, left), self._time_over)
            self._timer.daemon = True
            self._timer.start()

    def _time_over(self) -> None:
        note = f"the time of scope {self.name} was over"
        self._tell(Stop(StopReason.DEADLINE, note, cause=StopCause.TIMEOUT))

    @property
    def remaining(self) -> float | None:
        """Seconds until its deadline, or that of a scope above if that is earlier; None if there is none."""
        own = None if self._deadline is None else self._deadline - time.monotonic()
        above = self._above.remaining if self._above else None
        return min((one for one in (own, above) if one is not None), default=None)

    def defer(
        self,
        fn: Callable[[*Ts], object],
        *args: *Ts,
        limit: Span = CLEAN_UP_LIMIT,
        name: str = "",
        in_thread: bool = False,
    ) -> None:
        """Call this when all work has ended, however it ended; the last that was asked for comes first.

        What takes longer than its `limit` is named. With `in_thread=True` it is left behind then.
        """
        if self._clean_ups_over:
            raise FixTheCall(f"scope {self.path} is closed, so nothing would run {name or name_of(fn)}")
        call: Callable[[], object] = functools.partial(fn, *args)
        self._clean_ups.append(BlockingCleanUp(call, name or name_of(fn), seconds(limit), in_thread))

    # -- look at it

    @property
    def _patience(self) -> float:
        if self._grace is not None:
            return seconds(self._grace)
        return self._above._patience if self._above else GRACE

    @property
    def path(self) -> str:
        """The names from the outermost scope down to it, with slashes between."""
        return f"{self._above.path}/{self.name}" if self._above else self.name

    @property
    def state(self) -> WorkState:
        """Where it is in its life."""
        is_stopped = self._stop is not None and not self._stop.late
        if self._state is WorkState.RUNNING and is_stopped:
            return WorkState.STOPPING
        return WorkState.STOPPED if self._state is WorkState.DONE and is_stopped else self._state

    @property
    def receipt(self) -> StopReceipt | None:
        """What came of the cancel, once that is known."""
        return self._stop.receipt if self._stop else None

    @property
    def failures(self) -> tuple[WorkFailure, ...]:
        """What failed beside the first: clean-ups, work that stood alone, and what failed while stopping."""
        return tuple(self._failures)

    def tree(self) -> WorkNode:
        """Answer what is at work in it at this moment; its text is the tree, a line for each."""
        with self._changed:
            works, below = list(self._works), list(self._below)
        children = (*(work.node() for work in works), *(scope.tree() for scope in below))
        age = 0.0 if self._state is WorkState.QUEUED else time.monotonic() - self._begun
        return WorkNode(self.path, "scope", self.state, age, children)


def _limits(timeout: Span | None, deadline: datetime | None) -> list[Callable[[], float]]:
    """Answer what says, when the block is entered, how many seconds it has."""
    if deadline is not None and deadline.tzinfo is None:
        raise FixTheCall(f"deadline {deadline} has no time zone: use datetime.now(UTC) + timedelta(...)")
    limits: list[Callable[[], float]] = []
    if timeout is not None:
        given = seconds(timeout)
        limits.append(lambda: given)
    if deadline is not None:
        moment = deadline
        limits.append(lambda: (moment - datetime.now(UTC)).total_seconds())
    return limits
