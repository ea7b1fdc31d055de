"""Work in threads: told by a token, waited for, named if it would not stop."""

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest

import countermand
from countermand import CancellationToken, Stopped, WorkState
from countermand.work.owner import Owner
from tests.work.support import USER, a_turn, forever, names


def waits(token: CancellationToken) -> str:
    """Wait for the stop, and obey."""
    token.wait()
    token.check()
    return "never"


async def test_a_thread_is_handed_the_token_and_its_arguments() -> None:
    """Its result comes back; so does what it raises."""

    def add(token: CancellationToken, one: int, two: int) -> int:
        token.check()
        return one + two

    def fails(token: CancellationToken) -> None:
        raise ValueError("boom")

    async with countermand.scope() as scope:
        assert await scope.run_in_thread(add, 2, 40) == 42
    with pytest.raises(ValueError, match="boom"):
        async with countermand.scope() as scope:
            scope.run_in_thread(fails)


async def test_a_stop_reaches_a_thread() -> None:
    """It obeys, and is counted as stopped."""
    async with countermand.scope("agent") as scope:
        work = scope.run_in_thread(waits, kind="tool")
        await a_turn()
        receipt = await scope.cancel(USER)

    assert names(receipt.stopped) == ["waits"]
    assert work.state is WorkState.STOPPED
    with pytest.raises(Stopped) as stopped:
        await work
    assert stopped.value.stop is USER


async def test_a_thread_that_would_not_stop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """With its kind and age. The scope does not close before it has ended."""
    release, ended = threading.Event(), threading.Event()

    def deaf(_: CancellationToken) -> None:
        release.wait()
        ended.set()

    async with countermand.scope("agent", grace="20ms") as scope:
        scope.run_in_thread(deaf, kind="tool")
        await a_turn()
        receipt = await scope.cancel(USER)
        assert not ended.is_set()
        asyncio.get_running_loop().call_later(0.02, release.set)
    assert ended.is_set()

    (node,) = receipt.not_stopped
    assert (node.path, node.kind, node.state) == ("agent/deaf", "tool", WorkState.STOPPING)
    assert node.age >= 0.02
    assert "agent/deaf (tool) did not stop in 0.02s" in caplog.text


async def test_a_thread_that_finishes_all_the_same_is_named_so() -> None:
    """It was told, and had a result nonetheless."""

    def finishes(token: CancellationToken) -> str:
        token.wait()
        return "whole"

    async with countermand.scope() as scope:
        work = scope.run_in_thread(finishes)
        await a_turn()
        receipt = await scope.cancel(USER)
    assert names(receipt.finished_anyway) == ["finishes"]
    assert await work == "whole"


async def test_one_thread_can_be_stopped_alone() -> None:
    """By its own token."""
    async with countermand.scope() as scope:
        one, other = scope.run_in_thread(waits), scope.run_in_thread(waits)
        await a_turn()
        await one.cancel(USER)
        assert (one.state, other.state) == (WorkState.STOPPED, WorkState.RUNNING)
        await other.cancel(USER)
    assert scope.receipt is None


async def test_a_thread_hears_of_a_stop_while_the_loop_is_busy() -> None:
    """A cancel from another thread does not wait for the loop to have its turn."""
    heard: list[float] = []

    def listens(token: CancellationToken) -> None:
        token.wait()
        heard.append(time.monotonic())

    with contextlib.suppress(Stopped):
        async with countermand.scope() as scope:
            work = scope.run_in_thread(listens)
            await a_turn()
            threading.Timer(0.01, scope.cancel_threadsafe, [USER]).start()
            time.sleep(0.2)  # noqa: ASYNC251 - that is the point
            free = time.monotonic()
            await work
    assert heard[0] < free


