"""The format of archive files: JSON lines, a block for each run, a checksum at the end."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.evidence import chain, head_fields, head_of
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run
from grant_service.store.records import run_fields, run_from

FORMAT = "archive/2"

_REMEDY = "restore it from a backup, or move it away: then what it holds is missing"


@dataclass(frozen=True, slots=True)
class Block:
    """One run as it is archived: `head` is the signed head of its journal, `seal` a signature over it all."""

    run: Run
    entries: tuple[Entry, ...]
    head: Mapping[str, Any]
    seal: str

    @property
    def last_seq(self) -> int:
        """The number of the last entry it has."""
        return self.entries[-1].seq if self.entries else 0


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a block is not believed, and the way out."""

    why: str
    remedy: str = _REMEDY


#: Says why a record, a head and a seal are not to be believed, or None.
Doubts = Callable[[Mapping[str, str], Mapping[str, Any], str], Doubt | None]


def texts(blocks: Iterable[Block], time: int) -> Iterator[tuple[Block | None, bytes]]:
    """Write a file piece by piece, its checksum excepted: first what it is, then each block."""
    yield None, line({"countermand": FORMAT, "time": time})
    for block in blocks:
        run = block.run
        first = {"countermand": "journal/1", "run": run.run_id, "tree": False, "time": time}
        lines = [line(first | {"record": run_fields(run)})]
        lines += [line(_entry_told(*one)) for one in chain(run.run_id, block.entries)]
        lines.append(line({"head": block.head, "seal": block.seal}))
        yield block, b"".join(lines)


def read(run_id: str, lines: Iterable[bytes], name: str, doubts: Doubts) -> Block:
    """Read a block back. One that is not what we archived, and all of it, is refused."""
    try:
        first, *middle, last = (told(one, name) for one in lines)
        record, head, seal = first["record"], last["head"], str(last["seal"])
        entries = tuple(_entry(one) for one in middle)
        run = run_from(record)
        if run.run_id != run_id or _head(run_id, entries, head) != head:
            raise damaged(name, f"the journal of run {run_id} is not the one that was archived")
        doubt = doubts(record, head, seal)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(name, f"the block of run {run_id} is not one") from error
    if doubt:
        cause = f"archive file {name} is not believed, the block of run {run_id}: {doubt.why}"
        raise StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy=doubt.remedy)
    return Block(run, entries, head, seal)


def _head(run_id: str, entries: tuple[Entry, ...], said: Mapping[str, Any]) -> dict[str, Any]:
    """Make the head that belongs to these entries; when, where and by whom it was signed is as said."""
    told = head_fields(head_of(run_id, entries), said["time"], said["store_epoch"], said["key_id"])
    return told | {"signature": said["signature"]}


def _entry_told(entry: Entry, link: bytes) -> dict[str, Any]:
    told = {"seq": entry.seq, "time": entry.time, "run": entry.run_id, "kind": entry.kind.value}
    return told | {"data": dict(entry.data), "hash": link.hex()}


def _entry(told: dict[str, Any]) -> Entry:
    return Entry(int(told["seq"]), int(told["time"]), told["run"], Kind(told["kind"]), told["data"])


def line(value: Mapping[str, Any]) -> bytes:
    """Write a line."""
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
    )


def told(line: bytes, name: str) -> dict[str, Any]:
    """Read a line."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise damaged(name, "a line of it is no JSON") from error
    if not isinstance(value, dict):
        raise damaged(name, "a line of it is no object")
    return value


def damaged(name: str, why: str) -> StoreFailed:
    """Refuse a file."""
    cause = f"archive file {name} is damaged: {why}"
    return StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy=_REMEDY)
