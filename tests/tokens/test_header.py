"""Attacks through the header: algorithms, keys brought along, key ids. Most here is truly signed."""

import hashlib
import hmac
import json
import re
import socket
import tomllib
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from grant_service.tokens.verify import Verifier
from tests.tokens.support import (
    CLAIMS,
    HEADER,
    KEY,
    KEYRING,
    KID,
    REF,
    b64,
    forge,
    header_with,
    refusal,
    rule,
    text,
    untrusted,
)

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = KEY.public_key()
SPELLINGS_OF_THE_PUBLIC_KEY = {
    "raw": PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw),
    "pem": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "der": PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "ssh": PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "jwk": json.dumps(jwt.algorithms.OKPAlgorithm.to_jwk(PUBLIC, as_dict=True)).encode(),
}


def unsigned(header: Any) -> str:
    """Header and good claims, as they are signed."""
    return f"{b64(text(header))}.{b64(text(CLAIMS))}"


def test_the_forge_of_these_tests_makes_good_tokens() -> None:
    """Control: what `forge` makes verifies, so each refusal below is due to what its test changed."""
    assert Verifier(KEYRING).verify(forge()) == REF
    assert Verifier(KEYRING).verify(forge(b'{"typ":"agent-grant+jwt", "kid":"golden", "alg":"EdDSA"}')) == REF


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 0, False])
@pytest.mark.parametrize("signature", ["", "AA", b64(bytes(64))])
def test_j1_alg_none_is_refused(name: Any, signature: str) -> None:
    """No spelling of `none` is an algorithm, with or without a signature part."""
    assert "must be" in rule(f"{unsigned(header_with(alg=name))}.{signature}")


@pytest.mark.parametrize("spelling", SPELLINGS_OF_THE_PUBLIC_KEY)
@pytest.mark.parametrize("name", ["HS256", "EdDSA"])
def test_j1_hmac_with_the_public_key_is_refused(spelling: str, name: str) -> None:
    """Who knows the public key cannot use it as a shared secret."""
    signed = unsigned(header_with(alg=name))
    secret = SPELLINGS_OF_THE_PUBLIC_KEY[spelling]
    bad = f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    assert (rule(bad) == "its alg must be EdDSA") if name == "HS256" else ("signature" in untrusted(bad))


@pytest.mark.parametrize("name", ["ES256", "EdDSA"])
def test_j1_es256_is_refused(name: str) -> None:
    """Another asymmetric algorithm is refused by name, and its signature under our name."""
    signed = unsigned(header_with(alg=name))
    r, s = decode_dss_signature(
        ec.generate_private_key(ec.SECP256R1()).sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    )
    bad = f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
    assert (rule(bad) == "its alg must be EdDSA") if name == "ES256" else ("signature" in untrusted(bad))


def test_j1_the_other_eddsa_curve_is_refused() -> None:
    """Ed448 is EdDSA by name, too."""
    signed = unsigned(HEADER)
    assert "signature" in untrusted(f"{signed}.{b64(Ed448PrivateKey.generate().sign(signed.encode()))}")


@pytest.mark.parametrize("name", ["eddsa", "Ed25519", "RS256", "PS256", "dir", ["EdDSA"], {"EdDSA": 1}, 1.5])
def test_j1_any_other_alg_is_refused(name: Any) -> None:
    """One algorithm, one spelling: even a good signature does not help."""
    assert rule(forge(header_with(alg=name))) == "its alg must be EdDSA"


def test_j1_no_signature_of_ours_can_be_respelled() -> None:
    """Ed25519 with S + L in place of S is the same equation; it must not be a second valid signature."""
    order = 2**252 + 27742317777372353535851937790883648493
    signed = unsigned(HEADER)
    signature = KEY.sign(signed.encode())
    shifted = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert "signature" in untrusted(f"{signed}.{b64(signature[:32] + shifted)}")


@pytest.mark.parametrize("size", [1, 32, 63, 65, 128])
def test_j1_a_signature_of_another_length_is_refused(size: int) -> None:
    """Cut, doubled or padded with zeros."""
    signature = (KEY.sign(unsigned(HEADER).encode()) * 2)[:size]
    assert "signature" in untrusted(f"{unsigned(HEADER)}.{b64(signature)}")


