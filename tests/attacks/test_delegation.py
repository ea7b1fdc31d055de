"""Attack: a delegated grant that is wider, longer, richer or deeper than the one it comes from."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from countermand.v1 import action_service_pb2 as action_pb
from tests.rpc.support import Served, cancel, commit, intent, request, served

READ_ONLY, IRREVERSIBLE = action_pb.REVERSIBILITY_READ_ONLY, action_pb.REVERSIBILITY_IRREVERSIBLE
USERS = "https://api.example.com/users/*"

#: What the parent allows, and what is asked for: none of these is less.
ACTIONS = {
    "all": ("email.*", "*"),
    "a-name-above": ("email.send.*", "email.*"),
    "the-name-itself-without-its-star": ("email.*", "email"),
    "a-star-below-a-name": ("email.send", "email.send.*"),
    "a-name-below": ("email.send", "email.send.all"),
    "a-name-that-begins-alike": ("email.*", "emails.*"),
    "a-name-that-ends-alike": ("email.send", "x.email.send"),
    "another-name": ("email.*", "file.delete"),
}
RESOURCES = {
    "all": (USERS, "*"),
    "nothing-which-stands-for-all": (USERS, ""),
    "a-segment-above": (USERS, "https://api.example.com/*"),
    "a-star-in-the-middle-at-the-end": ("https://api.example.com/users/*/mail", USERS),
    "a-star-for-a-name": ("https://api.example.com/users/ann/*", "https://api.example.com/users/*"),
    "two-stars-for-one": ("https://api.example.com/users/*/mail", "https://api.example.com/users/*/*"),
    "a-star-instead-of-the-host": (USERS, "https://*/users/*"),
    "a-star-instead-of-the-scheme": (USERS, "*://api.example.com/users/*"),
    "the-folder-itself": (USERS, "https://api.example.com/users"),
    "the-folder-with-its-slash": (USERS, "https://api.example.com/users/"),
    "another-letter-case": (USERS, "https://api.example.com/Users/*"),
    "another-letter-case-of-the-host": (USERS, "https://API.example.com/users/*"),
    "a-dot-behind-the-host": (USERS, "https://api.example.com./users/*"),
    "a-port": (USERS, "https://api.example.com:443/users/*"),
    "another-host-with-ours-as-its-user": (USERS, "https://api.example.com@evil.example/users/*"),
    "another-host-that-begins-alike": ("https://api.example.com/*", "https://api.example.com.evil.example/*"),
    "a-query-for-a-path": ("https://api.example.com/a", "https://api.example.com/a?*"),
    "a-fragment-for-a-path": ("https://api.example.com/a", "https://api.example.com/a#*"),
    "many-recipients": ("mailto:*@example.com", "mailto:*"),
    "two-recipients": ("mailto:*@example.com", "mailto:*@example.com,*@example.com"),
    "a-recipient-elsewhere": ("mailto:*@example.com", "mailto:*@evil.example"),
    "a-hidden-recipient": ("mailto:*@example.com", "mailto:*@example.com?bcc=*"),
}
#: What is no pattern at all: refused before it is compared.
NO_RESOURCES = {
    "up-and-out": "https://api.example.com/users/../*",
    "up-and-out-escaped": "https://api.example.com/users/%2e%2e/*",
    "up-and-out-escaped-in-capitals": "https://api.example.com/users/%2E%2E/*",
    "up-and-out-escaped-twice": "https://api.example.com/users/%252e%252e/*",
    "here": "https://api.example.com/users/./*",
    "a-backslash": "https://api.example.com/users\\..\\*",
    "two-slashes": "https://api.example.com//users/*",
    "part-of-a-segment": "https://api.example.com/users/a*",
    "part-of-a-segment-in-front": "https://api.example.com/users/*a",
    "two-stars-in-one-segment": "https://api.example.com/users/**",
    "a-letter-that-looks-the-same": "https://api.ex\u0430mple.com/users/*",
    "wide-letters": "\uff48ttps://api.example.com/users/*",
    "an-invisible-letter": "https://api.example.com/users/\u200b*",
    "a-combined-letter": "https://api.example.com/users/e\u0301*",
    "a-nul": "https://api.example.com/users/\0*",
    "a-newline": "https://api.example.com/users/*\n*",
    "a-space": "https://api.example.com/users/* ",
    "an-escaped-slash": "https://api.example.com/users/*%2Fmail",
    "an-escaped-star": "https://api.example.com/users/%2a",
    "a-password": "https://u:p@api.example.com/users/*",
    "a-long-one": "https://api.example.com/users/" + "a/" * 300 + "*",
}
NO_ACTIONS = [
    *("", ".", ".*", "*.", "*.send", "email.*.send", "**", "email.**", "email*", "email..*", "email.*."),
    *("Email.*", "email.\u200bsend", "\uff45mail.send", "email.send\n", " *", "* ", "email/*", "%2a"),
]


def ask(token: str, *scopes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The fields of a delegation."""
    return {"grant_token": token, "scopes": scopes or [{"action": "*"}]} | fields


