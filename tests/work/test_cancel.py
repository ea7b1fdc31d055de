"""`cancel` and its receipt: what stopped, what finished first, what would not stop, what failed."""

import asyncio
import contextlib
import logging
import threading

import pytest

import countermand
from countermand import Stop, Stopped, StopReason, WorkState
from tests.work.support import USER, a_turn, forever, names


async def stubborn(release: asyncio.Event) -> None:
    """Swallow every cancellation until it is released."""
    while not release.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await release.wait()


async def test_the_receipt_counts_and_names() -> None:
    """Of a dozen pieces of work in different states, each is in the place where it belongs."""
    release = asyncio.Event()

    async def fails_when_stopped() -> None:
        try:
            await forever()
        finally:
            raise OSError("cannot close")

    async def done_anyway() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        return "done"

    async with countermand.scope("agent", grace="20ms") as scope:
        for number in range(3):
            await scope.spawn(a_turn, 0, name=f"first-{number}")
        scope.spawn(forever, name="fetch", kind="tool")
        scope.spawn(fails_when_stopped, kind="io")
        scope.spawn(done_anyway, kind="llm")
        scope.spawn(stubborn, release, kind="cpu")
        await a_turn()
        scope.spawn(forever, name="fresh")
        receipt = await scope.cancel(USER)
        release.set()

    assert names(receipt.stopped) == ["fetch", "fresh"]
    assert {node.name: node.state for node in receipt.stopped}["fresh"] is WorkState.NEVER_RAN
    assert names(receipt.finished_anyway) == ["done_anyway"]
    assert names(receipt.failed) == ["fails_when_stopped"]
    assert names(receipt.not_stopped) == ["stubborn"]
    assert names(receipt.finished_first) == ["first-0", "first-1", "first-2"]
    assert (receipt.cancelled, receipt.finished_first_count, receipt.is_clean) == (2, 3, False)
    assert str(receipt) == (
        "agent: USER_STOP by ann: enough; 2 cancelled; 3 had finished; finished all the same: "
        "agent/done_anyway (llm); failed: agent/fails_when_stopped (io); did not stop: agent/stubborn (cpu)"
    )
    (node,) = receipt.not_stopped
    assert (node.kind, node.state) == ("cpu", WorkState.STOPPING)
    assert node.age >= 0.02


async def test_a_second_cancel_answers_the_same() -> None:
    """The very same receipt, whoever asks, whenever, and for whatever reason."""
    async with countermand.scope() as scope:
        scope.spawn(forever)
        first = await scope.cancel(USER)
        second = await scope.cancel(Stop(StopReason.INCIDENT))
    assert first is second is scope.receipt
    assert await scope.cancel(StopReason.BUDGET) is first


