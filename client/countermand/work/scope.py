"""`scope`: the owner of everything that is started within its block."""

import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar, TypeVarTuple

from countermand._errors import FixTheCall
from countermand._span import Span, seconds
from countermand._words import StopReason
from countermand.work.calls import calling
from countermand.work.cleanup import CLEAN_UP_LIMIT, CleanUp
from countermand.work.interrupts import Shield
from countermand.work.names import name_of
from countermand.work.offload import call_in_process, packed
from countermand.work.owner import Owner, StopSource, open_place
from countermand.work.piece import Work
from countermand.work.pool import WorkPool
from countermand.work.receipt import StopReceipt, WorkFailure
from countermand.work.stop import Stop, reason_named
from countermand.work.stopping import Stopping
from countermand.work.threads import in_thread
from countermand.work.token import CancellationToken
from countermand.work.tree import WorkKind, WorkNode, WorkState
from countermand.work.ways import Ways

__all__ = ["Work", "WorkScope", "current_scope", "scope"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def scope(
    name: str = "",
    *,
    timeout: Span | None = None,
    deadline: datetime | None = None,
    grace: Span | None = None,
    source: StopSource | None = None,
) -> "WorkScope":
    """Open an owner: `async with countermand.scope("agent") as scope`. It ends when all of its work has.

    What is opened within another scope is stopped with it, and never stops it. `timeout` and `deadline` can
    only shorten what the scope above has; `grace` is how long a cancel waits before it names what has not
    stopped. With a `source`, such as a run, the scope is stopped when that is.
    """
    return WorkScope(name or "scope", timeout, deadline, grace, source)


def current_scope() -> "WorkScope | None":
    """Answer the innermost open scope that the running code is in; None outside of all."""
    place = open_place()
    return place.owner.face if place else None


class WorkScope(Ways):
    """Owns what is started within its block: it never closes while any of that is alive."""

    def __init__(
        self,
        name: str,
        timeout: Span | None,
        deadline: datetime | None,
        grace: Span | None,
        source: StopSource | None,
    ) -> None:
        self._timeout = None if timeout is None else seconds(timeout)
        if deadline is not None and deadline.tzinfo is None:
            raise FixTheCall(f"deadline {deadline} has no time zone: use datetime.now(UTC) + timedelta(...)")
        self._deadline = deadline
        self._owner = Owner(self, name, None if grace is None else seconds(grace), source)

    def __repr__(self) -> str:
        return f"<WorkScope {self.path} {self.state}>"

    async def __aenter__(self) -> Self:
        self._owner.open()
        if self._timeout is not None:
            self._owner.shorten(self._timeout)
        if self._deadline is not None:
            self._owner.shorten_until(self._deadline)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._owner.closing.run(error)

    # -- start work

    def spawn(
        self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, name: str = "", kind: WorkKind = "io"
    ) -> Work[T]:
        """Start an async function. If it fails, all in the scope is stopped, and the block raises that."""
        return self._owner.start(calling(fn, args), name or name_of(fn), kind)

    def background(
        self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, name: str = "", kind: WorkKind = "io"
    ) -> Work[T]:
        """Start an async function that stands alone: the scope waits for it, its failure stops nothing."""
        return self._owner.start(calling(fn, args), name or name_of(fn), kind, stands_alone=True)

    def run_in_thread(
        self, fn: Callable[[CancellationToken, *Ts], T], *args: *Ts, name: str = "", kind: WorkKind = "io"
    ) -> Work[T]:
        """Start a function that blocks, in a thread of its own, as `fn(token, *args)`.

        A thread can be told to stop, never made to: the function has to look at its token, and the scope
        waits until it has ended. One that would not within the grace period is named.
        """
        return self._owner.start(in_thread(fn, args), name or name_of(fn), kind)

    def offload(self, fn: Callable[[*Ts], T], *args: *Ts, name: str = "", kind: WorkKind = "cpu") -> Work[T]:
        """Start a function that computes, in a process of its own. A stop kills it, whatever it is doing.

        It has to be importable, from the top of a module, and its arguments and result have to be picklable.
        """
        call, known_as = packed(fn, args), name or name_of(fn)
        begin = in_thread(functools.partial(call_in_process, call=call, name=known_as), ())
        return self._owner.start(begin, known_as, kind)

    def pool(self, size: int) -> WorkPool:
        """Answer what starts work of which so much runs at a time; the rest waits for its turn."""
        return WorkPool(self._owner, size)

    def detach(self, work: Work[T], *, to: "WorkScope") -> Work[T]:
        """Hand a piece of work over to another scope, which owns it from now on, with all that it opened."""
        self._owner.hand_over(work, to._owner)
        return work

    def _answering(self, fn: Callable[[], Awaitable[T]]) -> Work[T]:
        """Start work of which somebody else tells the failure."""
        return self._owner.start(calling(fn, ()), name_of(fn), "io", stands_alone=True, answers=True)

    async def bracket(
        self,
        acquire: Callable[[], Awaitable[T]],
        release: Callable[[T], object],
        *,
        limit: Span = CLEAN_UP_LIMIT,
        name: str = "",
    ) -> T:
        """Acquire something that is released at the end of the scope, whatever happens in between.

        A stop waits until it is acquired: nothing is acquired and then forgotten.
        """
        async with self.shield():
            acquired = await acquire()
            self.defer(release, acquired, limit=limit, name=name or name_of(release))
        return acquired

    # -- stop it

    def cancel(
        self,
        stop: Stop | StopReason | str = StopReason.USER_STOP,
        *,
        note: str = "",
        actor: str = "",
        tag: str = "",
    ) -> Stopping:
        """Stop everything in it, now. Await the answer for the receipt, to know what came of it.

        The block itself is interrupted too, and raises `Stopped`, unless it is what awaits the receipt.
        A second cancel changes nothing and answers the same.
        """
        self._owner.must_be_here()
        given = stop if isinstance(stop, Stop) else Stop(reason_named(stop), note, actor, tag)
        return self._owner.begin_stop(given)

    def cancel_threadsafe(self, stop: Stop) -> "Future[StopReceipt]":
        """Stop it from any thread. Its token is cancelled when this returns, its tasks soon after."""
        if not self._owner.is_open:
            raise FixTheCall(f"scope {self.name} is not open: use 'async with countermand.scope() as scope'")
        answer: Future[StopReceipt] = Future()
        if not self._owner.begin_stop_elsewhere(stop, answer.set_result):
            answer.set_result(StopReceipt(self.path, stop, late=True))
        return answer

    def check(self) -> None:
        """Raise `Stopped` if the scope was stopped."""
        self._owner.token.check()

    # -- limits, sections, clean-up

    def limit(self, timeout: Span) -> None:
        """Let it last so long from now at most. Never gives it more time than it has."""
        self._owner.must_be_here()
        self._owner.shorten(seconds(timeout))

    def shield(self) -> Shield:
        """Answer a block that a stop does not cut in half: one that comes meanwhile arrives at its end.

        It holds back scopes. A task that something else cancels is cancelled at once, as ever.
        """
        return Shield()

    def defer(
        self,
        fn: Callable[[*Ts], object],
        *args: *Ts,
        limit: Span = CLEAN_UP_LIMIT,
        name: str = "",
        in_thread: bool = False,
    ) -> None:
        """Call this when all work has ended, however it ended; the last that was asked for comes first.

        Async or not. An async one is cancelled when its `limit` is over. One that blocks cannot be: give it a
        thread with `in_thread=True`, which is then left behind.
        """
        one = CleanUp(functools.partial(fn, *args), name or name_of(fn), seconds(limit), in_thread)
        self._owner.clean_ups.add(one, self.path)

    # -- look at it

    @property
    def name(self) -> str:
        """Its own name."""
        return self._owner.name

    @property
    def path(self) -> str:
        """The names from the outermost scope down to it, with slashes between."""
        return self._owner.path

    @property
    def state(self) -> WorkState:
        """Where it is in its life."""
        return self._owner.state

    @property
    def token(self) -> CancellationToken:
        """Is cancelled with the scope, and the scope with it. For code that asks by itself."""
        return self._owner.token

    @property
    def remaining(self) -> float | None:
        """Seconds until its deadline, or that of a scope above if that is earlier; None if there is none."""
        return self._owner.remaining

    @property
    def receipt(self) -> StopReceipt | None:
        """What came of the cancel, once that is known."""
        stopping = self._owner.stopping
        return stopping.receipt if stopping else None

    @property
    def failures(self) -> tuple[WorkFailure, ...]:
        """What failed beside the first: clean-ups, work that stood alone, and what failed while stopping."""
        return tuple(self._owner.failures)

    def tree(self) -> WorkNode:
        """Answer what is at work in it at this moment; its text is the tree, a line for each."""
        return self._owner.node()
