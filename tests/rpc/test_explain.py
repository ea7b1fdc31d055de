"""ExplainRefusal: the rule, since when, and the fence, in the words that the refused call got."""

import pytest

from countermand.v1 import errors_pb2
from grant_service.rpc.roles import Role
from tests.rpc.support import Served, commit

CAREFUL = {"action": "*", "approval_from": 1}


async def why(sidecar: Served, **asked: str) -> str:
    """The reason in one word; '' if nothing refuses it."""
    found = await sidecar.auditor("ExplainRefusal", **asked)
    if not found.reason:
        assert (found.text, dict(found.details)) == ("nothing refuses it", {})
        assert not found.HasField("since_time")
        assert not found.HasField("fence")
        return ""
    return errors_pb2.ErrorReason.Name(found.reason).removeprefix("ERROR_REASON_")


async def test_nothing_refuses_what_is_well(sidecar: Served) -> None:
    """A run, a grant, an action: and it changes none of them."""
    token = await sidecar.grant("r-1", request_id="g-1")
    await sidecar.prepare(token, "o-1")
    before = sidecar.store.state.seq
    for asked in ({"run_id": "r-1"}, {"grant_id": "g-1"}, {"run_id": "r-1", "op_id": "o-1"}):
        assert await why(sidecar, **asked) == ""
    assert await why(sidecar, grant_id="g-1", op_id="o-1") == ""
    assert sidecar.store.state.seq == before
    await sidecar.tool("CommitAction", **commit(token, "o-1"))


@pytest.mark.parametrize("asked", [{"run_id": "r-1", "op_id": "o-1"}, {"grant_id": "g-1", "op_id": "o-1"}])
@pytest.mark.parametrize(
    "stop", ["cancel", "finish", "above", "deadline", "revoke", "freeze", "budget", "silence"]
)
async def test_it_says_what_the_call_was_told(sidecar: Served, stop: str, asked: dict[str, str]) -> None:
    """Reason, sentence and every detail, and since when."""
    await sidecar.issuer("OpenRun", run_id="r-0")
    await sidecar.issuer("OpenRun", run_id="r-1", parent_run_id="r-0", ttl={"seconds": 600})
    budgets = [{"name": "usd", "limit": 1}]
    token = await sidecar.grant_for("r-1", request_id="g-1", budgets=budgets, ttl={"seconds": 900})
    await sidecar.prepare(token, "o-1")
    sidecar.clock.advance(5)
    since = sidecar.clock.now
    match stop:
        case "cancel":
            await sidecar.cancel(note="enough")
        case "finish":
            await sidecar.issuer("FinishRun", run_id="r-1")
        case "above":
            await sidecar.cancel("r-0")
        case "deadline":
            sidecar.clock.advance(595)
            since = sidecar.clock.now
        case "revoke" | "freeze":
            await sidecar.fence(stop.capitalize(), "f-1", run_id="r-1")
        case "budget":
            spending = {"op_id": "s-1", "budget": "usd", "amount": 2}
            await sidecar.tool.refused("SpendBudget", grant_token=token, **spending)
        case "silence":
            sidecar.clock.advance(60)
    sidecar.clock.advance(2)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))
    found = await sidecar.auditor("ExplainRefusal", **asked)
    assert errors_pb2.ErrorReason.Name(found.reason) == f"ERROR_REASON_{refused.reason}"
    assert found.text == refused.message
    assert dict(found.details) == refused.metadata
    if stop != "silence":
        assert found.since_time.ToMilliseconds() == since
    assert found.HasField("fence") == (stop in ("revoke", "freeze"))
    if found.HasField("fence"):
        assert found.fence == (await sidecar.auditor("GetFence", fence_id="f-1")).fence


