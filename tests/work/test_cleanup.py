"""Clean-up: last in, first out, each exactly once, each within its time, however the block is left."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator

import pytest

import countermand
from countermand import Stopped
from tests.work.support import USER, a_turn, forever


async def _left_normally(scope: countermand.WorkScope) -> None:
    scope.spawn(a_turn)


async def _left_by_a_stop(scope: countermand.WorkScope) -> None:
    scope.cancel(USER)
    await forever()


async def _left_by_a_failure(scope: countermand.WorkScope) -> None:
    raise ValueError("boom")


async def _left_by_failing_work(scope: countermand.WorkScope) -> None:
    scope.spawn(_left_by_a_failure, scope)
    await forever()


async def _left_by_a_cancellation(scope: countermand.WorkScope) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await forever()


@pytest.mark.parametrize(
    "leave",
    [_left_normally, _left_by_a_stop, _left_by_a_failure, _left_by_failing_work, _left_by_a_cancellation],
)
async def test_it_runs_once_and_backwards_however_the_block_is_left(leave) -> None:  # type: ignore[no-untyped-def]
    """When all work has ended, and before the block has; async or not, in a thread or not."""
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0.005)
        finally:
            done.append("work")

    async def step(name: str) -> None:
        await a_turn()
        done.append(name)

    async def main() -> None:
        async with countermand.scope() as scope:
            scope.defer(done.append, "first")
            scope.defer(step, "second")
            scope.defer(done.append, "third", in_thread=True)
            scope.defer(step, "last")
            scope.spawn(work)
            await a_turn()
            await leave(scope)
        done.append("after")

    with contextlib.suppress(ValueError, Stopped, asyncio.CancelledError):
        await asyncio.create_task(main())
    assert done[:5] == ["work", "last", "third", "second", "first"]
    assert done[5:] == (["after"] if leave is _left_normally else [])


async def test_one_that_fails_hinders_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing else went wrong it is what the block raises."""
    done: list[str] = []

    async def fails() -> None:
        raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        async with countermand.scope("agent") as scope:
            scope.defer(done.append, "first")
            scope.defer(fails)

    assert done == ["first"]
    assert [str(one) for one in scope.failures] == ["clean-up fails: OSError: cannot close"]
    assert "scope agent: clean-up fails: OSError: cannot close" in caplog.text


async def test_one_that_fails_does_not_hide_what_went_wrong_before() -> None:
    """It is noted on that."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            scope.defer(int, "x")
            scope.cancel(USER)
    assert stopped.value.__notes__[0].startswith("countermand: scope agent: clean-up int: ValueError")


async def test_its_time_is_limited() -> None:
    """One that takes longer is cancelled and named; those after it are not held up."""
    done: list[str] = []

    with pytest.raises(TimeoutError, match=r"clean-up slow has 0\.01s, and was not done by then"):
        async with countermand.scope() as scope:
            scope.defer(done.append, "first")
            scope.defer(asyncio.sleep, 60, limit="10ms", name="slow")
    assert done == ["first"]


async def test_one_that_blocks_a_thread_is_left_behind() -> None:
    """It is said that it was."""
    release = threading.Event()
    with pytest.raises(TimeoutError, match="left behind"):
        async with countermand.scope() as scope:
            scope.defer(release.wait, limit="10ms", in_thread=True)
    release.set()


async def test_one_that_blocks_the_loop_is_named() -> None:
    """It cannot be cut short, so it is said afterwards, with the way out."""
    with pytest.raises(TimeoutError, match="in_thread=True"):
        async with countermand.scope() as scope:
            scope.defer(time.sleep, 0.02, limit="10ms")


async def test_it_is_not_cut_short_by_any_cancellation() -> None:
    """Not by a stop, and not by one of the task from outside: that goes on when it is done."""
    done: list[str] = []

    async def slow() -> None:
        await a_turn(20)
        done.append("cleaned up")

    async def main() -> None:
        async with countermand.scope() as scope:
            scopes.append(scope)
            scope.defer(slow)

    scopes: list[countermand.WorkScope] = []
    task = asyncio.create_task(main())
    await a_turn()
    for _ in range(3):
        task.cancel()
        scopes[0].cancel(USER)
        await a_turn(1)
    assert done == []
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["cleaned up"]


async def test_it_may_use_scopes_of_its_own() -> None:
    """Although its scope was stopped: clean-up is no part of what was stopped."""
    done: list[str] = []

    async def flush() -> None:
        async with countermand.scope("flush") as scope:
            scope.spawn(a_turn)
            assert scope.path == "flush"
        done.append("flushed")

    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            scope.defer(flush)
            scope.cancel(USER)
    assert done == ["flushed"]


async def test_it_may_ask_for_more() -> None:
    """What it asks for comes next; after the end nothing does."""
    done: list[str] = []

    async with countermand.scope() as scope:
        scope.defer(done.append, "first")
        scope.defer(lambda: scope.defer(done.append, "more"))
    assert done == ["more", "first"]
    with pytest.raises(countermand.FixTheCall, match="is closed"):
        scope.defer(done.append, "late")


async def test_work_may_ask_for_it_while_it_is_being_stopped() -> None:
    """What it acquired is released."""
    done: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            scope.defer(done.append, "released")

    async with countermand.scope() as scope:
        scope.spawn(work)
        await a_turn()
        await scope.cancel(USER)
    assert done == ["released"]


async def test_a_clean_up_that_swallows_its_cancellation_does_not_hold_the_block(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is over, so it is left behind and named."""
    monkeypatch.setattr("countermand.work.cleanup._LAST_CHANCE", 0.01)
    caplog.set_level(logging.WARNING)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    with pytest.raises(TimeoutError, match="left behind"):
        async with countermand.scope() as scope:
            scope.defer(stubborn, limit="10ms")
    release.set()
    await a_turn()


@pytest.mark.parametrize("leaves", ["closed", "forgotten", "with its loop"])
def test_a_generator_that_is_left_early_is_cleaned_up_behind(leaves: str) -> None:
    """Whoever closes it cannot wait, but the scope above does, and is meanwhile in no scope but its own."""
    told: list[object] = []

    async def later() -> None:
        await a_turn()
        told.append("first")

    async def works() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            told.append("ended")

    async def pages() -> AsyncGenerator[int, None]:
        async with countermand.scope("pages") as scope:
            scope.defer(later)
            scope.defer(told.append, "last")
            scope.spawn(works)
            await a_turn()
            yield 1

    async def read() -> None:
        async with countermand.scope("above") as above:
            found = pages()
            async for _ in found:
                break
            if leaves == "closed":
                await found.aclose()
                assert countermand.current_scope() is above
            del found
        assert told == ["ended", "last", "first"]

    async def leave() -> None:
        kept.append(pages())
        await anext(kept[0])

    kept: list[AsyncGenerator[int, None]] = []
    asyncio.run(leave() if leaves == "with its loop" else read())
    assert told == ["ended", "last", "first"]
