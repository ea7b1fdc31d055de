"""Following a journal: all that is there and comes, in order; bounded in number, memory and time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.journal import Entry, Kind
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Caller, Served, intent, read_error, request, served, until

#: With 8 slots for an operator, two may follow journals.
FEW = {"max_operator_calls": 8}


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals are looked at often."""
    monkeypatch.setattr("grant_service.rpc.following.LOOK_EVERY", 0.01)


@asynccontextmanager
async def watching(caller: Caller, run_id: str = "r-1", after: int = 0, **more: Any) -> AsyncIterator[Any]:
    """Follow a journal, and hang up."""
    call = caller.rpc("WatchEntries")(request("WatchEntries", run_id=run_id, after_seq=after), **more)
    try:
        yield call
    finally:
        call.cancel()


async def read(call: Any, count: int) -> list[Any]:
    """Read so many entries."""
    async with asyncio.timeout(10):
        return [(await call.read()).entry for _ in range(count)]


async def refusal(call: Any) -> Any:
    """Read to the end, which must be a refusal."""

    async def rest() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(rest(), 10)
    return read_error(caught.value)


def places(sidecar: Served, role: Role = Role.AUDITOR) -> int:
    """How many follow journals on a listener."""
    return sidecar.sidecar._listening[role].followers.taken


async def free(sidecar: Served, taken: int = 0) -> None:
    """Wait until no more places than these are taken."""

    async def is_free() -> bool:
        return places(sidecar) == taken

    await until(is_free)


async def test_what_is_there_comes_first_and_then_what_comes(sidecar: Served) -> None:
    """In the order of the journal, each entry once, also after the end of the run."""
    token = await sidecar.grant()
    async with watching(sidecar.auditor) as call, watching(sidecar.operator, after=1) as other:
        assert [one.kind for one in await read(call, 2)] == ["OPENED", "ISSUED"]
        assert [one.kind for one in await read(other, 1)] == ["ISSUED"]
        await sidecar.permit(token, "o-1")
        assert [one.kind for one in await read(call, 2)] == ["PREPARED", "PERMITTED"]
        await sidecar.cancel()
        await sidecar.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1)
        assert [one.kind for one in await read(call, 2)] == ["CANCELLED", "SETTLED"]
        entries = [*await read(other, 4)]
    listed = (await sidecar.auditor("ListEntries", run_id="r-1")).entries
    assert entries == list(listed[2:])