async def test_a_thread_that_ends_at_once_is_in_the_receipt() -> None:
    """Also of a cancel from another thread: the loop is asked to count before the token is cancelled."""
    for _ in range(50):
        with contextlib.suppress(Stopped):
            async with countermand.scope() as scope:
                scope.run_in_thread(waits)
                await a_turn()
                await asyncio.to_thread(lambda scope=scope: scope.cancel_threadsafe(USER).result(10))
        assert scope.receipt is not None
        assert names(scope.receipt.stopped) == ["waits"]


async def test_told_before_it_is_counted_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the order reversed the thread is gone before it can be counted."""
    begin = Owner.begin_stop_elsewhere

    def announce_first(self: Owner, *asked: Any) -> bool:
        self.token._scope = None
        self.token.cancel(USER)
        time.sleep(0.05)
        return begin(self, *asked)

    monkeypatch.setattr(Owner, "begin_stop_elsewhere", announce_first)
    with contextlib.suppress(Stopped):
        async with countermand.scope() as scope:
            scope.run_in_thread(waits)
            await a_turn()
            await asyncio.to_thread(scope.cancel_threadsafe, USER)
            await forever()
    assert scope.receipt is not None
    assert names(scope.receipt.stopped) == []


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_to_cancel_the_token_of_a_scope_is_to_stop_it(elsewhere: bool) -> None:
    """Whoever was handed the token may do so, from any thread."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope() as scope:
            scope.spawn(forever)
            scope.run_in_thread(waits)
            await a_turn()
            if elsewhere:
                threading.Thread(target=scope.token.cancel, args=(USER,)).start()
            else:
                scope.token.cancel(USER)
            await forever()
    assert stopped.value.stop is USER
    assert scope.receipt is not None
    assert names(scope.receipt.stopped) == ["forever", "waits"]


async def test_a_thread_that_was_stopped_before_its_start_never_runs() -> None:
    """Not a line of it."""
    ran: list[object] = []
    async with countermand.scope() as scope:
        work = scope.run_in_thread(ran.append)
        await scope.cancel(USER)
    assert work.state is WorkState.NEVER_RAN
    assert ran == []


async def test_a_thread_cannot_start_work_in_its_scope() -> None:
    """It is told how to be heard there."""

    def starts(_: CancellationToken) -> None:
        assert countermand.current_scope() is scope
        scope.spawn(forever)

    with pytest.raises(countermand.FixTheCall, match="belongs to an event loop"):
        async with countermand.scope() as scope:
            scope.run_in_thread(starts)


async def test_a_loop_in_a_thread_is_stopped_with_the_scope() -> None:
    """A scope that is opened there is within this one."""

    async def agent() -> None:
        async with countermand.scope("below") as below:
            below.spawn(forever)
            below.run_in_thread(waits)
            ready.set()
            await forever()

    ready = threading.Event()
    async with countermand.scope() as scope:
        scope.run_in_thread(lambda _: asyncio.run(agent()), name="loop")
        await asyncio.to_thread(ready.wait)
        receipt = await scope.cancel(USER)
    assert names(receipt.stopped) == ["loop"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, StopIteration])
async def test_a_thread_cannot_end_the_program(error: type[BaseException]) -> None:
    """What would end a thread is a failure like any other."""

    def ends(_: CancellationToken) -> None:
        raise error

    with pytest.raises(RuntimeError, match=error.__name__):
        async with countermand.scope() as scope:
            scope.run_in_thread(ends)


async def test_a_detached_thread_is_stopped_by_its_new_owner_only() -> None:
    """Its token goes with it."""
    async with countermand.scope("app") as app:
        async with countermand.scope("request") as request:
            work = request.run_in_thread(waits)
            await a_turn()
            request.detach(work, to=app)
        request.cancel_threadsafe(USER)
        await a_turn()
        assert work.state is WorkState.RUNNING
        receipt = await app.cancel(USER)
    assert names(receipt.stopped) == ["waits"]


async def test_an_async_function_is_not_for_a_thread() -> None:
    """It is told where it belongs."""
    async with countermand.scope() as scope:
        with pytest.raises(countermand.FixTheCall, match="use spawn"):
            scope.run_in_thread(forever)
