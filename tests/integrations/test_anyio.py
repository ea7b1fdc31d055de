"""Work scopes and guarded streams within anyio's: a stop stays ours, a cancellation stays theirs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest

import countermand
import countermand.sync
from countermand import FixTheCall, Stop, Stopped, StopReason, WorkState
from countermand.streams import awaiting
from countermand.work import closing

USER = Stop(StopReason.USER_STOP, note="enough")


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    """No test leaves a cancellation behind, or a task."""
    yield
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
    assert asyncio.all_tasks() == {task}


async def swallows(seconds: float = 0.05) -> None:
    """Take a while to stop."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(seconds)


def soon(call: Callable[..., object], *args: Any, after: float = 0.0) -> None:
    """Call it later on."""
    asyncio.get_running_loop().call_later(after, call, *args)


async def test_a_stop_passes_through_a_cancel_scope() -> None:
    """As what it is: anyio takes it for none of its cancellations."""
    with pytest.raises(Stopped) as stopped:
        with anyio.CancelScope() as theirs:
            async with countermand.scope("agent") as scope:
                soon(scope.cancel, USER)
                await anyio.sleep_forever()
    assert stopped.value.stop is USER
    assert not theirs.cancelled_caught


async def test_a_stop_ends_a_task_group_around_it() -> None:
    """Its children are cancelled, and the group raises the stop and nothing else."""
    with pytest.raises(ExceptionGroup) as group:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            async with countermand.scope("agent") as scope:
                soon(scope.cancel, USER)
                await anyio.sleep_forever()
    (stopped,) = group.value.exceptions
    assert isinstance(stopped, Stopped)
    assert stopped.stop is USER


async def test_a_scope_stops_what_waits_in_a_task_group_of_anyios() -> None:
    """A piece of work, or the block itself, that holds one open; its children end first."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    async def holds(name: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, name)

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            work = scope.spawn(holds, "work")
            soon(scope.cancel, USER, after=0.02)
            await holds("block")
    assert stopped.value.stop is USER
    assert sorted(ended) == ["block", "work"]
    assert work.state is WorkState.STOPPED


@pytest.mark.parametrize("how", ["move_on_after", "fail_after", "cancel"])
async def test_a_cancellation_of_anyios_passes_through_a_scope(how: str) -> None:
    """It stops the work, cleans up last-in-first-out, and arrives where it belongs."""
    cleaned: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        cleaned.append("slow")

    async def body() -> None:
        async with countermand.scope("agent") as scope:
            scopes.append(scope)
            scope.defer(cleaned.append, "first")
            scope.defer(slow)
            scope.defer(cleaned.append, "last")
            works.append(scope.spawn(swallows))
            await anyio.sleep_forever()

    scopes: list[countermand.WorkScope] = []
    works: list[countermand.Work[None]] = []
    if how == "fail_after":
        with pytest.raises(TimeoutError), anyio.fail_after(0.02):
            await body()
    elif how == "move_on_after":
        with anyio.move_on_after(0.02) as theirs:
            await body()
        assert theirs.cancelled_caught
    else:
        with anyio.CancelScope() as theirs:
            soon(theirs.cancel, after=0.02)
            await body()
        assert theirs.cancelled_caught

    assert cleaned == ["last", "slow", "first"]
    assert works[0].is_over
    receipt = scopes[0].receipt
    assert receipt
    assert receipt.stop.cause is countermand.StopCause.OUTSIDE


async def test_a_child_of_a_task_group_that_fails_stops_the_scope_beside_it() -> None:
    """The group raises that failure alone."""

    async def fails() -> None:
        await anyio.sleep(0.01)
        raise ValueError("boom")

    with pytest.raises(ExceptionGroup) as group:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fails)
            async with countermand.scope("agent") as scope:
                work = scope.spawn(swallows)
                await anyio.sleep_forever()
    assert [str(one) for one in group.value.exceptions] == ["boom"]
    assert work.is_over


@pytest.mark.parametrize("after", [0.0, 0.02])
async def test_a_cancellation_of_anyios_is_not_lost_in_a_stop(after: float) -> None:
    """In the same moment, or while the scope waits for its work: anyio finds its own, and goes on."""
    with anyio.CancelScope() as theirs:
        async with countermand.scope("agent") as scope:
            scope.spawn(swallows)
            await asyncio.sleep(0)
            soon(scope.cancel, USER)
            soon(theirs.cancel, after=after)
            await anyio.sleep_forever()
    assert theirs.cancelled_caught
    assert scope.receipt
    assert scope.receipt.stop.reason is StopReason.USER_STOP


async def test_a_cancellation_of_the_task_is_not_lost_in_one_of_anyios() -> None:
    """Whoever cancelled the task sees it cancelled."""
    ours: list[Any] = []

    async def body() -> None:
        with anyio.CancelScope() as theirs:
            async with countermand.scope("agent") as scope:
                scope.spawn(swallows)
                soon(theirs.cancel)
                soon(ours[0].cancel, after=0.02)
                await anyio.sleep_forever()
        pytest.fail("it went on")

    ours.append(asyncio.ensure_future(body()))
    with pytest.raises(asyncio.CancelledError):
        await ours[0]


async def test_one_that_comes_from_further_out_goes_there() -> None:
    """The scope within an inner one of theirs: only the outer has caught it."""
    with anyio.CancelScope() as outer:
        with anyio.CancelScope() as inner:
            async with countermand.scope("agent") as scope:
                scope.spawn(swallows)
                soon(outer.cancel)
                await anyio.sleep_forever()
        pytest.fail("it went on")
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)


async def test_what_is_within_a_piece_of_work_stays_there() -> None:
    """A time limit of anyio's around a part of it, and a scope of ours within that."""

    async def works() -> str:
        with anyio.move_on_after(0.01):
            async with countermand.scope("within") as within:
                within.spawn(swallows)
        await anyio.sleep(0.01)
        return "done"

    async with countermand.scope("agent") as scope:
        assert await scope.spawn(works) == "done"


