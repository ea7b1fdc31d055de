"""Whatever bytes come in: an answer or a refusal with a reason, never INTERNAL, and the sidecar stays up."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countermand.v1 import journal_service_pb2 as journal_pb
from grant_service.app import open_store
from grant_service.rpc.roles import ALLOWED
from grant_service.settings import Settings
from tests.rpc.support import (
    METHODS,
    Served,
    commit,
    digest,
    intent,
    read_error,
    request,
    rpc_name,
    served,
    short_home,
)

ALL = sorted(METHODS)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

#: The run of the token: no example names it, or one of them would end it for all that follow.
LIVE = "r-live"

#: Values that get past the first checks, so that a fuzzed message is wrong somewhere deeper.
TOKENS: list[str] = []
LEASES: dict[str, str] = {}
GOOD_TEXTS = [
    "r-1",
    "r-2",
    "o-1",
    "o-2",
    "g-1",
    "tool",
    "email.send",
    "email.*",
    "*",
    "mailto:team@example.com",
    "0",
]


class Rig:
    """A sidecar on the embedded store, whose numbers have an end, and a loop to call it from."""

    def __init__(self, loop: asyncio.AbstractEventLoop, running: Served) -> None:
        self.loop, self.running = loop, running

    def send(self, method: str, request: bytes) -> str:
        """Send bytes where they are allowed; answer the reason of the refusal, or ''."""
        return self.loop.run_until_complete(self._send(method, request))

    async def _send(self, method: str, request: bytes) -> str:
        role = min(ALLOWED[rpc_name(method)])
        try:
            call = self.running.callers[role].rpc(method, raw=True)(request, timeout=10)
            if METHODS[method].server_streaming:
                with suppress(TimeoutError):  # that nothing more has happened yet is an answer, too
                    await asyncio.wait_for(call.read(), 1)
                call.cancel()
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return read_error(error).reason
        return ""


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A sidecar for the examples of one test, which may freeze everything; it must be well at the end."""
    with asyncio.Runner() as runner, short_home() as home:
        loop = runner.get_loop()
        store = loop.run_until_complete(open_store(Settings(home=home, store="sqlite")))
        context = served(store)
        running = loop.run_until_complete(context.__aenter__())
        loop.run_until_complete(_set_up(running))
        yield Rig(loop, running)
        loop.run_until_complete(_still_works(running))
        loop.run_until_complete(context.__aexit__(None, None, None))


async def _set_up(running: Served) -> None:
    """Make what the good requests of this test are about."""
    TOKENS[:] = [await running.grant(LIVE), await running.grant(LIVE, {"action": "*", "approval_from": 1})]
    await running.issuer("OpenRun", run_id="r-7")
    await running.tool("PrepareAction", grant_token=TOKENS[0], intent=intent("o-given-up"))
    await _do_and_end(running)
    for op_id in ("o-agreed", "o-denied"):
        await running.tool("PrepareAction", grant_token=TOKENS[1], intent=intent(op_id))


async def _do_and_end(running: Served) -> None:
    """Let a run do what can be undone, called off and asked about, and stop it."""
    for run_id in ("r-done", "r-tried"):
        token = await running.grant(run_id)
        for op_id, outcome in (("o-undo", 1), ("o-kept", 1), ("o-held", 1), ("o-lost", 3)):
            wanted = intent(op_id, reversibility=3, compensation="undo")
            await running.tool("PerformAction", grant_token=token, intent=wanted)
            await running.tool("SettleAction", grant_token=token, op_id=op_id, outcome=outcome)
        await running.cancel(run_id)
        await running.operator("UndoRun", run_id=run_id, op_ids=["o-held"])
        claimed = await running.compensator("ClaimDuty", compensations=["undo"])
        LEASES[run_id] = claimed.duty.lease_id


def _held(run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "op_id": "o-held", "kind": 1, "lease_id": LEASES[run_id]}


