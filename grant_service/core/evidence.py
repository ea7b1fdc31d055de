"""The evidence: a hash chain over a run's journal, and its head in the form in which it is signed.

The chain is a function of the journal and is computed when the journal is read. Nothing of it is stored: a
chain beside the entries would be rewritten by whoever rewrites them. What protects is a head that somebody
else holds. docs/evidence.md has the format for those who verify; they share no code with this file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from grant_service.core.journal import Entry

#: What is hashed and what is signed begins with one of these, so that neither can be taken for anything else,
#: a grant token above all: those have no blank in what is signed.
_JOURNAL = b"countermand journal v1\n"
_HEAD = b"countermand head v1\n"
_ARCHIVED = b"countermand archived run v1\n"

#: How many bytes of a hash are kept as a mark, and how many marks a head has at the most.
MARK_BYTES = 4
MAX_MARKS = 4096


@dataclass(frozen=True, slots=True)
class Head:
    """What a run's journal held, up to its last entry."""

    run_id: str
    last_seq: int
    entry_count: int
    hash: bytes
    #: The beginning of the hash after every `stride`-th entry.
    marks: bytes
    stride: int


def head_of(run_id: str, entries: Iterable[Entry]) -> Head:
    """Fold a run's entries, in order, into the head of its chain."""
    link = _first(run_id)
    marks, count, last_seq = bytearray(), 0, 0
    for entry, link in chain(run_id, entries):
        marks += link[:MARK_BYTES]
        count, last_seq = count + 1, entry.seq
    stride = 1
    while count // stride > MAX_MARKS:
        stride *= 2
    starts = range((stride - 1) * MARK_BYTES, len(marks), stride * MARK_BYTES)
    kept = b"".join(marks[start : start + MARK_BYTES] for start in starts)
    return Head(run_id, last_seq, count, link, kept, stride)


def chain(run_id: str, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Go through a run's entries, in order, with the chained hash of each."""
    link = _first(run_id)
    for entry in entries:
        link = hashlib.sha256(link + canonical(entry)).digest()
        yield entry, link


def _first(run_id: str) -> bytes:
    return hashlib.sha256(_JOURNAL + run_id.encode()).digest()


def canonical(entry: Entry) -> bytes:
    """Write an entry in the one spelling that is hashed: RFC 8785."""
    told = {"data": entry.data, "kind": entry.kind.value, "run": entry.run_id}
    return _canonical(told | {"seq": entry.seq, "time": entry.time})


def signed_bytes(head: Head, time: int, epoch: str, key_id: str) -> bytes:
    """Write what a key signs of a head: all that is told of it but the signature."""
    return _HEAD + _canonical(head_fields(head, time, epoch, key_id))


def sealed_bytes(record: Mapping[str, object], head: Mapping[str, object]) -> bytes:
    """Write what a key signs of an archived run: its record, and the signed head of its journal."""
    return _ARCHIVED + _canonical({"head": head, "record": record})


def head_fields(head: Head, time: int, epoch: str, key_id: str) -> dict[str, str | int]:
    """Tell all there is to tell of a head but the signature, as JSON has it."""
    return {
        "entry_count": head.entry_count,
        "hash": head.hash.hex(),
        "key_id": key_id,
        "last_seq": head.last_seq,
        "marks": head.marks.hex(),
        "run_id": head.run_id,
        "store_epoch": epoch,
        "stride": head.stride,
        "time": time,
    }


def _canonical(value: Mapping[str, object]) -> bytes:
    """Write an object of texts, whole numbers and such objects as RFC 8785 does: names sorted by UTF-16."""
    text = _spell(_ordered(value))
    # What is no Unicode has no spelling in RFC 8785, and must not keep a report from being told.
    return text.encode("utf-8", "surrogatepass")


#: One encoder for all entries: making one takes longer than spelling an entry.
_spell = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _ordered(value: Mapping[str, object]) -> dict[str, object]:
    if all(map(str.isascii, value)):
        names = sorted(value)  # the same order, found sooner
    else:
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return {name: _ordered(one) if isinstance(one := value[name], Mapping) else one for name in names}
