"""Claims must say exactly what a grant token says. Every token here is truly signed with our key."""

import time
from typing import Any

import pytest

from grant_service.tokens.verify import Verifier
from tests.tokens.support import CLAIMS, KEYRING, REF, claims_with, forge, rule, text

IAT = CLAIMS["iat"]
WRONG_TIMES = ["1700000000", 1.7e9, 1_700_000_000.0, True, False, None, [], -1, 10**18, 2**40, 2**63]
NO_IDS = ["", "a b", "-x", ".x", "x" * 65, "r\n", "r-1\n", "ä", "r/1", None, 7, True, ["r"], {"r": 1}]


def good(claims: dict[str, Any]) -> bool:
    """Whether these claims verify."""
    return bool(Verifier(KEYRING).verify(forge(claims=claims)))


@pytest.mark.parametrize("name", CLAIMS)
def test_j3_every_claim_must_be_there(name: str) -> None:
    """None is optional."""
    assert rule(forge(claims=claims_with(**{name: ...}))).startswith("its claims must be exactly")


@pytest.mark.parametrize("extra", ["scope", "cnf", "azp", "EXP", "exp ", "", "x5c"])
def test_j3_no_other_claim_may_be_there(extra: str) -> None:
    """What this version does not know, it cannot have honoured."""
    assert rule(forge(claims=claims_with(**{extra: "x"}))).startswith("its claims must be exactly")


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("value", WRONG_TIMES, ids=repr)
def test_j4_a_time_must_be_a_whole_number(name: str, value: Any) -> None:
    """Text, fractions, booleans, negative and absurd times are no times, whatever they would convert to."""
    assert rule(forge(claims=claims_with(**{name: value}))) == f"its {name} must be a whole number of seconds"


@pytest.mark.parametrize(
    "spelling", [b"1e3", b"1.0", b"NaN", b"Infinity", b"-Infinity", b"1E400", b"01", b"+1"]
)
def test_j4_a_time_spelled_otherwise_is_refused(spelling: bytes) -> None:
    """JSON has other ways to write numbers, and Python's reader some that JSON has not."""
    claims = (
        b'{"anc":[],"aud":"tool","exp":%s,"iat":1,"iss":"countermand","jti":"g","nbf":1,"run":"r","sub":""}'
    )
    assert Verifier(KEYRING).verify(forge(claims=claims % b"2")).grant_id == "g"
    assert rule(forge(claims=claims % spelling))


@pytest.mark.parametrize(
    ("life", "allowed"),
    [(-1, False), (0, False), (1, True), (900, True), (901, True), (902, False), (10**9, False)],
)
def test_j4_a_life_is_short_and_positive(life: int, allowed: bool) -> None:
    """900 s, and one for rounding."""
    claims = claims_with(exp=IAT + life)
    if allowed:
        assert good(claims)
    else:
        assert rule(forge(claims=claims)) == "its exp must be 1 to 901 seconds after its iat"


@pytest.mark.parametrize("nbf", [IAT - 1, IAT + 1, IAT + 60, 0])
def test_j4_nbf_must_be_iat(nbf: int) -> None:
    """There are no grants for later."""
    assert rule(forge(claims=claims_with(nbf=nbf))) == "its nbf must equal its iat"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"exp":', b'"exp":1700000010,"exp":'),
        (b'"run":', b'"run":"r-other","run":'),
        (b'"run":', b'"r\\u0075n":"r-other","run":'),
        (b'"aud":"tool"', b'"aud":{"a":1,"a":2}'),
    ],
)
def test_j4_a_name_twice_in_the_claims_is_refused(before: bytes, after: bytes) -> None:
    """At any depth, and also when it is spelled with an escape."""
    assert "repeated names" in rule(forge(claims=text(CLAIMS).replace(before, after)))


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"null", b"", b"x", b"[" * 2_900, b'{"a":' * 550, b"\xff\xfe{}"],
    ids=lambda payload: ascii(payload[:16]),
)
def test_j4_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    """Even signed."""
    token = forge(claims=payload)
    assert rule(token) in (
        "its payload must be a JSON object without repeated names",
        "it must be three base64url parts joined by dots",  # the empty payload
    )