async def _still_works(running: Served) -> None:
    for fence in (await running.auditor("ListFences", standing_only=True)).fences:
        if fence.kind == journal_pb.FENCE_KIND_FREEZE:
            await running.operator("LiftFence", fence_id=fence.fence_id)
    token = await running.grant("r-after")
    await running.tool("PerformAction", grant_token=token, intent=intent("o-after"))


@pytest.mark.parametrize("method", ALL)
def test_random_bytes_get_a_reason(rig: Rig, logs: list[dict[str, Any]], method: str) -> None:
    """What is no message is refused as such; what happens to be one is decided."""

    @FUZZ
    @given(st.binary(max_size=300))
    def example(sent: bytes) -> None:
        assert rig.send(method, sent) != "INTERNAL", logs[-2:]

    example()


@pytest.mark.parametrize("method", ALL)
def test_any_message_of_the_right_type_gets_a_reason(
    rig: Rig, logs: list[dict[str, Any]], method: str
) -> None:
    """Every field at its extremes, and between them values that are right."""

    @FUZZ
    @given(messages(METHODS[method].input_type))
    def example(sent: Any) -> None:
        assert rig.send(method, sent.SerializeToString()) != "INTERNAL", logs[-2:]

    example()


@pytest.mark.parametrize("method", ALL)
def test_a_damaged_message_gets_a_reason(rig: Rig, logs: list[dict[str, Any]], method: str) -> None:
    """Good requests with bytes turned, dropped, doubled or cut off."""

    @FUZZ
    @given(st.data())
    def example(data: st.DataObject) -> None:
        damaged = bytearray(_bytes(method))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(damaged)))
            piece = data.draw(st.binary(max_size=4))
            damaged[at : at + data.draw(st.integers(0, 4))] = piece
        assert rig.send(method, bytes(damaged)) != "INTERNAL", logs[-2:]

    example()


def test_the_good_requests_of_this_test_are_good(rig: Rig) -> None:
    """Otherwise the damaged ones would all stop at the first check."""
    reasons = {method: rig.send(method, _bytes(method)) for method in ORDER}
    assert reasons == dict.fromkeys(ORDER, "")
    assert ORDER.keys() == set(ALL)


def _bytes(method: str) -> bytes:
    return request(method, **ORDER[method]()).SerializeToString()