@pytest.mark.parametrize(("wide", "asked"), ACTIONS.values(), ids=ACTIONS)
async def test_no_action_is_handed_on_that_the_grant_has_not(sidecar: Served, wide: str, asked: str) -> None:
    """Alone or behind one that it has; the attempt is in the journal, and no grant is there."""
    token = await sidecar.grant("r-1", {"action": wide})
    for scopes in ([{"action": asked}], [{"action": wide}, {"action": asked}]):
        refused = await sidecar.tool.refused("DelegateGrant", **ask(token, *scopes))
        assert refused.reason == "GRANT_TOO_WIDE"
        assert refused.metadata["field"] == f"scopes[{len(scopes) - 1}]"
    assert await sidecar.refusals() == [("delegate", "GRANT_TOO_WIDE")] * 2
    assert len(sidecar.store.state.grants) == 1


@pytest.mark.parametrize(("wide", "asked"), RESOURCES.values(), ids=RESOURCES)
async def test_no_resource_is_handed_on_that_the_grant_has_not(
    sidecar: Served, wide: str, asked: str
) -> None:
    """However it is spelled: it is covered letter for letter, segment for segment, or not at all."""
    token = await sidecar.grant("r-1", {"action": "*", "resource": wide})
    for action in ("*", "http.get"):
        told = ask(token, {"action": action, "resource": asked})
        assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "GRANT_TOO_WIDE"
    assert len(sidecar.store.state.grants) == 1


@pytest.mark.parametrize("asked", NO_RESOURCES.values(), ids=NO_RESOURCES)
async def test_a_resource_with_a_second_spelling_is_no_pattern(sidecar: Served, asked: str) -> None:
    """Refused as it stands, even under a grant for everything."""
    token = await sidecar.grant()
    refused = await sidecar.tool.refused("DelegateGrant", **ask(token, {"action": "*", "resource": asked}))
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "scopes[0].resource")


@pytest.mark.parametrize("asked", NO_ACTIONS, ids=ascii)
async def test_an_action_with_a_second_spelling_is_no_pattern(sidecar: Served, asked: str) -> None:
    """Refused as it stands, even under a grant for everything."""
    token = await sidecar.grant()
    refused = await sidecar.tool.refused("DelegateGrant", **ask(token, {"action": asked}))
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "scopes[0].action")


@pytest.mark.parametrize("uses", [4, 2**31, 2**32 - 1])
async def test_no_more_uses_are_handed_on_than_there_are(sidecar: Served, uses: int) -> None:
    """A number of them is compared; none named is as many as the grant has."""
    token = await sidecar.grant("r-1", {"action": "*", "max_uses": 3})
    refused = await sidecar.tool.refused("DelegateGrant", **ask(token, {"action": "*", "max_uses": uses}))
    assert refused.reason == "GRANT_TOO_WIDE"
    (scope,) = (await sidecar.delegate(token)).grant.scopes
    assert scope.max_uses == 3


async def test_uses_do_not_multiply_by_handing_them_on(sidecar: Served) -> None:
    """Ten children with three uses each, twice in one grant, and in runs of their own: three in all."""
    token = await sidecar.grant("r-1", {"action": "*", "max_uses": 3})
    scopes = [{"action": "*", "max_uses": 3}] * 2
    children = [(await sidecar.delegate(token, *scopes, child_run={})).grant_token for _ in range(5)]
    children += [(await sidecar.delegate(token, *scopes)).grant_token for _ in range(5)]
    taken = 0
    for number, child in enumerate([*children, token] * 2):
        told = request("PerformAction", grant_token=child, intent=intent(f"o-{number}"))
        code = (await sidecar.tool.rpc("PerformAction")(told).code()).name
        taken += code == "OK"
        assert code in ("OK", "PERMISSION_DENIED")
    assert taken == 3


