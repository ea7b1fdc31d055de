"""Health: `` for the sidecar, `store` for the store, on every socket, by the standard protocol."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.store import Durability, Standing
from grant_service.rpc import health as health_module
from grant_service.rpc.roles import Role
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Served, commit, intent, served, until

PARTS = ("", "store")
GONE = StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that no test waits."""
    monkeypatch.setattr(health_module, "_INTERVAL_S", 0.01)
    monkeypatch.setattr(health_module, "_PATIENCE_S", 0.05)


@pytest.fixture
async def running() -> AsyncIterator[Served]:
    """A sidecar whose store can be made to fail."""
    async with served(ObstructedStore()) as one:
        yield one


async def state(running: Served, part: str = "", role: Role = Role.AUDITOR) -> str:
    """What a part says of itself."""
    stub = health_pb2_grpc.HealthStub(running.callers[role].channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=part), timeout=5)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def become(running: Served, wanted: str) -> None:
    """Wait until both parts say so."""

    async def is_so() -> bool:
        return {await state(running, part) for part in PARTS} == {wanted}

    await until(is_so)


async def test_every_socket_answers_for_both_parts(running: Served) -> None:
    """A probe needs no role: whoever may connect may ask."""
    for role in Role:
        for part in PARTS:
            assert await state(running, part, role) == "SERVING"


async def test_a_part_nobody_knows_is_not_found(running: Served) -> None:
    """As the protocol says."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await state(running, "redis")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("failure", [GONE, RuntimeError("a defect")], ids=["refused", "defect"])
async def test_a_failing_store_makes_the_sidecar_not_ready_until_it_is_back(
    running: Served, logs: list[dict[str, Any]], failure: Exception
) -> None:
    """Both parts: a sidecar without a store can decide nothing. Each change is logged, and nothing else."""
    running.store.before["standing"] = raising(failure)
    await become(running, "NOT_SERVING")
    del running.store.before["standing"]
    await become(running, "SERVING")
    told = [(event["log_level"], event["well"]) for event in logs if event["event"] == "store"]
    assert told == [("error", False), ("info", True)]


async def test_a_store_that_is_well_from_the_first_is_no_news(logs: list[dict[str, Any]]) -> None:
    """The welcome says that the sidecar is ready; the log says what changes."""
    async with served(ObstructedStore()) as running:
        looks = 0

        async def look() -> None:
            nonlocal looks
            looks += 1

        async def looked() -> bool:
            return looks > 2

        running.store.before["standing"] = look
        await until(looked)
    assert [event for event in logs if event["event"] == "store"] == []


async def test_a_store_that_fell_silent_is_not_well(running: Served) -> None:
    """It neither answers nor fails: waiting for it would look like health."""
    running.store.before["standing"] = asyncio.Event().wait
    await become(running, "NOT_SERVING")
    del running.store.before["standing"]
    await become(running, "SERVING")


async def test_a_store_that_gives_up_is_not_well_and_is_asked_again(running: Served) -> None:
    """It cancels what it waits for itself: that must not end the looking, which would look like health."""

    async def given_up() -> None:
        raise asyncio.CancelledError

    running.store.before["standing"] = given_up
    await become(running, "NOT_SERVING")
    del running.store.before["standing"]
    await become(running, "SERVING")


@pytest.mark.parametrize("what", ["logging", "telling"])
async def test_nothing_that_fails_ends_the_looking(
    running: Served, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Neither a log nor the health servicer: what is told is true again as soon as it can be."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    running.store.before["standing"] = raising(GONE)
    with monkeypatch.context() as broken:
        if what == "logging":
            broken.setattr(health_module, "_log", SimpleNamespace(info=fail, error=fail))
            await become(running, "NOT_SERVING")
        else:
            broken.setattr(running.sidecar._health.servicer, "set", fail)
            await asyncio.sleep(0.1)
    await become(running, "NOT_SERVING")
    del running.store.before["standing"]
    await become(running, "SERVING")


async def test_a_store_that_answers_but_is_in_trouble_is_not_well(running: Served) -> None:
    """Such as one on a full disk: it reads, and stops things, and can permit nothing."""

    async def in_trouble() -> Standing:
        return Standing("epoch", Durability.SYNCED, 1, 0, trouble="the disk is full")

    running.store.standing = in_trouble
    await become(running, "NOT_SERVING")


async def test_a_sidecar_starts_not_ready_beside_a_store_that_fails(logs: list[dict[str, Any]]) -> None:
    """It listens, says that it is not ready, and refuses; it does not say SERVING first."""
    store = ObstructedStore()
    store.before = {verb: raising(GONE) for verb in ("standing", "open")}
    async with served(store) as running:
        assert [await state(running, part) for part in PARTS] == ["NOT_SERVING", "NOT_SERVING"]
        assert (await running.issuer.refused("OpenRun")).reason == "STORE_UNAVAILABLE"
        store.before.clear()
        await become(running, "SERVING")
        await running.issuer("OpenRun")
    assert [event["well"] for event in logs if event["event"] == "store"] == [False, True]


async def test_a_drain_is_final(running: Served) -> None:
    """Once draining, a well store does not make it ready again; the store's own part stays true."""
    await running.sidecar._health.drain()
    running.store.before["standing"] = raising(GONE)
    await become(running, "NOT_SERVING")
    del running.store.before["standing"]

    async def store_is_well() -> bool:
        return await state(running, "store") == "SERVING"

    await until(store_is_well)
    assert await state(running) == "NOT_SERVING"


async def test_readiness_is_no_gate(running: Served) -> None:
    """Whoever asks while it is not ready gets a true answer all the same: cancel above all."""
    token = await running.grant()
    await running.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    await running.sidecar._health.drain()
    await running.cancel()
    assert (await running.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "REVOKED"
