"""Several ways to one result: losers, queued work and pauses are stopped, with a reason, and awaited."""

import asyncio
import contextlib

import pytest

import countermand
from countermand import StopCause, Stopped, WorkState
from tests.work.support import USER, a_turn, forever, names


class Loser:
    """Work that takes a while to end, and keeps why it had to."""

    def __init__(self) -> None:
        self.stops: list[object] = []
        self.ended = 0

    async def __call__(self) -> str:
        within = countermand.current_scope()
        try:
            await forever()
        finally:
            assert within is not None
            await a_turn(5)
            self.ended += 1
        return "never"


async def _soon(result: str = "won") -> str:
    await a_turn()
    return result


async def _fails() -> str:
    await a_turn()
    raise ValueError("boom")


async def test_a_race_is_decided_by_the_first_that_ends() -> None:
    """The losers have ended when it answers."""
    loser = Loser()
    async with countermand.scope() as scope:
        assert await scope.race(loser, _soon, loser) == "won"
        assert loser.ended == 2
        with pytest.raises(ValueError, match="boom"):
            await scope.race(loser, _fails)
        assert loser.ended == 3
        assert scope.tree().children[1:] == ()
    assert scope.receipt is None
    assert scope.failures == ()


async def test_losers_are_stopped_with_a_typed_reason() -> None:
    """SUPERSEDED, because another came first, which is named."""
    stops: list[countermand.Stop] = []

    async def loses() -> None:
        async with countermand.scope("inner") as inner:
            inner.token.on_cancel(stops.append)
            await forever()

    async with countermand.scope() as scope:
        await scope.race(loses, _soon)
    (stop,) = stops
    assert (stop.reason, stop.cause, stop.note) == ("SUPERSEDED", StopCause.LOST, "_soon came first")


async def test_any_takes_the_first_result() -> None:
    """A failure does not decide; if all fail, all is told."""
    loser = Loser()
    async with countermand.scope() as scope:
        assert await scope.any(_fails, loser, _soon) == "won"
        assert loser.ended == 1
        with pytest.raises(ExceptionGroup, match="none of them succeeded") as raised:
            await scope.any(_fails, _fails)
        assert len(raised.value.exceptions) == 2
        with pytest.raises(countermand.FixTheCall, match="nothing to run"):
            await scope.any()
    assert scope.failures == ()


async def test_a_hedge_starts_again_beside_a_silent_one() -> None:
    """The first result counts, the silent one is stopped."""
    calls = []
    silent = Loser()

    async def fetch() -> str:
        calls.append(len(calls))
        return await (silent() if len(calls) == 1 else _soon())

    async with countermand.scope() as scope:
        assert await scope.hedge(fetch, after="5ms") == "won"
    assert (calls, silent.ended) == ([0, 1], 1)


async def test_a_hedge_of_what_is_quick_runs_once() -> None:
    """And goes on to the next at once where one fails, up to its copies."""
    calls = []

    async def quick() -> str:
        calls.append(True)
        return await _soon()

    async def broken() -> str:
        calls.append(False)
        return await _fails()

    async with countermand.scope() as scope:
        assert await scope.hedge(quick, after="60s") == "won"
        with pytest.raises(ExceptionGroup):
            await scope.hedge(broken, after="60s", copies=3)
    assert calls == [True, False, False, False]


@pytest.mark.parametrize("how", ["race", "any", "hedge", "retry"])
async def test_a_stop_reaches_all_of_it(how: str) -> None:
    """Also a pause between two tries; and whoever waited for it is told the reason."""
    loser = Loser()

    async def waits() -> object:
        if how == "hedge":
            return await scope.hedge(loser, after="1ms", copies=2)
        if how == "retry":
            return await scope.retry(_fails, pause="60s", longest="60s")
        return await getattr(scope, how)(loser, loser)

    outside = asyncio.ensure_future(_told(waits))
    with contextlib.suppress(Stopped):
        async with countermand.scope() as scope:
            await asyncio.sleep(0.02)
            receipt = await scope.cancel(USER)
    assert await outside is USER
    assert receipt.not_stopped == ()
    assert loser.ended == (0 if how == "retry" else 2)
    assert receipt.cancelled == (1 if how == "retry" else 3)