async def test_no_worse_effects_are_handed_on(sidecar: Served) -> None:
    """Whatever ceiling is asked for, the stricter holds."""
    token = await sidecar.grant("r-1", {"action": "*", "ceiling": READ_ONLY})
    for ceiling in (0, IRREVERSIBLE):
        answer = await sidecar.delegate(token, {"action": "*", "ceiling": ceiling})
        assert answer.grant.scopes[0].ceiling == READ_ONLY
        told = {"grant_token": answer.grant_token, "intent": intent("o-1")}
        assert (await sidecar.tool.refused("PerformAction", **told)).metadata["rule"] == "ceiling"


@pytest.mark.parametrize("asked", [0, READ_ONLY, IRREVERSIBLE])
async def test_nobody_gets_around_the_person_who_is_to_be_asked(sidecar: Served, asked: int) -> None:
    """Not by asking for no approval, nor for one from a worse class on, nor for a wider pattern."""
    scopes = [{"action": "email.send", "approval_from": 3}, {"action": "email.*"}]
    token = await sidecar.grant("r-1", *scopes)
    for number, pattern in enumerate(("email.send", "email.*")):
        answer = await sidecar.delegate(token, {"action": pattern, "approval_from": asked})
        for again in (answer, await sidecar.delegate(answer.grant_token, {"action": pattern})):
            told = {"grant_token": again.grant_token, "intent": intent(f"o-{number}-{again.grant.grant_id}")}
            assert (await sidecar.tool.refused("PerformAction", **told)).reason == "AWAITING_APPROVAL"


@pytest.mark.parametrize(
    "ttl",
    [
        {"seconds": -1},
        {"nanos": -1},
        {"seconds": 2**62},
        {"seconds": 901},
        {"nanos": 2**31 - 1},
        {"seconds": 0},
    ],
    ids=str,
)
async def test_no_strange_length_of_life_is_handed_on(sidecar: Served, ttl: dict[str, int]) -> None:
    """Negative, overflowing or absurd: refused, for the grant and for its run."""
    token = await sidecar.grant()
    assert (await sidecar.tool.refused("DelegateGrant", **ask(token, ttl=ttl))).reason == "INVALID_REQUEST"
    if ttl != {"seconds": 901}:
        child = {"run_id": "r-2", "ttl": ttl}
        told = ask(token, child_run=child)
        assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "INVALID_REQUEST"
    assert "r-2" not in sidecar.store.state.runs


async def test_no_longer_life_is_handed_on(sidecar: Served) -> None:
    """The child ends with its parent to the millisecond, in whatever run, and so does its permit."""
    await sidecar.issuer("OpenRun", run_id="r-1", ttl={"seconds": 600})
    issued = await sidecar.issuer("IssueGrant", run_id="r-1", scopes=[{"action": "*"}], ttl={"seconds": 10})
    end: Timestamp = issued.grant.expire_time
    token = issued.grant_token
    for _ in range(3):
        child = {"ttl": {"seconds": 86_400}}
        answer = await sidecar.delegate(token, ttl={"seconds": 900}, child_run=child)
        assert answer.grant.expire_time == end
        assert answer.run.deadline_time.seconds - answer.run.open_time.seconds == 600
        token = answer.grant_token
    sidecar.clock.advance(9)
    told = {"grant_token": token, "intent": intent("o-1"), "use_within": {"seconds": 60}}
    assert (await sidecar.tool("PerformAction", **told)).permit.use_by_time == end
    sidecar.clock.advance(1)
    assert (
        await sidecar.tool.refused("PerformAction", **told | {"intent": intent("o-2")})
    ).reason == "GRANT_EXPIRED"
    assert (await sidecar.tool.refused("DelegateGrant", **ask(token))).reason == "GRANT_EXPIRED"