async def test_a_fence_that_refuses_only_part_is_a_remark(sidecar: Served) -> None:
    """No reason, no details: a sentence, and the fence."""
    await sidecar.grant("r-1", request_id="g-1")
    await sidecar.fence("Revoke", "f-1", run_id="r-1", action="email.*")
    found = await sidecar.auditor("ExplainRefusal", grant_id="g-1")
    assert (found.reason, dict(found.details), found.fence.fence_id) == (0, {}, "f-1")
    text = "nothing refuses it, but fence f-1 (run=r-1 action=email.*) stands over part of it"
    assert found.text == text
    fence = (await sidecar.fence("Revoke", "f-2", run_id="r-1")).fence
    found = await sidecar.auditor("ExplainRefusal", run_id="r-1")
    assert (found.reason, dict(found.details), found.fence) == (0, {}, fence)
    assert found.text.startswith("new grants can be issued; what was issued before entry ")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "INVALID_REQUEST"),
        ({"op_id": "o-1"}, "INVALID_REQUEST"),
        ({"run_id": "a b"}, "INVALID_REQUEST"),
        ({"run_id": "r-1", "grant_id": "a b"}, "INVALID_REQUEST"),
        ({"run_id": "r-1", "op_id": "a b"}, "INVALID_REQUEST"),
        ({"run_id": "r-9"}, "RUN_UNKNOWN"),
        ({"grant_id": "g-9"}, "GRANT_UNKNOWN"),
        ({"run_id": "r-2", "grant_id": "g-1"}, "GRANT_UNKNOWN"),
        ({"run_id": "r-1", "op_id": "o-9"}, "ACTION_UNKNOWN"),
        ({"grant_id": "g-1", "op_id": "o-9"}, "ACTION_UNKNOWN"),
        ({"run_id": "r-2", "op_id": "o-1"}, "ACTION_UNKNOWN"),
    ],
    ids=str,
)
async def test_what_is_not_there_is_not_explained(
    sidecar: Served, asked: dict[str, str], reason: str
) -> None:
    """It is refused as every read of it is."""
    token = await sidecar.grant("r-1", request_id="g-1")
    await sidecar.prepare(token, "o-1")
    await sidecar.grant("r-2")
    assert (await sidecar.auditor.refused("ExplainRefusal", **asked)).reason == reason


async def test_each_state_of_an_action_has_its_reason(sidecar: Served) -> None:
    """As a new commit would be told."""
    token = await sidecar.grant("r-1", {"action": "once.*", "max_uses": 1}, CAREFUL)
    free = await sidecar.grant_for("r-1")
    for op_id in ("o-flying", "o-settled"):
        await sidecar.permit(free, op_id)
    await sidecar.tool("SettleAction", grant_token=free, op_id="o-settled", outcome=1)
    await sidecar.prepare(free, "o-abandoned")
    await sidecar.tool("AbandonAction", grant_token=free, op_id="o-abandoned")
    for op_id in ("o-waits", "o-denied"):
        await sidecar.prepare(token, op_id)
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-denied")
    for op_id in ("o-once", "o-twice"):
        await sidecar.prepare(token, op_id, action="once.only")
    await sidecar.tool("CommitAction", **commit(token, "o-once"))
    expected = {
        "o-flying": "ALREADY_PERMITTED",
        "o-settled": "ALREADY_SETTLED",
        "o-abandoned": "ACTION_ABANDONED",
        "o-waits": "AWAITING_APPROVAL",
        "o-denied": "DENIED",
        "o-twice": "USES_EXHAUSTED",
    }
    assert {op: await why(sidecar, run_id="r-1", op_id=op) for op in expected} == expected
    sidecar.clock.advance(100)
    await sidecar.prepare(free, "o-late")
    sidecar.clock.advance(60)
    assert await why(sidecar, run_id="r-1", op_id="o-late") == "PREPARE_EXPIRED"


@pytest.mark.parametrize("role", [Role.ISSUER, Role.TOOL])
async def test_only_readers_ask(sidecar: Served, role: Role) -> None:
    """A tool that probes what would let it through learns nothing."""
    await sidecar.grant("r-1")
    refused = await sidecar.callers[role].refused("ExplainRefusal", run_id="r-1")
    assert refused.reason == "ROLE_NOT_ALLOWED"
