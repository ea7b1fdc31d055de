"""Attack: a flood of calls to keep a cancel from getting through."""

import asyncio
import statistics
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from grant_service.rpc.roles import Role
from tests.rpc.support import Caller, cancel, intent, read_error, request
from tests.support.sidecar import SidecarProcess, sidecar_running

pytestmark = pytest.mark.alone

SLOTS = 32
#: Ten times as many callers as there are slots, over many connections, none of which ever pauses.
CALLERS, CONNECTIONS = 10 * SLOTS, 8
CANCELS = 20

#: Seconds. Generous: the flood, this test and the sidecar share two cores with whatever else runs here.
SLOWEST = 3.0


class Flood:
    """Callers that send as fast as they are answered."""

    def __init__(self, handle: SidecarProcess, role: Role, message: Any) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.callers = [Caller(handle.target(role.value), options) for _ in range(CONNECTIONS)]
        self.method = message.DESCRIPTOR.name.removesuffix("Request")
        self.message = message.SerializeToString()
        self.ends: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Flood":
        """Let it loose, and wait until it overflows."""
        self._tasks = [asyncio.create_task(self._send(number)) for number in range(CALLERS)]
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0.02)
                if self.ends["OVERLOADED"] > CALLERS:
                    return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for caller in self.callers:
            await caller.channel.close()

    async def _send(self, number: int) -> None:
        call = self.callers[number % CONNECTIONS].rpc(self.method, raw=True)
        while True:
            try:
                await call(self.message, timeout=20)
            except grpc.aio.AioRpcError as error:
                self.ends[read_error(error).reason] += 1
            else:
                self.ends["answered"] += 1


async def test_a_cancel_goes_through_a_flood_of_ten_times_the_slots() -> None:
    """On both listeners at once. The operator has slots of its own: every cancel is answered, and soon."""
    with sidecar_running(max_calls=SLOTS, log_level="error") as handle:
        operator, issuer = Caller(handle.target("operator")), Caller(handle.target("issuer"))
        for number in range(CANCELS):
            await issuer("OpenRun", run_id=f"r-{number}")
        await issuer("OpenRun", run_id="r-flood")
        issue = request("IssueGrant", run_id="r-flood", scopes=[{"action": "*"}])
        token = (await issuer.rpc("IssueGrant")(issue)).grant_token
        perform = request("PerformAction", grant_token=token, intent=intent("o-1"))
        floods = [Flood(handle, Role.TOOL, perform), Flood(handle, Role.ISSUER, issue)]
        async with floods[0], floods[1]:
            took = [await cancelling(operator, f"r-{number}") for number in range(CANCELS)]
        for caller in (operator, issuer):
            await caller.channel.close()
    told = [dict(flood.ends) for flood in floods]
    print(f"cancel under flood: median {statistics.median(took):.3f} s, slowest {max(took):.3f} s, {told}")
    assert max(took) < SLOWEST
    for flood in floods:
        # It was a flood: far more was refused for want of a slot than there are slots, and some was answered.
        assert flood.ends["OVERLOADED"] > CALLERS
        assert flood.ends["answered"] > 0
        # The one permit is repeated for as long as it can be used, which may be shorter than the flood.
        assert set(flood.ends) <= {"OVERLOADED", "answered", "TIMED_OUT", "ALREADY_PERMITTED"}


async def cancelling(operator: Caller, run_id: str) -> float:
    """Cancel a run; answer how long that took, in seconds."""
    began = time.monotonic()
    answer = await operator("CancelRun", timeout=10, **cancel(run_id))
    assert (answer.known, answer.replayed) == (True, False)
    return time.monotonic() - began
