"""DelegateGrant: what may be handed on, by whom, for whom, and what the answer says."""

from collections.abc import Callable
from typing import Any

import pytest

from countermand.v1 import grant_service_pb2 as grant_pb
from grant_service.core.grant import GrantRef
from grant_service.rpc.roles import Role
from grant_service.tokens.keys import load_or_create
from grant_service.tokens.mint import mint
from grant_service.tokens.verify import Verifier
from tests.rpc.support import Served, cancel, commit, intent, served
from tests.tokens.test_mint import claims_of

MAIL = {"action": "email.*", "resource": "mailto:*@example.com", "max_uses": 5}
SEND = {"action": "email.send", "resource": "mailto:team@example.com", "max_uses": 2}


async def test_a_tool_hands_on_part_of_what_it_holds(sidecar: Served) -> None:
    """The answer tells the narrower grant, its chain and its token; the token opens what it says, no more."""
    token = await sidecar.grant("r-1", MAIL, request_id="g-1")
    answer = await sidecar.delegate(token, SEND, request_id="g-2", sealed=True)
    grant = answer.grant
    assert (grant.grant_id, grant.run_id, grant.audience) == ("g-2", "r-1", "tool")
    assert (list(grant.chain_grant_ids), grant.sealed) == (["g-1"], True)
    (scope,) = grant.scopes
    assert (scope.action, scope.resource, scope.max_uses) == ("email.send", "mailto:team@example.com", 2)
    assert not answer.replayed
    assert not answer.HasField("run")
    told = claims_of(answer.grant_token)
    assert (told["jti"], told["act"], told["run"]) == ("g-2", {"sub": "g-1"}, "r-1")
    await sidecar.permit(answer.grant_token, "o-1")
    other = intent("o-2", "email.draft")
    refused = await sidecar.tool.refused("PerformAction", grant_token=answer.grant_token, intent=other)
    assert refused.reason == "OUT_OF_SCOPE"


async def test_an_owner_hands_on_what_is_for_somebody_else(sidecar: Served) -> None:
    """The issuer could have issued it: a grant for another audience is no secret to it."""
    token = await sidecar.grant("r-1", MAIL, audience="mailer")
    fields = {"grant_token": token, "scopes": [SEND], "audience": "tool"}
    assert (await sidecar.tool.refused("DelegateGrant", **fields)).reason == "WRONG_AUDIENCE"
    answer = await sidecar.issuer("DelegateGrant", **fields)
    assert answer.grant.audience == "tool"
    await sidecar.permit(answer.grant_token, "o-1")


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
async def test_nobody_else_hands_on_a_grant(sidecar: Served, role: Role) -> None:
    """Not even with a good token."""
    token = await sidecar.grant()
    fields = {"grant_token": token, "scopes": [{"action": "*"}]}
    assert (await sidecar.callers[role].refused("DelegateGrant", **fields)).reason == "ROLE_NOT_ALLOWED"


async def test_the_audience_is_that_of_the_grant_above_unless_it_says_otherwise(sidecar: Served) -> None:
    """A grant may be handed to another tool; then only that one can use it."""
    token = await sidecar.grant()
    assert (await sidecar.delegate(token)).grant.audience == "tool"
    other = await sidecar.delegate(token, audience="other")
    assert other.grant.audience == "other"
    refused = await sidecar.tool.refused("PerformAction", grant_token=other.grant_token, intent=intent("o-1"))
    assert (refused.reason, refused.metadata["peer"]) == ("WRONG_AUDIENCE", "tool")


async def test_a_child_run_is_opened_in_the_same_step(sidecar: Served) -> None:
    """It stands below the grant's run, on behalf of the same user and tenant, and is told."""
    opened = {"run_id": "r-1", "subject": "u-7", "tenant": "acme", "labels": {"team": "a"}}
    await sidecar.issuer("OpenRun", **opened)
    token = await sidecar.grant_for("r-1")
    child = {"run_id": "r-2", "agent": "helper", "labels": {"step": "2"}, "ttl": {"seconds": 60}}
    child["budgets"] = [{"name": "usd_cents", "limit": 50}]
    answer = await sidecar.delegate(token, child_run=child)
    run = answer.run
    assert (run.run_id, run.parent_run_id, run.agent) == ("r-2", "r-1", "helper")
    assert (run.subject, run.tenant, dict(run.labels)) == ("u-7", "acme", {"step": "2"})
    assert (run.state, run.budgets[0].remaining) == (grant_pb.RUN_STATE_ACTIVE, 50)
    assert dict(answer.remaining) == {"usd_cents": 50}
    assert run.deadline_time.seconds - run.open_time.seconds == 60
    assert answer.grant.run_id == "r-2"
    assert answer.grant.expire_time.seconds <= run.deadline_time.seconds
    kinds = [entry.kind for entry in await sidecar.journal("r-2")]
    assert kinds == ["OPENED", "DELEGATED"]
    await sidecar.permit(answer.grant_token, "o-1")
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert (list(report.descendant_run_ids), report.in_flight[0].run_id) == (["r-2"], "r-2")
    await sidecar.cancel("r-1")
    refused = await sidecar.tool.refused("CommitAction", **commit(answer.grant_token, "o-1"))
    assert refused.reason == "REVOKED"


