"""SIGTERM: not ready first, then what is under way goes out, then the process, and nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from grant_service.rpc.roles import Role
from tests.rpc.support import Caller, Error, commit, intent, read_error, request
from tests.support.sidecar import SERVICE, SidecarProcess, sidecar_running

SLOW = ("-m", "tests.rpc.slow_sidecar")
CALLS = 20
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Process:
    """A sidecar process, and a caller for each of its sockets."""

    handle: SidecarProcess
    callers: dict[Role, Caller]

    async def ready(self, run_id: str = "r-1") -> str:
        """Open a run with prepared actions, and answer the token of its grant."""
        await self.callers[Role.ISSUER]("OpenRun", run_id=run_id)
        issued = await self.callers[Role.ISSUER]("IssueGrant", run_id=run_id, scopes=[{"action": "*"}])
        prepare = self.callers[Role.TOOL]
        for n in range(CALLS):
            await prepare("PrepareAction", grant_token=issued.grant_token, intent=intent(f"o-{n}"))
        return str(issued.grant_token)

    async def permitted(self, run_id: str = "r-1") -> set[str]:
        """The actions that have a permit, by the journal."""
        listed = await self.callers[Role.AUDITOR]("ListEntries", run_id=run_id, page_size=1000)
        return {entry.op_id for entry in listed.entries if entry.kind == "PERMITTED"}

    def terminating(self) -> "asyncio.Task[int]":
        """Send SIGTERM, and wait for the exit code meanwhile."""
        return asyncio.create_task(asyncio.to_thread(self.handle.terminate))


@asynccontextmanager
async def calling(handle: SidecarProcess) -> AsyncIterator[Process]:
    """Call a process."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    callers = {role: Caller(handle.target(role.value), options) for role in Role}
    try:
        yield Process(handle, callers)
    finally:
        for caller in callers.values():
            await caller.channel.close()


@pytest.fixture
def slow() -> Iterator[SidecarProcess]:
    """A sidecar whose commits take 0.8 s."""
    with sidecar_running(program=SLOW, test_pause=0.8) as handle:
        yield handle


async def test_a_drain_is_announced_first_and_answers_what_is_under_way(slow: SidecarProcess) -> None:
    """Not ready, then no new calls, then the answers of the old ones, then exit 0; the journal has all."""
    order: list[str] = []
    async with calling(slow) as process:
        token = await process.ready()
        watching = asyncio.create_task(watch(process.callers[Role.AUDITOR], order))
        tool = process.callers[Role.TOOL]
        calls = [asyncio.create_task(committed(tool, token, n, order)) for n in range(CALLS)]
        await asyncio.sleep(0.3)
        exit_code = process.terminating()
        await asyncio.wait_for(watching, 5)
        late = await turned_away(process, token)
        permits = await asyncio.gather(*calls)
        assert await exit_code == 0
    assert order == ["SERVING", "NOT_SERVING", *["answered"] * CALLS]
    assert late is None or late.reason == "DRAINING"
    assert all(permit.fence for permit in permits)
    slow.start(test_pause=0)
    async with calling(slow) as process:
        assert await process.permitted() == {f"o-{n}" for n in range(CALLS)}


async def watch(auditor: Caller, order: list[str]) -> None:
    """Follow the health of the sidecar until it is not ready."""
    watching = health_pb2_grpc.HealthStub(auditor.channel).Watch(health_pb2.HealthCheckRequest())
    async for answer in watching:
        order.append(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
        if answer.status == _NOT_SERVING:
            return


async def committed(tool: Caller, token: str, number: int, order: list[str]) -> Any:
    """Commit an action, and note when the answer came."""
    permit = (await tool("CommitAction", **commit(token, f"o-{number}"))).permit
    order.append("answered")
    return permit


async def turned_away(process: Process, token: str) -> Error | None:
    """Make a call during a drain, on a connection that is there; None if there was none to answer it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await process.callers[Role.TOOL]("CommitAction", **commit(token, "o-0"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return read_error(caught.value) if caught.value.trailing_metadata() else None


async def test_every_commit_that_was_answered_before_the_end_is_in_the_journal() -> None:
    """SIGTERM in the middle of a stream of calls: whoever got a permit is on record after the next start."""
    with sidecar_running(program=SERVICE) as handle:
        async with calling(handle) as process:
            await process.ready("r-warm")
            issued = await process.callers[Role.ISSUER](
                "IssueGrant", run_id="r-warm", scopes=[{"action": "*"}]
            )
            accepted: set[str] = set()
            workers = [perform_on(process, issued.grant_token, n, accepted) for n in range(16)]
            stream = asyncio.gather(*workers)
            await asyncio.sleep(0.5)
            assert await process.terminating() == 0
            ends = await stream
        assert len(accepted) > 16
        # Whoever was refused was told so. At the very end gRPC hangs up by itself, in one of two ways.
        assert set(ends) <= {"DRAINING", "UNAVAILABLE", "CANCELLED"}
        handle.start()
        async with calling(handle) as process:
            journal = await whole_journal(process, "r-warm")
            assert accepted <= journal


async def perform_on(process: Process, token: str, worker: int, accepted: set[str]) -> str:
    """Perform actions one after the other until it is refused; answer how it ended."""
    tool = process.callers[Role.TOOL]
    for number in range(1_000_000):
        op_id = f"o-{worker}-{number}"
        told = request("PerformAction", grant_token=token, intent=intent(op_id))
        call = tool.rpc("PerformAction")(told, timeout=10)
        if await call.code() is not grpc.StatusCode.OK:
            return await ending(call)
        accepted.add(op_id)
    raise AssertionError("nobody stopped it")


async def ending(call: Any) -> str:
    """How a call was refused: by our reason, or by the transport's code."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return read_error(error).reason if error.trailing_metadata() else error.code().name


async def whole_journal(process: Process, run_id: str) -> set[str]:
    """The actions that have a permit, read in pages."""
    found: set[str] = set()
    after, more = 0, True
    while more:
        page = await process.callers[Role.AUDITOR](
            "ListEntries", run_id=run_id, after_seq=after, page_size=1000
        )
        found |= {entry.op_id for entry in page.entries if entry.kind == "PERMITTED"}
        after, more = page.entries[-1].seq, page.more
    return found


async def test_a_drain_does_not_wait_for_ever() -> None:
    """A call that does not end is left behind when the drain's time is over, and its caller is told."""
    with sidecar_running(program=SLOW, test_pause=60, drain_timeout=0.3, decision_timeout=60) as handle:
        async with calling(handle) as process:
            token = await process.ready()
            call = asyncio.create_task(committed(process.callers[Role.TOOL], token, 0, []))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            assert await process.terminating() == 0
            assert time.monotonic() - began < 5
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert '"calls_left": 1' in handle.err


async def test_after_a_stop_sockets_and_locks_are_free() -> None:
    """No socket is left, and another sidecar starts on the same home at once."""
    with sidecar_running() as handle:
        for _ in range(2):
            assert handle.terminate() == 0
            assert sorted(path.name for path in (handle.home / "run").iterdir()) == ["lock"]
            handle.start()
        assert "Traceback" not in handle.err