#: A good request of every RPC, in an order in which all of them are answered.
ORDER: dict[str, Callable[[], dict[str, Any]]] = {
    "OpenRun": lambda: {"run_id": "r-9", "labels": {"a": "b"}, "ttl": {"seconds": 60}},
    "IssueGrant": lambda: {"run_id": LIVE, "scopes": [{"action": "email.*", "resource": "mailto:*"}]},
    "PrepareAction": lambda: {"grant_token": TOKENS[0], "intent": intent("o-a"), "ttl": {"seconds": 900}},
    "CommitAction": lambda: commit(TOKENS[0], "o-a", use_within={"seconds": 9}),
    "SettleAction": lambda: {"grant_token": TOKENS[0], "op_id": "o-a", "outcome": 1, "receipt": "r"},
    "PerformAction": lambda: {"grant_token": TOKENS[0], "intent": intent("o-b")},
    "AbandonAction": lambda: {"grant_token": TOKENS[0], "op_id": "o-given-up", "note": "n"},
    "DelegateGrant": lambda: {
        "grant_token": TOKENS[0],
        "request_id": "g-below",
        "scopes": [{"action": "email.*"}],
        "budgets": [{"name": "usd_cents", "limit": 5}],
        "child_run": {"run_id": "r-child"},
    },
    "ExtendGrant": lambda: {"grant_token": TOKENS[0], "ttl": {"seconds": 900}},
    "SpendBudget": lambda: {"grant_token": TOKENS[0], "op_id": "s-1", "budget": "tokens", "amount": 7},
    "ListApprovals": dict,
    "ListEvidenceKeys": dict,
    "ApproveAction": lambda: {"run_id": LIVE, "op_id": "o-agreed", "digest": digest(), "note": "n"},
    "DenyAction": lambda: {"run_id": LIVE, "op_id": "o-denied", "actor": "a"},
    "RevokeGrants": lambda: {"request_id": "f-1", "selector": {"tenant": "nobody"}, "reason": 6},
    "FreezeGrants": lambda: {
        "request_id": "f-2",
        "selector": {"action": "nothing.*", "labels": {"a": "b"}},
        "reason": 6,
        "ttl": {"seconds": 60},
    },
    "GetFence": lambda: {"fence_id": "f-2"},
    "ListFences": lambda: {"standing_only": True},
    "LiftFence": lambda: {"fence_id": "f-2", "note": "n"},
    "ExplainRefusal": lambda: {"run_id": LIVE, "op_id": "o-a"},
    "GetRun": lambda: {"run_id": LIVE},
    "GetReport": lambda: {"run_id": LIVE, "at_seq": 4},
    "ListRuns": lambda: {"page_size": 5, "state": 1, "page_token": "9"},
    "ListEntries": lambda: {"run_id": LIVE, "after_seq": 1, "page_size": 5},
    "GetHead": lambda: {"run_id": LIVE},
    "GetWork": lambda: {"run_id": LIVE},
    "WatchEntries": lambda: {"run_id": LIVE, "after_seq": 1},
    "ResolveAction": lambda: {"run_id": "r-done", "op_id": "o-lost", "outcome": 2, "evidence": "I looked"},
    "UndoRun": lambda: {"run_id": "r-done", "op_ids": ["o-undo"], "actor": "a"},
    "WithdrawUndo": lambda: {"run_id": "r-done", "op_ids": ["o-kept"]},
    "ClaimDuty": lambda: {"worker": "w", "compensations": ["undo"], "lease": {"seconds": 9}},
    "RenewDuty": lambda: _held("r-done") | {"lease": {"seconds": 9}},
    "FailDuty": lambda: _held("r-tried") | {"note": "n"},
    "CompleteDuty": lambda: _held("r-done") | {"receipt": "r"},
    "CancelRun": lambda: {"run_id": "r-8", "reason": 1, "actor": "a"},
    "FinishRun": lambda: {"run_id": "r-7"},
}


def messages(descriptor: Any) -> st.SearchStrategy[Any]:
    """Any message of a type, from its descriptor."""
    fields = {field.name: _values(field) for field in descriptor.fields}
    drawn = st.fixed_dictionaries({}, optional=fields)
    return drawn.map(lambda told: GetMessageClass(descriptor)(**told))


def _values(field: Any) -> st.SearchStrategy[Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = (_values(field.message_type.fields_by_name[name]) for name in ("key", "value"))
        return st.dictionaries(key, value, max_size=20)
    if field.message_type:
        one = messages(field.message_type)
    elif field.name == "grant_token":
        one = st.one_of(st.sampled_from(TOKENS or [""]), _TEXTS)
    else:
        one = _SCALARS[field.type]
    return st.lists(one, max_size=18) if field.is_repeated else one


_TEXTS = st.one_of(
    st.sampled_from(GOOD_TEXTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
)
_SCALARS = {
    FieldDescriptor.TYPE_STRING: _TEXTS,
    FieldDescriptor.TYPE_BYTES: st.one_of(st.just(bytes(32)), st.binary(max_size=64)),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 5), st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_INT32: st.one_of(st.integers(0, 5), st.integers(-(2**31), 2**31 - 1)),
    FieldDescriptor.TYPE_INT64: st.one_of(st.integers(0, 5), st.integers(-(2**63), 2**63 - 1)),
    FieldDescriptor.TYPE_UINT32: st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)),
    FieldDescriptor.TYPE_UINT64: st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)),
}