@pytest.mark.parametrize("place", ["grant", "child"])
async def test_no_richer_grant_is_handed_on(sidecar: Served, place: str) -> None:
    """A budget larger than any above of its name is refused: of the run, of the grant, of a chain."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[{"name": "usd", "limit": 100}])
    token = await sidecar.grant_for("r-1", budgets=[{"name": "tokens", "limit": 50}])
    token = (await sidecar.delegate(token, budgets=[{"name": "usd", "limit": 20}])).grant_token
    for name, limit in (("usd", 21), ("usd", 10**15), ("tokens", 51)):
        budgets = [{"name": name, "limit": limit}]
        fields: dict[str, Any] = (
            {"budgets": budgets} if place == "grant" else {"child_run": {"budgets": budgets}}
        )
        refused = await sidecar.tool.refused("DelegateGrant", **ask(token, **fields))
        assert (refused.reason, refused.metadata["field"]) == ("GRANT_TOO_WIDE", f"budgets[{name}]")


async def test_no_money_is_made_by_handing_it_on(sidecar: Served) -> None:
    """A hundred for each child is a hundred for all of them; a budget that is not named still counts."""
    refuse = {"name": "usd", "limit": 100, "on_exhausted": 2}
    token = await sidecar.grant("r-1", budgets=[refuse])
    children = [
        (await sidecar.delegate(token, budgets=[refuse], child_run={"budgets": [refuse]})).grant_token,
        (await sidecar.delegate(token, budgets=[refuse])).grant_token,
        (await sidecar.delegate(token, child_run={})).grant_token,
        (await sidecar.delegate(token)).grant_token,
    ]
    for number, child in enumerate(children):
        told = {"grant_token": child, "intent": intent(f"o-{number}", costs={"usd": 40})}
        if number < 2:
            await sidecar.tool("PerformAction", **told)
        else:
            refused = await sidecar.tool.refused("PerformAction", **told)
            assert (refused.reason, refused.metadata["remaining"]) == ("BUDGET_EXHAUSTED", "20")


@pytest.mark.parametrize("limit", [10**15 + 1, 2**63, 2**64 - 1])
async def test_no_budget_overflows(sidecar: Served, limit: int) -> None:
    """What no store could count is refused."""
    token = await sidecar.grant()
    told = ask(token, budgets=[{"name": "usd", "limit": limit}])
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "INVALID_REQUEST"


async def test_a_budget_of_nothing_allows_nothing(sidecar: Served) -> None:
    """Zero is a limit, not the lack of one; and it ends the child, never the parent."""
    token = await sidecar.grant("r-1", request_id="g-1")
    answer = await sidecar.delegate(token, request_id="g-2", budgets=[{"name": "tool_calls", "limit": 0}])
    told = {"grant_token": answer.grant_token, "intent": intent("o-1")}
    assert (await sidecar.tool.refused("PerformAction", **told)).metadata["ended_grant"] == "g-2"
    assert (await sidecar.tool.refused("PerformAction", **told)).reason == "GRANT_ENDED"
    await sidecar.permit(token, "o-2")


async def test_the_same_budget_twice_is_refused(sidecar: Served) -> None:
    """The larger one would win here and the smaller one elsewhere."""
    token = await sidecar.grant()
    for twice in ([{"name": "usd", "limit": 1}, {"name": "usd", "limit": 9}],) * 2:
        for fields in ({"budgets": twice}, {"child_run": {"budgets": twice}}):
            refused = await sidecar.tool.refused("DelegateGrant", **ask(token, **fields))
            assert (refused.reason, refused.metadata["rule"]) == (
                "INVALID_REQUEST",
                "must each have a name of its own",
            )


@pytest.mark.parametrize(
    "name", ["USD", "usd ", "us\u0501", "usd\u200b", "", "usd 5", "usd;", "usd=", "-usd"], ids=ascii
)
async def test_no_second_spelling_of_a_budget_is_a_budget(sidecar: Served, name: str) -> None:
    """Otherwise its costs would go elsewhere."""
    token = await sidecar.grant("r-1", budgets=[{"name": "usd", "limit": 1}])
    told = ask(token, budgets=[{"name": name, "limit": 9}])
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "INVALID_REQUEST"
    call = {"grant_token": token, "intent": intent("o-1", costs={name: 9})}
    assert (await sidecar.tool.refused("PerformAction", **call)).reason == "INVALID_REQUEST"


@pytest.mark.parametrize("audience", ["operator", "issuer", "auditor", "admin", "Tool", "tool."])
async def test_no_grant_for_a_role_opens_its_door(sidecar: Served, audience: str) -> None:
    """An audience is whom the grant is for, never what its holder may call."""
    token = await sidecar.grant()
    answer = await sidecar.delegate(token, audience=audience)
    told = {"grant_token": answer.grant_token}
    for caller in sidecar.callers.values():
        for method, fields in (
            ("PerformAction", told | {"intent": intent("o-1")}),
            ("DelegateGrant", told | {"scopes": [{"action": "*"}], "audience": "tool"}),
        ):
            if caller is sidecar.issuer and method == "DelegateGrant":
                continue  # it may issue what it likes anyway
            refused = await caller.refused(method, **fields)
            assert refused.reason in ("ROLE_NOT_ALLOWED", "WRONG_AUDIENCE")
    for method, fields in (("CancelRun", cancel()), ("OpenRun", {"run_id": "r-2"})):
        assert (await sidecar.tool.refused(method, **fields)).reason == "ROLE_NOT_ALLOWED"


async def test_a_grant_cannot_be_taken_back_from_where_it_went(sidecar: Served) -> None:
    """A tool that handed a grant to another gets no use of it by handing it to itself."""
    token = await sidecar.grant()
    other = (await sidecar.delegate(token, audience="other")).grant_token
    told = ask(other, audience="tool")
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "WRONG_AUDIENCE"


async def test_no_grant_id_is_used_twice(sidecar: Served) -> None:
    """Not its parent's, not another run's, not one below another parent: each names one grant for ever."""
    token = await sidecar.grant("r-1", request_id="g-1")
    foreign = await sidecar.grant("r-2", request_id="g-foreign")
    await sidecar.delegate(foreign, request_id="g-below")
    other = await sidecar.grant_for("r-1", request_id="g-other")
    await sidecar.delegate(other, request_id="g-beside")
    before = dict(sidecar.store.state.grants)
    for taken in ("g-1", "g-foreign", "g-below", "g-beside", "g-other"):
        for fields in ({}, {"child_run": {"run_id": "r-new"}}):
            told = ask(token, request_id=taken, **fields)
            assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "GRANT_EXISTS", taken
    assert sidecar.store.state.grants == before
    assert "r-new" not in sidecar.store.state.runs


async def test_an_id_that_a_tool_took_first_is_nobody_elses(sidecar: Served) -> None:
    """Its owner is told that it is taken, and never gets the tool's run or grant for its own."""
    token = await sidecar.grant()
    await sidecar.delegate(token, request_id="g-next", child_run={"run_id": "r-next"})
    assert (await sidecar.issuer.refused("OpenRun", run_id="r-next")).reason == "RUN_EXISTS"
    for run_id in ("r-1", "r-next"):
        told = {"run_id": run_id, "request_id": "g-next", "scopes": [{"action": "*"}]}
        assert (await sidecar.issuer.refused("IssueGrant", **told)).reason == "GRANT_EXISTS"
    await sidecar.cancel("r-1")
    assert (await sidecar.issuer.refused("OpenRun", run_id="r-next")).reason == "REVOKED"


