"""The index beside the archive files: which has which run, and where. It can be deleted and made again."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_VERSION = 2
_SCHEMA = """
DROP TABLE IF EXISTS files;
DROP TABLE IF EXISTS runs;
CREATE TABLE files (name TEXT PRIMARY KEY, time INTEGER) WITHOUT ROWID;
CREATE TABLE runs (
  run_id TEXT, last_seq INTEGER, file TEXT, start INTEGER, size INTEGER, PRIMARY KEY (run_id, last_seq, file)
) WITHOUT ROWID;
CREATE INDEX runs_by_file ON runs (file);
"""
#: A run that was archived again has several blocks. The one that goes furthest counts.
_PLACE = """
SELECT last_seq, file, start, size FROM runs WHERE run_id = ? ORDER BY last_seq DESC, file DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block is: a file, where in it, how many bytes; and the number of its last entry."""

    last_seq: int
    file: str
    start: int
    size: int


class Index:
    """A small database of one directory, for any thread."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            self._db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT")

    def names(self) -> set[str]:
        """Tell which files it knows."""
        return {name for (name,) in self._rows("SELECT name FROM files")}

    def older(self, than: int) -> list[str]:
        """Tell which files were written before a time."""
        return [name for (name,) in self._rows("SELECT name FROM files WHERE time < ?", than)]

    def place(self, run_id: str) -> Place | None:
        """Find a run."""
        rows = self._rows(_PLACE, run_id)
        return Place(*rows[0]) if rows else None

    def runs(self, after: str, limit: int) -> list[str]:
        """Read which runs there are, by id."""
        select = "SELECT DISTINCT run_id FROM runs WHERE run_id > ? ORDER BY run_id LIMIT ?"
        return [run_id for (run_id,) in self._rows(select, after, limit)]

    def add(self, name: str, time: int, places: Iterable[tuple[str, Place]]) -> None:
        """Take in a file."""
        rows = ((run_id, one.last_seq, one.file, one.start, one.size) for run_id, one in places)
        with self._changing():
            self._db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, time))

    def forget(self, name: str) -> None:
        """Leave out a file that is gone."""
        with self._changing():
            self._db.execute("DELETE FROM runs WHERE file = ?", (name,))
            self._db.execute("DELETE FROM files WHERE name = ?", (name,))

    def _rows(self, select: str, *values: str | int) -> list[Any]:
        with self._lock:
            return self._db.execute(select, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change it all or nothing: one that is stuck in a change would take no further file."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._db.close()