async def test_ids_that_are_not_given_are_made(sidecar: Served) -> None:
    """Each time another one."""
    token = await sidecar.grant()
    answers = [await sidecar.delegate(token, child_run={}) for _ in range(3)]
    assert len({answer.grant.grant_id for answer in answers}) == 3
    assert len({answer.run.run_id for answer in answers}) == 3
    assert all(answer.grant.run_id == answer.run.run_id for answer in answers)


async def test_the_same_request_gets_the_same_token(sidecar: Served) -> None:
    """Letter for letter, and nothing is written for it; other content under its name is refused."""
    token = await sidecar.grant("r-1", MAIL)
    asked: dict[str, Any] = {"request_id": "g-2", "child_run": {"run_id": "r-2", "agent": "a"}}
    first = await sidecar.delegate(token, SEND, **asked)
    before = (await sidecar.journal("r-1"), await sidecar.journal("r-2"))
    again = await sidecar.delegate(token, SEND, **asked)
    assert (again.grant_token, again.replayed) == (first.grant_token, True)
    assert again.grant == first.grant
    assert again.run == first.run
    assert (await sidecar.journal("r-1"), await sidecar.journal("r-2")) == before
    others: list[dict[str, Any]] = [
        {"sealed": True},
        {"ttl": {"seconds": 1}},
        {"audience": "other"},
        {"budgets": [{"name": "a", "limit": 1}]},
        {"child_run": {"run_id": "r-2", "agent": "b"}},
        {"child_run": {"run_id": "r-2", "agent": "a", "labels": {"a": "b"}}},
        {"child_run": {"run_id": "r-2", "agent": "a", "budgets": [{"name": "a", "limit": 1}]}},
        {"child_run": {"run_id": "r-3", "agent": "a"}},
        {"child_run": None},
    ]
    for other in others:
        told = {"grant_token": token, "scopes": [SEND], **asked, **other}
        refused = await sidecar.tool.refused("DelegateGrant", **told)
        assert refused.reason == "GRANT_EXISTS", other


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": [{"action": "*"}] * 17}, "scopes"),
        ({"scopes": [{"action": "Email.*"}]}, "scopes[0].action"),
        ({"scopes": [{"action": "*", "resource": "a*"}]}, "scopes[0].resource"),
        ({"scopes": [{"action": "*", "ceiling": 9}]}, "scopes[0].ceiling"),
        ({"scopes": [{"action": "*", "approval_from": 9}]}, "scopes[0].approval_from"),
        ({"request_id": "a b"}, "request_id"),
        ({"audience": "a b"}, "audience"),
        ({"ttl": {"seconds": 901}}, "ttl"),
        ({"ttl": {"seconds": -1}}, "ttl"),
        ({"ttl": {}}, "ttl"),
        ({"budgets": [{"name": "A", "limit": 1}]}, "budgets[0].name"),
        ({"budgets": [{"name": "a", "limit": 2**63}]}, "budgets[0].limit"),
        ({"budgets": [{"name": "a", "limit": 1}] * 2}, "budgets"),
        ({"budgets": [{"name": f"a{n}", "limit": 1} for n in range(17)]}, "budgets"),
        ({"budgets": [{"name": "a", "limit": 1, "on_exhausted": 7}]}, "budgets[0].on_exhausted"),
        ({"child_run": {"run_id": "_fences"}}, "child_run.run_id"),
        ({"child_run": {"agent": "a\nb"}}, "child_run.agent"),
        ({"child_run": {"labels": {"a b": "c"}}}, "child_run.labels name"),
        ({"child_run": {"labels": {"a": "b\u2028"}}}, "child_run.labels.a"),
        ({"child_run": {"ttl": {"seconds": 2592001}}}, "ttl"),
        ({"child_run": {"budgets": [{"name": "", "limit": 1}]}}, "child_run.budgets[0].name"),
    ],
    ids=str,
)
async def test_a_bad_field_is_refused_by_its_name(
    sidecar: Served, fields: dict[str, Any], field: str
) -> None:
    """Before anything is decided: nothing is journalled."""
    token = await sidecar.grant()
    before = await sidecar.journal()
    told = {"grant_token": token, "scopes": [{"action": "*"}], **fields}
    refused = await sidecar.tool.refused("DelegateGrant", **told)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)
    assert await sidecar.journal() == before


async def test_a_sealed_grant_is_not_handed_on(sidecar: Served) -> None:
    """Not by its tool and not by the owner, and the attempt is in the journal."""
    token = await sidecar.grant("r-1", sealed=True, request_id="g-1")
    for caller in (sidecar.tool, sidecar.issuer):
        refused = await caller.refused("DelegateGrant", grant_token=token, scopes=[{"action": "*"}])
        assert (refused.reason, refused.metadata["grant"]) == ("GRANT_SEALED", "g-1")
    assert await sidecar.refusals() == [("delegate", "GRANT_SEALED")] * 2


