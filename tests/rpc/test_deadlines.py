"""A call ends in time whatever the store does; what it asked for is decided all the same."""

import asyncio
import time

import grpc
import pytest

from grant_service import app
from grant_service.rpc.guard import Slots
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import Served, cancel, commit, intent, served


async def prepared(running: Served, *op_ids: str) -> str:
    """Prepare actions under a new grant; answer its token."""
    token = await running.grant()
    for op_id in op_ids:
        await running.tool("PrepareAction", grant_token=token, intent=intent(op_id))
    return token


async def permitted(running: Served, run_id: str = "r-1") -> list[str]:
    """The actions that have a permit, by the journal."""
    return [entry.op_id for entry in await running.journal(run_id) if entry.kind == "PERMITTED"]


@pytest.mark.parametrize("deadline", [None, 60], ids=["without-a-deadline", "with-a-long-one"])
async def test_a_call_is_capped_and_its_decision_still_made(deadline: float | None) -> None:
    """The store hangs: the caller hears TIMED_OUT within the cap, and the journal gets the decision later."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=0.1) as running:
        token = await prepared(running, "o-1")
        store.before["commit"] = gate.wait
        began = time.monotonic()
        refused = await running.tool.refused("CommitAction", timeout=deadline, **commit(token, "o-1"))
        assert 0.09 < time.monotonic() - began < 2
        assert (refused.reason, refused.code) == ("TIMED_OUT", grpc.StatusCode.DEADLINE_EXCEEDED)
        assert "do not act" in refused.message
        assert await permitted(running) == []
        gate.set()
        again = await running.tool("CommitAction", **commit(token, "o-1"))
        assert again.permit.replayed
        assert await permitted(running) == ["o-1"]


async def test_a_shorter_deadline_of_the_caller_counts() -> None:
    """The cap is a cap: it makes nobody wait longer than they asked for."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=30) as running:
        token = await prepared(running, "o-1")
        store.before["commit"] = gate.wait
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await running.tool("CommitAction", timeout=0.1, **commit(token, "o-1"))
        assert time.monotonic() - began < 2
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        gate.set()


async def test_operators_have_a_cap_of_their_own() -> None:
    """A cancel may take longer than a commit, and a hanging store does not hold it for ever either."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=0.01, operator_timeout=0.3) as running:
        await running.grant()
        store.before["cancel"] = gate.wait
        began = time.monotonic()
        refused = await running.operator.refused("CancelRun", timeout=None, run_id="r-1", reason=1)
        assert 0.25 < time.monotonic() - began < 2
        assert refused.reason == "TIMED_OUT"
        gate.set()
        assert (await running.cancel()).replayed
        assert [entry.kind for entry in await running.journal()][-1] == "CANCELLED"


async def test_an_owner_has_the_operators_time_for_a_cancel() -> None:
    """The report takes as long for whoever asks; its own decisions keep the short cap."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=0.05, operator_timeout=20) as running:
        await running.grant()
        store.before["journal"] = store.before["open"] = gate.wait
        call = asyncio.ensure_future(running.issuer("CancelRun", **cancel()))
        assert (await running.issuer.refused("OpenRun", run_id="r-2")).reason == "TIMED_OUT"
        await asyncio.sleep(0.1)
        assert not call.done()
        gate.set()
        assert (await call).known


async def test_the_operator_has_as_many_slots_as_were_set() -> None:
    """Its own number, which another listener's calls do not touch."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, max_operator_calls=2, max_calls=100) as running:
        await running.grant()
        store.before["cancel"] = gate.wait
        held = [asyncio.ensure_future(running.cancel()) for _ in range(2)]
        await store.wait_for("cancel", 2)
        assert (await running.operator.refused("CancelRun", **cancel())).reason == "OVERLOADED"
        # The auditor's are its own again.
        assert (await running.auditor("GetRun", run_id="r-1")).run.run_id == "r-1"
        gate.set()
        assert sorted(answer.replayed for answer in await asyncio.gather(*held)) == [False, True]


async def test_calls_over_the_slots_are_refused_at_once_and_cancel_goes_through() -> None:
    """No queue: a queue would only age. The operator's listener has slots of its own."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, max_calls=8, decision_timeout=20) as running:
        token = await prepared(running, *(f"o-{number}" for number in range(80)))
        store.before["commit"] = gate.wait
        held = [
            asyncio.ensure_future(running.tool("CommitAction", **commit(token, f"o-{n}"))) for n in range(8)
        ]
        await store.wait_for("commit", 8)
        began = time.monotonic()
        for number in range(8, 80):
            refused = await running.tool.refused("CommitAction", **commit(token, f"o-{number}"))
            assert (refused.reason, refused.code) == ("OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED)
        cancelled = await running.cancel()
        assert time.monotonic() - began < 5
        assert cancelled.report.run.state == 2
        gate.set()
        # They had not been decided when the cancel was: none of them may be accepted now.
        answers = await asyncio.gather(*held, return_exceptions=True)
        assert all(isinstance(answer, grpc.aio.AioRpcError) for answer in answers)
        assert store.entered.count("commit") == 8
        assert await permitted(running) == []


async def test_with_shared_slots_a_flood_would_stop_the_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: it is the operator's own slots that let the cancel through."""
    shared = Slots(8)
    monkeypatch.setattr(app, "Slots", lambda _: shared)
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, decision_timeout=20) as running:
        token = await prepared(running, *(f"o-{number}" for number in range(8)))
        store.before["commit"] = gate.wait
        held = [
            asyncio.ensure_future(running.tool("CommitAction", **commit(token, f"o-{n}"))) for n in range(8)
        ]
        await store.wait_for("commit", 8)
        assert (await running.operator.refused("CancelRun", **cancel())).reason == "OVERLOADED"
        gate.set()
        await asyncio.gather(*held)


async def test_abandoned_work_keeps_its_slot_until_it_is_decided() -> None:
    """A store that hangs meets a bounded number of calls, not one more for every retry."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store, max_calls=2, decision_timeout=0.05) as running:
        token = await prepared(running, "o-1", "o-2", "o-3")
        store.before["commit"] = gate.wait
        for op_id, reason in (("o-1", "TIMED_OUT"), ("o-2", "TIMED_OUT"), ("o-3", "OVERLOADED")):
            assert (await running.tool.refused("CommitAction", **commit(token, op_id))).reason == reason
        gate.set()
        await asyncio.sleep(0)  # the held ones end first
        assert (await running.tool("CommitAction", **commit(token, "o-3"))).permit.fence
        assert sorted(await permitted(running)) == ["o-1", "o-2", "o-3"]
