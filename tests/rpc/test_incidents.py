"""INTERNAL: the caller gets a number, the log has the trace, and nobody gets the other's part."""

from typing import Any

import grpc
import pytest

from grant_service.core.errors import ErrorReason, StoreFailed
from tests.rpc.stores import VERBS, ObstructedStore, raising
from tests.rpc.support import Served, cancel, commit, digest, intent, served

SECRET = "password=hunter2 at redis://u:p@host"


def calls(token: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """For every verb: the caller, the RPC and its fields."""
    told = {"grant_token": token}
    over = {"request_id": "f-1", "selector": {"all": True}, "reason": 6}
    return {
        "open": ("issuer", "OpenRun", {}),
        "issue": ("issuer", "IssueGrant", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
        "delegate": ("tool", "DelegateGrant", told | {"scopes": [{"action": "*"}]}),
        "extend": ("issuer", "ExtendGrant", told),
        "finish": ("issuer", "FinishRun", {"run_id": "r-1"}),
        "prepare": ("tool", "PrepareAction", told | {"intent": intent("o-1")}),
        "commit": ("tool", "CommitAction", commit(token, "o-1")),
        "perform": ("tool", "PerformAction", told | {"intent": intent("o-1")}),
        "settle": ("tool", "SettleAction", told | {"op_id": "o-1", "outcome": 1}),
        "abandon": ("tool", "AbandonAction", told | {"op_id": "o-1"}),
        "spend": ("tool", "SpendBudget", told | {"op_id": "s-1", "budget": "tokens", "amount": 1}),
        "cancel": ("operator", "CancelRun", cancel()),
        "revoke": ("operator", "RevokeGrants", over),
        "freeze": ("operator", "FreezeGrants", over),
        "lift": ("operator", "LiftFence", {"fence_id": "f-1"}),
        "approve": ("operator", "ApproveAction", {"run_id": "r-1", "op_id": "o-1", "digest": digest()}),
        "deny": ("operator", "DenyAction", {"run_id": "r-1", "op_id": "o-1"}),
        "resolve": (
            "operator",
            "ResolveAction",
            {"run_id": "r-0", "outcome": 1, "evidence": "e"} | op("o-1"),
        ),
        "undo": ("operator", "UndoRun", {"run_id": "r-0", "op_ids": ["o-1"]}),
        "withdraw": ("operator", "WithdrawUndo", {"run_id": "r-0", "op_ids": ["o-1"]}),
        "claim": ("compensator", "ClaimDuty", {"compensations": ["undo"]}),
        "renew": ("compensator", "RenewDuty", held()),
        "complete": ("compensator", "CompleteDuty", held()),
        "fail": ("compensator", "FailDuty", held()),
        "open_duties": ("compensator", "ClaimDuty", {"compensations": ["undo"]}),
        "runs": ("auditor", "GetRun", {"run_id": "r-1"}),
        "run_ids": ("auditor", "ListRuns", {}),
        "journal": ("auditor", "ListEntries", {"run_id": "r-1"}),
        "grants": ("auditor", "ExplainRefusal", {"grant_id": "g-1"}),
        "actions": ("auditor", "ExplainRefusal", {"run_id": "r-1", "op_id": "o-1"}),
        "awaiting": ("auditor", "ListApprovals", {}),
        "fences": ("auditor", "ListFences", {}),
    }


def op(op_id: str) -> dict[str, Any]:
    """The field that names an action."""
    return {"op_id": op_id}


def held() -> dict[str, Any]:
    """The fields that name a claim."""
    return {"run_id": "r-0", "kind": 1, "lease_id": "l-1"} | op("o-2")


async def ended(running: Served) -> None:
    """Leave a run that has ended, with something to undo, and something that is to be."""
    token = await running.grant("r-0")
    for op_id in ("o-1", "o-2"):
        wanted = intent(op_id, reversibility=3, compensation="undo")
        await running.tool("PerformAction", grant_token=token, intent=wanted)
        await running.tool("SettleAction", grant_token=token, op_id=op_id, outcome=1)
    await running.cancel("r-0")
    await running.operator("UndoRun", run_id="r-0", op_ids=["o-2"])


def test_this_test_knows_every_verb() -> None:
    """A new verb needs a row here."""
    assert calls("").keys() >= set(VERBS)


@pytest.mark.parametrize("verb", calls(""))
async def test_a_defect_is_answered_with_a_number_and_logged_with_its_trace(
    logs: list[dict[str, Any]], verb: str
) -> None:
    """The message says nothing of the inside; the number finds the trace."""
    store = ObstructedStore()
    async with served(store) as running:
        await ended(running)
        role, method, fields = calls(await running.grant())[verb]
        store.before[verb] = raising(RuntimeError(SECRET))
        refused = await getattr(running, role).refused(method, **fields)
        assert (refused.reason, refused.code) == ("INTERNAL", grpc.StatusCode.INTERNAL)
        assert refused.metadata.keys() == {"incident"}
        incident = refused.metadata["incident"]
        assert refused.message == f"the sidecar failed: do not act; see its log (incident {incident})"
        logged = [event for event in logs if event["event"] == "failed"]
        assert [event["incident"] for event in logged] == [incident]
        assert str(logged[0]["exc_info"]) == SECRET
        assert logged[0]["exc_info"].__traceback__ is not None
        store.before.clear()
        await running.tool("PerformAction", grant_token=await running.grant("r-2"), intent=intent("o-2"))


async def test_no_two_incidents_have_the_same_number() -> None:
    """Otherwise the log would tell of another one."""
    store = ObstructedStore()
    store.before["open"] = raising(RuntimeError("x"))
    async with served(store) as running:
        refused = [await running.issuer.refused("OpenRun") for _ in range(50)]
    assert len({one.metadata["incident"] for one in refused}) == 50


async def test_an_answer_that_cannot_be_written_is_an_incident_too(sidecar: Served) -> None:
    """Half a surrogate pair that slipped into a store cannot be sent; the caller hears so in our words."""
    await sidecar.grant()
    run = sidecar.store.state.runs["r-1"]
    object.__setattr__(run, "subject", "\ud800")
    assert (await sidecar.auditor.refused("GetRun", run_id="r-1")).reason == "INTERNAL"


async def test_a_timeout_inside_is_told_as_one() -> None:
    """A driver that gives up by TimeoutError: nothing is known of the decision, so ask again."""
    store = ObstructedStore()
    store.before["open"] = raising(TimeoutError())
    async with served(store) as running:
        assert (await running.issuer.refused("OpenRun")).reason == "TIMED_OUT"


async def test_an_internal_failure_of_the_store_has_its_number_and_its_trace(
    logs: list[dict[str, Any]],
) -> None:
    """What it hangs on is in the log only; in front of the caller stand our own words."""
    failed = StoreFailed(ErrorReason.INTERNAL, cause="Redis answered with an error")
    failed.__cause__ = RuntimeError(SECRET)
    store = ObstructedStore()
    store.before["open"] = raising(failed)
    async with served(store) as running:
        refused = await running.issuer.refused("OpenRun")
    assert refused.reason == "INTERNAL"
    assert SECRET not in str(refused)
    logged = [event for event in logs if event["event"] == "failed"]
    assert [event["incident"] for event in logged] == [refused.metadata["incident"]]
    assert str(logged[0]["exc_info"].__cause__) == SECRET
