"""Attack: to get around a fence, by another run, another name, another time; or to raise one over others."""

from typing import Any

import pytest

from countermand.v1 import journal_service_pb2 as pb
from grant_service.rpc.roles import Role
from tests.rpc.support import Served, commit, intent
from tests.rpc.test_errors import STRICT, WIDE


async def dead(sidecar: Served, token: str, op_id: str = "o-new", **fields: Any) -> bool:
    """Whether nothing can be done with a grant any more: every verb that gives something says FENCED."""
    told = {"grant_token": token}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("PrepareAction", told | {"intent": intent(op_id, **fields)}),
        ("PerformAction", told | {"intent": intent(op_id, **fields)}),
        ("CommitAction", commit(token, op_id)),
        ("SpendBudget", told | {"op_id": "s-1", "budget": "usd", "amount": 1}),
        ("DelegateGrant", told | {"scopes": [{"action": "*"}]}),
        ("DelegateGrant", told | {"scopes": [{"action": "*"}], "child_run": {}}),
    ]
    reasons = {(await sidecar.tool.refused(method, **fields)).reason for method, fields in calls}
    reasons.add((await sidecar.issuer.refused("ExtendGrant", grant_token=token)).reason)
    return reasons == {"FENCED"}


SELECTORS: dict[str, dict[str, Any]] = {
    "its run": {"run_id": "r-1"},
    "its agent": {"agent": "mailer"},
    "its user": {"subject": "u-7"},
    "its tenant": {"tenant": "acme"},
    "a label of it": {"labels": {"team": "a"}},
    "all of it": {
        "run_id": "r-1",
        "agent": "mailer",
        "subject": "u-7",
        "tenant": "acme",
        "labels": {"team": "a", "stage": "live"},
    },
    "its grant": {"grant_id": "g-1"},
    "everything": {"all": True},
    "every action": {"action": "*"},
}
RUN: dict[str, Any] = {"run_id": "r-1", "subject": "u-7", "agent": "mailer", "tenant": "acme"}
RUN |= {"labels": {"team": "a", "stage": "live"}}
#: How a run disguises itself: every mark of its own is another one.
DISGUISE: dict[str, Any] = {"agent": "somebody", "labels": {"team": "b", "stage": "", "x": "y"}}


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
@pytest.mark.parametrize("verb", ["Revoke", "Freeze"])
async def test_no_child_and_no_disguise_escapes_a_fence_over_what_it_came_from(
    sidecar: Served, verb: str, selector: dict[str, Any]
) -> None:
    """Children opened before, at any depth, under other agents and labels: a fence finds them from above."""
    await sidecar.issuer("OpenRun", **RUN)
    tokens = [await sidecar.grant_for("r-1", request_id="g-1")]
    for _ in range(3):
        tokens.append((await sidecar.delegate(tokens[-1], child_run=DISGUISE)).grant_token)
    tokens.append((await sidecar.delegate(tokens[0])).grant_token)
    tokens.append((await sidecar.delegate(tokens[2], child_run={})).grant_token)
    for number, token in enumerate(tokens):
        await sidecar.prepare(token, f"o-{number}")
    await sidecar.fence(verb, **selector)
    if selector == {"action": "*"}:
        assert (await sidecar.auditor("ListFences")).fences[0].selector == pb.Selector(all=True)
    for number, token in enumerate(tokens):
        assert await dead(sidecar, token, f"o-{number}")
    for run_id in sidecar.store.state.runs:
        kinds = [entry.kind for entry in await sidecar.journal(run_id)]
        assert "PERMITTED" not in kinds


