"""What a scope owns, and that it never closes while any of it is alive."""

import asyncio
import contextlib

import pytest

import countermand
from countermand import Stop, StopCause, Stopped, WorkState
from tests.work.support import USER, a_turn, forever, names


async def test_a_block_ends_when_its_work_has() -> None:
    """And not before, although its body was done long ago."""
    done = []

    async def work() -> None:
        await a_turn(20)
        done.append("work")

    async with countermand.scope() as scope:
        scope.spawn(work)

    assert done == ["work"]
    assert scope.state is WorkState.DONE


async def test_work_is_awaited_for_its_result() -> None:
    """By anybody, and as often as one likes."""

    async def double(number: int) -> int:
        return number * 2

    async with countermand.scope() as scope:
        work = scope.spawn(double, 21)
        assert await work == 42
    assert await work == 42


async def test_whoever_awaits_work_may_be_cancelled_alone() -> None:
    """The work belongs to its scope."""
    async with countermand.scope() as scope:
        gate = asyncio.Event()
        work = scope.spawn(gate.wait)
        waiting = asyncio.ensure_future(_result(work))
        await a_turn()
        waiting.cancel()
        await a_turn()
        assert work.state is WorkState.RUNNING
        gate.set()
    assert await work is True


async def _result(work: countermand.Work[bool]) -> bool:
    return await work


async def test_the_first_failure_stops_what_is_beside_it() -> None:
    """With a typed reason; the block raises that failure itself."""

    async def fails() -> None:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        async with countermand.scope() as scope:
            work = scope.spawn(forever)
            scope.spawn(fails)
            await forever()

    with pytest.raises(Stopped) as stopped:
        await work
    stop = stopped.value.stop
    assert (stop.cause, stop.reason, stop.note) == (
        StopCause.FAILURE, "CLIENT_DISCONNECTED", "left by ValueError",
    )  # fmt: skip
    assert scope.receipt is not None
    assert names(scope.receipt.stopped) == ["forever"]
    assert names(scope.receipt.failed) == ["fails"]


async def test_a_refusal_stops_the_scope_for_the_reason_of_the_cancel() -> None:
    """A tool that finds out at its commit that the run was cancelled."""
    refusal = countermand.Revoked("stop", metadata={"stop_reason": "INCIDENT", "ended_run": "r-1"})

    async def tool() -> None:
        raise refusal

    with pytest.raises(countermand.Revoked) as raised:
        async with countermand.scope() as scope:
            scope.spawn(forever)
            scope.spawn(tool)

    assert raised.value is refusal
    assert scope.token.stop is not None
    assert (scope.token.stop.reason, scope.token.stop.run_id) == ("INCIDENT", "r-1")


async def test_a_failing_body_stops_its_work() -> None:
    """Whatever leaves the block goes on as it is."""
    with pytest.raises(KeyError):
        async with countermand.scope() as scope:
            work = scope.spawn(forever)
            raise KeyError

    assert work.state is WorkState.NEVER_RAN
    assert scope.token.stop is not None
    assert scope.token.stop.cause is StopCause.FAILURE


async def test_what_fails_second_is_kept() -> None:
    """It is named, and does not hide what came first."""

    async def fails_when_stopped() -> None:
        try:
            await forever()
        finally:
            raise OSError("second")

    async def fails() -> None:
        await a_turn()
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        async with countermand.scope() as scope:
            scope.spawn(fails_when_stopped)
            scope.spawn(fails)

    assert [str(one) for one in scope.failures] == ["work fails_when_stopped: OSError: second"]
    assert scope.receipt is not None
    assert names(scope.receipt.failed) == ["fails", "fails_when_stopped"]


async def test_what_stands_alone_stops_nothing_and_is_waited_for() -> None:
    """Background work delays the end of the block, and its failure is named."""
    done = []

    async def fails() -> None:
        raise ValueError("boom")

    async def slow() -> None:
        await a_turn(20)
        done.append("slow")

    async with countermand.scope() as scope:
        failing = scope.background(fails)
        scope.background(slow)

    assert done == ["slow"]
    assert scope.receipt is None
    assert [str(one) for one in scope.failures] == ["work fails: ValueError: boom"]
    with pytest.raises(ValueError, match="boom"):
        await failing


