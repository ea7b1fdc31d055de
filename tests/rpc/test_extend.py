"""ExtendGrant: who may ask, what is answered; the token only says which grant it is about."""

import pytest

from grant_service.rpc.roles import Role
from tests.rpc.support import Served, cancel, intent
from tests.tokens.test_mint import claims_of

SHORT = {"ttl": {"nanos": 1_000_000}}


async def test_an_expired_token_is_good_for_asking(sidecar: Served) -> None:
    """Its grant lasts longer, the answer has a new token; the old one points to the same grant."""
    old = await sidecar.grant("r-1", request_id="g-1", **SHORT)
    sidecar.clock.advance(1)
    refused = await sidecar.tool.refused("PerformAction", grant_token=old, intent=intent("o-1"))
    assert refused.reason == "GRANT_EXPIRED"
    answer = await sidecar.issuer("ExtendGrant", grant_token=old, ttl={"seconds": 60})
    assert (answer.grant.grant_id, answer.replayed) == ("g-1", False)
    assert answer.grant.expire_time.seconds - answer.grant.issue_time.seconds == 61
    told, was = claims_of(answer.grant_token), claims_of(old)
    assert told["exp"] > was["exp"]
    assert {name: told[name] for name in ("jti", "run", "anc", "aud", "sub")} == {
        name: was[name] for name in ("jti", "run", "anc", "aud", "sub")
    }
    for number, token in enumerate((old, answer.grant_token)):
        await sidecar.tool("PerformAction", grant_token=token, intent=intent(f"o-{number}"))
    assert [entry.kind for entry in await sidecar.journal("r-1")].count("EXTENDED") == 1


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.ISSUER])
async def test_nobody_but_an_issuer_makes_authority_last(sidecar: Served, role: Role) -> None:
    """A tool least of all: it would never have to give back what it holds."""
    token = await sidecar.grant()
    assert (
        await sidecar.callers[role].refused("ExtendGrant", grant_token=token)
    ).reason == "ROLE_NOT_ALLOWED"


async def test_no_more_time_is_given_than_when_issuing(sidecar: Served) -> None:
    """The setting that bounds the one bounds the other."""
    token = await sidecar.grant()
    for ttl in ({"seconds": 901}, {"seconds": 0}, {"seconds": -1}):
        refused = await sidecar.issuer.refused("ExtendGrant", grant_token=token, ttl=ttl)
        assert refused.reason == "INVALID_REQUEST"


async def test_an_issue_repeated_after_many_extensions_is_answered(sidecar: Served) -> None:
    """However long the grant lasts by then, no token does: the new one begins later."""
    fields = {"run_id": "r-1", "request_id": "g-1", "scopes": [{"action": "*"}], "ttl": {"seconds": 900}}
    await sidecar.issuer("OpenRun", run_id="r-1")
    first = await sidecar.issuer("IssueGrant", **fields)
    sidecar.clock.advance(2)
    extended = await sidecar.issuer("ExtendGrant", grant_token=first.grant_token, ttl={"seconds": 900})
    again = await sidecar.issuer("IssueGrant", **fields)
    assert (again.replayed, again.grant_token) == (True, extended.grant_token)
    told = claims_of(again.grant_token)
    assert told["exp"] - told["iat"] <= 901
    assert told["iat"] > claims_of(first.grant_token)["iat"]


async def test_a_cancelled_run_is_told_of_as_a_commit_is(sidecar: Served) -> None:
    """With the reason, who and when."""
    token = await sidecar.grant("r-1")
    await sidecar.operator("CancelRun", **cancel("r-1"))
    refused = await sidecar.issuer.refused("ExtendGrant", grant_token=token)
    assert (refused.reason, refused.metadata["run"]) == ("REVOKED", "r-1")
