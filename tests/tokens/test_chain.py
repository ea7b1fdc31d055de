"""The chain of a delegated grant, in the `act` claim: exactly the grants it came from, in their order."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grant_service.core.grant import MAX_CHAIN, GrantRef
from grant_service.core.run import MAX_DEPTH
from grant_service.tokens import claims
from grant_service.tokens.mint import mint
from grant_service.tokens.verify import Verifier
from tests.tokens.support import CLAIMS, KEYRING, claims_with, forge, rule, text
from tests.tokens.test_claims import NO_IDS
from tests.tokens.test_mint import FACTS, IDS, claims_of

SHAPE = "its act must hold the id of a grant as sub, and perhaps the next act"
DIFFER = "its act and jti must all differ"
#: What is no object at all.
NO_OBJECTS = ["g-0", ["g-0"], [{"sub": "g-0"}], None, True, False, 0, 7, 1.5, ""]


def nested(*ids: Any) -> Any:
    """An `act` claim by hand: the nearest grant outermost."""
    told: Any = ...
    for one in reversed(ids):
        told = {"sub": one} if told is ... else {"sub": one, "act": told}
    return told


def chain_of(act: Any) -> tuple[str, ...]:
    """The chain that a truly signed token with this claim is read as."""
    return Verifier(KEYRING).verify(forge(claims=claims_with(act=act))).chain


def minted(*chain: str, **facts: Any) -> str:
    """The token of a grant with this chain."""
    return mint(KEYRING, **{**FACTS, **facts}, chain=chain).reveal()


def test_a_delegated_grant_says_through_whom_it_came() -> None:
    """As RFC 8693 nests it: `act` is the grant it was delegated from, whose own `act` is the one before."""
    said = claims_of(minted("g-first", "g-second", "g-third"))
    assert said["act"] == {"sub": "g-third", "act": {"sub": "g-second", "act": {"sub": "g-first"}}}
    assert said == claims_with(act=said["act"])


def test_an_issued_grant_has_no_chain() -> None:
    """No empty claim either: there is one spelling of a grant that nobody handed on."""
    assert "act" not in claims_of(minted())
    assert Verifier(KEYRING).verify(minted()).chain == ()


@pytest.mark.parametrize("length", range(1, MAX_CHAIN))
def test_the_first_grant_comes_first(length: int) -> None:
    """The token nests it innermost; the core lists it first."""
    chain = tuple(f"g-of-{number}" for number in range(length))
    assert Verifier(KEYRING).verify(minted(*chain)).chain == chain
    assert chain_of(nested(*reversed(chain))) == chain


def test_a_chain_is_bounded() -> None:
    """Seven grants above one make eight; eight above are refused, by the verifier and by the mint."""
    ids = [f"g-of-{number}" for number in range(MAX_CHAIN)]
    assert len(chain_of(nested(*ids[1:]))) == MAX_CHAIN - 1
    assert rule(forge(claims=claims_with(act=nested(*ids)))) == "its act must be at most 7 deep"
    with pytest.raises(ValueError, match="at most 7 deep"):
        minted(*ids)


@pytest.mark.parametrize("depth", [8, 30, 100])
def test_a_chain_as_deep_as_a_well_is_refused(depth: int) -> None:
    """As many as fit in a token; the walk stops at the bound."""
    ids = [f"{number}" for number in range(depth)]
    assert rule(forge(claims=claims_with(act=nested(*ids)))) == "its act must be at most 7 deep"


@pytest.mark.parametrize("value", NO_OBJECTS, ids=repr)
def test_what_is_no_object_is_no_chain(value: Any) -> None:
    """Neither text nor a list nor null stands for a grant, at any depth."""
    assert rule(forge(claims=claims_with(act=value))) == SHAPE
    assert rule(forge(claims=claims_with(act={"sub": "g-0", "act": value}))) == SHAPE


@pytest.mark.parametrize("value", NO_IDS, ids=repr)
def test_every_link_is_an_id(value: Any) -> None:
    """At any depth."""
    assert rule(forge(claims=claims_with(act=nested(value)))) == SHAPE
    assert rule(forge(claims=claims_with(act=nested("g-0", value)))) == SHAPE


@pytest.mark.parametrize(
    "link",
    [
        {},
        {"act": {"sub": "g-0"}},
        {"sub": "g-0", "iss": "countermand"},
        {"sub": "g-0", "Act": {"sub": "g-a"}},
        {"sub": "g-0", "SUB": "g-0"},
        {"sub": "g-0", "": ""},
        {"sub": "g-0", "act": {}},
        {"sub ": "g-0"},
    ],
    ids=repr,
)
def test_a_link_holds_a_sub_and_perhaps_an_act_and_nothing_else(link: Any) -> None:
    """What this version does not know, it cannot have honoured."""
    assert rule(forge(claims=claims_with(act=link))) == SHAPE
    assert rule(forge(claims=claims_with(act={"sub": "g-00", "act": link}))) == SHAPE


@pytest.mark.parametrize("ids", [["g-1"], ["g-0", "g-0"], ["g-0", "g-1"], ["g-0", "g-2", "g-0"]], ids=str)
def test_no_grant_comes_twice(ids: list[str]) -> None:
    """A grant that came from itself came from nowhere; g-1 is the grant itself."""
    assert rule(forge(claims=claims_with(act=nested(*ids)))) == DIFFER


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"act":{', b'"act":{"sub":"g-9"},"act":{'),
        (b'"act":{', b'"\\u0061ct":{"sub":"g-9"},"act":{'),
        (b'"sub":"g-0"', b'"sub":"g-9","sub":"g-0"'),
        (b'"sub":"g-0"', b'"s\\u0075b":"g-9","sub":"g-0"'),
    ],
)
def test_a_name_twice_in_a_chain_is_refused(before: bytes, after: bytes) -> None:
    """Two readers could take different ones."""
    good = text({"act": nested("g-0"), **CLAIMS})
    assert Verifier(KEYRING).verify(forge(claims=good)).chain == ("g-0",)
    assert good.count(before) == 1
    assert "repeated names" in rule(forge(claims=good.replace(before, after)))


@pytest.mark.parametrize("spelling", [b"{}x", b"{", b"NaN", b"[[[[", b'{"sub":"g-0"}}', b'{"sub":"g-0",}'])
def test_a_chain_that_is_no_json_is_refused(spelling: bytes) -> None:
    """Even signed."""
    good = text({"act": "HERE", **CLAIMS})
    assert "JSON object" in rule(forge(claims=good.replace(b'"HERE"', spelling)))


@pytest.mark.parametrize("name", ["act ", "Act", "acts", "ACT", "may_act", "act\u200b"])
def test_no_other_name_is_a_chain(name: str) -> None:
    """A chain under another name would be one that nobody compares."""
    assert rule(forge(claims=claims_with(**{name: nested("g-0")}))).startswith("its claims must be exactly")


@given(
    ids=st.lists(IDS, min_size=2, max_size=MAX_CHAIN + 1, unique=True),
    runs=st.lists(IDS, min_size=1, max_size=MAX_DEPTH, unique=True),
    subject=st.text(st.characters(exclude_categories=["Cs"]), max_size=128),
)
@settings(max_examples=200, deadline=None)
def test_every_chain_comes_back_from_its_token(ids: list[str], runs: list[str], subject: str) -> None:
    """Minted means verifiable, and nothing is lost or turned round."""
    grant_id, *chain = ids[:MAX_CHAIN]
    *ancestors, run_id = runs
    facts = {"grant_id": grant_id, "run_id": run_id, "ancestors": tuple(ancestors), "subject": subject}
    expected = GrantRef(grant_id, run_id, tuple(ancestors), FACTS["audience"], subject, tuple(chain))
    assert Verifier(KEYRING).verify(minted(*chain, **facts)) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | IDS,
        lambda one: (
            st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["sub", "act", "x"]), one, max_size=3)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_nested_is_a_chain_or_a_refusal(act: Any) -> None:
    """Nothing else comes out of it, and what is read is what was said."""
    said = claims_with(act=act)
    fault = claims.fault(said)
    if fault is None:
        assert act == nested(*reversed(claims.read(said).chain))
    else:
        assert fault in (SHAPE, DIFFER, "its act must be at most 7 deep")


@pytest.mark.parametrize("letter", ["\U0001f642", '"', "\u00e9", "\\"], ids=ascii)
def test_the_longest_delegated_grant_fits_in_a_token(letter: str) -> None:
    """Eight runs and eight grants with the longest ids, and the longest subject, in letters of any width."""
    runs = [f"{number}" + "r" * 63 for number in range(MAX_DEPTH)]
    grants = [f"{number}" + "g" * 63 for number in range(MAX_CHAIN)]
    facts = {"grant_id": grants[-1], "run_id": runs[-1], "ancestors": tuple(runs[:-1]), "audience": "a" * 64}
    token = minted(*grants[:-1], **facts, subject=letter * 128)
    assert len(token) <= claims.MAX_SIZE
    ref = Verifier(KEYRING).verify(token)
    assert (ref.links, ref.path, ref.subject) == (tuple(grants), tuple(runs), letter * 128)


def test_another_chain_is_another_token() -> None:
    """The cache of verified tokens goes by the whole token: the one never stands for the other."""
    verifier = Verifier(KEYRING)
    chains = [("g-a", "g-b"), ("g-b", "g-a"), ("g-a",), ("g-b",), ()]
    for _ in range(2):
        assert [verifier.verify(minted(*chain)).chain for chain in chains] == chains
    assert len({json.dumps(claims_of(minted(*chain))) for chain in chains}) == len(chains)