async def test_a_cancel_need_not_be_awaited() -> None:
    """It has happened when the call returns; the block is then interrupted, too."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope() as scope:
            scope.cancel("BUDGET", note="50 cents", actor="meter", tag="t-1")
            assert scope.token.is_cancelled
            await forever()

    stop = stopped.value.stop
    assert (stop.reason, stop.note, stop.actor, stop.tag) == ("BUDGET", "50 cents", "meter", "t-1")


async def test_a_block_that_never_waits_raises_stopped_all_the_same() -> None:
    """And nothing of the interrupt is left in the task: not even one that had not arrived."""
    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            scope.cancel(USER)
    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            scope.spawn(forever)
            await a_turn()
            scope.cancel(USER)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.001)


async def test_a_block_that_awaits_the_receipt_is_not_interrupted() -> None:
    """It knows; it may look at the receipt, and ends without an exception."""
    async with countermand.scope() as scope:
        scope.spawn(forever)
        receipt = await scope.cancel(USER)
        await asyncio.sleep(0.001)
    assert names(receipt.stopped) == ["forever"]


async def test_a_block_within_may_await_the_receipt_of_the_scope_above() -> None:
    """It is the same task, and not waited for."""
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("above", grace="60s") as above, countermand.scope("within") as within:
            within.spawn(forever)
            async with asyncio.timeout(10):
                receipt = await above.cancel(USER)

    assert names(receipt.stopped) == ["forever"]
    assert receipt.not_stopped == ()
    assert stopped.value.stop is USER


async def test_work_that_cancels_its_own_scope_is_stopped_itself() -> None:
    """Also if it waits for the receipt: it would wait for itself."""

    async def stops_all() -> None:
        await scope.cancel(USER)

    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            work = scope.spawn(stops_all)
            await forever()

    assert work.state is WorkState.STOPPED
    assert scope.receipt is not None
    assert scope.receipt.is_clean


async def test_what_swallows_the_cancel_is_named_and_told_again(caplog: pytest.LogCaptureFixture) -> None:
    """The block does not end before it does: the second time it obeys."""
    times = []

    async def swallows_one() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            times.append("swallowed")
        await forever()

    async with countermand.scope("agent", grace="20ms") as scope:
        work = scope.spawn(swallows_one, kind="tool")
        await a_turn()
        receipt = await scope.cancel(USER)
        assert names(receipt.not_stopped) == ["swallows_one"]

    assert times == ["swallowed"]
    assert work.state is WorkState.STOPPED
    assert "agent/swallows_one (tool) did not stop in 0.02s (USER_STOP by ann: enough)" in caplog.text
    assert scope.receipt is receipt


async def test_a_block_that_swallows_the_cancel_is_named() -> None:
    """And raises `Stopped` at its end, whatever it made of it."""
    with pytest.raises(Stopped):
        async with countermand.scope("agent", grace="10ms") as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            for _ in range(2):  # the first time, and once more when the grace period is over
                with contextlib.suppress(asyncio.CancelledError):
                    await forever()
    assert scope.receipt is not None
    assert [node.path for node in scope.receipt.not_stopped] == ["agent/body"]


async def test_what_is_stuck_in_scopes_within_is_named_by_the_most_impatient_one() -> None:
    """However deep it is, and however long the scopes between would wait."""
    release = threading.Event()

    async def sub_agent() -> None:
        async with countermand.scope("middle"), countermand.scope("inner", grace="1h") as inner:
            inner.run_in_thread(lambda _: release.wait(), name="deaf")

    with pytest.raises(Stopped):
        async with countermand.scope("outer", grace="20ms") as outer:
            async with countermand.scope("above", grace="1h") as above:
                above.spawn(sub_agent)
                await a_turn()
                receipt = await outer.cancel(USER)
                release.set()
    assert "deaf" in names(receipt.not_stopped)


async def test_work_that_was_cancelled_before_its_first_step_never_runs() -> None:
    """Not a line of it, and it is told so."""
    ran = []

    async def work() -> None:
        ran.append(True)

    async with countermand.scope() as scope:
        one = scope.spawn(work)
        receipt = await scope.cancel(USER)

    assert ran == []
    assert one.state is WorkState.NEVER_RAN
    assert receipt.cancelled == 1


async def test_one_piece_of_work_can_be_stopped_alone() -> None:
    """Its scope goes on, and knows nothing of it."""
    async with countermand.scope() as scope:
        work, other = scope.spawn(forever), scope.spawn(a_turn, 20)
        await a_turn()
        await work.cancel(USER)
        assert work.state is WorkState.STOPPED
        assert other.state is WorkState.RUNNING
    assert scope.receipt is None
    with pytest.raises(Stopped) as stopped:
        await work
    assert stopped.value.stop is USER


async def test_what_is_open_in_work_is_stopped_with_it_for_the_same_reason() -> None:
    """A scope within, however the work came to be stopped."""
    within: list[countermand.WorkScope] = []

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub:
            within.append(sub)
            sub.spawn(forever)

    async with countermand.scope() as scope:
        work = scope.spawn(sub_agent)
        await a_turn()
        await work.cancel(USER)
    assert within[0].token.stop is USER
    assert work.state is WorkState.STOPPED


async def test_work_whose_task_is_cancelled_by_others_has_stopped() -> None:
    """Code that cancels its own task is told of, and stops nothing else."""

    async def gives_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await forever()

    async with countermand.scope() as scope:
        work = scope.spawn(gives_up)
    assert work.state is WorkState.STOPPED
    with pytest.raises(Stopped, match="its task was cancelled"):
        await work


async def test_callbacks_that_fail_are_in_the_receipt() -> None:
    """Those of the scopes within, too."""

    def fails(_: Stop) -> None:
        raise ValueError("boom")

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub:
            sub.token.on_cancel(fails)
            await forever()

    async with countermand.scope() as scope:
        scope.spawn(sub_agent)
        scope.token.on_cancel(fails)
        await a_turn()
        receipt = await scope.cancel(USER)

    assert [str(one) for one in receipt.callbacks_failed] == ["callback fails: ValueError: boom"] * 2
    assert not receipt.is_clean


async def test_a_callback_may_cancel_and_start_nothing() -> None:
    """Coming back in while a cancel is under way answers the same cancel."""
    seen: list[object] = []

    def callback(_: Stop) -> None:
        seen.append(scope.cancel(StopReason.INCIDENT))
        try:
            scope.spawn(forever)
        except Stopped as stopped:
            seen.append(stopped.stop)

    async with countermand.scope() as scope:
        scope.token.on_cancel(callback)
        cancelling = scope.cancel(USER)
        await cancelling

    assert seen == [cancelling, USER]


async def test_a_cancel_from_another_thread() -> None:
    """The token is cancelled when it returns; the receipt can be waited for there."""
    seen: list[object] = []

    def elsewhere() -> None:
        with pytest.raises(countermand.FixTheCall, match="cancel_threadsafe"):
            scope.cancel(USER)
        answer = scope.cancel_threadsafe(USER)
        seen.append(scope.token.stop)
        seen.append(answer.result(10))

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope() as scope:
            scope.spawn(forever)
            thread = threading.Thread(target=elsewhere)
            thread.start()
            await forever()
    thread.join()

    assert stopped.value.stop is USER
    assert seen == [USER, scope.receipt]


def test_a_cancel_after_the_loop_is_closed_changes_nothing() -> None:
    """A run that is revoked while its program ends."""

    async def main() -> countermand.WorkScope:
        async with countermand.scope("agent") as scope:
            pass
        return scope

    scope = asyncio.run(main())
    receipt = scope.cancel_threadsafe(USER).result(10)

    assert receipt.late
    with pytest.raises(countermand.FixTheCall, match="cancel_threadsafe"):
        scope.cancel(USER)


def test_a_scope_that_is_thrown_away_with_its_loop_stops_its_token(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be awaited any more, so what is left is said."""
    loop = asyncio.new_event_loop()
    scopes = []

    async def main() -> None:
        async with countermand.scope("agent") as scope:
            scopes.append(scope)
            scope.spawn(forever, name="fetch")
            await forever()

    task = loop.create_task(main())
    loop.run_until_complete(a_turn())
    loop.close()
    caplog.clear()
    coroutine = task.get_coro()
    coroutine.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]

    assert scopes[0].token.is_cancelled
    assert "scope agent was thrown away with its event loop; left: agent/fetch" in caplog.text