async def test_pages_have_no_seam(sidecar: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever one ends."""
    monkeypatch.setattr("grant_service.rpc.following._PAGE", 2)
    token = await sidecar.grant()
    for number in range(3):
        await sidecar.permit(token, f"o-{number}")
    listed = (await sidecar.auditor("ListEntries", run_id="r-1")).entries
    async with watching(sidecar.auditor) as call:
        assert await read(call, 8) == list(listed)


async def test_the_journal_of_the_fences_is_followed(sidecar: Served) -> None:
    """From before there is one."""
    async with watching(sidecar.auditor, "_fences") as call:
        await sidecar.operator("RevokeGrants", request_id="f-1", selector={"subject": "u-7"}, reason=6)
        (entry,) = await read(call, 1)
    assert (entry.kind, entry.data["fence"]) == ("REVOKED", "f-1")


async def test_what_nobody_knows_is_not_followed(sidecar: Served) -> None:
    """Whoever misspells a run must not wait for ever."""
    assert (await sidecar.auditor.refused("WatchEntries", run_id="r-9")).reason == "RUN_UNKNOWN"
    assert (await sidecar.auditor.refused("WatchEntries", run_id="_runs")).reason == "INVALID_REQUEST"
    assert (await sidecar.auditor.refused("WatchEntries", run_id="r-9", after_seq=2**60)).reason == (
        "INVALID_REQUEST"
    )
    for caller in (sidecar.tool, sidecar.issuer, sidecar.compensator):
        assert (await caller.refused("WatchEntries", run_id="r-1")).reason == "ROLE_NOT_ALLOWED"
    assert places(sidecar) == 0


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"])
async def test_what_is_no_request_is_refused_as_such(sidecar: Served, junk: bytes) -> None:
    """With a reason of ours."""
    call = sidecar.auditor.rpc("WatchEntries", raw=True)(junk)
    assert (await refusal(call)).reason == "INVALID_REQUEST"


async def test_more_than_there_are_places_for_are_turned_away() -> None:
    """And a place is free again when its caller leaves, or its deadline is over. Calls have other places."""
    async with served(**FEW) as sidecar:
        await sidecar.grant()
        async with watching(sidecar.auditor) as one:
            await read(one, 2)
            async with watching(sidecar.auditor, timeout=1.0) as two:
                await read(two, 2)
                assert places(sidecar) == 2
                assert (await sidecar.auditor.refused("WatchEntries", run_id="r-1")).reason == "OVERLOADED"
                assert (await sidecar.auditor("GetRun", run_id="r-1")).run.run_id == "r-1"
                async with watching(sidecar.operator) as other:
                    await read(other, 2)
                with pytest.raises(grpc.aio.AioRpcError) as late:
                    await read(two, 1)
                assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await free(sidecar, 1)
            async with watching(sidecar.auditor) as two:
                await read(two, 2)
        await free(sidecar)


async def test_who_does_not_read_holds_no_memory(sidecar: Served) -> None:
    """The journal is not read for it any further than the transport takes; others do not notice."""
    await sidecar.grant()
    note = {"note": "n" * 300}
    entries = sidecar.store.state.entries["r-1"]
    entries += [Entry(seq, 0, "r-1", Kind.REFUSED, note) for seq in range(3, 40_003)]
    seen = 0
    journal = sidecar.store.journal

    async def counted(run_id: str, after_seq: int, limit: int) -> list[Entry]:
        nonlocal seen
        seen = max(seen, after_seq)
        found: list[Entry] = await journal(run_id, after_seq, limit)
        return found

    sidecar.store.journal = counted
    async with watching(sidecar.auditor) as slow:
        await read(slow, 1)
        before = -1
        while seen != before:
            before = seen
            await asyncio.sleep(0.3)
        assert seen < 30_000
        async with watching(sidecar.auditor, after=40_000) as other:
            assert [one.seq for one in await read(other, 2)] == [40_001, 40_002]
        assert [one.seq for one in (await read(slow, 40_001))][-1] == 40_002


async def test_a_stop_ends_all_who_follow_at_once(sidecar: Served) -> None:
    """Also one that does not read: nobody can hold up the end of the sidecar for long."""
    await sidecar.grant()
    sidecar.store.state.entries["r-2"] = [
        Entry(seq, 0, "r-2", Kind.OPENED, {"note": "n" * 300}) for seq in range(1, 60_001)
    ]
    sidecar.store.state.runs["r-2"] = sidecar.store.state.runs["r-1"]
    async with watching(sidecar.auditor) as call, watching(sidecar.auditor, "r-2") as stuck:
        await read(call, 2)
        await read(stuck, 1)
        begun = time.monotonic()
        stopping = asyncio.create_task(sidecar.sidecar.stop())
        assert (await refusal(call)).reason == "DRAINING"
        assert time.monotonic() - begun < 1
        await stopping
        assert time.monotonic() - begun < 5
    assert places(sidecar) == 0


async def test_a_store_that_fails_ends_the_stream_with_its_reason() -> None:
    """The caller goes on from its last number when the store is back."""
    store = ObstructedStore()
    async with served(store) as sidecar:
        await sidecar.grant()
        async with watching(sidecar.auditor) as call:
            entries = await read(call, 2)
            store.before["journal"] = raising(StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
            assert (await refusal(call)).reason == "STORE_UNAVAILABLE"
        del store.before["journal"]
        await free(sidecar)
        await sidecar.cancel()
        async with watching(sidecar.auditor, after=entries[-1].seq) as call:
            assert [one.kind for one in await read(call, 1)] == ["CANCELLED"]


async def test_a_store_that_hangs_ends_the_stream_in_time() -> None:
    """As it does a call."""
    store = ObstructedStore()
    async with served(store, operator_timeout=0.3) as sidecar:
        await sidecar.grant()
        async with watching(sidecar.auditor) as call:
            await read(call, 2)
            store.before["journal"] = asyncio.Event().wait
            assert (await refusal(call)).reason == "TIMED_OUT"
        await free(sidecar)


async def test_what_nobody_foresaw_is_an_incident() -> None:
    """It leaves as every other one does."""
    store = ObstructedStore()
    async with served(store) as sidecar:
        await sidecar.grant()
        async with watching(sidecar.auditor) as call:
            await read(call, 2)
            store.before["journal"] = raising(RuntimeError("a secret"))
            told = await refusal(call)
    assert (told.reason, "incident" in told.metadata) == ("INTERNAL", True)
    assert "secret" not in told.message


async def test_a_watch_takes_no_slot_of_a_call(sidecar: Served) -> None:
    """A drain waits for decisions; nobody waits for who follows."""
    token = await sidecar.grant()
    async with watching(sidecar.auditor) as call:
        await read(call, 2)
        assert not sidecar.sidecar._listening[Role.AUDITOR].slots._under_way
        await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
        assert [one.kind for one in await read(call, 1)] == ["PREPARED"]


def test_the_contract_says_that_it_streams() -> None:
    """One request, many answers."""
    (method,) = (
        one for one in pb.DESCRIPTOR.services_by_name["JournalService"].methods if one.name == "WatchEntries"
    )
    assert method.server_streaming
    assert not method.client_streaming
    assert Settings(store="memory").max_operator_calls // 4 == 16
