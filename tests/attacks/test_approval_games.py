"""Attack: to act on an approval that was given for something else, or is no longer given."""

import hashlib
from typing import Any

import pytest

from grant_service.rpc.roles import Role
from tests.rpc.support import Served, commit, digest, intent

CAREFUL = {"action": "*", "approval_from": 1}
AMENDED = hashlib.sha256(b"{}").digest()


def yes(op_id: str = "o-1", **fields: Any) -> dict[str, Any]:
    """The fields of an approval."""
    return {"run_id": "r-1", "op_id": op_id, "digest": digest()} | fields


async def test_an_approval_is_used_once(sidecar: Served) -> None:
    """Sent again it is the same permit as long as that lasts; never a second one, by no verb."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    await sidecar.operator("ApproveAction", **yes())
    first = (await sidecar.tool("CommitAction", **commit(token, "o-1"))).permit
    again = (await sidecar.tool("CommitAction", **commit(token, "o-1"))).permit
    assert (again.fence, again.replayed) == (first.fence, True)
    sidecar.clock.advance(5)
    told = {"grant_token": token, "intent": intent("o-1")}
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "ALREADY_PERMITTED"
    assert (await sidecar.tool.refused("PerformAction", **told)).reason == "ALREADY_PERMITTED"
    assert (await sidecar.tool.refused("PrepareAction", **told)).reason == "ALREADY_PERMITTED"
    refused = await sidecar.operator.refused("ApproveAction", **yes(ttl={"seconds": 900}))
    assert refused.reason == "NOT_AWAITING"
    kinds = [entry.kind for entry in await sidecar.journal()]
    assert (kinds.count("APPROVED"), kinds.count("PERMITTED")) == (1, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "file.delete"},
        {"resource": "mailto:eve@evil.example"},
        {"digest": digest(b"other")},
        {"reversibility": 1},
        {"compensation": "c"},
        {"costs": {"usd": 9}},
        {"summary": "harmless"},
    ],
    ids=lambda one: next(iter(one)),
)
async def test_an_approval_is_for_what_was_seen(sidecar: Served, changed: dict[str, Any]) -> None:
    """Nothing of the action changes before it or after it: not what is shown to whoever agrees, either."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    for _ in range(2):
        for method in ("PrepareAction", "PerformAction"):
            told = {"grant_token": token, "intent": intent("o-1") | changed}
            assert (await sidecar.tool.refused(method, **told)).reason == "OP_ID_CONFLICT"
        await sidecar.operator("ApproveAction", **yes())
    if "digest" in changed:
        refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1", **changed))
        assert refused.reason == "DIGEST_MISMATCH"
    await sidecar.tool("CommitAction", **commit(token, "o-1"))


async def test_an_approval_is_for_one_op_id(sidecar: Served) -> None:
    """The same arguments under another one wait for a yes of their own."""
    token = await sidecar.grant("r-1", CAREFUL)
    for op_id in ("o-1", "o-2"):
        await sidecar.prepare(token, op_id)
    await sidecar.operator("ApproveAction", **yes("o-1"))
    for op_id in ("o-2", "O-1", "o-1."):
        refused = await sidecar.tool.refused("CommitAction", **commit(token, op_id))
        assert refused.reason in ("AWAITING_APPROVAL", "ACTION_UNKNOWN")
    told = {"grant_token": token, "intent": intent("o-3")}
    assert (await sidecar.tool.refused("PerformAction", **told)).reason == "AWAITING_APPROVAL"


async def test_an_approval_is_for_one_run(sidecar: Served) -> None:
    """The same op_id and arguments in a child run, or beside it, are another action."""
    token = await sidecar.grant("r-1", CAREFUL)
    child = (await sidecar.delegate(token, child_run={"run_id": "r-2"})).grant_token
    for one in (token, child):
        await sidecar.prepare(one, "o-1")
    await sidecar.operator("ApproveAction", **yes())
    assert (await sidecar.tool.refused("CommitAction", **commit(child, "o-1"))).reason == "AWAITING_APPROVAL"
    assert (await sidecar.tool("CommitAction", **commit(token, "o-1"))).permit.fence


async def test_an_approval_is_for_one_grant(sidecar: Served) -> None:
    """A grant that needs no approval does not carry out what waits under one that does, nor the reverse."""
    token = await sidecar.grant("r-1", CAREFUL)
    free = await sidecar.grant_for("r-1")
    await sidecar.prepare(token, "o-1")
    told = {"grant_token": free, "intent": intent("o-1")}
    for _ in range(2):
        assert (await sidecar.tool.refused("CommitAction", **commit(free, "o-1"))).reason == "WRONG_GRANT"
        assert (await sidecar.tool.refused("PerformAction", **told)).reason == "WRONG_GRANT"
        await sidecar.operator("ApproveAction", **yes())


