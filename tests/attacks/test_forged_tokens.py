"""Attack: tokens that are not what was issued, sent over the wire; even signed ones, by a stolen key."""

import json
from typing import Any

import pytest

from grant_service.tokens.keys import load_or_create
from tests.rpc.stores import UntouchedStore
from tests.rpc.support import Served, commit, intent, served
from tests.tokens.support import CLAIMS, HEADER, forge

NOW = CLAIMS["iat"]
LIES: dict[str, dict[str, Any]] = {
    "exp-as-text": {"exp": str(CLAIMS["exp"])},
    "exp-for-ever": {"exp": 10**18},
    "exp-larger-than-any-integer": {"exp": 10**40},
    "exp-negative": {"exp": -1},
    "exp-a-fraction": {"exp": NOW + 0.5},
    "exp-an-exponent": {"exp": 1.8e9},
    "exp-true": {"exp": True},
    "exp-none": {"exp": None},
    "exp-before-iat": {"exp": NOW - 1},
    "exp-a-day-later": {"exp": NOW + 86_400},
    "exp-missing": {"exp": ...},
    "nbf-later": {"nbf": NOW + 1},
    "aud-a-list-of-two-tools": {"aud": ["tool", "other"]},
    "aud-a-list-of-one": {"aud": ["tool"]},
    "aud-empty": {"aud": ""},
    "aud-missing": {"aud": ...},
    "another-issuer": {"iss": "countermand.evil"},
    "a-claim-more": {"scope": "*"},
    "run-of-no-id": {"run": "../../r-1"},
    "ancestors-as-text": {"anc": "r-root"},
    "itself-as-ancestor": {"anc": ["r-leaf"]},
    "itself-as-parent": {"act": {"sub": CLAIMS["jti"]}},
    "a-chain-as-text": {"act": "g-0"},
    "a-chain-as-a-list": {"act": [{"sub": "g-0"}]},
    "a-chain-of-no-id": {"act": {"sub": "../g-0"}},
    "a-chain-with-a-word-more": {"act": {"sub": "g-0", "scope": "*"}},
    "a-chain-without-end": {"act": {"sub": "g-0", "act": {}}},
    "an-actor-that-may": {"may_act": {"sub": "g-0"}},
}
HEADERS: dict[str, dict[str, Any]] = {
    "alg-none": {"alg": "none"},
    "alg-none-in-other-letters": {"alg": "NonE"},
    "alg-hs256": {"alg": "HS256"},
    "alg-es256": {"alg": "ES256"},
    "crit": {"crit": ["exp"]},
    "b64-false": {"b64": False, "crit": ["b64"]},
    "embedded-key": {
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    },
    "jku": {"jku": "https://evil.example/keys"},
    "x5u": {"x5u": "https://evil.example/cert"},
    "another-type": {"typ": "JWT"},
    "kid-a-path": {"kid": "../../../../etc/passwd"},
    "kid-sql": {"kid": "' OR 1=1 --"},
    "kid-nul": {"kid": "k\0"},
    "kid-long": {"kid": "k" * 1500},
    "kid-unknown": {"kid": "k-0123456789abcdef"},
}


def forged(running: Served, header: dict[str, Any], claims: Any) -> str:
    """A token signed by the sidecar's own key, whatever it says."""
    key = load_or_create(running.home / "keys").signing
    return forge(HEADER | {"kid": key.kid} | header, claims, key.private_key)


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
async def test_a_header_that_says_more_or_else_is_refused_before_the_store(header: dict[str, Any]) -> None:
    """Even truly signed: what a header says chooses nothing."""
    store: Any = UntouchedStore()
    async with served(store) as running:
        bad = forged(running, header, CLAIMS)
        await refused_everywhere(running, bad)
    assert store.touched == []


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_claim_that_is_not_as_we_write_it_is_refused_before_the_store(lie: dict[str, Any]) -> None:
    """A stolen key makes tokens, but not tokens of another shape."""
    claims = {name: value for name, value in {**CLAIMS, **lie}.items() if value is not ...}
    store: Any = UntouchedStore()
    async with served(store) as running:
        await refused_everywhere(running, forged(running, {}, claims))
    assert store.touched == []


