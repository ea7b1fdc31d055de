"""The evidence: a hash chain over a run's journal, and its head in the form in which it is signed.

The chain is a function of the journal and is computed when the journal is read. Nothing of it is stored: a
chain beside the entries would be rewritten by whoever rewrites them. What protects is a head that somebody
else holds. docs/evidence.md has the format for those who verify; they share no code with this file.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from grant_service.core.journal import Entry, Journals, journal_pages

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


class Folding:
    """Folds a run's entries, in order and as they come, into the head of their chain."""

    def __init__(self, run_id: str) -> None:
        self._run_id, self._link = run_id, _first(run_id)
        self._marks, self._count, self._last_seq = bytearray(), 0, 0

    def take(self, entries: Iterable[Entry]) -> None:
        """Take the next entries."""
        for entry in entries:
            self._link = _next(self._link, entry)
            self._marks += self._link[:MARK_BYTES]
            self._count, self._last_seq = self._count + 1, entry.seq

    def head(self) -> Head:
        """Tell the head of what was taken."""
        stride = 1
        while self._count // stride > MAX_MARKS:
            stride *= 2
        starts = range((stride - 1) * MARK_BYTES, len(self._marks), stride * MARK_BYTES)
        kept = b"".join(self._marks[start : start + MARK_BYTES] for start in starts)
        return Head(self._run_id, self._last_seq, self._count, self._link, kept, stride)


def head_of(run_id: str, entries: Iterable[Entry]) -> Head:
    """Fold a run's entries, in order, into the head of its chain."""
    folding = Folding(run_id)
    folding.take(entries)
    return folding.head()


async def read_head(journals: Journals, run_id: str) -> Head:
    """Fold a run's journal as it is read: however long it is, no more of it is held than a page."""
    folding = Folding(run_id)
    async for page in journal_pages(journals, run_id):
        await asyncio.to_thread(folding.take, page)
    return folding.head()


def chain(run_id: str, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Go through a run's entries, in order, with the chained hash of each."""
    link = _first(run_id)
    for entry in entries:
        link = _next(link, entry)
        yield entry, link


def _next(link: bytes, entry: Entry) -> bytes:
    return hashlib.sha256(link + canonical(entry)).digest()


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
