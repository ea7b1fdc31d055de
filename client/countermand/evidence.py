"""Verify a journal against a head that was kept: was anything that the head covers changed since?

    report = cm.operator.cancel("r-1", reason="USER_STOP").report     # keep report.heads
    ...
    fault = evidence.signature_fault(head, keys) or evidence.journal_fault(head, map(evidence.line, entries))

It needs no service and shares no code with the one that signs: the format is in docs/evidence.md. The
signature alone needs more than Python brings, the extra `verify`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from countermand._models.reports import Entry, EvidenceKey, SignedHead

__all__ = ["Fault", "Line", "chain", "journal_fault", "line", "run_fault", "signature_fault", "signed_bytes"]

_JOURNAL = b"countermand journal v1\n"
_HEAD = b"countermand head v1\n"
_MARK = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """A journal entry as it is hashed; the time is in milliseconds since 1970."""

    seq: int
    time: int
    run_id: str
    kind: str
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not hold: the first entry that is bad, if one can be named, and what is wrong with it."""

    text: str
    #: Its place in the journal as it is now, from 1; 0 if the fault is not one of an entry.
    place: int = 0
    seq: int = 0
    kind: str = ""


def line(entry: Entry) -> Line:
    """Take an entry as the client reads it."""
    return Line(entry.seq, _milliseconds(entry.time), entry.run_id, entry.kind, entry.data)


def chain(run_id: str, lines: Iterable[Line]) -> Iterator[bytes]:
    """Answer the chained hash after each entry of a run's journal."""
    link = _start(run_id)
    for one in lines:
        link = _next(link, one)
        yield link


def signed_bytes(head: SignedHead) -> bytes:
    """Answer what the signature of a head is over."""
    told = {
        "run_id": head.run_id,
        "last_seq": head.last_seq,
        "entry_count": head.entry_count,
        "hash": head.hash.hex(),
        "marks": head.marks.hex(),
        "stride": head.stride,
        "time": _milliseconds(head.time),
        "store_epoch": head.store_epoch,
        "key_id": head.key_id,
    }
    return _HEAD + _jcs(told)


def signature_fault(head: SignedHead, keys: Iterable[EvidenceKey]) -> Fault | None:
    """Say what is wrong with a head itself: signed by none of these keys, or not at all."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "verifying a signature needs an extra: pip install 'countermand[verify]'", name=error.name
        ) from None
    known = {key.key_id: key.public_key for key in keys}
    if head.key_id not in known:
        named = ", ".join(sorted(known)) or "none"
        return Fault(
            f"its head is signed by key {head.key_id or '?'}, which is not among those given ({named})"
        )
    try:
        Ed25519PublicKey.from_public_bytes(known[head.key_id]).verify(head.signature, signed_bytes(head))
    except InvalidSignature:
        return Fault(
            f"its head does not have the signature of key {head.key_id}: the head itself was changed"
        )
    except ValueError:
        return Fault(f"key {head.key_id} is no Ed25519 public key")
    return None


def _next(link: bytes, one: Line) -> bytes:
    told = {"data": one.data, "kind": one.kind, "run": one.run_id, "seq": one.seq, "time": one.time}
    return hashlib.sha256(link + _jcs(told)).digest()


def journal_fault(head: SignedHead, lines: Iterable[Line]) -> Fault | None:
    """Say what of a run's journal is not as the head has it; what came after the head is not its business.

    Where the head has a mark for every entry, the first that is bad is named, else the first stretch with a
    bad one in it.
    """
    told = list(lines)
    covered, place, good, before = told[: head.entry_count], 0, 0, b""
    marks = [head.marks[at : at + _MARK] for at in range(0, len(head.marks), _MARK)]
    if head.stride < 1 or len(marks) != head.entry_count // head.stride:
        return Fault("its head is malformed: its marks do not fit the number of its entries")
    links = list(chain(head.run_id, covered))
    for place in range(head.stride, len(covered) + 1, head.stride):
        if links[place - 1][:_MARK] != marks[place // head.stride - 1]:
            before = links[good - 1] if good else b""
            return _differs(head, told, good, place, before, marks)
        good = place
    if len(covered) < head.entry_count:
        return _ends_early(head, covered)
    held, last_seq = (links[-1], covered[-1].seq) if links else (_start(head.run_id), 0)
    if (held, last_seq) != (head.hash, head.last_seq):
        if not covered:
            return Fault("its head is malformed: it covers no entry, and has the hash of some")
        return _differs(head, told, min(good, len(covered) - 1), len(covered), b"", [])
    for place, one in enumerate(told[len(covered) :], len(covered) + 1):
        if one.seq <= head.last_seq:
            text = f"it was put in: the head covers all entries up to {head.last_seq}, and not this one"
            return Fault(text, place, one.seq, one.kind)
    return None


def _start(run_id: str) -> bytes:
    return hashlib.sha256(_JOURNAL + _utf8(run_id)).digest()


def _ends_early(head: SignedHead, covered: Sequence[Line]) -> Fault:
    missing = head.entry_count - len(covered)
    last = f"after entry {covered[-1].seq} ({covered[-1].kind})" if covered else "before its first entry"
    text = (
        f"the journal ends {last}: the head has {missing} more, up to entry {head.last_seq}; "
        "they were removed, or one before them was"
    )
    return Fault(text, place=len(covered) + 1)


def _differs(
    head: SignedHead, told: Sequence[Line], good: int, bad: int, before: bytes, marks: Sequence[bytes]
) -> Fault:
    """Name the first entry, or stretch, of which the head knows something else."""
    count = sum(one.seq <= head.last_seq for one in told)
    first, last = told[good], told[bad - 1]
    if bad - good > 1:
        text = f"one of the entries {first.seq} to {last.seq} is not as it was signed ({_hint(head, count)})"
        return Fault(text, place=good + 1, seq=first.seq, kind=first.kind)
    link = before or _start(head.run_id)
    later = range(good + 1, len(told)) if marks else ()
    there = next((place for place in later if _next(link, told[place])[:_MARK] == marks[good]), None)
    if there is None:
        text = f"it is not the one that was signed ({_hint(head, count)})"
    elif count > head.entry_count:
        text = f"it was put in: the head has entry {told[there].seq} ({told[there].kind}) in its place"
    else:
        text = f"it is out of order: the head has entry {told[there].seq} ({told[there].kind}) in its place"
    return Fault(text, place=good + 1, seq=first.seq, kind=first.kind)


def _hint(head: SignedHead, count: int) -> str:
    """Say what the numbers of entries tell about what was done."""
    if count == head.entry_count:
        return "it was changed, or exchanged for another"
    more = "fewer" if count < head.entry_count else "more"
    what = "removed" if count < head.entry_count else "put in"
    counts = f"there are {count} entries, {more} than the head's {head.entry_count}"
    return f"up to entry {head.last_seq} {counts}: one was {what}"


def run_fault(run_id: str, lines: Iterable[Line]) -> Fault | None:
    """Say what of a journal contradicts itself. It proves little if nothing does: keep heads."""
    from countermand._soundness import Journal

    journal = Journal(run_id)
    for place, one in enumerate(lines, 1):
        if text := journal.fault(one):
            return Fault(text, place, one.seq, one.kind)
    return None


def _milliseconds(moment: datetime | None) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment else 0


def _jcs(value: Mapping[str, object]) -> bytes:
    """Write an object of texts, whole numbers and such objects as RFC 8785 says."""
    return _utf8(_spelled(value))


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_spelled(name)}:{_spelled(value[name])}" for name in names) + "}"
    return json.dumps(value, ensure_ascii=False)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
