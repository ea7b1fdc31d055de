"""Attack: a token in the wrong hands."""

from typing import Any

import pytest

from tests.rpc.support import Served, commit, intent, served


def attempts(token: str) -> list[tuple[str, dict[str, Any]]]:
    """Every RPC that takes a token."""
    told = {"grant_token": token}
    return [
        ("PrepareAction", told | {"intent": intent("o-2")}),
        ("CommitAction", commit(token, "o-1")),
        ("PerformAction", told | {"intent": intent("o-3")}),
        ("SettleAction", told | {"op_id": "o-1", "outcome": 1}),
        ("AbandonAction", told | {"op_id": "o-1"}),
    ]


@pytest.mark.parametrize("audience", ["mailer", "operator", "Tool", "tool2"])
async def test_a_token_for_one_peer_is_refused_from_another(
    sidecar: Served, logs: list[dict[str, Any]], audience: str
) -> None:
    """The listener says who presents it; refused by every verb, journalled under the run, and alarmed."""
    token = await sidecar.grant("r-1", audience=audience)
    for method, fields in attempts(token):
        refused = await sidecar.tool.refused(method, **fields)
        assert refused.reason == "WRONG_AUDIENCE"
        assert (refused.metadata["audience"], refused.metadata["peer"]) == (audience, "tool")
    verbs = ["prepare", "commit", "perform", "settle", "abandon"]
    assert await sidecar.refusals() == [(verb, "WRONG_AUDIENCE") for verb in verbs]
    told = [event for event in logs if event["event"] == "refused"]
    assert [(event["log_level"], event["run"]) for event in told] == [("warning", "r-1")] * 5


async def test_a_token_is_worth_nothing_on_the_other_sockets(sidecar: Served) -> None:
    """Whoever stole it cannot use it where tools are not let in."""
    token = await sidecar.grant()
    for caller in (sidecar.issuer, sidecar.operator, sidecar.auditor):
        for method, fields in attempts(token):
            assert (await caller.refused(method, **fields)).reason == "ROLE_NOT_ALLOWED"
    assert await sidecar.refusals() == []


async def test_one_grant_cannot_touch_what_another_prepared(sidecar: Served) -> None:
    """Also not in the same run: a permit belongs to the grant the action was prepared under."""
    owner = await sidecar.grant("r-1")
    thief = await sidecar.grant("r-1", request_id="g-thief")
    await sidecar.tool("PrepareAction", grant_token=owner, intent=intent("o-1"))
    for method, fields in attempts(thief):
        if "o-1" in str(fields):
            assert (await sidecar.tool.refused(method, **fields)).reason == "WRONG_GRANT"
    again = {"grant_token": thief, "intent": intent("o-1")}
    assert (await sidecar.tool.refused("PerformAction", **again)).reason == "WRONG_GRANT"
    assert {reason for _, reason in await sidecar.refusals()} == {"WRONG_GRANT"}
    assert (await sidecar.tool("CommitAction", **commit(owner, "o-1"))).permit.fence


async def test_a_token_of_another_sidecar_is_refused_by_its_signature(sidecar: Served) -> None:
    """Each home has its own key."""
    async with served(own_keys=True) as other:
        foreign = await other.grant()
    await sidecar.grant()
    for method, fields in attempts(foreign):
        assert (await sidecar.tool.refused(method, **fields)).reason == "TOKEN_UNTRUSTED"
    assert await sidecar.refusals() == []
