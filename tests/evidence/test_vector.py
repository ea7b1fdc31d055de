"""Signer and verifier are written apart, from one page, and agree with it and with each other."""

import base64
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countermand import EvidenceKey, SignedHead
from countermand import evidence as client
from countermand.cli.documents import document, dumps, members
from countermand.cli.evidence_files import heads_in
from grant_service.core import evidence as service
from grant_service.core.journal import Entry, Kind
from tests.evidence.support import KEY, KEYS, lines, spelled, vector
from tests.tokens.support import token

START = 1_800_000_000_000


def entries() -> list[Entry]:
    """The vector's entries."""
    return [
        Entry(one["seq"], one["time"], one["run"], Kind(one["kind"]), one["data"])
        for one in vector()["entries"]
    ]


def head() -> SignedHead:
    """The vector's head, read as any head that was kept."""
    (told,) = heads_in(dumps({"head": vector()["head"]}))
    return told


def test_the_signer_agrees_with_the_page() -> None:
    """Every spelling, every hash, the marks, what is signed, and the signature."""
    told = vector()
    first, last, signed_of = spelled()
    assert service.canonical(entries()[0]).decode() == first
    assert service.canonical(entries()[2]).decode() == last
    for count, one in enumerate(told["entries"], 1):
        assert service.head_of("r-1", entries()[:count]).hash.hex() == one["hash"]
    made = service.head_of("r-1", entries())
    for name in ("run_id", "last_seq", "entry_count", "stride"):
        assert getattr(made, name) == told["head"][name]
    assert made.marks.hex() == told["head"]["marks"]
    content = service.signed_bytes(made, told["head"]["time"], told["head"]["store_epoch"], "k-1")
    assert content == f"countermand head v1\n{signed_of}".encode()
    assert KEY.sign(content).hex() == told["head"]["signature"]


def test_the_verifier_agrees_with_the_page() -> None:
    """It chains to the same hashes and accepts the head."""
    told = vector()
    chained = [link.hex() for link in client.chain("r-1", lines(entries()))]
    assert chained == [one["hash"] for one in told["entries"]]
    assert KEYS[0].public_key.hex() == told["public_key"]
    assert client.signed_bytes(head()) == f"countermand head v1\n{spelled()[2]}".encode()
    assert client.signature_fault(head(), KEYS) is None
    assert client.journal_fault(head(), lines(entries())) is None


CHANGES: dict[str, Any] = {
    "run_id": "r-2",
    "last_seq": 10,
    "entry_count": 2,
    "hash": bytes(32),
    "marks": bytes(12),
    "stride": 2,
    "time": datetime(2030, 1, 1, tzinfo=UTC),
    "store_epoch": "sql-2",
    "signature": bytes(64),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_head_has_no_signature(name: str) -> None:
    """Every field is under the signature."""
    changed = replace(head(), **{name: CHANGES[name]})
    found = client.signature_fault(changed, KEYS)
    assert found
    assert "does not have the signature of key k-1" in found.text


def test_every_field_of_a_head_is_tried() -> None:
    """A new field that nobody signs would not be noticed otherwise."""
    assert {one.name for one in fields(SignedHead)} == {*CHANGES, "key_id"}


def test_a_head_by_another_key_is_named() -> None:
    """Whether its name is not known, or is known and is another key's."""
    unknown = client.signature_fault(replace(head(), key_id="k-2"), KEYS)
    assert unknown
    assert "k-2, which is not among those given (k-1)" in unknown.text
    other = EvidenceKey(
        "k-1", bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), True
    )
    assert client.signature_fault(head(), [other])
    assert client.signature_fault(head(), [replace(other, public_key=b"short")])
    assert client.signature_fault(head(), [])


def test_what_is_signed_can_be_taken_for_nothing_else() -> None:
    """A grant's signature is over base64url and a dot; a head's begins with words that have blanks."""
    header, claims, _ = token().split(".")
    assert base64.urlsafe_b64decode(header + "==").startswith(b"{")
    assert client.signed_bytes(head()).startswith(b"countermand head v1\n{")
    assert b" " not in f"{header}.{claims}".encode()


def test_a_head_as_documents_write_it_is_read_back() -> None:
    """Times as RFC 3339, bytes as hexadecimal: nothing is lost on the way through a report's JSON."""
    told = head()
    assert heads_in(dumps(document("head", **members(told)))) == [told]
    report = document("report", heads=[told, told])
    assert heads_in(dumps(report, indent=2)) == [told, told]
    assert heads_in("\n".join([dumps(report), dumps({"schema": "x"})])) == [told, told]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=300)
@given(st.dictionaries(names, texts, max_size=6))
def test_both_sides_spell_whatever_a_store_may_hold_alike(data: Mapping[str, str]) -> None:
    """Names beyond the first plane, controls, quotes: RFC 8785 sorts and escapes them in one way."""
    entry = Entry(7, START, "r-\u00e4", Kind.OPENED, data)
    made = service.head_of(entry.run_id, [entry])
    assert list(client.chain(entry.run_id, lines([entry]))) == [made.hash]


def test_names_are_sorted_by_utf_16() -> None:
    """As RFC 8785 has it: a pair of surrogates comes before the last of the first plane."""
    entry = Entry(1, 2, "r", Kind.OPENED, {"\ufb33": "1", "\U0001f600": "2", "\x01": '\b"\\\x7f\u2028'})
    spelling = '{"data":{"\\u0001":"\\b\\"\\\\\x7f\u2028","\U0001f600":"2","\ufb33":"1"},'
    spelling += '"kind":"OPENED","run":"r","seq":1,"time":2}'
    assert service.canonical(entry).decode() == spelling


@pytest.mark.parametrize(
    ("count", "stride"), [(0, 1), (1, 1), (4096, 1), (4097, 2), (8193, 2), (8194, 4), (16_000, 4)]
)
def test_marks_are_few_however_long_a_journal_is(count: int, stride: int) -> None:
    """At most 4096, and one at the end of every stretch."""
    made = service.head_of("r-1", (Entry(seq, 0, "r-1", Kind.SPENT) for seq in range(1, count + 1)))
    assert made.stride == stride
    assert len(made.marks) == count // stride * service.MARK_BYTES <= 4096 * service.MARK_BYTES
    assert (made.entry_count, made.last_seq) == (count, count)