async def test_a_cancel_that_comes_too_late_is_told_so() -> None:
    """All work had ended: nothing was stopped, and the block does not say that it was."""
    receipts = []

    async def clean_up() -> None:
        receipts.append(await scope.cancel(USER))

    async with countermand.scope() as scope:
        await scope.spawn(a_turn)
        scope.defer(clean_up)

    assert receipts[0].late
    assert names(receipts[0].finished_first) == ["a_turn"]
    assert scope.state is WorkState.DONE


async def test_a_cancel_while_the_block_waits_for_its_work() -> None:
    """The work is stopped and the block raises `Stopped`; the body had come to its end."""
    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            scope.spawn(forever)
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
    assert scope.receipt is not None
    assert [node.path for node in scope.receipt.stopped] == ["scope/forever"]


async def test_only_the_last_that_finished_are_kept_by_name() -> None:
    """So that a scope that lives long does not grow; the count is exact."""
    async with countermand.scope() as scope:
        for number in range(150):
            await scope.spawn(a_turn, 0, name=f"w{number}")
        receipt = await scope.cancel(USER)

    assert receipt.finished_first_count == 150
    assert [node.name for node in receipt.finished_first] == [f"w{number}" for number in range(50, 150)]


async def test_what_had_finished_in_scopes_within_is_counted_too() -> None:
    """And named."""

    async def sub_agent() -> None:
        async with countermand.scope("inner") as inner:
            await inner.spawn(a_turn, name="page")
            begun.set()
            await forever()

    begun = asyncio.Event()
    async with countermand.scope("outer") as outer:
        await outer.spawn(a_turn, name="first")
        outer.spawn(sub_agent)
        await begun.wait()
        receipt = await outer.cancel(USER)
    assert names(receipt.finished_first) == ["first", "page"]
    assert receipt.finished_first_count == 2


@pytest.mark.parametrize("level", [logging.INFO])
async def test_the_log_names_the_stop(caplog: pytest.LogCaptureFixture, level: int) -> None:
    """One line, with the receipt as data."""
    caplog.set_level(level, "countermand")
    async with countermand.scope("agent") as scope:
        receipt = await scope.cancel(USER)
    (record,) = caplog.records
    assert record.getMessage().startswith("stopped agent: USER_STOP by ann: enough; 0 cancelled")
    assert record.receipt is receipt  # type: ignore[attr-defined]
