"""What decides nothing takes no slot from what does."""

import asyncio
from typing import Any

import grpc
import pytest

from countermand.v1 import errors_pb2
from grant_service.rpc import line
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import Served, request, served, until

SLOTS = 64
TRIAL = {"selector": {"all": True}, "reason": errors_pb2.STOP_REASON_INCIDENT, "validate_only": True}
ABOUT = {
    "RevokeGrants": TRIAL,
    "FreezeGrants": TRIAL,
    "GetFence": {"fence_id": "f-1"},
    "GetReport": {"run_id": "r-1"},
}


def flood(running: Served, rpc: str, timeout: float | None) -> list[Any]:
    """As many calls as an operator has slots."""
    call = running.operator.rpc(rpc)
    return [call(request(rpc, **ABOUT[rpc]), timeout=timeout) for _ in range(SLOTS)]


async def slow(running: Served, store: ObstructedStore, gate: asyncio.Event) -> None:
    """Begin with a fence over a run, and a store in which counts and reports hang."""
    await running.grant("r-1")
    await running.fence("Freeze", "f-1", run_id="r-1")
    store.before["recent_run_ids"] = gate.wait
    store.before["journal"] = gate.wait


@pytest.mark.parametrize("rpc", ABOUT)
async def test_abandoned_reads_let_go_of_their_slots(rpc: str) -> None:
    """64 callers who have gone: each read ended before its caller did, and a cancel gets through at once."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store) as running:
        await slow(running, store, gate)
        codes = await asyncio.gather(*(call.code() for call in flood(running, rpc, 0.5)))
        assert len(codes) == SLOTS
        del store.before["journal"]
        async with asyncio.timeout(2):
            answer = await running.cancel("r-1")
        assert answer.known
        gate.set()


@pytest.mark.parametrize("rpc", ABOUT)
async def test_reads_that_go_on_leave_slots_to_an_operator(rpc: str) -> None:
    """Those who come when there are many are told at once, with a count that is not complete or a refusal."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store) as running:
        await slow(running, store, gate)
        calls = flood(running, rpc, 20)
        told = [asyncio.ensure_future(call.code()) for call in calls]

        async def refused() -> bool:
            return sum(one.done() for one in told) == SLOTS - SLOTS // 4

        await until(refused)
        outcomes = {one.result() for one in told if one.done()}
        busy = grpc.StatusCode.RESOURCE_EXHAUSTED if rpc == "GetReport" else grpc.StatusCode.OK
        assert outcomes == {busy}
        store.before.clear()
        async with asyncio.timeout(2):
            assert (await running.cancel("r-1")).known
            assert (await running.operator("LiftFence", fence_id="f-1")).fence.lift_actor
            fence = await running.fence("Revoke", "f-2", run_id="r-1")
            assert (fence.fence_id, fence.hit.complete) == ("f-2", rpc == "GetReport")
        gate.set()
        await asyncio.gather(*told)


async def test_without_the_line_a_flood_keeps_an_operator_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: reads as long as the cap allows, and as many as there are slots."""
    monkeypatch.setattr(line, "patience", lambda longest: longest)
    monkeypatch.setattr(line, "max", lambda *_: SLOTS, raising=False)
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store) as running:
        await slow(running, store, gate)
        await asyncio.gather(*(call.code() for call in flood(running, "RevokeGrants", 0.5)))
        refused = await running.operator.refused("CancelRun", run_id="r-1", reason=1)
        assert refused.reason == "OVERLOADED"
        gate.set()
