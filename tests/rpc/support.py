"""What the tests of the service share: a sidecar in this process, and callers on its sockets."""

import asyncio
import functools
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from countermand.v1 import errors_pb2
from grant_service.app import Sidecar
from grant_service.core.errors import ErrorReason
from grant_service.core.store import Store
from grant_service.rpc.roles import Role
from grant_service.rpc.server import SERVICES
from grant_service.settings import Settings
from grant_service.store.memory import MemoryStore
from grant_service.tokens.keys import load_or_create

#: Every method of the contract that takes one request, by its name; the names are unique over all services.
METHODS: dict[str, Any] = {
    method.name: method
    for service in SERVICES.values()
    for method in service.methods
    if not method.client_streaming
}
#: The one that takes many has tests of its own: test_session.py.
SESSION = "SessionService.OpenSession"
assert len(METHODS) + 1 == sum(len(service.methods) for service in SERVICES.values())

MAILTO = "mailto:team@example.com"


class ManualClock:
    """Stands still until it is told to move. Milliseconds since 1970."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * 1000)


@dataclass(frozen=True)
class Error:
    """An error as its caller gets it, taken apart."""

    code: grpc.StatusCode
    reason: str
    metadata: dict[str, str]
    message: str


def rpc_name(method: str) -> str:
    """The name of a method in the role table."""
    return f"{METHODS[method].containing_service.name}.{method}"


def request(method: str, **fields: Any) -> Any:
    """A request of a method."""
    return GetMessageClass(METHODS[method].input_type)(**fields)


def read_error(error: Any) -> Error:
    """Take an error apart; it must be a google.rpc.Status with exactly one ErrorInfo, of our domain."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no google.rpc.Status: {error!r}"
    assert status.message == error.details()
    assert len(status.details) == 1
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "countermand"
    assert info.reason in ErrorReason.__members__
    return Error(error.code(), info.reason, dict(info.metadata), status.message)


class Caller:
    """Calls any RPC on one socket."""

    def __init__(self, address: str, options: list[tuple[str, Any]] | None = None) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[*(options or []), _ANSWER])

    def rpc(self, method: str, *, raw: bool = False) -> Any:
        """The callable of an RPC; a raw one takes and answers bytes."""
        one = METHODS[method]
        make = self.channel.unary_stream if one.server_streaming else self.channel.unary_unary
        answer = GetMessageClass(one.output_type).FromString
        path = f"/{one.containing_service.full_name}/{method}"
        return make(path) if raw else make(path, _serialized, answer)

    async def __call__(self, method: str, /, *, timeout: float | None = 20, **fields: Any) -> Any:
        """Call an RPC with these fields."""
        call = self.rpc(method)(request(method, **fields), timeout=timeout)
        return [answer async for answer in call] if METHODS[method].server_streaming else await call

    async def refused(self, method: str, /, *, timeout: float | None = 20, **fields: Any) -> Error:
        """Call an RPC that must be refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self(method, timeout=timeout, **fields)
        return read_error(caught.value)


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()


#: As the client does: a report may be long.
_ANSWER = ("grpc.max_receive_message_length", 64 * 1024 * 1024)


@dataclass
class Served:
    """A running sidecar, and one caller for each socket."""

    home: Path
    sidecar: Sidecar
    store: Any
    clock: ManualClock
    callers: dict[Role, Caller] = field(default_factory=dict)

    def caller(self, role: Role, **options: Any) -> Caller:
        """A caller with a connection of its own."""
        address = f"unix:{self.home}/run/{role.value}.sock"
        return Caller(address, [("grpc.use_local_subchannel_pool", 1), *options.items()])

    @property
    def issuer(self) -> Caller:
        """Calls as the owner of runs."""
        return self.callers[Role.ISSUER]

    @property
    def tool(self) -> Caller:
        """Calls as a tool."""
        return self.callers[Role.TOOL]

    @property
    def operator(self) -> Caller:
        """Calls as an operator."""
        return self.callers[Role.OPERATOR]

    @property
    def auditor(self) -> Caller:
        """Calls as an auditor."""
        return self.callers[Role.AUDITOR]

    @property
    def compensator(self) -> Caller:
        """Calls as a compensator."""
        return self.callers[Role.COMPENSATOR]

    async def grant(self, run_id: str = "r-1", *scopes: dict[str, Any], **fields: Any) -> str:
        """Open a run, if it is not, and answer the token of a grant for it."""
        await self.issuer("OpenRun", run_id=run_id)
        return await self.grant_for(run_id, *scopes, **fields)

    async def grant_for(self, run_id: str, *scopes: dict[str, Any], **fields: Any) -> str:
        """Answer the token of a grant for an open run."""
        issued = await self.issuer("IssueGrant", run_id=run_id, scopes=scopes or [{"action": "*"}], **fields)
        return str(issued.grant_token)

    async def permit(self, token: str, op_id: str) -> Any:
        """Prepare and commit an action."""
        await self.tool("PrepareAction", grant_token=token, intent=intent(op_id))
        return (await self.tool("CommitAction", **commit(token, op_id))).permit

    async def delegate(self, token: str, *scopes: dict[str, Any], **fields: Any) -> Any:
        """Hand on part of a grant, as the tool that holds it."""
        return await self.tool(
            "DelegateGrant", grant_token=token, scopes=scopes or [{"action": "*"}], **fields
        )

    async def prepare(self, token: str, op_id: str, **fields: Any) -> Any:
        """Prepare an action."""
        return await self.tool("PrepareAction", grant_token=token, intent=intent(op_id, **fields))

    async def fence(self, verb: str, fence_id: str = "", **selector: Any) -> Any:
        """Revoke or freeze as an operator: `verb` is Revoke or Freeze."""
        told = {"request_id": fence_id, "selector": selector, "reason": errors_pb2.STOP_REASON_INCIDENT}
        return await self.operator(f"{verb}Grants", **told)

    async def cancel(self, run_id: str = "r-1", **fields: Any) -> Any:
        """Cancel a run as an operator."""
        return await self.operator("CancelRun", **cancel(run_id, **fields))

    async def journal(self, run_id: str = "r-1") -> list[Any]:
        """A run's whole journal."""
        return list(await self.sidecar.store.journal(run_id, 0, 1_000_000))

    async def refusals(self, run_id: str = "r-1") -> list[tuple[str, str]]:
        """The verbs and reasons of a run's journalled refusals."""
        entries = await self.journal(run_id)
        return [(one.data["verb"], str(one.data["reason"])) for one in entries if one.kind == "REFUSED"]