@pytest.mark.parametrize(
    "audience", [["tool"], ["tool", "other"], [], {"tool": 1}, None, True, 7, ""], ids=repr
)
def test_j5_the_audience_is_one_text(audience: Any) -> None:
    """A list would make a token good at two tools; whether the one is the peer, the store decides."""
    assert rule(forge(claims=claims_with(aud=audience))).startswith("its aud must be")


@pytest.mark.parametrize("issuer", ["Countermand", "countermand ", "countermand.example", "c", ""])
def test_another_issuer_is_refused(issuer: str) -> None:
    """Not in part, not in other letters."""
    assert rule(forge(claims=claims_with(iss=issuer))) == "its iss must be countermand"


@pytest.mark.parametrize("issuer", [["countermand"], None, 7, True])
def test_an_issuer_that_is_no_text_is_refused(issuer: Any) -> None:
    """Not in a list either."""
    assert rule(forge(claims=claims_with(iss=issuer))) == "its iss must be text"


@pytest.mark.parametrize("name", ["jti", "run"])
@pytest.mark.parametrize("value", NO_IDS, ids=repr)
def test_ids_are_ids(name: str, value: Any) -> None:
    """The pattern of ids is the whole of an id: no newline at the end, no second line."""
    assert rule(forge(claims=claims_with(**{name: value}))).startswith(f"its {name} must be")


@pytest.mark.parametrize(
    "value", [[bad] for bad in NO_IDS] + ["r-root", None, {"r-root": 1}, [["r-root"]]], ids=repr
)
def test_ancestors_are_a_list_of_ids(value: Any) -> None:
    """Text would be a list of its letters."""
    assert rule(forge(claims=claims_with(anc=value))) == "its anc must be a list of ids"


def test_ancestors_are_bounded() -> None:
    """Seven above a run make eight on its path; eight are too many."""
    ids = [f"r-{number}" for number in range(8)]
    assert good(claims_with(anc=ids[:7]))
    assert good(claims_with(anc=[]))
    assert rule(forge(claims=claims_with(anc=ids))) == "its anc must hold at most 7 ids"


@pytest.mark.parametrize("ancestors", [["r-a", "r-a"], ["r-leaf"], ["r-a", "r-leaf"]])
def test_ancestors_and_run_differ(ancestors: list[str]) -> None:
    """A path that meets itself is no path."""
    assert rule(forge(claims=claims_with(anc=ancestors))) == "its anc and run must all differ"


@pytest.mark.parametrize("subject", ["", "u-7", "Ünïcode \U0001f642", 'quote " and \\', "x" * 1_000])
def test_a_subject_is_any_text(subject: str) -> None:
    """It names a user in the words of whoever opened the run."""
    assert Verifier(KEYRING).verify(forge(claims=claims_with(sub=subject))).subject == subject


@pytest.mark.parametrize("name", ["sub", "aud"])
@pytest.mark.parametrize("value", ["\ud800", "x\udfffy"], ids=ascii)
def test_half_a_surrogate_pair_is_no_text(name: str, value: str) -> None:
    """JSON can spell it, but no log, store or wire can take it."""
    assert rule(forge(claims=claims_with(**{name: value}))) == f"its {name} must be text"


@pytest.mark.parametrize("subject", [None, 7, True, [], {}])
def test_a_subject_of_another_type_is_refused(subject: Any) -> None:
    """Empty is a subject, null is not."""
    assert rule(forge(claims=claims_with(sub=subject))) == "its sub must be text"


@pytest.mark.parametrize("issued", [0, 1, IAT, 2**40 - 2])
def test_j9_no_clock_of_the_sidecar_decides(issued: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long past and far future verify alike, and no clock is read: there is no leeway, because the expiry is
    decided in the store, by its clock."""
    token = forge(claims=claims_with(iat=issued, nbf=issued, exp=issued + 1))
    for name in ("time", "time_ns", "monotonic", "localtime", "gmtime"):
        monkeypatch.setattr(time, name, _no_clock)
    assert Verifier(KEYRING).verify(token) == REF


def _no_clock(*_: object) -> None:
    raise AssertionError("verifying must not read a clock")
