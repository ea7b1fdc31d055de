"""What a person may agree to instead of what was prepared: less of it, and nothing else."""

import json

import pytest

import countermand
from countermand._amendment import amended
from countermand._digest import spelling

GIVEN = {
    "amount": 100,
    "rate": 1.5,
    "debt": -20,
    "none": 0,
    "to": ["ann", "bob", "cem"],
    "note": "rent",
    "urgent": True,
    "via": None,
    "lines": ({"sku": "a", "count": 2}, {"sku": "b", "count": 1}),
    "address": {"city": "Bonn", "floor": 3, "flags": {"gate": True}},
}


def agreed(text: str, digest: bytes | None = None) -> dict[str, object]:
    """Answer the arguments of an approval with this amendment."""
    if digest is None:
        digest = countermand.digest(json.loads(text))
    return amended("o-1", GIVEN, countermand.Approval("ann", "", None, text, digest))


@pytest.mark.parametrize(
    "amendment",
    [
        {},
        GIVEN,
        {"amount": 100},
        {"amount": 1},
        {"rate": 0.5},
        {"rate": 1},
        {"debt": -1},
        {"none": 0},
        {"to": []},
        {"to": ["ann", "cem"]},
        {"note": "rent", "urgent": True, "via": None},
        {"lines": [{"sku": "b", "count": 1}]},
        {"address": {"city": "Bonn", "floor": 2}},
        {"address": {"flags": {}}},
    ],
)
def test_less_is_an_amendment(amendment: dict[str, object]) -> None:
    """Fewer keys, smaller numbers, fewer items; all the way down."""
    assert agreed(spelling(amendment)) == json.loads(spelling(amendment))


@pytest.mark.parametrize(
    ("amendment", "where"),
    [
        ({"amount": 101}, r"args\['amount'\]"),
        ({"amount": -100}, r"args\['amount'\]"),
        ({"amount": 0}, r"args\['amount'\]"),
        ({"amount": 50.0}, r"args\['amount'\]"),
        ({"amount": True}, r"args\['amount'\]"),
        ({"amount": "50"}, r"args\['amount'\]"),
        ({"amount": None}, r"args\['amount'\]"),
        ({"rate": 1.6}, r"args\['rate'\]"),
        ({"debt": -21}, r"args\['debt'\]"),
        ({"debt": 1}, r"args\['debt'\]"),
        ({"none": 1}, r"args\['none'\]"),
        ({"to": ["cem", "ann"]}, r"args\['to'\]"),
        ({"to": ["ann", "ann"]}, r"args\['to'\]"),
        ({"to": ["eve"]}, r"args\['to'\]"),
        ({"to": "ann"}, r"args\['to'\]"),
        ({"to": {"0": "ann"}}, r"args\['to'\]"),
        ({"note": "ren"}, r"args\['note'\]"),
        ({"note": ""}, r"args\['note'\]"),
        ({"urgent": False}, r"args\['urgent'\]"),
        ({"urgent": 1}, r"args\['urgent'\]"),
        ({"via": False}, r"args\['via'\]"),
        ({"lines": [{"sku": "a", "count": 1}]}, r"args\['lines'\]"),
        ({"address": {"city": "Köln"}}, r"args\['address'\]\['city'\]"),
        ({"address": {"zip": "1"}}, r"args\['address'\] has keys that were not prepared: 'zip'"),
        ({"address": {"flags": {"gate": 1}}}, r"args\['address'\]\['flags'\]\['gate'\]"),
        ({"bcc": "eve", "cc": "eve"}, r"args has keys that were not prepared: 'bcc', 'cc'"),
    ],
)
def test_more_or_other_is_none(amendment: dict[str, object], where: str) -> None:
    """The message names the place, and shows no value."""
    with pytest.raises(countermand.DigestMismatch, match=where) as refusal:
        agreed(spelling(amendment))

    assert refusal.value.metadata["op"] == "o-1"
    assert "Bonn" not in str(refusal.value)
    assert "Köln" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("1", "no JSON object"),
        ('{"amount": NaN}', "no JSON"),
        ('{"rate": Infinity}', "no JSON"),
        ('{"amount": 1, "amount": 100}', "no JSON"),
        ('{"address": {"floor": 1, "floor": 3}}', "no JSON"),
        ('{"to": ' + "[" * 1500 + "]" * 1500 + "}", "cannot be used"),
        ('{"rate": 1e999}', "JSON cannot say"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_none(text: str, why: str) -> None:
    """A key that is given twice may have been shown with the other value."""
    with pytest.raises(countermand.DigestMismatch, match=why):
        agreed(text, b"\0" * 32)


def test_it_must_be_the_one_that_was_agreed_to() -> None:
    """The digest is what a person put their name under, and what the commit is accepted with."""
    with pytest.raises(countermand.DigestMismatch, match="not those of the digest"):
        agreed('{"amount":1}', countermand.digest({"amount": 2}))


def test_its_spelling_does_not_matter() -> None:
    """The digest is of what it says."""
    assert agreed('{ "amount" : 1 }', countermand.digest({"amount": 1})) == {"amount": 1}
