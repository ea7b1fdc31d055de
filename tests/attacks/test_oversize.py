"""Attack: what is too large, too many or too dense: refused, at little cost, and nobody else notices."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from grant_service.rpc.roles import Role
from tests.attacks.wire import opened_streams
from tests.rpc.support import Caller, Served, commit, intent, request
from tests.support.sidecar import SidecarProcess, sidecar_running

MB = 1024 * 1024
#: How much the sidecar may grow under any of these attacks.
GROWTH = 50 * MB
#: How long a bystander's call may take meanwhile, in seconds; all share two cores with this test.
SLOWEST = 2.0


class Victim:
    """A sidecar under attack, and a bystander that goes on working beside it."""

    def __init__(self, handle: SidecarProcess, token: str) -> None:
        self.handle, self.token = handle, token
        self.bystander = self.caller()
        self.took: list[float] = []

    def caller(self, **options: Any) -> Caller:
        """A tool with a connection of its own."""
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        return Caller(self.handle.target(Role.TOOL.value), [*own, *options.items()])

    async def work(self) -> None:
        """Perform actions, and keep how long each took."""
        while True:
            op_id = f"o-{len(self.took)}"
            began = time.monotonic()
            await self.bystander("PerformAction", grant_token=self.token, intent=intent(op_id))
            self.took.append(time.monotonic() - began)
            await asyncio.sleep(0.005)

    @property
    def memory(self) -> int:
        """What the process has in memory, in bytes."""
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self.handle.pid)], capture_output=True, check=True
        )
        return int(told.stdout) * 1024


@pytest.fixture(scope="module")
def handle() -> Iterator[SidecarProcess]:
    """One sidecar for all these attacks: it has to survive them one after the other."""
    with sidecar_running(log_level="error") as one:
        yield one
        assert one.running
        assert "Traceback" not in one.err


@pytest.fixture
async def victim(handle: SidecarProcess) -> AsyncIterator[Victim]:
    """Warm it up; at the end it must have grown little, and served its bystander all the time."""
    run_id = f"r-{time.time_ns()}"
    issuer = Caller(handle.target("issuer"))
    await issuer("OpenRun", run_id=run_id)
    issued = await issuer("IssueGrant", run_id=run_id, scopes=[{"action": "*"}])
    await issuer.channel.close()
    one = Victim(handle, issued.grant_token)
    working = asyncio.create_task(one.work())
    await asyncio.sleep(0.2)
    before = one.memory
    yield one
    await asyncio.sleep(0.1)
    assert one.memory - before < GROWTH
    assert not working.done(), "the bystander was refused"
    assert len(one.took) > 20
    assert max(one.took) < SLOWEST
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await one.bystander.channel.close()


async def codes(calls: list[Any]) -> set[grpc.StatusCode]:
    """How calls end."""
    return set(await asyncio.gather(*(call.code() for call in calls)))


async def test_tokens_of_five_megabytes_are_refused_before_they_are_read(victim: Victim) -> None:
    """By the limit of a message, without a word of ours; those that fit in one by the limit of a token."""
    attacker = victim.caller()
    huge = request("CommitAction", **commit("e" * 5 * MB, "o-1"))
    calls = [attacker.rpc("CommitAction")(huge, timeout=20) for _ in range(10)]
    assert await codes(calls) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    for size in (4097, 60 * 1024):
        refused = await attacker.refused("CommitAction", **commit("e" * size, "o-1"))
        assert (refused.reason, refused.metadata["size"]) == ("TOKEN_TOO_LARGE", str(size))
    await attacker.channel.close()


@pytest.mark.parametrize("over", [0, 1])
async def test_a_message_may_have_64_kib_and_not_a_byte_more(sidecar: Served, over: int) -> None:
    """Every field of it is checked after that; this one is refused for its token."""
    frame = len(request("CommitAction", **commit("e" * 65_000, "o-1")).SerializeToString()) - 65_000
    message = request("CommitAction", **commit("e" * (64 * 1024 - frame + over), "o-1"))
    assert message.ByteSize() == 64 * 1024 + over
    call = sidecar.tool.rpc("CommitAction")(message, timeout=20)
    expected = grpc.StatusCode.RESOURCE_EXHAUSTED if over else grpc.StatusCode.UNAUTHENTICATED
    assert await call.code() is expected


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-long", "e" * 64 * 1024)],
        [(f"x-{number}", "e") for number in range(10_000)],
        [("x-same", "e")] * 10_000,
    ],
    ids=["one-long-value", "ten-thousand-keys", "ten-thousand-times-the-same"],
)
async def test_metadata_over_16_kib_is_refused(victim: Victim, metadata: list[tuple[str, str]]) -> None:
    """Whatever it is made of, ten times at once."""
    attacker = victim.caller(**{"grpc.max_metadata_size": 16 * MB})
    told = request("CommitAction", **commit(victim.token, "o-1"))
    calls = [attacker.rpc("CommitAction")(told, metadata=metadata, timeout=20) for _ in range(10)]
    ends = await codes(calls)
    assert ends <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    await attacker.channel.close()


async def test_a_message_that_grows_when_it_is_unpacked_is_refused(victim: Victim) -> None:
    """A thousand to one: small on the wire, refused by its size behind it."""
    options = {"grpc.default_compression_algorithm": int(grpc.Compression.Gzip)}
    attacker = victim.caller(**options)
    bomb = request("CommitAction", **commit("e" * 40 * MB, "o-1"))
    for _ in range(3):
        call = attacker.rpc("CommitAction")(bomb, timeout=20)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    small = await attacker.refused("CommitAction", **commit("e" * 60_000, "o-1"))
    assert small.reason == "TOKEN_TOO_LARGE"  # the control: compressed messages are read
    await attacker.channel.close()


async def test_streams_that_are_opened_and_left_open_do_not_fill_it(victim: Victim) -> None:
    """Five thousand on one connection, twice: beyond the limit of a connection they are reset."""
    socket = Path(f"{victim.handle.home}/run/tool.sock")
    for _ in range(2):
        async with opened_streams(socket, "/countermand.v1.ActionService/CommitAction", 5_000) as refused:
            assert refused > 0
            assert (await victim.bystander.refused("CommitAction", **commit("x", "o-1"))).reason


async def test_connections_that_are_opened_and_left_open_do_not_stop_it(victim: Victim) -> None:
    """Two hundred that say nothing, two hundred that begin and stop."""
    socket = Path(f"{victim.handle.home}/run/tool.sock")
    left = [await asyncio.open_unix_connection(str(socket)) for _ in range(400)]
    for _, writer in left[::2]:
        writer.write(b"PRI * HTTP/2.0\r\n")
    await asyncio.sleep(0.3)
    for _, writer in left:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in left), return_exceptions=True)