@pytest.mark.parametrize("selector", list(SELECTORS.values())[:6], ids=list(SELECTORS)[:6])
async def test_no_new_grant_escapes_a_freeze(sidecar: Served, selector: dict[str, Any]) -> None:
    """Neither in the run nor in a disguised one opened below it afterwards."""
    await sidecar.issuer("OpenRun", **RUN)
    await sidecar.fence("Freeze", **selector)
    await sidecar.issuer("OpenRun", run_id="r-2", parent_run_id="r-1", subject="u-8", tenant="b", **DISGUISE)
    for run_id in ("r-1", "r-2"):
        refused = await sidecar.issuer.refused("IssueGrant", run_id=run_id, scopes=[{"action": "*"}])
        assert refused.reason == "FENCED"


async def test_nothing_is_delegated_into_what_is_frozen(sidecar: Served) -> None:
    """An agent that is frozen gets no grant from one that is not."""
    token = await sidecar.grant()
    await sidecar.fence("Freeze", "f-1", agent="evil")
    told = {
        "grant_token": token,
        "scopes": [{"action": "*"}],
        "child_run": {"run_id": "r-2", "agent": "evil"},
    }
    assert (await sidecar.tool.refused("DelegateGrant", **told)).metadata["fence"] == "f-1"
    assert "r-2" not in sidecar.store.state.runs


@pytest.mark.parametrize("pattern", ["email.send", "email.*"])
async def test_a_wider_scope_does_not_lead_around_a_frozen_action(sidecar: Served, pattern: str) -> None:
    """It is issued, because it is for more; what is frozen of it is refused, under every link and verb."""
    await sidecar.fence("Freeze", action=pattern)
    tokens = [await sidecar.grant()]
    tokens.append((await sidecar.delegate(tokens[0], child_run={})).grant_token)
    for token in tokens:
        for method in ("PrepareAction", "PerformAction"):
            refused = await sidecar.tool.refused(method, grant_token=token, intent=intent("o-1"))
            assert refused.reason == "FENCED"
        await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2", "email2.send"))
    told = {"grant_token": tokens[0], "scopes": [{"action": "email.send"}]}
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "FENCED"


async def test_an_old_grant_does_not_grow_young_by_handing_it_on(sidecar: Served) -> None:
    """A child that is delegated after a revoke is as old as the grant its authority began with."""
    first = await sidecar.grant("r-1")
    await sidecar.fence("Revoke", run_id="r-1", action="email.*")
    child = (await sidecar.delegate(first, {"action": "*"}, child_run=DISGUISE)).grant_token
    grandchild = (await sidecar.delegate(child)).grant_token
    for token in (first, child, grandchild):
        refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
        assert refused.reason == "FENCED"
    await sidecar.tool("PerformAction", grant_token=await sidecar.grant_for("r-1"), intent=intent("o-2"))


async def test_a_lift_revives_nothing(sidecar: Served) -> None:
    """What a freeze killed stays dead, with its children, its prepared actions and its permits."""
    token = await sidecar.grant()
    child = (await sidecar.delegate(token, child_run={})).grant_token
    await sidecar.prepare(child, "o-1")
    await sidecar.permit(token, "o-flying")
    await sidecar.fence("Freeze", "f-1", run_id="r-1")
    await sidecar.operator("LiftFence", fence_id="f-1")
    assert await dead(sidecar, token)
    assert await dead(sidecar, child, "o-1")
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-flying"))
    assert (refused.reason, refused.metadata["prior_decision"]) == ("FENCED", "PERMITTED")


async def test_a_later_fence_does_not_push_out_an_earlier_one(sidecar: Served) -> None:
    """Many over the same, revokes and freezes, lifted or not: what one killed stays dead."""
    token = await sidecar.grant()
    await sidecar.fence("Revoke", "f-0", run_id="r-1")
    young = await sidecar.grant_for("r-1")
    for number in range(1, 6):
        told = {"request_id": f"f-{number}", "selector": {"run_id": "r-1"}, "reason": 6}
        await sidecar.operator("FreezeGrants", **told, ttl={"nanos": 10**6})
        sidecar.clock.advance(0.002)
        assert await dead(sidecar, token)
        assert await dead(sidecar, young)
    await sidecar.permit(await sidecar.grant_for("r-1"), "o-1")


