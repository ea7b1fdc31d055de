"""Attacks on the token's bytes: size, spelling, tampering. And: only Refused ever comes out."""

import base64
import json
import string
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.grant import GrantRef
from grant_service.tokens.verify import Verifier
from tests.tokens.support import CLAIMS, HEADER, KEYRING, REF, b64, claims_with, forge, refusal, rule, token

LETTERS = string.ascii_letters + string.digits + "-_"
SHAPE = "it must be three base64url parts joined by dots"
GOOD = token()


def outcome(anything: str) -> GrantRef | None:
    """The grant, or None for Refused; every other exception is the test's failure."""
    try:
        return Verifier(KEYRING).verify(anything)
    except Refused:
        return None


def test_no_token_is_refused_as_missing() -> None:
    """An empty field is a call without a token."""
    assert refusal("").reason is ErrorReason.TOKEN_MISSING


def test_j7_a_token_is_refused_by_its_size_alone() -> None:
    """4096 characters are read, 4097 are not, whatever they are."""
    assert rule("x" * 4096) == SHAPE
    refused = refusal("\ud800" * 4097)
    assert refused.reason is ErrorReason.TOKEN_TOO_LARGE
    assert refused.details == {"size": "4097", "limit": "4096"}


@pytest.mark.parametrize(
    "huge",
    ["x" * 5_000_000, f"{GOOD}.{'A' * 5_000_000}", f"{GOOD[:40]}{'[' * 5_000_000}"],
    ids=["letters", "a long signature", "brackets"],
)
def test_j7_five_megabytes_cost_nothing(huge: str) -> None:
    """Refused in less than 5 ms (of this thread), where reading them takes hundreds."""
    verifier = Verifier(KEYRING)
    start = time.thread_time()
    with pytest.raises(Refused) as caught:
        verifier.verify(huge)
    assert time.thread_time() - start < 0.005
    assert caught.value.refusal.reason is ErrorReason.TOKEN_TOO_LARGE


@pytest.mark.parametrize(
    "bad",
    [
        ".",
        "..",
        "a",
        "a.b",
        "a.b.",
        ".b.c",
        "a..c",
        "a.b.c.d",
        f"{GOOD}.",
        f".{GOOD}",
        f"{GOOD}\n",
        f" {GOOD}",
        f"Bearer {GOOD}",
        f"{GOOD}\0",
        GOOD.replace(".", "\u2024"),
        GOOD.replace("e", "\uff45", 1),
        f"{GOOD}~",
        json.dumps({"protected": GOOD.split(".")[0]}),
    ],
    ids=ascii,
)
def test_j4_only_three_parts_of_base64url_are_read(bad: str) -> None:
    """Anything else is refused before any of it is decoded."""
    assert rule(bad) == SHAPE


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("padding", ["=", "==", "%3D"])
def test_j4_padding_is_refused(part: int, padding: str) -> None:
    """PyJWT takes a trailing `=`; a grant token has one spelling."""
    parts = GOOD.split(".")
    parts[part] += padding
    assert rule(".".join(parts)) == SHAPE


def test_j4_the_other_base64_alphabet_is_refused() -> None:
    """`+` and `/` are what `-` and `_` decode like elsewhere."""
    tokens = [forge(claims=claims_with(sub="\x7f?>~" * length)) for length in range(1, 30)]
    respelled = [good.replace("-", "+").replace("_", "/") for good in tokens]
    changed = [bad for bad, good in zip(respelled, tokens, strict=True) if bad != good]
    assert changed
    assert {rule(bad) for bad in changed} == {SHAPE}


def test_j4_spare_bits_are_refused() -> None:
    """Where the last character of a part has bits to spare, only the spelling with zeros is read."""
    seen = 0
    for subject in ("u", "uu", "uuu"):  # parts of every length modulo 3
        parts = forge(claims=claims_with(sub=subject)).split(".")
        for index, part in enumerate(parts):
            for letter in LETTERS:
                other = part[:-1] + letter
                if other == part or decoded(other) != decoded(part):
                    continue
                seen += 1
                bad = ".".join([*parts[:index], other, *parts[index + 1 :]])
                assert rule(bad) == "its parts must be canonical base64url"
    assert seen >= 15  # of the signatures alone


def test_a_part_of_impossible_length_is_refused() -> None:
    """No bytes are spelled by 4n + 1 characters."""
    header, payload, signature = GOOD.split(".")
    assert rule(f"{header}.{payload}.{signature[:85]}") == "its parts must be canonical base64url"


