"""Files of evidence: heads that were kept, public keys, and journals that were exported.

Whoever reads one of these may have got it from anybody: what is not understood is said, never skipped.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from countermand import EvidenceKey, SignedHead
from countermand.cli.documents import Document, document, members, plain
from countermand.evidence import Fault, Line, chain

_EXPORT = "journal/1"
_ARCHIVE = "archive/2"
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(slots=True)
class Block:
    """One run's journal in an export, as far as it can be read; `fault` is the first thing that cannot."""

    run_id: str
    whole_tree: bool = False
    lines: list[Line] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    head: SignedHead | None = None
    fault: Fault | None = None


def keep(path: Path, text: str) -> None:
    """Write a new file. One that is there already is somebody's evidence, and stays."""
    try:
        with path.expanduser().open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{path} is there already and is kept; name another file") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error.strerror}") from None


def read(path: Path, hint: str) -> str:
    """Read a file of ours."""
    try:
        return path.expanduser().read_text("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=hint) from None
    except ValueError:
        raise typer.BadParameter(f"{path} is no text", param_hint=hint) from None


def heads_in(text: str) -> list[SignedHead]:
    """Find the heads in what people keep: one of its own, a report or cancel as JSON, or an export."""
    try:
        return [_head(one) for told in _documents(text) for one in _heads(told)]
    except _UNREADABLE:
        raise typer.BadParameter("holds a head that cannot be read", param_hint="--head") from None


def keys_in(text: str) -> list[EvidenceKey]:
    """Read public keys, as `journal keys` writes them."""
    try:
        (told,) = _documents(text)
        return [
            EvidenceKey(str(one["key_id"]), bytes.fromhex(one["public_key"]), bool(one["signing"]))
            for one in told["keys"]
        ]
    except _UNREADABLE:
        raise typer.BadParameter("holds no keys as 'journal keys' writes them", param_hint="--key") from None


def export_lines(head: SignedHead, lines: Iterable[Line], *, tree: bool) -> Iterator[Document]:
    """Write one run's journal: what it is, its entries with their chained hashes, and its signed head."""
    yield {"countermand": _EXPORT, "run": head.run_id, "tree": tree, "time": plain(head.time)}
    told = list(lines)
    for line, link in zip(told, chain(head.run_id, told), strict=True):
        data = dict(line.data)
        yield {"seq": line.seq, "time": line.time, "run": line.run_id, "kind": line.kind, "data": data} | {
            "hash": link.hex()
        }
    yield {"head": document("head", **members(head))}


def blocks_in(text: str) -> list[Block]:
    """Read an export, or a file of the archive, which is made of the same blocks."""
    blocks: list[Block] = []
    for number, one in enumerate(text.splitlines(), 1):
        try:
            told = json.loads(one)
            if told.get("countermand") == _ARCHIVE or set(told) == {"sha256"}:
                continue  # an archive file's first line, and its checksum: each block proves itself
            if told.get("countermand") == _EXPORT:
                blocks.append(Block(str(told["run"]), bool(told.get("tree"))))
                continue
        except (*_UNREADABLE, RecursionError):
            told = None
        if not blocks:
            raise typer.BadParameter("is no journal as 'journal export' writes it", param_hint="--file")
        _take(blocks[-1], told, number)
    if not blocks:
        raise typer.BadParameter("is empty", param_hint="--file")
    return blocks


def _take(block: Block, told: Any, number: int) -> None:
    """Take a line of an export into its block."""
    if block.fault:
        return
    place = len(block.lines) + 1
    if block.head:
        block.fault = Fault(
            f"line {number} of the file comes after the head, which is the last of a journal", place
        )
        return
    try:
        if "head" in told:
            block.head = _head(told["head"])
            return
        block.lines.append(_line(told))
        block.hashes.append(str(told["hash"]))
    except _UNREADABLE:
        block.fault = Fault(f"line {number} of the file is no entry", place)


def _line(told: Mapping[str, Any]) -> Line:
    if set(told) != {"seq", "time", "run", "kind", "data", "hash"}:
        raise ValueError("an entry has exactly these")
    data = told["data"]
    numbers, texts = (told["seq"], told["time"]), (told["run"], told["kind"], *data.keys(), *data.values())
    if any(type(one) is not int for one in numbers) or any(type(one) is not str for one in texts):
        raise ValueError("an entry is made of whole numbers and texts")
    return Line(told["seq"], told["time"], told["run"], told["kind"], data)


def _documents(text: str) -> list[Any]:
    """Read one JSON document, or one on each line."""
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _heads(told: Any) -> list[Any]:
    if str(told.get("schema", "")).startswith("countermand.head/"):
        return [told]
    return [*told.get("heads", []), *([told["head"]] if "head" in told else [])]


def _head(told: Mapping[str, Any]) -> SignedHead:
    return SignedHead(
        run_id=str(told["run_id"]),
        last_seq=int(told["last_seq"]),
        entry_count=int(told["entry_count"]),
        hash=bytes.fromhex(told["hash"]),
        marks=bytes.fromhex(told["marks"]),
        stride=int(told["stride"]),
        time=_moment(told["time"]),
        store_epoch=str(told["store_epoch"]),
        key_id=str(told["key_id"]),
        signature=bytes.fromhex(told["signature"]),
    )


def _moment(told: str | int | None) -> datetime | None:
    """Read a time as documents write it, or in milliseconds."""
    if isinstance(told, int):
        return datetime.fromisoformat("1970-01-01T00:00:00Z") + timedelta(milliseconds=told)
    return datetime.fromisoformat(told) if told else None
