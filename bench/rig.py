"""One sidecar under measurement: a real process, real sockets, durable store; and a run to act in."""

import asyncio
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from bench.sidecar import EMPTY
from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import action_service_pb2_grpc as action_grpc
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import control_service_pb2_grpc as control_grpc
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import grant_service_pb2_grpc as grant_grpc
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import undo_service_pb2_grpc as undo_grpc

DIGEST = hashlib.sha256(b"{}").digest()
_TICKS = os.sysconf("SC_CLK_TCK")


class Rig:
    """A sidecar on one store, with a grant to commit under."""

    def __init__(self, name: str, home: Path, process: subprocess.Popen[bytes]) -> None:
        self.name, self.process, self._home = name, process, home
        self._channels = {
            role: grpc.aio.insecure_channel(self.target(role), [("grpc.enable_retries", 0)])
            for role in ("issuer", "tool", "operator", "compensator")
        }
        # The stubs' types are those of the blocking twin.
        self.issuer: Any = grant_grpc.GrantServiceStub(self._channels["issuer"])
        self.tool: Any = action_grpc.ActionServiceStub(self._channels["tool"])
        self.operator: Any = control_grpc.ControlServiceStub(self._channels["operator"])
        self.compensator: Any = undo_grpc.UndoServiceStub(self._channels["compensator"])
        self._empty: Any = self._channels["tool"].unary_unary(EMPTY)
        self.token, self._next = "", 0

    def target(self, role: str) -> str:
        """Where it listens for a role."""
        return f"unix:{self._home}/run/{role}.sock"

    async def open(self, depth: int = 1) -> None:
        """Open a run so many runs deep, and issue a grant."""
        parent = ""
        for _ in range(depth):
            asked = grant_pb.OpenRunRequest(subject="bench", agent="bench", parent_run_id=parent)
            run = await self.issuer.OpenRun(asked)
            parent = run.run.run_id
        scopes = [grant_pb.Scope(action="bench.*")]
        request = grant_pb.IssueGrantRequest(run_id=run.run.run_id, scopes=scopes)
        request.ttl.seconds = 900
        self.token = (await self.issuer.IssueGrant(request)).grant_token
        self.run_id = run.run.run_id

    async def prepare(self, count: int) -> list[str]:
        """Prepare actions to commit."""
        ids = [f"o-{self._next + index}" for index in range(count)]
        self._next += count
        intents = [action_pb.Intent(op_id=op, action="bench.act", digest=DIGEST) for op in ids]
        requests = [action_pb.PrepareActionRequest(grant_token=self.token, intent=told) for told in intents]
        await callers(64, [partial(self.tool.PrepareAction, one) for one in requests])
        return ids

    def commit(self, op_id: str) -> Awaitable[object]:
        """Commit one."""
        request = action_pb.CommitActionRequest(grant_token=self.token, op_id=op_id, digest=DIGEST)
        call: Awaitable[object] = self.tool.CommitAction(request)
        return call

    def empty(self) -> Awaitable[object]:
        """Call the RPC that does nothing, with a message as long as a commit's."""
        call: Awaitable[object] = self._empty(b"x" * 400)
        return call

    async def cancel(self) -> None:
        """Stop the run."""
        await self.operator.CancelRun(
            control_pb.CancelRunRequest(run_id=self.run_id, reason=errors_pb2.STOP_REASON_USER_STOP)
        )

    async def freeze(self, fence_id: str, tenant: str, agent: str = "") -> None:
        """Set a fence."""
        named = journal_pb.Selector(tenant=tenant, agent=agent)
        request = control_pb.FreezeGrantsRequest(request_id=fence_id, selector=named)
        request.reason = errors_pb2.STOP_REASON_INCIDENT
        await self.operator.FreezeGrants(request)

    def cpu_seconds(self) -> float:
        """Tell how much processor time the sidecar has used, system time included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_kb(self) -> int:
        """Tell how much memory the sidecar has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels.values():
            await channel.close()


async def callers(count: int, calls: list[Callable[[], Awaitable[object]]]) -> None:
    """Make all calls, `count` of them at a time."""
    waiting = iter(calls)

    async def one_caller() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(one_caller() for _ in range(count)))


@asynccontextmanager
async def rig(name: str, store: str, home: Path | None = None, depth: int = 1) -> AsyncIterator[Rig]:
    """Start a sidecar on a store, in a home of its own unless one is given, and stop it by its pid."""
    given, home = home, home or Path(tempfile.mkdtemp(prefix="cm-bench-"))
    environment = os.environ | {
        "COUNTERMAND_HOME": str(home),
        "COUNTERMAND_STORE": store,
        "COUNTERMAND_ACCEPT_DURABILITY": "EVERY_SECOND",
        "COUNTERMAND_LOG_LEVEL": "error",
    }
    process = _start(environment)
    try:
        await _ready(home, process)
        one = Rig(name, home, process)
        await one.open(depth)
        yield one
        await one.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if given is None:
            shutil.rmtree(home)


def _start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.sidecar"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


async def _ready(home: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while not (home / "run" / "compensator.sock").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("bench: the sidecar did not start")
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