@pytest.mark.parametrize("taken", ["r-1", "r-top", "r-other", "r-cancelled", "r-tombstone", "r-finished"])
async def test_no_run_is_taken_over_as_a_child(sidecar: Served, taken: str) -> None:
    """Not one's own, not one above or beside, none that ended, and none that was stopped before it was."""
    await sidecar.issuer("OpenRun", run_id="r-top")
    await sidecar.issuer("OpenRun", run_id="r-1", parent_run_id="r-top")
    for run_id in ("r-other", "r-cancelled", "r-finished"):
        await sidecar.issuer("OpenRun", run_id=run_id)
    for run_id in ("r-cancelled", "r-tombstone"):
        await sidecar.cancel(run_id)
    await sidecar.issuer("FinishRun", run_id="r-finished")
    token = await sidecar.grant_for("r-1")
    before = dict(sidecar.store.state.runs)
    told = ask(token, child_run={"run_id": taken})
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "RUN_EXISTS"
    after = dict(sidecar.store.state.runs)
    assert after.pop("r-1").refusals == before.pop("r-1").refusals + 1
    assert after == before


async def test_a_child_that_was_stopped_comes_back_under_no_name(sidecar: Served) -> None:
    """Repeating its delegation, or opening it anew, revives nothing."""
    token = await sidecar.grant()
    asked = {"request_id": "g-2", "child_run": {"run_id": "r-2"}}
    child = (await sidecar.delegate(token, **asked)).grant_token
    await sidecar.cancel("r-2")
    for again in (child, (await sidecar.delegate(token, **asked)).grant_token):
        told = {"grant_token": again, "intent": intent("o-1")}
        assert (await sidecar.tool.refused("PerformAction", **told)).reason == "REVOKED"
        assert (await sidecar.tool.refused("DelegateGrant", **ask(again, child_run={}))).reason == "REVOKED"
    told = ask(token, request_id="g-3", child_run={"run_id": "r-2"})
    assert (await sidecar.tool.refused("DelegateGrant", **told)).reason == "RUN_EXISTS"


