"""A section that must not be cut in half."""

import asyncio

import pytest

import countermand
from countermand import Stopped, WorkState
from countermand.work import interrupts
from tests.work.support import USER, a_turn, forever, names


async def test_a_stop_waits_for_the_end_of_the_section() -> None:
    """And arrives right there: not a step later."""
    steps: list[str] = []
    gate = asyncio.Event()

    async def work() -> None:
        async with scope.shield():
            steps.append("begun")
            await gate.wait()
            steps.append("done")
        steps.append("after")

    async with countermand.scope() as scope:
        one = scope.spawn(work)
        await a_turn()
        states: list[WorkState] = []
        asyncio.get_running_loop().call_later(0.01, lambda: (states.append(one.state), gate.set()))
        receipt = await scope.cancel(USER)

    assert states == [WorkState.SHIELDED]
    assert steps == ["begun", "done"]
    assert names(receipt.stopped) == ["work"]


async def test_without_the_hold_the_section_is_cut_in_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: an interrupt that does not look for a shield strikes within."""
    monkeypatch.setattr(interrupts, "level", lambda task: 0)
    steps: list[str] = []

    async def work() -> None:
        async with scope.shield():
            await a_turn()
            steps.append("done")

    async with countermand.scope() as scope:
        scope.spawn(work)
        await a_turn(1)
        await scope.cancel(USER)
    assert steps == []


async def test_a_section_in_the_block_itself_is_whole() -> None:
    """The block is interrupted at its end."""
    steps: list[str] = []
    with pytest.raises(Stopped):
        async with countermand.scope() as scope:
            async with scope.shield():
                scope.cancel(USER)
                await a_turn()
                steps.append("whole")
            steps.append("after")
    assert steps == ["whole"]


async def test_a_section_that_is_too_long_is_named() -> None:
    """In the receipt, as what it is."""
    gate = asyncio.Event()

    async def work() -> None:
        async with scope.shield():
            await gate.wait()

    async with countermand.scope(grace="10ms") as scope:
        scope.spawn(work)
        await a_turn()
        receipt = await scope.cancel(USER)
        gate.set()
    (node,) = receipt.not_stopped
    assert (node.name, node.state) == ("work", WorkState.SHIELDED)


async def test_sections_within_sections_end_together() -> None:
    """What was held back arrives at the end of the outermost."""
    steps: list[str] = []

    async def work() -> None:
        async with scope.shield():
            async with scope.shield():
                await a_turn(5)
            steps.append("between")
            await a_turn()
            steps.append("whole")
        steps.append("after")

    async with countermand.scope() as scope:
        scope.spawn(work)
        await a_turn()
        await scope.cancel(USER)
    assert steps == ["between", "whole"]


async def test_a_scope_within_a_section_is_not_stopped_from_above_but_by_itself() -> None:
    """A tool's own time limit holds in a commit block; the stop of its run waits."""
    steps: list[str] = []

    async def work() -> None:
        async with scope.shield():
            async with countermand.scope("quiet") as quiet:
                quiet.spawn(a_turn, 10)
            steps.append("whole")
            try:
                async with countermand.scope("limited", timeout="10ms"):
                    await forever()
            except Stopped as stopped:
                steps.append(str(stopped.stop.reason))
        steps.append("after")

    async with countermand.scope() as scope:
        scope.spawn(work)
        await a_turn()
        await scope.cancel(USER)
    assert steps == ["whole", "DEADLINE"]


async def test_a_section_that_fails_fails() -> None:
    """The stop that was held back does not hide it."""

    async def work() -> None:
        async with scope.shield():
            await a_turn()
            raise ValueError("boom")

    async with countermand.scope() as scope:
        scope.spawn(work)
        await a_turn(1)
        receipt = await scope.cancel(USER)
    assert names(receipt.failed) == ["work"]


async def test_a_cancellation_from_elsewhere_is_not_held_back() -> None:
    """As the docs say: it holds back scopes."""
    steps: list[str] = []

    async def main() -> None:
        async with countermand.scope() as scope, scope.shield():
            await forever()
            steps.append("whole")

    task = asyncio.create_task(main())
    await a_turn()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == []


async def test_nothing_is_kept_of_a_section_that_is_over() -> None:
    """And a shield outside of all tasks is refused."""
    async with countermand.scope() as scope, scope.shield():
        pass
    assert asyncio.current_task() not in interrupts._shields
