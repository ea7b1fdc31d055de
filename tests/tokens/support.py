"""What the tests of tokens share: a fixed key, a valid token in pieces, and ways to forge others from it."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from grant_service.core.errors import ErrorReason, Refusal, Refused, explain
from grant_service.core.grant import GrantRef
from grant_service.tokens.keys import Keyring, SigningKey
from grant_service.tokens.mint import mint
from grant_service.tokens.verify import Verifier

KID = "golden"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYRING = Keyring(SigningKey(KID, KEY), {KID: KEY.public_key()})

HEADER: dict[str, Any] = {"alg": "EdDSA", "kid": KID, "typ": "agent-grant+jwt"}
CLAIMS: dict[str, Any] = {
    "anc": ["r-root", "r-middle"],
    "aud": "tool",
    "exp": 1_700_000_060,
    "iat": 1_700_000_000,
    "iss": "countermand",
    "jti": "g-1",
    "nbf": 1_700_000_000,
    "run": "r-leaf",
    "sub": "u-7",
}
REF = GrantRef("g-1", "r-leaf", ("r-root", "r-middle"), "tool", "u-7")


def token(grant_id: str = "g-1", keyring: Keyring = KEYRING) -> str:
    """A good token."""
    return mint(
        keyring,
        grant_id=grant_id,
        run_id="r-leaf",
        ancestors=("r-root", "r-middle"),
        audience="tool",
        subject="u-7",
        issue_time=1_700_000_000_000,
        expire_time=1_700_000_060_000,
    ).reveal()


def b64(data: bytes) -> str:
    """One part of a token, spelled as it should be."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text(value: Any) -> bytes:
    """A JSON value as its bytes; bytes stay what they are, so that a test can write what no encoder would."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def forge(header: Any = HEADER, claims: Any = CLAIMS, key: Ed25519PrivateKey = KEY) -> str:
    """A token that says anything, truly signed: only the rule under test can refuse it."""
    signed = f"{b64(text(header))}.{b64(text(claims))}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


def claims_with(**changes: Any) -> dict[str, Any]:
    """The good claims with some changed; an Ellipsis takes one away."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}


def header_with(**changes: Any) -> dict[str, Any]:
    """The good header with some changed; an Ellipsis takes one away."""
    return {name: value for name, value in {**HEADER, **changes}.items() if value is not ...}


def refusal(bad: str, keyring: Keyring = KEYRING) -> Refusal:
    """How a fresh verifier refuses this; fails if it does not, or cannot explain itself."""
    with pytest.raises(Refused) as caught:
        Verifier(keyring).verify(bad)
    assert "?" not in explain(caught.value.refusal)
    return caught.value.refusal


def rule(bad: str) -> str:
    """The rule by which a token is called malformed."""
    refused = refusal(bad)
    assert refused.reason is ErrorReason.TOKEN_MALFORMED
    return refused.details["rule"]


def untrusted(bad: str, keyring: Keyring = KEYRING) -> str:
    """The rule by which a well-formed token is not trusted."""
    refused = refusal(bad, keyring)
    assert refused.reason is ErrorReason.TOKEN_UNTRUSTED
    return refused.details["rule"]
