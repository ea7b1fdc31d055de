"""What a transaction is going to write: many rows of a kind go to SQLite for little more than one would.

Rows wait until the transaction ends, or something is read that they could change. What a call wrote can be
taken back: it was not written yet, or else behind a savepoint.
"""

import sqlite3
from typing import Any

Row = tuple[Any, ...]


class Writes:
    """The rows of one transaction after the other."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        #: Of calls that are decided, by their statement; and of the one that is being decided.
        self._kept: dict[str, list[Row]] = {}
        self._own: list[tuple[str, Row]] = []
        self._saved = False

    def add(self, statement: str, row: Row) -> None:
        """Write a row, sooner or later. Rows of one statement stay in their order."""
        self._own.append((statement, row))

    def keep(self) -> None:
        """Have what the call wrote stay."""
        for statement, row in self._own:
            self._kept.setdefault(statement, []).append(row)
        self._own.clear()
        self._release()

    def take_back(self) -> None:
        """Undo what the call wrote."""
        self._own.clear()
        if self._saved:
            self._db.execute("ROLLBACK TO call")
        self._release()

    def _release(self) -> None:
        if self._saved:
            self._db.execute("RELEASE call")
            self._saved = False

    def out(self) -> None:
        """Write everything now, because somebody is about to read, or to change, what it may concern."""
        kept, self._kept = self._kept, {}
        for statement, rows in kept.items():
            self._db.executemany(statement, rows)
        if self._own:
            self._save()
            own, self._own = self._own, []
            for statement, row in own:
                self._db.execute(statement, row)

    def change(self) -> None:
        """Make ready for a change past this: what waits goes before it, and it can be taken back."""
        self.out()
        self._save()

    def _save(self) -> None:
        """Have what the call writes from here on behind a savepoint."""
        if not self._saved:
            self._db.execute("SAVEPOINT call")
            self._saved = True

    def drop(self) -> None:
        """Forget everything: the transaction is rolled back."""
        self._kept.clear()
        self._own.clear()
        self._saved = False
