"""Several ways to one result. What is not needed any more is stopped, with a typed reason, and awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from countermand._errors import AskOperator, FixTheCall, StopTheRun
from countermand._words import StopReason
from countermand.work.owner import Owner
from countermand.work.piece import Work
from countermand.work.stop import Stop, StopCause
from countermand.work.tree import WorkState

if TYPE_CHECKING:
    from countermand.work.scope import WorkScope

T = TypeVar("T")
Runner = Callable[[], Awaitable[T]]

#: Never tried again: it would be refused again, or must not be done.
_FINAL = (StopTheRun, FixTheCall, AskOperator)


async def owned(owner: Owner, body: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    """Do this as work of the scope, whichever task asks for it; it ends with whoever waits for it."""
    work: Work[T] = owner.start(lambda _: body(), name, "io", stands_alone=True, answers=True)
    try:
        return await work
    except asyncio.CancelledError:
        await work.cancel(Stop(cause=StopCause.OUTSIDE, note="nobody waits for it any more"))
        raise


async def first_ended(within: "WorkScope", runners: Sequence[Runner[T]]) -> T:
    """Run them all; answer the result of the first that ends, or raise what it raised."""
    works = _started(within, runners)
    await asyncio.wait({work.task for work in works}, return_when=asyncio.FIRST_COMPLETED)
    first = next(work for work in works if work.is_over)
    await _stop_losers(works, first)
    return await first


async def first_done(within: "WorkScope", runners: Sequence[Runner[T]]) -> T:
    """Run them all; answer the first result. If all fail, raise what they raised."""
    return await _first_done(_started(within, runners))


async def hedged(within: "WorkScope", runner: Runner[T], after: float, copies: int) -> T:
    """Run it; where there is no result in so many seconds, once more beside it. The first result counts."""
    works = _started(within, [runner])
    while len(works) < copies:
        running = {work.task for work in works if not work.is_over}
        if running:  # else all have failed, and the next one is not waited for
            await asyncio.wait(running, timeout=after, return_when=asyncio.FIRST_COMPLETED)
        if any(work.state is WorkState.DONE for work in works):
            break
        works += _started(within, [runner])
    return await _first_done(works)


async def _first_done(works: Sequence[Work[T]]) -> T:
    while True:
        winner = next((work for work in works if work.state is WorkState.DONE), None)
        if winner is not None:
            await _stop_losers(works, winner)
            return await winner
        running = {work.task for work in works if not work.is_over}
        if not running:
            break
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    errors = [work.error for work in works if isinstance(work.error, Exception)]
    raise ExceptionGroup("none of them succeeded", errors)


def _started(within: "WorkScope", runners: Sequence[Runner[T]]) -> list[Work[T]]:
    if not runners:
        raise FixTheCall("there is nothing to run: give at least one async function")
    return [within._answering(runner) for runner in runners]


async def _stop_losers(works: Sequence[Work[Any]], winner: Work[Any]) -> None:
    stop = Stop(StopReason.SUPERSEDED, f"{winner.name} came first", cause=StopCause.LOST)
    for work in works:
        if not work.is_over:
            work._interrupt(stop)
    for work in works:
        await work.wait()


async def retried(
    runner: Runner[T], attempts: int, pause: float, longest: float, on: tuple[type[Exception], ...]
) -> T:
    """Run it until it succeeds, so often at most, with pauses that double. A stop ends a pause, too."""
    for attempt in range(1, attempts):
        try:
            return await runner()
        except _FINAL:
            raise
        except on:
            await asyncio.sleep(min(longest, pause * 2 ** (attempt - 1)))
    return await runner()