async def test_an_approval_that_was_taken_back_is_gone(sidecar: Served) -> None:
    """For good: neither the tool nor another yes brings it back."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    await sidecar.operator("ApproveAction", **yes())
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1")
    assert (await sidecar.operator.refused("ApproveAction", **yes())).reason == "NOT_AWAITING"
    told = {"grant_token": token, "intent": intent("o-1")}
    for method, fields in (
        ("CommitAction", commit(token, "o-1")),
        ("PerformAction", told),
        ("PrepareAction", told),
        ("AbandonAction", {"grant_token": token, "op_id": "o-1"}),
        ("CommitAction", commit(token, "o-1")),
    ):
        assert (await sidecar.tool.refused(method, **fields)).reason == "DENIED"


async def test_an_approval_ends_to_the_millisecond(sidecar: Served) -> None:
    """No yes is good for longer than it says, than its action waits, or than its grant lasts."""
    token = await sidecar.grant("r-1", CAREFUL, ttl={"seconds": 20})
    for op_id in ("o-1", "o-2"):
        await sidecar.prepare(token, op_id)
    await sidecar.operator("ApproveAction", **yes("o-1", ttl={"seconds": 10}))
    answer = await sidecar.operator("ApproveAction", **yes("o-2", ttl={"seconds": 900}))
    assert answer.expire_time.ToMilliseconds() == sidecar.clock.now + 20_000
    sidecar.clock.advance(10)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))
    assert (refused.reason, refused.metadata["cause"]) == ("DENIED", "the approval was not used in time")
    assert (await sidecar.operator.refused("ApproveAction", **yes("o-1"))).reason == "NOT_AWAITING"
    sidecar.clock.advance(9.999)
    permit = (await sidecar.tool("CommitAction", **commit(token, "o-2", use_within={"seconds": 60}))).permit
    assert permit.use_within.ToMilliseconds() == 1


async def test_an_approval_does_not_outlive_a_stop(sidecar: Served) -> None:
    """Neither a cancel nor a fence asks who agreed to what."""
    for stop in ("cancel", "revoke", "freeze"):
        token = await sidecar.grant(f"r-{stop}", CAREFUL)
        await sidecar.prepare(token, "o-1")
        await sidecar.operator("ApproveAction", **yes(run_id=f"r-{stop}"))
        if stop == "cancel":
            await sidecar.cancel("r-cancel")
        else:
            await sidecar.fence(stop.capitalize(), run_id=f"r-{stop}")
        refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))
        assert refused.reason == ("REVOKED" if stop == "cancel" else "FENCED")


async def test_amended_arguments_are_the_only_ones(sidecar: Served) -> None:
    """What was prepared is no longer agreed to; the tool cannot choose."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    await sidecar.operator("ApproveAction", **yes(amendment="{}", amended_digest=AMENDED))
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "DIGEST_MISMATCH"
    told = intent("o-1", digest=AMENDED)
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=told)
    assert refused.reason == "OP_ID_CONFLICT"
    assert (await sidecar.tool("CommitAction", **commit(token, "o-1", digest=AMENDED))).permit.fence
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "DIGEST_MISMATCH"


@pytest.mark.parametrize("role", [Role.TOOL, Role.ISSUER, Role.AUDITOR])
async def test_nobody_agrees_to_their_own_action(sidecar: Served, role: Role) -> None:
    """Only the operator's socket says yes or no, whatever name is given."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    for method in ("ApproveAction", "DenyAction"):
        fields = yes(actor="operator:ann") if method == "ApproveAction" else {"run_id": "r-1", "op_id": "o-1"}
        assert (await sidecar.callers[role].refused(method, **fields)).reason == "ROLE_NOT_ALLOWED"
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "AWAITING_APPROVAL"


async def test_a_name_that_looks_like_a_role_is_told_as_what_somebody_said(sidecar: Served) -> None:
    """The role in front is the socket's; the rest is hearsay."""
    token = await sidecar.grant("r-1", CAREFUL)
    await sidecar.prepare(token, "o-1")
    await sidecar.operator("ApproveAction", **yes(actor="auditor:eve"))
    assert (await sidecar.prepare(token, "o-1")).approval.actor == "operator:auditor:eve"


async def test_waiting_does_not_evade_the_limits(sidecar: Served) -> None:
    """What waits counts as an action of its run and holds its costs, as anything prepared does."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[{"name": "usd", "limit": 10, "on_exhausted": 2}])
    token = await sidecar.grant_for("r-1", CAREFUL)
    told = {"grant_token": token, "intent": intent("o-1", costs={"usd": 7})}
    assert (await sidecar.tool.refused("PerformAction", **told)).reason == "AWAITING_APPROVAL"
    told = {"grant_token": token, "intent": intent("o-2", costs={"usd": 4})}
    assert (await sidecar.tool.refused("PerformAction", **told)).reason == "BUDGET_EXHAUSTED"
    for _ in range(50):
        await sidecar.prepare(token, "o-1", costs={"usd": 7})
    run = (await sidecar.auditor("GetRun", run_id="r-1")).run
    assert (run.action_count, run.budgets[0].reserved) == (1, 7)


@pytest.mark.parametrize(
    "summary", ["Pay\nApproved by ann", "\x1b[2J", "\u202eyap", "a\0", "x" * 301], ids=ascii
)
async def test_no_summary_deceives_a_terminal(sidecar: Served, summary: str) -> None:
    """It is one plain, short line, or the action is refused."""
    token = await sidecar.grant("r-1", CAREFUL)
    told = {"grant_token": token, "intent": intent("o-1", summary=summary)}
    refused = await sidecar.tool.refused("PrepareAction", **told)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "intent.summary")