def digest(arguments: bytes = b"arguments") -> bytes:
    """A digest of arguments."""
    return hashlib.sha256(arguments).digest()


def intent(op_id: str, action: str = "email.send", resource: str = MAILTO, **fields: Any) -> dict[str, Any]:
    """An intended action."""
    return {"op_id": op_id, "action": action, "resource": resource, "digest": digest()} | fields


def commit(token: str, op_id: str, **fields: Any) -> dict[str, Any]:
    """The fields of a commit of an action that `intent` describes."""
    return {"grant_token": token, "op_id": op_id, "digest": digest()} | fields


def cancel(run_id: str = "r-1", **fields: Any) -> dict[str, Any]:
    """The fields of a cancel."""
    return {"run_id": run_id, "reason": errors_pb2.STOP_REASON_USER_STOP} | fields


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 5) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)


@contextmanager
def short_home() -> Iterator[Path]:
    """A home whose sockets' paths are short enough for every system."""
    home = Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@functools.cache
def _keys() -> dict[str, bytes]:
    """The files of a key directory, made once: syncing new ones for every test takes longer than the test."""
    with short_home() as home:
        load_or_create(home / "keys")
        return {path.name: path.read_bytes() for path in (home / "keys").iterdir()}


def put_keys(home: Path) -> None:
    """Give a home the keys that all sidecars of these tests have unless they make their own."""
    directory = home / "keys"
    directory.mkdir(mode=0o700)
    for name, content in _keys().items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(content)


@asynccontextmanager
async def served(
    store: Store | None = None, *, own_keys: bool = False, **settings: Any
) -> AsyncIterator[Served]:
    """Run a sidecar in this process, on a store in memory with a manual clock unless another is given."""
    clock = ManualClock()
    with short_home() as home:
        if not own_keys:
            put_keys(home)
        kept = store or MemoryStore(clock)
        sidecar = await Sidecar.start(Settings(home=home, store="memory", **settings), store=kept)
        told = Served(home, sidecar, kept, clock)
        told.callers = {role: told.caller(role) for role in Role}
        try:
            yield told
        finally:
            for caller in told.callers.values():
                await caller.channel.close()
            await sidecar.stop()