async def test_a_chain_has_eight_grants_at_the_most(sidecar: Served) -> None:
    """The eighth works, and its token is taken; there is no ninth."""
    token = await sidecar.grant("r-1", request_id="g-1")
    for number in range(2, 9):
        answer = await sidecar.delegate(token, request_id=f"g-{number}")
        token = answer.grant_token
    assert list(answer.grant.chain_grant_ids) == [f"g-{number}" for number in range(1, 8)]
    await sidecar.permit(token, "o-1")
    refused = await sidecar.tool.refused("DelegateGrant", grant_token=token, scopes=[{"action": "*"}])
    assert (refused.reason, refused.metadata["limit"]) == ("GRANT_TOO_DEEP", "8")


async def test_a_tree_has_so_many_delegated_grants_and_no_more() -> None:
    """All runs of the tree count together; another tree is not touched."""
    async with served(max_delegations=3) as running:
        token = await running.grant()
        below = (await running.delegate(token, child_run={})).grant_token
        for _ in range(2):
            await running.delegate(below)
        for one in (token, below):
            refused = await running.tool.refused("DelegateGrant", grant_token=one, scopes=[{"action": "*"}])
            assert (refused.reason, refused.metadata["limit"]) == ("TREE_FULL", "3")
        await running.delegate(await running.grant("r-2"))


async def test_what_is_left_is_told_with_the_grant(sidecar: Served) -> None:
    """Of its own budgets, also when they were used since."""
    token = await sidecar.grant()
    asked = {"request_id": "g-2", "budgets": [{"name": "usd_cents", "limit": 9}]}
    first = await sidecar.delegate(token, **asked)
    await sidecar.prepare(first.grant_token, "o-1", costs={"usd_cents": 4})
    (standing,) = (await sidecar.delegate(token, **asked)).grant.budgets
    assert (standing.budget.limit, standing.taken, standing.reserved, standing.remaining) == (9, 0, 4, 5)


CHAINS: dict[str, Callable[[tuple[str, ...]], tuple[str, ...]]] = {
    "swapped": lambda chain: chain[::-1],
    "shortened at the top": lambda chain: chain[1:],
    "shortened at the bottom": lambda chain: chain[:-1],
    "gone": lambda chain: (),
    "lengthened at the top": lambda chain: ("g-foreign", *chain),
    "lengthened at the bottom": lambda chain: (*chain, "g-foreign"),
    "of another run": lambda chain: ("g-foreign", chain[1]),
    "of grants that are not there": lambda chain: ("g-never", chain[1]),
}


@pytest.mark.parametrize("change", CHAINS.values(), ids=CHAINS.keys())
async def test_a_chain_that_is_not_the_grants_own_points_nowhere(
    sidecar: Served, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> None:
    """Even truly signed: the store compares it with the record, for every verb of a tool."""
    await sidecar.grant("r-foreign", request_id="g-foreign")
    token = await sidecar.grant("r-1", request_id="g-1")
    middle = (await sidecar.delegate(token, request_id="g-2")).grant_token
    good = (await sidecar.delegate(middle, request_id="g-3")).grant_token
    await sidecar.prepare(good, "o-1")
    keyring = load_or_create(sidecar.home / "keys")
    ref = Verifier(keyring).verify(good)
    assert ref == GrantRef("g-3", "r-1", (), "tool", "", ("g-1", "g-2"))
    facts: dict[str, Any] = {"grant_id": "g-3", "run_id": "r-1", "ancestors": (), "audience": "tool"}
    facts |= {"subject": "", "issue_time": sidecar.clock.now, "expire_time": sidecar.clock.now + 60_000}
    forged = mint(keyring, **facts, chain=change(ref.chain)).reveal()
    before = await sidecar.journal()
    for method, fields in (
        ("PrepareAction", {"intent": intent("o-2")}),
        ("CommitAction", commit(forged, "o-1")),
        ("PerformAction", {"intent": intent("o-1")}),
        ("SettleAction", {"op_id": "o-1", "outcome": 1}),
        ("AbandonAction", {"op_id": "o-1"}),
        ("SpendBudget", {"op_id": "s-1", "budget": "a", "amount": 1}),
        ("DelegateGrant", {"scopes": [{"action": "*"}]}),
    ):
        refused = await sidecar.tool.refused(method, **{"grant_token": forged} | fields)
        assert refused.reason == "GRANT_UNKNOWN", method
    assert await sidecar.journal() == before
    await sidecar.tool("CommitAction", **commit(good, "o-1"))


async def test_a_replay_tells_how_the_child_stands(sidecar: Served) -> None:
    """A run that was cancelled meanwhile is not told as active, and its grant does nothing."""
    token = await sidecar.grant()
    asked = {"request_id": "g-2", "child_run": {"run_id": "r-2"}}
    first = await sidecar.delegate(token, **asked)
    await sidecar.operator("CancelRun", **cancel("r-2"))
    again = await sidecar.delegate(token, **asked)
    assert (again.grant_token, again.run.state) == (first.grant_token, grant_pb.RUN_STATE_CANCELLED)
    refused = await sidecar.tool.refused("PerformAction", grant_token=again.grant_token, intent=intent("o-1"))
    assert refused.reason == "REVOKED"