def decoded(part: str) -> bytes:
    """The bytes of a part, spare bits ignored."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_token_changed_at_any_place_is_refused() -> None:
    """Every character matters: changed in its lowest bit, in its highest, taken out, put in twice."""
    for place, letter in enumerate(GOOD):
        value = LETTERS.find(letter)
        changes = {"", letter * 2, "."} - {letter}
        if value >= 0:
            changes |= {LETTERS[value ^ 1], LETTERS[value ^ 32]}
        for change in changes:
            bad = GOOD[:place] + change + GOOD[place + 1 :]
            assert bad == GOOD or outcome(bad) is None, f"place {place}, {letter!r} to {change!r}"


def test_parts_of_two_good_tokens_do_not_mix() -> None:
    """Each signature holds for its own claims only."""
    first, second = token("g-1").split("."), token("g-2").split(".")
    assert outcome(".".join([first[0], second[1], first[2]])) is None
    assert outcome(".".join([first[0], first[1], second[2]])) is None


@given(st.text(max_size=200) | st.text(LETTERS + ".", max_size=200) | st.binary(max_size=200).map(repr))
@settings(max_examples=500, deadline=None)
def test_any_text_is_refused(anything: str) -> None:
    """Nothing but Refused, whatever the text."""
    assert outcome(anything) is None


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_in_three_parts_are_refused(header: bytes, payload: bytes, signature: bytes) -> None:
    """Past the shape, into the decoders."""
    assert outcome(f"{b64(header)}.{b64(payload)}.{b64(signature)}") is None


NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(
    header=JSON | st.fixed_dictionaries(dict.fromkeys(HEADER, JSON)),
    payload=JSON,
    raw=st.binary(max_size=200),
)
@settings(max_examples=500, deadline=None)
def test_any_structure_is_refused_though_signed(header: Any, payload: Any, raw: bytes) -> None:
    """With our own signature under it, into the checks of header and claims."""
    assert outcome(forge(header, CLAIMS)) is None or header == HEADER
    assert outcome(forge(HEADER, payload)) is None
    assert outcome(forge(HEADER, raw)) is None


NEAR = {
    "anc": st.lists(st.sampled_from(["r-a", "r-b", "r-leaf", "", 7, None]), max_size=9) | JSON,
    "aud": st.sampled_from(["tool", "", ["tool"]]) | JSON,
    "exp": st.integers(998, 2_002) | JSON,
    "iat": st.integers(999, 1_001) | JSON,
    "iss": st.sampled_from(["countermand", "Countermand"]) | JSON,
    "jti": st.sampled_from(["g-1", "-g", "g" * 64, "g" * 65]) | JSON,
    "nbf": st.integers(999, 1_001) | JSON,
    "run": st.sampled_from(["r-leaf", "r-a", "r leaf"]) | JSON,
    "sub": st.text(max_size=5) | JSON,
}
BASE = claims_with(iat=1_000, nbf=1_000, exp=1_060)


CHANGES = st.sets(st.sampled_from(sorted(NEAR)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: NEAR[name] for name in sorted(names)})
)


@given(CHANGES, st.sets(st.sampled_from(sorted(CLAIMS)), max_size=1))
@example({}, set())
@settings(max_examples=800, deadline=None)
def test_claims_verify_exactly_when_they_keep_every_rule(changes: dict[str, Any], without: set[str]) -> None:
    """The rules, written a second time and naively, agree with the verifier on claims near the good ones."""
    claims = {name: value for name, value in {**BASE, **changes}.items() if name not in without}
    assert (outcome(forge(claims=claims)) is not None) == keeps_every_rule(claims)


def keeps_every_rule(claims: dict[str, Any]) -> bool:
    """What a grant token says, as one reads it in the design."""
    if sorted(claims) != ["anc", "aud", "exp", "iat", "iss", "jti", "nbf", "run", "sub"]:
        return False
    times = [claims[name] for name in ("iat", "nbf", "exp")]
    texts = [claims[name] for name in ("aud", "sub")]
    if not all(type(value) is int and 0 <= value < 2**40 for value in times):
        return False
    if not all(type(value) is str and is_utf8(value) for value in texts):
        return False
    if not isinstance(claims["anc"], list) or len(claims["anc"]) > 7:
        return False
    path = [*claims["anc"], claims["run"]]
    return (
        all(is_id(value) for value in [*path, claims["jti"]])
        and all(path.count(value) == 1 for value in path)
        and claims["iss"] == "countermand"
        and claims["aud"] != ""
        and times[0] == times[1]
        and 1 <= times[2] - times[0] <= 901
    )


def is_id(value: Any) -> bool:
    """An id, letter by letter."""
    alphabet = string.ascii_letters + string.digits
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or value[0] not in alphabet:
        return False
    return all(letter in alphabet + "._-" for letter in value)


def is_utf8(value: str) -> bool:
    """Whether a text can be written down."""
    try:
        return bool(value.encode()) or True
    except UnicodeEncodeError:
        return False


def test_the_good_token_is_good() -> None:
    """Control for all of the above."""
    assert outcome(GOOD) == REF
