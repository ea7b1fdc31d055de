"""Minting: what a token says, byte for byte, and what is never minted."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grant_service.core.grant import GrantRef
from grant_service.tokens.mint import mint
from grant_service.tokens.verify import Verifier
from tests.tokens.support import CLAIMS, HEADER, KEY, KEYRING, REF, b64, text, token

FACTS: dict[str, Any] = {
    "grant_id": "g-1",
    "run_id": "r-leaf",
    "ancestors": ("r-root", "r-middle"),
    "audience": "tool",
    "subject": "u-7",
    "issue_time": 1_700_000_000_000,
    "expire_time": 1_700_000_060_000,
}
GOLDEN_HEADER = b'{"alg":"EdDSA","kid":"golden","typ":"agent-grant+jwt"}'
GOLDEN_CLAIMS = (
    b'{"anc":["r-root","r-middle"],"aud":"tool","exp":1700000060,"iat":1700000000,"iss":"countermand",'
    b'"jti":"g-1","nbf":1700000000,"run":"r-leaf","sub":"u-7"}'
)
GOLDEN_SIGNATURE = (
    "524dd87b44ee9be89317b0d790e22d785c92dc46f87ed99d9746acdba683fdc9"
    "cffc4f357a5e90bf8134e693c7a81b0879c1d6135c09243ed2d62cd3b0ac830c"
)


def claims_of(minted: str) -> dict[str, Any]:
    """What a token says, read without the code under test."""
    part = minted.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return said


def test_the_golden_token_is_these_bytes() -> None:
    """A key, a grant and their token never change: other sidecars and older tokens depend on it."""
    signature = bytes.fromhex(GOLDEN_SIGNATURE)
    assert token() == f"{b64(GOLDEN_HEADER)}.{b64(GOLDEN_CLAIMS)}.{b64(signature)}"
    assert (text(HEADER), text(CLAIMS)) == (GOLDEN_HEADER, GOLDEN_CLAIMS)


def test_the_golden_signature_verifies_without_the_jwt_library() -> None:
    """Ed25519 over `header.payload`, as RFC 7515 and RFC 8037 say: anybody can check a token."""
    signed = f"{b64(GOLDEN_HEADER)}.{b64(GOLDEN_CLAIMS)}".encode()
    KEY.public_key().verify(bytes.fromhex(GOLDEN_SIGNATURE), signed)


def test_a_token_points_back_to_its_grant() -> None:
    """What was minted verifies, and is the same grant."""
    assert Verifier(KEYRING).verify(token()) == REF


def test_minting_twice_gives_the_same_token() -> None:
    """A repeated issue can be answered from the stored grant alone."""
    assert mint(KEYRING, **FACTS) == mint(KEYRING, **FACTS)
    assert mint(KEYRING, **FACTS) != mint(KEYRING, **{**FACTS, "grant_id": "g-2"})


@pytest.mark.parametrize(
    ("issue", "expire", "iat", "exp"),
    [
        (1_000, 2_000, 1, 2),
        (1_999, 2_000, 1, 2),
        (1_000, 2_001, 1, 3),
        (1_999, 901_999, 1, 902),  # the longest life, rounded outwards on both sides: 901 s
        (0, 1, 0, 1),
    ],
)
def test_times_are_rounded_outwards(issue: int, expire: int, iat: int, exp: int) -> None:
    """Issue down, expiry up: a token never ends before the grant, which ends by the store's milliseconds."""
    minted = mint(KEYRING, **{**FACTS, "issue_time": issue, "expire_time": expire}).reveal()
    said = claims_of(minted)
    assert (said["iat"], said["nbf"], said["exp"]) == (iat, iat, exp)
    assert Verifier(KEYRING).verify(minted) == REF


IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(
    ids=st.lists(IDS, min_size=2, max_size=9, unique=True),
    audience=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64),
    subject=st.text(st.characters(exclude_categories=["Cs"]), max_size=128),
    issue_time=st.integers(0, 2**40),
    life=st.integers(1, 900_000),
)
@settings(max_examples=200, deadline=None)
def test_every_grant_comes_back_from_its_token(
    ids: list[str], audience: str, subject: str, issue_time: int, life: int
) -> None:
    """Any ids, any text in any script, any times: minted means verifiable, and nothing is lost."""
    grant_id, run_id, *ancestors = ids
    minted = mint(
        KEYRING,
        grant_id=grant_id,
        run_id=run_id,
        ancestors=tuple(ancestors),
        audience=audience,
        subject=subject,
        issue_time=issue_time,
        expire_time=issue_time + life,
    )
    expected = GrantRef(grant_id, run_id, tuple(ancestors), audience, subject)
    assert Verifier(KEYRING).verify(minted.reveal()) == expected


def test_the_largest_grant_fits_in_a_token() -> None:
    """Eight runs with the longest ids, and a subject of 256 letters of four bytes each."""
    ids = [f"{number}" + "x" * 63 for number in range(9)]
    facts = {"grant_id": ids[0], "run_id": ids[1], "ancestors": tuple(ids[2:]), "audience": "a" * 64}
    minted = mint(KEYRING, **{**FACTS, **facts, "subject": "\U0001f642" * 256}).reveal()
    assert Verifier(KEYRING).verify(minted).ancestors == tuple(ids[2:])


@pytest.mark.parametrize(
    "wrong",
    [
        {"expire_time": FACTS["issue_time"]},
        {"expire_time": FACTS["issue_time"] - 1},
        {"expire_time": FACTS["issue_time"] + 900_001},
        {"issue_time": -1_001, "expire_time": 1},
        {"grant_id": ""},
        {"grant_id": "a b"},
        {"run_id": "x" * 65},
        {"ancestors": tuple(f"r-{number}" for number in range(8))},
        {"ancestors": ("r-leaf",)},
        {"ancestors": ("r-root", "r-root")},
        {"audience": ""},
        {"subject": "\ud800"},
        {"subject": "x" * 3_000},
    ],
    ids=str,
)
def test_what_would_not_verify_is_not_minted(wrong: dict[str, Any]) -> None:
    """A bug in the caller shows at once, not at the tool that presents the token."""
    with pytest.raises(ValueError, match="grant"):
        mint(KEYRING, **{**FACTS, **wrong})