async def test_a_stop_of_a_scope_reaches_those_within() -> None:
    """At any depth, whether opened by work or by the block, and says so in one receipt."""

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub:
            sub.spawn(forever, name="tool")
            await forever()

    async with countermand.scope("agent") as scope:
        scope.spawn(sub_agent)
        await a_turn()
        receipt = await scope.cancel(USER)

    assert sorted(node.path for node in receipt.stopped) == [
        "agent/sub_agent",
        "agent/sub_agent/sub/body",
        "agent/sub_agent/sub/tool",
    ]
    assert receipt.cancelled == 2


async def test_a_stop_within_never_goes_up() -> None:
    """A sub-agent that is stopped ends alone: work that ends by `Stopped` has not failed."""

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub:
            sub.cancel(USER)
            await forever()

    async with countermand.scope("agent") as scope:
        sibling = scope.spawn(asyncio.sleep, 0.01)
        work = scope.spawn(sub_agent)

    assert (work.state, sibling.state) == (WorkState.STOPPED, WorkState.DONE)
    assert scope.receipt is None
    with pytest.raises(Stopped):
        await work


async def test_a_stop_from_above_cannot_be_caught_as_one_of_the_scope_within() -> None:
    """Who handles `Stopped` of a sub-agent goes on; not when its own scope was stopped."""
    went_on = []

    async def parent() -> None:
        with contextlib.suppress(Stopped):
            async with countermand.scope("sub"):
                await forever()
        went_on.append(True)
        await forever()

    async with countermand.scope("agent") as scope:
        work = scope.spawn(parent)
        await a_turn()
        await scope.cancel(USER)

    assert went_on == []
    assert work.state is WorkState.STOPPED


async def test_a_scope_within_may_be_stopped_and_the_block_go_on() -> None:
    """Nothing of the inner stop is left in the task."""
    async with countermand.scope("agent"):
        with contextlib.suppress(Stopped):
            async with countermand.scope("sub") as sub:
                asyncio.get_running_loop().call_soon(sub.cancel)
                await forever()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0.001)


async def test_detached_work_needs_a_new_owner() -> None:
    """It outlives the scope that began it, with what it opened, and is stopped by its new owner."""

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub:
            sub.spawn(forever, name="tool")

    async with countermand.scope("app") as app:
        async with countermand.scope("request") as request:
            work = request.spawn(sub_agent)
            await a_turn()
            request.detach(work, to=app)
        assert request.state is WorkState.DONE
        assert work.path == "app/sub_agent"
        receipt = await app.cancel(USER)

    assert names(receipt.stopped) == ["sub_agent", "tool"]


async def test_work_cannot_be_owned_by_what_it_opened_itself() -> None:
    """Each would wait for the other, and nobody for both."""

    async def sub_agent() -> None:
        async with countermand.scope("sub") as sub, countermand.scope("inner") as inner:
            for within in (sub, inner):
                with pytest.raises(countermand.FixTheCall, match="wait for the other"):
                    app.detach(works[0], to=within)

    async with countermand.scope("app") as app:
        works = [app.spawn(sub_agent)]
        await works[0]


async def test_what_was_told_to_stop_cannot_be_detached() -> None:
    """Nor can what is over, nor can a closed scope be an owner."""
    async with countermand.scope("closed") as closed:
        pass
    async with countermand.scope("app") as app, countermand.scope("request") as request:
        over = request.spawn(a_turn)
        await over
        with pytest.raises(countermand.FixTheCall, match="not at work"):
            request.detach(over, to=app)
        work = request.spawn(forever)
        with pytest.raises(countermand.FixTheCall, match="scope closed is closed"):
            request.detach(work, to=closed)
        request.cancel(USER)
        with pytest.raises(Stopped):
            request.detach(work, to=app)
        await request.cancel()


async def test_nothing_is_started_in_a_scope_that_was_stopped_or_closed() -> None:
    """Dead on arrival: the refusal carries the reason."""
    async with countermand.scope() as scope:
        await scope.cancel(USER)
        with pytest.raises(Stopped) as stopped:
            scope.spawn(forever)
        assert stopped.value.stop is USER
        with pytest.raises(Stopped):
            async with countermand.scope("within"):
                pass
    with pytest.raises(Stopped):
        scope.spawn(forever)

    async with countermand.scope() as other:
        pass
    with pytest.raises(countermand.FixTheCall, match="is closed"):
        other.spawn(forever)


