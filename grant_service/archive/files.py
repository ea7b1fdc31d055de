"""Archive files: JSON lines, written whole, checksummed, and found again by run.

A file begins with a line that says what it is, holds a block for each run (its record, its entries and the
signed head of its journal, as `countermand journal export` writes them) and ends with a checksum. It appears
under its name only when it is on disk. The index beside the files can be deleted: it is made again.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.evidence import chain, head_of
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run
from grant_service.store.records import run_fields, run_from

#: A file, where in it, and how many bytes.
Place = tuple[str, int, int]

_FORMAT = "archive/1"
_ENDING = ".jsonl"

_INDEX = """
CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, time INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run_id TEXT PRIMARY KEY, file TEXT, start INTEGER, size INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_file ON runs (file);
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One run as it is archived. `head` is the signed head of its journal, as JSON has it."""

    run: Run
    entries: tuple[Entry, ...]
    head: dict[str, Any]


class ArchiveFiles:
    """The files of one directory. Every call blocks: make it in a thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in directory.glob(f"*{_ENDING}.new-*"):
            unfinished.unlink()
        path = directory / "index.db"
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.Lock()
        self._index = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        self._index.executescript(_INDEX)
        self.look_for_files()

    def write(self, blocks: Iterable[Block], time: int) -> str:
        """Put blocks into a new file; when this returns it is on disk, and found again."""
        name = f"{time:015d}-{secrets.token_hex(4)}{_ENDING}"
        path, new = self._directory / name, self._directory / f"{name}.new-{os.getpid()}"
        places, checksum, start = [], hashlib.sha256(), 0
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            for run_id, text in _texts(blocks, time):
                file.write(text)
                checksum.update(text)
                if run_id:
                    places.append((run_id, name, start, len(text)))
                start += len(text)
            file.write(_line({"sha256": checksum.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        _sync(self._directory)
        self._add(name, time, places)
        return name

    def _add(self, name: str, time: int, places: list[tuple[str, str, int, int]]) -> None:
        with self._changing():
            self._index.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", places)
            self._index.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, time))

    def look_for_files(self) -> None:
        """Bring the index up to date with the directory: files may have been put there, or taken away."""
        # What is known first: a file that somebody else adds meanwhile must not look as if it were gone.
        known = {name for (name,) in self._rows("SELECT name FROM files")}
        there = {path.name for path in self._directory.glob(f"*{_ENDING}")}
        for name in sorted(known - there):
            self._forget(name)
        for name in sorted(there - known):
            time, places = self._scan(name)
            self._add(name, time, places)

    def _scan(self, name: str) -> tuple[int, list[tuple[str, str, int, int]]]:
        """Read a file through; one whose checksum does not hold is refused."""
        places: list[tuple[str, str, int, int]] = []
        checksum, start, time, ended = hashlib.sha256(), 0, 0, False
        with (self._directory / name).open("rb") as file:
            for line in file:
                told = _told(line, name)
                if "sha256" in told:
                    ended = told["sha256"] == checksum.hexdigest()
                    break
                checksum.update(line)
                if told.get("countermand") == _FORMAT:
                    time = int(told["time"])
                elif "record" in told:
                    places.append((told["run"], name, start, len(line)))
                elif places:
                    run_id, _, first, size = places.pop()
                    places.append((run_id, name, first, size + len(line)))
                start += len(line)
            ended = ended and not file.read(1)
        if not ended:
            raise _damaged(name, "its checksum does not hold")
        return time, places

    def place(self, run_id: str) -> Place | None:
        """Tell where a run is: in which file, from where on, and how long."""
        rows = self._rows("SELECT file, start, size FROM runs WHERE run_id = ?", run_id)
        return rows[0] if rows else None

    def read(self, run_id: str) -> Block | None:
        """Read a run back, or None if it is not here."""
        found = self.place(run_id)
        if found is None:
            return None
        name, start, size = found
        try:
            with (self._directory / name).open("rb") as file:
                file.seek(start)
                lines = file.read(size).splitlines()
        except OSError as error:
            raise _damaged(name, str(error.strerror)) from error
        first, *middle, last = (_told(line, name) for line in lines)
        try:
            run = run_from(first["record"])
            entries = tuple(_entry(one) for one in middle)
            block = Block(run, entries, last["head"])
        except (KeyError, ValueError, TypeError) as error:
            raise _damaged(name, f"the block of run {run_id} is not one") from error
        if run.run_id != run_id or head_of(run_id, entries).hash.hex() != block.head["hash"]:
            raise _damaged(name, f"the journal of run {run_id} is not the one that was archived")
        return block

    def remove_older(self, than: int) -> list[str]:
        """Delete files written before a time; answer their names."""
        old = [name for (name,) in self._rows("SELECT name FROM files WHERE time < ?", than)]
        for name in old:
            (self._directory / name).unlink(missing_ok=True)
            self._forget(name)
        return old

    def _forget(self, name: str) -> None:
        with self._changing():
            self._index.execute("DELETE FROM runs WHERE file = ?", (name,))
            self._index.execute("DELETE FROM files WHERE name = ?", (name,))

    def _rows(self, select: str, *values: str | int) -> list[Any]:
        with self._lock:
            return self._index.execute(select, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change the index all or nothing: one that is stuck in a change would take no further file."""
        with self._lock:
            self._index.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._index.execute("COMMIT")
            except BaseException:
                if self._index.in_transaction:
                    self._index.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            self._index.close()


def _texts(blocks: Iterable[Block], time: int) -> Iterator[tuple[str, bytes]]:
    yield "", _line({"countermand": _FORMAT, "time": time})
    for block in blocks:
        run = block.run
        first = {"countermand": "journal/1", "run": run.run_id, "tree": False, "time": time}
        lines = [_line(first | {"record": run_fields(run)})]
        lines += [_line(_entry_told(*one)) for one in chain(run.run_id, block.entries)]
        lines.append(_line({"head": block.head}))
        yield run.run_id, b"".join(lines)


def _entry_told(entry: Entry, link: bytes) -> dict[str, Any]:
    told = {"seq": entry.seq, "time": entry.time, "run": entry.run_id, "kind": entry.kind.value}
    return told | {"data": dict(entry.data), "hash": link.hex()}


def _entry(told: dict[str, Any]) -> Entry:
    return Entry(int(told["seq"]), int(told["time"]), told["run"], Kind(told["kind"]), told["data"])


def _line(value: dict[str, Any]) -> bytes:
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
    )


def _told(line: bytes, name: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise _damaged(name, "a line of it is no JSON") from error
    if not isinstance(told, dict):
        raise _damaged(name, "a line of it is no object")
    return told


def _damaged(name: str, why: str) -> StoreFailed:
    remedy = "restore it from a backup, or move it away: then what it holds is missing"
    return StoreFailed(ErrorReason.STORE_UNFIT, cause=f"archive file {name} is damaged: {why}", remedy=remedy)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