async def _told(waits) -> countermand.Stop:  # type: ignore[no-untyped-def]
    with pytest.raises(Stopped) as stopped:
        await waits()
    return stopped.value.stop


async def test_what_nobody_waits_for_any_more_is_stopped() -> None:
    """A race ends with whoever asked for it."""
    loser = Loser()
    async with countermand.scope() as scope:
        asking = scope.spawn(scope.race, loser, loser)
        await a_turn(5)
        await asking.cancel(USER)
        assert loser.ended == 2
        assert scope.tree().children[1:] == ()


async def test_a_retry_tries_again_and_gives_up() -> None:
    """After so many attempts it raises the last failure."""
    calls = []

    async def third_time() -> str:
        calls.append(True)
        return await (_soon() if len(calls) == 3 else _fails())

    async with countermand.scope() as scope:
        assert await scope.retry(third_time, pause="1ms") == "won"
        calls.clear()
        with pytest.raises(ValueError, match="boom"):
            await scope.retry(third_time, attempts=2, pause="1ms")
    assert len(calls) == 2


@pytest.mark.parametrize(
    "final", [countermand.Revoked("x"), Stopped(USER), countermand.InvalidRequest("x")], ids=repr
)
async def test_what_says_stop_is_never_tried_again(final: Exception) -> None:
    """A refusal is an answer."""
    calls = []

    async def refused() -> None:
        calls.append(True)
        raise final

    async with countermand.scope() as scope:
        with pytest.raises(type(final)):
            await scope.retry(refused, pause="1ms")
    assert len(calls) == 1


async def test_a_pool_runs_so_much_at_a_time() -> None:
    """And all of it in the end."""
    running, most = 0, 0

    async def item(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await a_turn(5)
        running -= 1
        return number

    async with countermand.scope() as scope:
        pool = scope.pool(3)
        works = [pool.spawn(item, number) for number in range(20)]
        await a_turn()
        assert [work.state for work in works].count(WorkState.QUEUED) == 17
        assert sorted([await work for work in works]) == list(range(20))
    assert most == 3


async def test_queued_work_is_stopped_in_the_queue() -> None:
    """It never runs, and is told so."""
    ran = []

    async def item(number: int) -> None:
        ran.append(number)
        await forever()

    async with countermand.scope() as scope:
        pool = scope.pool(2)
        works = [pool.spawn(item, number) for number in range(10)]
        pool.run_in_thread(lambda token: ran.append(99), name="thread")
        await a_turn()
        receipt = await scope.cancel(USER)
    assert ran == [0, 1]
    assert [work.state for work in works] == [WorkState.STOPPED] * 2 + [WorkState.NEVER_RAN] * 8
    assert receipt.cancelled == 11
    with pytest.raises(countermand.FixTheCall, match="at least one place"):
        scope.pool(0)


async def test_bracket_releases_what_it_acquired() -> None:
    """At the end of the scope, backwards; a stop waits until it has it."""
    steps: list[str] = []

    async def acquire() -> str:
        steps.append("acquiring")
        await a_turn(5)
        return "lock"

    async def holder() -> None:
        await scope.bracket(acquire, lambda lock: steps.append(f"released {lock}"))
        steps.append("held")

    async with countermand.scope() as scope:
        work = scope.spawn(holder)
        await a_turn()
        await scope.cancel(USER)
    assert steps == ["acquiring", "released lock"]
    assert work.state is WorkState.STOPPED


async def test_bracket_that_could_not_acquire_releases_nothing() -> None:
    """There is nothing to release."""
    released: list[str] = []
    with pytest.raises(ValueError, match="boom"):
        async with countermand.scope() as scope:
            await scope.bracket(_fails, released.append)
    assert released == []


async def test_the_tree_shows_a_race() -> None:
    """Who runs, and below whom."""
    async with countermand.scope("agent") as scope:
        racing = scope.spawn(scope.race, forever, _blocked, name="ask both")
        await a_turn(5)
        lines = [line.split(" (")[0] for line in str(scope.tree()).splitlines()]
        await racing.cancel(USER)
    assert lines[:5] == ["agent", "  body", "  ask both", "  race", "    race"]
    assert lines[5:] == ["      body", "      forever", "      _blocked"]
    assert names(scope.tree().children) == []


async def _blocked() -> None:
    await forever()