async def test_wrong_calls_are_refused_with_the_way_out() -> None:
    """A result instead of a function, a function that blocks, a scope that is not open."""
    scope = countermand.scope("later")
    with pytest.raises(countermand.FixTheCall, match="use 'async with"):
        scope.spawn(forever)
    with pytest.raises(countermand.FixTheCall, match="run_in_thread"):
        async with scope:
            scope.spawn(len, "abc")  # type: ignore[arg-type]
    with pytest.raises(countermand.FixTheCall, match="opened before"):
        async with scope:
            pass
    async with countermand.scope() as other:
        with pytest.raises(countermand.FixTheCall, match="pass the function"):
            other.spawn(forever())  # type: ignore[arg-type]


async def test_a_loose_task_is_in_the_scope_it_was_made_in() -> None:
    """A scope it opens is stopped with that one, and waited for; outliving it, it is in the one above."""
    opened = asyncio.Event()
    seen: list[countermand.WorkScope | None] = []
    gate = asyncio.Event()

    async def loose() -> None:
        with contextlib.suppress(Stopped):
            async with countermand.scope("within"):
                opened.set()
                await forever()
        await gate.wait()
        seen.append(countermand.current_scope())

    async with countermand.scope("app") as app:
        async with countermand.scope("agent") as scope:
            task = asyncio.create_task(loose())
            await opened.wait()
            assert "within (scope) RUNNING" in str(scope.tree())
            await scope.cancel(USER)
        gate.set()
        await task

    assert seen == [app]


async def test_the_tree_shows_what_is_at_work() -> None:
    """With name, kind, age and state; as text, a line for each."""

    async def agent() -> None:
        async with countermand.scope("sub") as sub:
            sub.spawn(forever, name="fetch", kind="tool")
            async with sub.shield():
                await gate.wait()

    gate = asyncio.Event()
    async with countermand.scope("run") as scope:
        scope.spawn(agent)
        scope.spawn(forever, name="gpt", kind="llm")
        await a_turn()
        lines = [line.rpartition(" ")[0] for line in str(scope.tree()).splitlines()]
        node = scope.tree().children[2]
        gate.set()
        await scope.cancel(USER)

    assert lines == [
        "run (scope) RUNNING",
        "  body (body) RUNNING",
        "  agent (io) SHIELDED",
        "    sub (scope) RUNNING",
        "      body (body) SHIELDED",
        "      fetch (tool) RUNNING",
        "  gpt (llm) RUNNING",
    ]
    assert (node.path, node.kind, node.state) == ("run/gpt", "llm", WorkState.RUNNING)
    assert 0 <= node.age < 60


async def test_current_scope_is_the_innermost() -> None:
    """For code that is not handed one."""
    seen = []

    async def work() -> None:
        seen.append(countermand.current_scope())

    assert countermand.current_scope() is None
    async with countermand.scope("a") as a:
        async with countermand.scope("b"):
            assert countermand.current_scope() is not a
            a.spawn(work)
        assert countermand.current_scope() is a
    assert countermand.current_scope() is None
    assert seen == [a]


async def test_a_scope_whose_source_fails_is_not_waited_for() -> None:
    """It was never open."""

    class Source:
        def watch(self, callback, /):  # type: ignore[no-untyped-def]
            raise OSError("not connected")

    async with countermand.scope("app") as app:
        with pytest.raises(OSError, match="not connected"):
            async with countermand.scope("agent", source=Source()):
                pass
        assert countermand.current_scope() is app


async def test_a_source_that_cannot_be_let_go_of_hinders_nothing() -> None:
    """It is named; the scope closes all the same, and the one above does not wait for it."""

    class Source:
        def watch(self, callback, /):  # type: ignore[no-untyped-def]
            def unwatch() -> None:
                raise OSError("closed")

            return unwatch

    async with countermand.scope("app"), countermand.scope("agent", source=Source()) as agent:
        pass
    assert [str(one) for one in agent.failures] == ["callback unwatch: OSError: closed"]


async def test_a_source_stops_the_scope_that_is_bound_to_it() -> None:
    """And hears nothing more of it once the block is over."""

    class Source:
        def __init__(self) -> None:
            self.callbacks: list[object] = []

        def watch(self, callback, /):  # type: ignore[no-untyped-def]
            self.callbacks.append(callback)
            return lambda: self.callbacks.remove(callback)

    source = Source()
    told = Stop.of_end(
        countermand.End(countermand.StopReason.INCIDENT, "ops", "", "", None, 3, "r-1"),
    )
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent", source=source) as scope:
            scope.spawn(forever)
            asyncio.get_running_loop().run_in_executor(None, source.callbacks[0], told)
            await forever()

    assert stopped.value.stop is told
    assert source.callbacks == []
