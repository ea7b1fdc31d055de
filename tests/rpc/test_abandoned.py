"""An abandoned call is not an abandoned decision."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from grant_service.rpc.guard import Guard
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import Served, commit, intent, request, served

CALLS = 200

#: A deadline that passes while the store is at work, in seconds; all calls have reached the store by then.
LATER = 2.5


async def abandoned(hang_up: Callable[[int], float | None]) -> tuple[int, int]:
    """Commit 200 actions, hang up on each while the store is at work; tell how many reached it and stayed.

    `hang_up` answers the deadline of a call; None means that its client cancels it.
    """
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=20) as running:
        token = await running.grant()
        for number in range(CALLS):
            await running.tool("PrepareAction", grant_token=token, intent=intent(f"o-{number}"))
        store.before["commit"] = gate.wait
        calls = [start(running, token, number, hang_up(number)) for number in range(CALLS)]
        await asyncio.wait_for(store.wait_for("commit", CALLS), 10)
        for number, call in enumerate(calls):
            if hang_up(number) is None:
                call.cancel()
        answers = await asyncio.gather(*(outcome(call) for call in calls))
        assert set(answers) <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
        await running.tool.refused("UndoRun")  # same connection: it has read the hang-ups
        gate.set()
        await running.sidecar.stop()  # drains: what is under way is decided before it returns
        kept = [entry for entry in await running.journal() if entry.kind == "PERMITTED"]
        return store.entered.count("commit"), len(kept)


def start(running: Served, token: str, number: int, deadline: float | None) -> Any:
    """Begin a commit."""
    told = request("CommitAction", **commit(token, f"o-{number}"))
    return running.tool.rpc("CommitAction")(told, timeout=deadline or 20)


async def outcome(call: Any) -> grpc.StatusCode:
    """How a call ended for its caller."""
    return await call.code()


@pytest.mark.parametrize(
    "hang_up",
    [lambda _: None, lambda number: LATER if number % 2 else None],
    ids=["clients-cancel", "clients-cancel-and-deadlines-pass"],
)
async def test_an_abandoned_call_still_reaches_the_journal(hang_up: Callable[[int], float | None]) -> None:
    """Whoever hangs up in mid-decision, and however: the decision is made, and it is on record."""
    reached, kept = await abandoned(hang_up)
    assert (reached, kept) == (CALLS, CALLS)


async def test_without_the_shield_decisions_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a guard that awaits the work itself takes the decision down with its caller."""

    async def unshielded(self: Guard, work: Any, remaining: float | None) -> Any:
        async with asyncio.timeout(20):
            return await work

    monkeypatch.setattr(Guard, "_decide", unshielded)
    reached, kept = await abandoned(lambda _: None)
    assert reached == CALLS
    assert kept < CALLS
