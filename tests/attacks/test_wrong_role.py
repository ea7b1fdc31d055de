"""Attack: a caller with good credentials of one kind tries the doors of another."""

from typing import Any

import grpc
import pytest

from tests.rpc.support import Served, cancel, commit, intent, read_error, request

ISSUING: list[tuple[str, dict[str, Any]]] = [
    ("OpenRun", {"run_id": "r-2"}),
    ("IssueGrant", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
    ("FinishRun", {"run_id": "r-1"}),
]
STOPPING: list[tuple[str, dict[str, Any]]] = [
    ("CancelRun", cancel()),
    ("RevokeGrants", {"selector": {"all": True}, "reason": 1}),
    ("FreezeGrants", {"selector": {"all": True}, "reason": 1}),
    ("LiftFence", {"fence_id": "f-1"}),
    ("ResolveAction", {"run_id": "r-1", "op_id": "o-1", "outcome": 1}),
    ("UndoRun", {"run_id": "r-1"}),
    ("ApproveAction", {"run_id": "r-1", "op_id": "o-1"}),
]
READING: list[tuple[str, dict[str, Any]]] = [
    ("GetReport", {"run_id": "r-1"}),
    ("GetRun", {"run_id": "r-1"}),
    ("ListRuns", {}),
    ("ListEntries", {"run_id": "r-1"}),
    ("WatchEntries", {"run_id": "r-1"}),
    ("ExplainRefusal", {"run_id": "r-1"}),
]


async def denied(sidecar: Served, role: str, attempts: list[tuple[str, dict[str, Any]]]) -> None:
    """None of these is let through, and none leaves anything behind."""
    before = sidecar.store.state.seq
    for method, fields in attempts:
        refused = await getattr(sidecar, role).refused(method, **fields)
        assert (refused.reason, refused.code) == ("ROLE_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED)
    assert sidecar.store.state.seq == before


async def test_a_tool_cannot_stop_issue_or_read(sidecar: Served) -> None:
    """With a good token in its hand, and for its own run."""
    await sidecar.grant()
    await denied(sidecar, "tool", ISSUING + STOPPING + READING)


async def test_an_auditor_cannot_act_stop_or_issue(sidecar: Served) -> None:
    """Not even with a token it came by."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    acting: list[tuple[str, dict[str, Any]]] = [
        ("CommitAction", commit(token, "o-1")),
        ("PerformAction", {"grant_token": token, "intent": intent("o-2")}),
        ("SettleAction", {"grant_token": token, "op_id": "o-1", "outcome": 1}),
    ]
    await denied(sidecar, "auditor", acting + ISSUING + STOPPING)


async def test_an_operator_can_stop_but_neither_issue_nor_act(sidecar: Served) -> None:
    """Whoever holds the brake does not hold the wheel."""
    token = await sidecar.grant()
    await denied(
        sidecar, "operator", [*ISSUING, ("PerformAction", {"grant_token": token, "intent": intent("o-1")})]
    )


async def test_an_issuer_cannot_act_or_read_the_journals_of_all(sidecar: Served) -> None:
    """It may stop its runs and read their reports, no more."""
    token = await sidecar.grant()
    attempts = [("PerformAction", {"grant_token": token, "intent": intent("o-1")}), ("ListRuns", {})]
    await denied(sidecar, "issuer", [*attempts, ("ListEntries", {"run_id": "r-1"}), *STOPPING[1:]])


@pytest.mark.parametrize(
    "path",
    [
        "/countermand.v1.ControlService/CancelRun/",
        "/countermand.v1.ControlService//CancelRun",
        "//countermand.v1.ControlService/CancelRun",
        "/countermand.v1.ControlService/cancelrun",
        "/countermand.v1.ActionService/CancelRun",
        "/countermand.v1.ActionService/../ControlService/CancelRun",
        "/countermand.v1.ControlService/CancelRun?role=operator",
        "/countermand.v1.ControlService/%43ancelRun",
        "/ControlService/CancelRun",
        "/countermand.v2.ControlService/CancelRun",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
    ],
)
async def test_no_other_spelling_of_a_path_leads_anywhere(sidecar: Served, path: str) -> None:
    """What is not exactly an RPC of the contract is not there; there is no reflection and no channelz."""
    await sidecar.grant()
    for caller in sidecar.callers.values():
        call = caller.channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request("CancelRun", **cancel()).SerializeToString(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert sidecar.store.state.runs["r-1"].state == "ACTIVE"


async def test_the_exact_path_does_lead_to_cancel(sidecar: Served) -> None:
    """The control of the test above; and on the tool's socket the exact path is denied, not missing."""
    message = request("CancelRun", **cancel()).SerializeToString()
    path = "/countermand.v1.ControlService/CancelRun"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sidecar.tool.channel.unary_unary(path)(message, timeout=5)
    assert read_error(caught.value).reason == "ROLE_NOT_ALLOWED"
    await sidecar.operator.channel.unary_unary(path)(message, timeout=5)
    assert sidecar.store.state.runs["r-1"].state == "CANCELLED"