async def test_no_path_goes_deeper_by_handing_on(sidecar: Served) -> None:
    """Runs and grants are both counted; a new run does not shorten the chain, a new grant not the path."""
    token = await sidecar.grant()
    for number in range(2, 9):
        token = (await sidecar.delegate(token, child_run={"run_id": f"r-{number}"})).grant_token
    for fields in ({}, {"child_run": {}}):
        refused = await sidecar.tool.refused("DelegateGrant", **ask(token, **fields))
        assert refused.reason == "GRANT_TOO_DEEP"
    fresh = await sidecar.grant_for("r-8")
    refused = await sidecar.tool.refused("DelegateGrant", **ask(fresh, child_run={}))
    assert (refused.reason, refused.metadata["limit"]) == ("RUN_TOO_DEEP", "8")


async def test_a_child_dies_with_every_run_and_grant_above_it(sidecar: Served) -> None:
    """Each of them ended in turn: the deepest grant finds it, in whatever run it is."""
    for ended in range(4):
        top = f"r-{ended}-top"
        token = await sidecar.grant(top, request_id=f"g-{ended}-0", budgets=[{"name": "a", "limit": 1}])
        tokens, runs = [token], [top]
        for number in range(1, 4):
            runs.append(f"r-{ended}-{number}")
            fields = {"request_id": f"g-{ended}-{number}", "child_run": {"run_id": runs[-1]}}
            tokens.append((await sidecar.delegate(tokens[-1], **fields)).grant_token)
        await sidecar.prepare(tokens[-1], "o-1")
        await sidecar.cancel(runs[ended])
        refused = await sidecar.tool.refused("CommitAction", **commit(tokens[-1], "o-1"))
        assert (refused.reason, refused.metadata["ended_run"]) == ("REVOKED", runs[ended])
    for ended in range(3):
        token = await sidecar.grant(f"r-b{ended}")
        tokens = [token]
        for _ in range(3):
            tokens.append((await sidecar.delegate(tokens[-1], child_run={})).grant_token)
        await sidecar.prepare(tokens[-1], "o-1")
        killed = (await sidecar.delegate(tokens[ended], request_id=f"g-k{ended}")).grant.chain_grant_ids[-1]
        await sidecar.fence("Revoke", f"f-{ended}", grant_id=killed)
        refused = await sidecar.tool.refused("CommitAction", **commit(tokens[-1], "o-1"))
        assert (refused.reason, refused.metadata["fence"]) == ("FENCED", f"f-{ended}")


async def test_a_flood_of_children_stops_at_a_number() -> None:
    """A runaway agent cannot fill the store through its children either."""
    async with served(max_delegations=20) as running:
        front = [await running.grant()]
        made = 0
        for number in range(60):
            token = front[number % len(front)]
            call = running.tool.rpc("DelegateGrant")(request("DelegateGrant", **ask(token, child_run={})))
            if (await call.code()).name == "OK":
                made += 1
                front.append((await call).grant_token)
        assert made == 20
        assert len(running.store.state.runs) == 21


async def test_swapped_tokens_mix_no_grants(sidecar: Served) -> None:
    """An action of one link of a chain is not committed, settled or given up under another."""
    token = await sidecar.grant()
    child = (await sidecar.delegate(token)).grant_token
    await sidecar.prepare(token, "o-parent")
    await sidecar.prepare(child, "o-child")
    for wrong, op_id in ((child, "o-parent"), (token, "o-child")):
        for method, fields in (
            ("CommitAction", commit(wrong, op_id)),
            ("PerformAction", {"grant_token": wrong, "intent": intent(op_id)}),
            ("PrepareAction", {"grant_token": wrong, "intent": intent(op_id)}),
            ("AbandonAction", {"grant_token": wrong, "op_id": op_id}),
            ("SettleAction", {"grant_token": wrong, "op_id": op_id, "outcome": 1}),
        ):
            assert (await sidecar.tool.refused(method, **fields)).reason == "WRONG_GRANT"
    parts = [one.split(".") for one in (token, child)]
    for header, payload, signature in ((0, 1, 0), (1, 0, 1), (0, 0, 1), (1, 1, 0)):
        mixed = ".".join((parts[header][0], parts[payload][1], parts[signature][2]))
        refused = await sidecar.tool.refused("PerformAction", grant_token=mixed, intent=intent("o-1"))
        assert refused.reason == "TOKEN_UNTRUSTED"