async def test_no_fence_is_gone_before_what_it_killed(sidecar: Served) -> None:
    """To the last millisecond of the longest grant, and with other fences coming and going meanwhile."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    token = await sidecar.grant_for("r-1", ttl={"seconds": 900})
    await sidecar.fence("Revoke", run_id="r-1")
    for number in range(899):
        sidecar.clock.advance(1)
        if number % 100 == 0:
            await sidecar.fence("Revoke", run_id=f"r-other-{number}")
            assert await dead(sidecar, token)
    sidecar.clock.advance(0.999)
    assert await dead(sidecar, token)
    sidecar.clock.advance(0.001)
    await sidecar.fence("Revoke", run_id="r-tidies-up")
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
    assert refused.reason == "GRANT_EXPIRED"


#: A run's texts that look like other marks, and the selector of somebody else that they must not meet.
IMITATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a label that looks like a run": ({"labels": {"x": "y run=r-1"}}, {"run_id": "r-1"}),
    "a label named run": ({"labels": {"run": "r-1"}}, {"run_id": "r-1"}),
    "a label with an equals sign": ({"labels": {"x": "y=z"}}, {"labels": {"x": "y"}}),
    "a label split elsewhere": ({"labels": {"x": "a=b"}}, {"labels": {"a": "b"}}),
    "a label named grant": ({"labels": {"grant": "g-1"}}, {"grant_id": "g-1"}),
    "a user that looks like a run": ({"subject": "run=r-1"}, {"run_id": "r-1"}),
    "a user with an equals sign": ({"subject": "a=b"}, {"subject": "a"}),
    "a user that looks like a tenant": ({"subject": "x tenant=acme"}, {"tenant": "acme"}),
    "an agent that looks like a user": ({"agent": "subject=u-7"}, {"subject": "u-7"}),
    "an agent that looks like everything": ({"agent": "all"}, {"subject": "all"}),
    "a tenant with an equals sign": ({"tenant": "acme="}, {"tenant": "acme"}),
    "a tenant that is an equals sign": ({"tenant": "="}, {"tenant": "=="}),
    "a tenant that looks like an action": ({"tenant": "action=email.*"}, {"tenant": "action"}),
    "a tenant in other letters": ({"tenant": "ACME"}, {"tenant": "acme"}),
    "a tenant in letters that look the same": ({"tenant": "\u0430cme"}, {"tenant": "acme"}),
    "a tenant with a space": ({"tenant": "acme "}, {"tenant": "acme"}),
    "a tenant put together otherwise": ({"tenant": "e\u0301"}, {"tenant": "\u00e9"}),
    "a percent sign": ({"tenant": "%61cme"}, {"tenant": "acme"}),
    "a star": ({"tenant": "*"}, {"tenant": "acme"}),
}


@pytest.mark.parametrize(("marks", "selector"), IMITATIONS.values(), ids=IMITATIONS)
async def test_no_text_is_taken_for_another_mark(
    sidecar: Served, marks: dict[str, Any], selector: dict[str, Any]
) -> None:
    """Neither way: a fence over the one does not stand over the other, and finds its own by the same text."""
    await sidecar.issuer("OpenRun", run_id="r-9", **marks)
    await sidecar.issuer(
        "OpenRun", run_id="r-8", **{k: v for k, v in selector.items() if k not in ("run_id", "grant_id")}
    )
    token, other = await sidecar.grant_for("r-9"), await sidecar.grant_for("r-8")
    answer = await sidecar.fence("Freeze", "f-other", **selector)
    assert answer.fence.selector == pb.Selector(**selector)
    await sidecar.permit(token, "o-1")
    await sidecar.fence("Freeze", "f-own", **marks)
    assert await dead(sidecar, token)
    if selector.keys() & {"run_id", "grant_id"}:
        await sidecar.permit(other, "o-1")


@pytest.mark.parametrize(
    "text", ["y\nrun=r-1", "y\rrun=r-1", "y\0run=r-1", "y\x85run=r-1", "y\u2028run=r-1", "y\x1e"], ids=ascii
)
async def test_no_text_breaks_out_of_its_mark(sidecar: Served, text: str) -> None:
    """Marks are kept a line each: no text has two lines, by whatever letter."""
    token = await sidecar.grant()
    for fields in ({"labels": {"x": text}}, {"agent": text}):
        refused = await sidecar.issuer.refused("OpenRun", run_id="r-2", **fields)
        assert refused.reason == "INVALID_REQUEST"
        told = {"grant_token": token, "scopes": [{"action": "*"}], "child_run": fields}
        assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "INVALID_REQUEST"
    for selector in ({"labels": {"x": text}}, {"agent": text}, {"subject": text}, {"tenant": text}):
        refused = await sidecar.operator.refused("FreezeGrants", selector=selector, reason=6)
        assert refused.reason == "INVALID_REQUEST"


async def test_a_child_that_takes_the_name_of_another_agent_is_only_worse_off(sidecar: Served) -> None:
    """Marks add up: a borrowed name brings the fences over that name, and takes off none."""
    token = await sidecar.grant("r-1")
    child = (await sidecar.delegate(token, child_run={"agent": "trusted"})).grant_token
    await sidecar.fence("Freeze", agent="trusted")
    assert await dead(sidecar, child)
    await sidecar.permit(token, "o-1")


@pytest.mark.parametrize("role", [Role.TOOL, Role.ISSUER, Role.AUDITOR])
async def test_nobody_but_an_operator_fences_others_in_or_lets_itself_out(
    sidecar: Served, role: Role
) -> None:
    """Not even with good arguments."""
    await sidecar.fence("Freeze", "f-1", run_id="r-1")
    for method, fields in (
        ("RevokeGrants", {"selector": {"all": True}, "reason": 6}),
        ("FreezeGrants", {"selector": {"all": True}, "reason": 6, "validate_only": True}),
        ("LiftFence", {"fence_id": "f-1"}),
    ):
        assert (await sidecar.callers[role].refused(method, **fields)).reason == "ROLE_NOT_ALLOWED"
    assert [entry.kind for entry in await sidecar.journal("_fences")] == ["FROZEN"]


async def test_the_longest_selector_is_refused_for_its_reason_by_every_client(sidecar: Served) -> None:
    """Sixteen labels, in letters of four bytes: the refusal still fits into what a client takes."""
    labels = {f"{number:x}" * 64: WIDE * 128 for number in range(16)}
    texts = dict.fromkeys(("subject", "agent", "tenant"), WIDE * 128)
    await sidecar.issuer("OpenRun", run_id="r" * 64, labels=labels, **texts)
    token = await sidecar.grant_for("r" * 64, request_id="g" * 64)
    told = {"selector": texts | {"labels": labels, "run_id": "r" * 64, "grant_id": "g" * 64}, "reason": 6}
    fence = await sidecar.operator("FreezeGrants", **told, actor=WIDE * 128, note=WIDE * 300)
    assert fence.run_count == 1
    tool, issuer = (sidecar.caller(role, **STRICT) for role in (Role.TOOL, Role.ISSUER))
    wanted = intent("o" * 64, "a" * 128, "m:" + "%7B" * 170)
    refused = await tool.refused("PerformAction", grant_token=token, intent=wanted)
    assert (refused.reason, refused.metadata["fence"]) == ("FENCED", fence.fence_id)
    await sidecar.fence("Freeze", **texts, labels=labels)
    refused = await issuer.refused("IssueGrant", run_id="r" * 64, scopes=[{"action": "*"}])
    assert refused.reason == "FENCED"
    found = await sidecar.auditor("ExplainRefusal", grant_id="g" * 64)
    assert found.fence.selector.labels == labels
    for caller in (tool, issuer):
        await caller.channel.close()