async def deliveries() -> int:
    """Answer how often anyio cancels a task that cleans up for a while."""
    host = asyncio.current_task()
    assert host
    counts: list[int] = []

    async def slow() -> None:
        counts.append(host.cancelling())
        await asyncio.sleep(0.1)
        counts.append(host.cancelling())

    with anyio.CancelScope() as theirs:
        async with countermand.scope("agent") as scope:
            scope.defer(slow)
            scope.spawn(swallows, 0.1)
            soon(theirs.cancel)
            await anyio.sleep_forever()
    return counts[-1]


async def test_a_scope_that_cleans_up_is_left_in_peace() -> None:
    """Anyio cancels anew in each turn of the loop: a scope that waits would keep a processor busy."""
    assert await deliveries() < 10


async def test_without_that_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(closing, "hush", lambda: None)
    assert await deliveries() > 100


async def test_a_thread_of_anyios_knows_its_scope() -> None:
    """A stop reaches what it reads; whoever waits for the thread is stopped with the scope."""
    silence, ended = threading.Event(), threading.Event()

    def silent() -> Iterator[str]:
        yield "a"
        silence.wait()

    def reads() -> None:
        try:
            for _ in countermand.sync.guard(silent(), close=silence.set):
                began.set()
        except Stopped:
            ended.set()

    began = threading.Event()
    async with countermand.scope("agent") as scope:
        work = scope.spawn(anyio.to_thread.run_sync, reads)
        await asyncio.to_thread(began.wait, 10)
        receipt = await scope.cancel(USER)
    assert receipt.is_clean
    assert work.state is WorkState.STOPPED
    assert await asyncio.to_thread(ended.wait, 10)


async def closed_when_anyio_moves_on() -> list[str]:
    """Answer what was closed when the block of a time limit of anyio's is left."""
    closed: list[str] = []

    async def close() -> None:
        await asyncio.sleep(0.05)
        closed.append("closed")

    async def silent() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    with anyio.move_on_after(0.02) as theirs:
        async for _ in countermand.guard(silent(), close=close):
            pass
    assert theirs.cancelled_caught
    in_time = [*closed]
    while not closed:  # noqa: ASYNC110 - that of the negative control goes on
        await asyncio.sleep(0.001)
    return in_time


async def test_a_guarded_stream_is_closed_when_anyio_moves_on() -> None:
    """The close is waited for, though the task is cancelled anew while it waits."""
    assert await closed_when_anyio_moves_on() == ["closed"]


async def test_without_that_it_is_still_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(awaiting, "hush", lambda: None)
    assert await closed_when_anyio_moves_on() == []


def test_under_trio_it_is_refused() -> None:
    """With the way out; and not by an error of asyncio's from somewhere within."""

    async def says() -> AsyncIterator[str]:
        yield "a"

    async def opens() -> None:
        async with countermand.scope("agent"):
            pass

    async def reads() -> None:
        async for _ in countermand.guard(says()):
            pass

    async def asks() -> None:
        async with countermand.token_budget(limits={"tokens_out": 1}, shared=False).request(1):
            pass

    async def connects() -> None:
        async with countermand.connect("/nowhere") as cm, cm.open_run():
            pass

    for refused in (opens, reads, asks, connects):
        with pytest.raises(FixTheCall, match=r"asyncio.*trio.*countermand\.sync"):
            anyio.run(refused, backend="trio")
