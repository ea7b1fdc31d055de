"""Who may call what: one table, and everything else denied."""

from typing import Any

import grpc
import pytest

from grant_service.rpc import guard as guard_module
from grant_service.rpc.journal import JournalServicer
from grant_service.rpc.roles import ALLOWED, Role
from grant_service.rpc.server import SERVICES
from tests.rpc.stores import UntouchedStore
from tests.rpc.support import METHODS, SESSION, Served, read_error, request, rpc_name, served

PAIRS = [(role, method) for method in METHODS for role in Role]


def test_every_rpc_of_the_contract_is_in_the_role_table_and_nothing_else_is() -> None:
    """A new RPC without a row would be denied to all; a row without an RPC is a mistake."""
    assert ALLOWED.keys() == {SESSION, *(rpc_name(method) for method in METHODS)}
    assert len(SERVICES) == 6
    assert all(ALLOWED.values())


def test_a_tool_may_call_its_own_service_and_hand_on_a_grant_and_nothing_else() -> None:
    """Said apart from the table: a tool can never cancel, issue or read a run."""
    assert {rpc for rpc, roles in ALLOWED.items() if Role.TOOL in roles} == {
        "GrantService.DelegateGrant",
        SESSION,
        *(rpc for rpc in ALLOWED if rpc.startswith("ActionService.")),
    }


def test_whoever_is_given_a_signed_head_may_ask_for_the_keys() -> None:
    """Reports carry signed heads; their readers, and nobody else, are told how to verify them."""
    assert ALLOWED[rpc_name("ListEvidenceKeys")] == ALLOWED[rpc_name("GetReport")]


def test_only_an_operator_says_what_stands_over_others() -> None:
    """Fences, approvals and undos are for people: neither a tool nor the owner of a run asks for one."""
    verbs = (
        *("RevokeGrants", "FreezeGrants", "LiftFence", "ApproveAction", "DenyAction"),
        *("ResolveAction", "UndoRun", "WithdrawUndo"),
    )
    assert all(ALLOWED[rpc_name(verb)] == {Role.OPERATOR} for verb in verbs)


def test_a_compensator_carries_out_and_asks_for_nothing() -> None:
    """Who is to undo decides neither that nor when, and nobody else can be handed a duty."""
    its_own = {rpc for rpc in ALLOWED if rpc.startswith("UndoService.")}
    assert {rpc for rpc, roles in ALLOWED.items() if Role.COMPENSATOR in roles} == its_own
    assert all(ALLOWED[rpc] == {Role.COMPENSATOR} for rpc in its_own)


def test_an_auditor_changes_nothing() -> None:
    """All an auditor may call is in the service that only reads."""
    assert all(rpc.startswith("JournalService.") for rpc, roles in ALLOWED.items() if Role.AUDITOR in roles)


@pytest.mark.parametrize(("role", "method"), PAIRS, ids=lambda told: str(told))
async def test_every_rpc_is_denied_to_every_role_that_the_table_does_not_name(
    role: Role, method: str
) -> None:
    """A denied call names the roles that may and never reaches the store; the others are let through."""
    store: Any = UntouchedStore()
    allowed = ALLOWED[rpc_name(method)]
    async with served(store) as running:
        if method == "ListEvidenceKeys" and role in allowed:  # asks nothing of the request or the store
            assert (await running.callers[role](method)).keys
            return
        refused = await running.callers[role].refused(method)
    if role not in allowed:
        assert (refused.reason, refused.code) == ("ROLE_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED)
        named = {"role": role.value, "rpc": rpc_name(method), "allowed": ", ".join(sorted(allowed))}
        assert refused.metadata == named
        assert store.touched == []
    else:
        # An empty request is let through to decoding, or, where it is a valid one, to the store.
        assert refused.reason in ("INVALID_REQUEST", "TOKEN_MISSING", "INTERNAL")
        assert (refused.reason == "INTERNAL") == bool(store.touched)


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", bytes(1000)])
async def test_a_denied_call_is_denied_whatever_its_bytes_are(sidecar: Served, junk: bytes) -> None:
    """The role is asked before the request is read."""
    for role, method in PAIRS:
        if role in ALLOWED[rpc_name(method)] or METHODS[method].server_streaming:
            continue
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sidecar.callers[role].rpc(method, raw=True)(junk)
        assert read_error(caught.value).reason == "ROLE_NOT_ALLOWED"


async def test_an_rpc_that_is_not_in_the_table_is_denied_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Default deny: forgetting a row closes a door, it never opens one."""
    missing = {rpc: roles for rpc, roles in ALLOWED.items() if rpc != "ControlService.CancelRun"}
    monkeypatch.setattr(guard_module, "ALLOWED", missing)
    store: Any = UntouchedStore()
    async with served(store) as running:
        for role in Role:
            refused = await running.callers[role].refused("CancelRun", run_id="r-1", reason=1)
            assert refused.reason == "ROLE_NOT_ALLOWED"
            assert refused.metadata["allowed"] == "nobody"
    assert store.touched == []


@pytest.mark.parametrize("method", ["WatchEntries", "GetHead"])
async def test_an_rpc_that_is_not_served_says_so(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A later contract may have verbs that a sidecar does not serve, streams among them."""
    monkeypatch.delattr(JournalServicer, method)
    store: Any = UntouchedStore()
    async with served(store) as running:
        for caller in (running.auditor, running.operator):
            refused = await caller.refused(method, run_id="r-1")
            assert (refused.reason, refused.code) == ("VERB_NOT_SERVED", grpc.StatusCode.UNIMPLEMENTED)
            assert refused.metadata == {"rpc": rpc_name(method)}
        assert (await running.tool.refused(method, run_id="r-1")).reason == "ROLE_NOT_ALLOWED"
    assert store.touched == []


def test_every_rpc_of_the_contract_is_served() -> None:
    """There is none that is refused with VERB_NOT_SERVED."""
    from grant_service.rpc.action import ActionServicer
    from grant_service.rpc.control import ControlServicer
    from grant_service.rpc.grant import GrantServicer
    from grant_service.rpc.journal import JournalServicer
    from grant_service.rpc.undo import UndoServicer

    servicers = (ActionServicer, ControlServicer, GrantServicer, JournalServicer, UndoServicer)
    written = {name for one in servicers for name in vars(one)}
    assert METHODS.keys() <= written


async def test_the_guard_knows_no_role_but_its_own(sidecar: Served) -> None:
    """Metadata, authority or user agent cannot make a tool an operator: the socket says who it is."""
    call = sidecar.tool.rpc("CancelRun")
    claims = (("role", "operator"), ("x-countermand-role", "operator"), ("authorization", "Bearer operator"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request("CancelRun", run_id="r-1", reason=1), metadata=claims)
    assert read_error(caught.value).metadata["role"] == "tool"
    assert await sidecar.journal() == []