def test_j2_the_jwt_library_has_the_fixes_we_rely_on() -> None:
    """At least 2.15.1 is both declared and installed: the versions before it have known holes."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    assert "pyjwt>=2.15.1" in project["project"]["optional-dependencies"]["service"]
    installed = [int(number) for number in re.findall(r"\d+", jwt.__version__)[:3]]
    assert installed >= [2, 15, 1]


JWK = jwt.algorithms.OKPAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": JWK},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["MIIB"]},
        {"x5t": "AA"},
        {"crit": []},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A128GCM"},
        {"Alg": "none"},
        {"": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [KEY, STRANGER], ids=["ours", "theirs"])
def test_j6_a_header_with_anything_more_is_refused(extra: dict[str, Any], key: Ed25519PrivateKey) -> None:
    """Keys brought along, addresses of keys, extensions, compression: refused by their presence."""
    assert rule(forge({**HEADER, **extra}, key=key)) == "its header must hold exactly alg, kid, typ"


@pytest.mark.parametrize("name", HEADER)
def test_j6_a_header_with_anything_less_is_refused(name: str) -> None:
    """All three names must be there."""
    assert rule(forge(header_with(**{name: ...}))) == "its header must hold exactly alg, kid, typ"


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"none","alg":"EdDSA","kid":"golden","typ":"agent-grant+jwt"}',
        b'{"alg":"EdDSA","kid":"other","kid":"golden","typ":"agent-grant+jwt"}',
        b'{"alg":"EdDSA","kid":"golden","typ":"JWT","typ":"agent-grant+jwt"}',
        b'{"alg":"EdDSA","kid":"golden","typ":"agent-grant+jwt","\\u0074yp":"agent-grant+jwt"}',
    ],
)
def test_j4_a_name_twice_in_the_header_is_refused(header: bytes) -> None:
    """Two readers of one header must not see two headers."""
    assert "repeated names" in rule(forge(header))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b"{",
        b"{}}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 2_500,
        b'{"a":' * 500,
        b"9" * 2_500,
        b'{"alg":NaN,"kid":"golden","typ":""}',
        text(HEADER).decode().encode("utf-16"),
    ],
    ids=lambda header: ascii(header[:16]),
)
def test_a_header_that_is_no_json_object_is_refused(header: bytes) -> None:
    """Broken, nested without end, in another encoding: one answer."""
    assert "header must be a JSON object" in rule(forge(header))


@pytest.mark.parametrize(
    "name", ["JWT", "jwt", "at+jwt", "AGENT-GRANT+JWT", "application/agent-grant+jwt", "", None, 1]
)
def test_j4_another_typ_is_refused(name: Any) -> None:
    """A token signed with our key for another purpose is no grant."""
    assert rule(forge(header_with(typ=name))) == "its typ must be agent-grant+jwt"


@pytest.mark.parametrize(
    "kid",
    [
        "unknown",
        "",
        "GOLDEN",
        "golden ",
        "golden\0",
        "../../etc/passwd",
        "../keys/golden",
        "golden.pem",
        "' OR '1'='1",
        "1; DROP TABLE grants",
        "https://attacker.example/key",
        "\ud800",
        "__class__",
        "a" * 33,
        "k" * 2_500,
    ],
    ids=lambda kid: ascii(kid[:32]),
)
def test_j6_an_unknown_kid_is_refused_by_a_look_up(kid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path, SQL, an address, NUL: nothing but a key of a table; no file is opened and nobody is asked."""
    bad = forge(header_with(kid=kid))
    monkeypatch.setattr("builtins.open", _never)
    monkeypatch.setattr("os.open", _never)
    monkeypatch.setattr(socket, "socket", _never)
    assert untrusted(bad) == "its kid must be a key of this sidecar"


def _never(*_: object, **__: object) -> None:
    raise AssertionError("a kid must not cause I/O")


def test_j6_a_kid_of_10_kb_is_refused_by_its_size() -> None:
    """It never reaches the look-up."""
    assert refusal(forge(header_with(kid="k" * 10_240))).reason == "TOKEN_TOO_LARGE"


@pytest.mark.parametrize("kid", [None, 7, True, 1.5, [KID], {"kid": KID}])
def test_j6_a_kid_that_is_no_text_is_refused(kid: Any) -> None:
    """What cannot be looked up is not looked up."""
    assert rule(forge(header_with(kid=kid))) == "its kid must be text"


def test_j6_an_unknown_kid_is_not_tried_with_other_keys() -> None:
    """A good signature under a wrong name stays refused: the kid picks the key, no key is guessed."""
    assert "kid" in untrusted(forge(header_with(kid="unknown"), key=KEY))


def test_a_token_of_a_strangers_key_is_refused() -> None:
    """All as ours, kid included, but signed by someone else."""
    assert "signature" in untrusted(forge(key=STRANGER))