@pytest.mark.parametrize("name", sorted(CLAIMS))
async def test_a_claim_that_comes_twice_is_refused_before_the_store(name: str) -> None:
    """The last one would win here and the first one elsewhere."""
    twice = json.dumps(CLAIMS)[:-1] + f', "{name}": {json.dumps(CLAIMS[name])}}}'
    store: Any = UntouchedStore()
    async with served(store) as running:
        await refused_everywhere(running, forged(running, {}, twice.encode()))
    assert store.touched == []


async def refused_everywhere(running: Served, bad: str) -> None:
    """By every RPC that takes a token, for the token, and without a word of it."""
    told = {"grant_token": bad}
    for method, fields in (
        ("PrepareAction", told | {"intent": intent("o-1")}),
        ("CommitAction", commit(bad, "o-1")),
        ("PerformAction", told | {"intent": intent("o-1")}),
        ("SettleAction", told | {"op_id": "o-1", "outcome": 1}),
        ("AbandonAction", told | {"op_id": "o-1"}),
        ("SpendBudget", told | {"op_id": "s-1", "budget": "usd", "amount": 1}),
        ("DelegateGrant", told | {"scopes": [{"action": "*"}]}),
        ("ExtendGrant", told),
    ):
        caller = running.issuer if method == "ExtendGrant" else running.tool
        refused = await caller.refused(method, **fields)
        assert refused.reason in ("TOKEN_MALFORMED", "TOKEN_UNTRUSTED")
        for part in bad.split("."):
            assert part not in str(refused)


async def test_a_token_of_the_right_shape_for_no_grant_is_refused_by_the_store(sidecar: Served) -> None:
    """Allow-list: a true signature proves who wrote it, not that it was ever issued."""
    await sidecar.grant()
    bad = forged(sidecar, {}, CLAIMS | {"run": "r-1", "anc": [], "jti": "g-never-issued"})
    for method, fields in (
        ("PerformAction", {"grant_token": bad, "intent": intent("o-1")}),
        ("SettleAction", {"grant_token": bad, "op_id": "o-1", "outcome": 1}),
    ):
        assert (await sidecar.tool.refused(method, **fields)).reason == "GRANT_UNKNOWN"
    assert [entry.kind for entry in await sidecar.journal()] == ["OPENED", "ISSUED"]


@pytest.mark.parametrize("lie", [{"run": "r-2"}, {"anc": ["r-2"]}], ids=["another-run", "another-parent"])
async def test_a_grant_cannot_be_moved_to_another_run(sidecar: Served, lie: dict[str, Any]) -> None:
    """Nor out from under a parent that was cancelled: what the store wrote down counts."""
    await sidecar.grant("r-2")
    await sidecar.issuer("OpenRun", run_id="r-1")
    await sidecar.issuer("IssueGrant", run_id="r-1", request_id="g-1", scopes=[{"action": "*"}])
    bad = forged(sidecar, {}, CLAIMS | {"run": "r-1", "anc": [], "jti": "g-1"} | lie)
    refused = await sidecar.tool.refused("PerformAction", grant_token=bad, intent=intent("o-1"))
    assert refused.reason == "GRANT_UNKNOWN"


async def test_what_a_token_says_of_its_time_extends_nothing(sidecar: Served) -> None:
    """A forged later expiry, or an earlier issue: the store's own record of the grant decides."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    issued = {"run_id": "r-1", "request_id": "g-1", "scopes": [{"action": "*"}], "ttl": {"seconds": 60}}
    await sidecar.issuer("IssueGrant", **issued)
    now = sidecar.clock.now // 1000
    longer = CLAIMS | {"run": "r-1", "anc": [], "jti": "g-1", "iat": now, "nbf": now, "exp": now + 900}
    token = forged(sidecar, {}, longer)
    assert (await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))).permit.fence
    sidecar.clock.advance(60)
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-2"))
    assert refused.reason == "GRANT_EXPIRED"
    assert await sidecar.refusals() == [("perform", "GRANT_EXPIRED")]


async def test_a_good_forgery_is_taken(sidecar: Served) -> None:
    """The control: these tests forge what the service would take, so each lie was what it was refused for."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    await sidecar.issuer("IssueGrant", run_id="r-1", request_id="g-1", scopes=[{"action": "*"}])
    token = forged(sidecar, {}, CLAIMS | {"run": "r-1", "anc": [], "jti": "g-1"})
    assert (await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))).permit.fence
