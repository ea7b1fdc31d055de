"""SQLite as the rules see it: one transaction for many calls, each of which can be taken back alone."""

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState, Spending
from grant_service.core.duty import NEVER, Duty, DutyKind, DutyState
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import RECENT_MS, Run
from grant_service.core.store import Record
from grant_service.store import records
from grant_service.store.by_rules import stopped
from grant_service.store.sqlite_writes import Writes
from grant_service.store.watermark import Watermark

_SCHEMA_VERSION = 6
_SCHEMA = """
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT, inode INTEGER, seq INTEGER, now INTEGER
);
CREATE TABLE runs (run_id TEXT PRIMARY KEY, open_seq INTEGER, end_time INTEGER, fields TEXT) WITHOUT ROWID;
CREATE INDEX runs_by_age ON runs (open_seq);
CREATE INDEX active_runs ON runs (open_seq) WHERE end_time = 0;
CREATE INDEX ended_runs ON runs (end_time) WHERE end_time > 0;
CREATE TABLE grants (grant_id TEXT PRIMARY KEY, fields TEXT) WITHOUT ROWID;
CREATE TABLE actions (
  run_id TEXT, op_id TEXT, awaits_since INTEGER, fields TEXT, PRIMARY KEY (run_id, op_id)
) WITHOUT ROWID;
CREATE INDEX awaiting ON actions (awaits_since) WHERE awaits_since;
CREATE TABLE spendings (run_id TEXT, op_id TEXT, fields TEXT, PRIMARY KEY (run_id, op_id)) WITHOUT ROWID;
CREATE TABLE duties (
  run_id TEXT, op_id TEXT, kind TEXT, job INTEGER, open INTEGER, fence INTEGER, due INTEGER, path TEXT,
  fields TEXT,
  PRIMARY KEY (run_id, op_id, kind, job)
) WITHOUT ROWID;
CREATE INDEX open_undos ON duties (run_id, fence) WHERE open AND kind = 'UNDO';
CREATE INDEX open_duties ON duties (kind, due) WHERE open;
CREATE INDEX jobs ON duties (path, op_id) WHERE path IS NOT NULL;
CREATE TABLE stops (run_id TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID;
CREATE INDEX stops_by_time ON stops (at);
CREATE TABLE fences (seq INTEGER PRIMARY KEY, fence_id TEXT UNIQUE, standing INTEGER, fields TEXT);
CREATE INDEX standing_fences ON fences (seq) WHERE standing;
CREATE TABLE journal (
  run_id TEXT, seq INTEGER, time INTEGER, kind TEXT, data TEXT, PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
"""

Rule = Callable[[Any, Any], Any]
Call = tuple[Rule, Any]
Key = tuple[str | int, ...]
R = TypeVar("R", Run, Grant, Action, Spending, Fence, Duty)

_FIND = {
    "runs": "SELECT fields FROM runs WHERE run_id = ?",
    "grants": "SELECT fields FROM grants WHERE grant_id = ?",
    "actions": "SELECT fields FROM actions WHERE run_id = ? AND op_id = ?",
    "spendings": "SELECT fields FROM spendings WHERE run_id = ? AND op_id = ?",
    "duties": "SELECT fields FROM duties WHERE run_id = ? AND op_id = ? AND kind = ? AND job = ?",
    "fences": "SELECT fields FROM fences WHERE fence_id = ?",
}

#: After how many records, some 1 KB each, those that nobody asked for since as many before are forgotten.
_MOST_KNOWN = 10_000


#: Writes fields as JSON; what is flat holds no circle to look for.
_text = json.JSONEncoder(check_circular=False).encode


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open the file for one thread after another; transactions are ours to begin."""
    # Made here and not by SQLite, so that it, and the log that takes its mode, is ours alone from the first.
    # Once it is in use it must not be opened here: closing it again would drop the locks of the connections
    # there are, and whoever looks at the file from outside would take its log away.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # FULL: a decision is on disk before it is answered. NORMAL would be five times as fast and could forget
    # a revocation in a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA query_only = {int(read_only)}")
    return connection


class SqliteState:
    """The rules' view of the file inside a transaction, and the transaction itself."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.epoch, self.now, self.behind_ms, self.seq = "", 0, 0, 0
        self._writes = Writes(connection)
        self._stopped: list[str] = []
        self._known: dict[Key, Record] = {}
        self._known_before: dict[Key, Record] = {}
        #: The standing fences by anchor and id, or None if they have to be read: every commit asks for them.
        self._standing: dict[str, dict[str, Fence]] | None = None
        self._version = 0
        self._watermark = Watermark(path.with_suffix(".mark"))
        self._prepare_schema(path)
        self._adopt_file(path)

    def _prepare_schema(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_SCHEMA_VERSION};COMMIT")
        elif version != _SCHEMA_VERSION:
            cause = f"{path.name} has schema {version}, this sidecar knows {_SCHEMA_VERSION}"
            raise StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy="run the sidecar that wrote it")

    def _adopt_file(self, path: Path) -> None:
        """Begin a new epoch if this is not the very file that was in use last, or an older state of it.

        A copy or a restored backup may lack a revocation that was acknowledged. Numbers go on from the
        highest one ever given, so that a permit from before still has the lower fencing number.
        """
        inode = path.stat().st_ino
        row = self._db.execute("SELECT epoch, inode, seq, now FROM meta").fetchone()
        mark = self._watermark.read()
        seq, now = mark or (0, 0)
        if row is None:
            self._db.execute("INSERT INTO meta VALUES (1, ?, ?, ?, ?)", (_new_epoch(), inode, seq, now))
        elif row[1] != inode or mark is None or row[2] < seq:
            new = (_new_epoch(), inode, max(row[2], seq))
            self._db.execute("UPDATE meta SET epoch = ?, inode = ?, seq = ?", new)
            self._db.execute(_LOOK_EVERYWHERE)
        self._read_meta()
        self.now = max(self.now, now)
        self._watermark.write(self.seq, self.now)

    def _read_meta(self) -> None:
        """Take over what the file says, and forget what was known of its records."""
        self._forget()
        self.epoch, now, self.seq = read_meta(self._db)
        self.now = max(self.now, now)
        (self._version,) = self._db.execute("PRAGMA data_version").fetchone()

    def renew_epoch(self, epoch: str | None) -> None:
        """End everything issued so far."""
        self._db.execute("UPDATE meta SET epoch = ?", (epoch or _new_epoch(),))
        self._db.execute(_LOOK_EVERYWHERE)
        self._read_meta()

    def tell_time(self, clock: int) -> int:
        """Tell the time, which from then on does not go back: somebody acts by what it implies."""
        self._look_at(clock)
        self._mark()
        return self.now

    def _look_at(self, clock: int) -> None:
        self.behind_ms = max(0, self.now - clock)
        self.now = max(self.now, clock)

    def _mark(self) -> None:
        with contextlib.suppress(OSError):  # what is decided is decided; the mark may fall behind
            self._watermark.write(self.seq, self.now)

    def transact(self, clock: int, calls: Sequence[Call], keep_refusals: bool = True) -> list[Any]:
        """Decide calls in order and make all of it durable, or none of it.

        Without `keep_refusals` a refusal leaves no trace: on the disk's last reserve it must not use it up.
        """
        before = (self.now, self.seq)
        self._look_at(clock)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._see_others()
            answers = [self._decide(rule, command, keep_refusals) for rule, command in calls]
            self._writes.out()
            self._db.execute("UPDATE meta SET seq = ?, now = ?", (self.seq, self.now))
            self._db.execute("COMMIT")
        except BaseException:
            self.now, self.seq = before
            self._writes.drop()
            self._forget()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._mark()
        return answers

    def _forget(self) -> None:
        """Forget what is known of records; whatever of it is not written yet is written first."""
        self._writes.out()
        self._known, self._known_before = {}, {}
        self._standing = None

    def _see_others(self) -> None:
        """Notice that somebody else wrote to the file: the lock forbids it, and locks can be removed."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._read_meta()

    def _decide(self, rule: Rule, command: Any, keep_refusals: bool) -> Any:
        """Decide a call so that it can be taken back."""
        seq = self.seq
        try:
            answer = rule(self, command)
        except sqlite3.Error:
            raise
        except Exception as defect:
            answer = defect
        if isinstance(answer, Exception) or (isinstance(answer, Refusal) and not keep_refusals):
            self._writes.take_back()
            self._forget()
            self.seq = seq
        else:
            self._writes.keep()
        return answer

    def run(self, run_id: str) -> Run | None:
        """Find a run."""
        return self._find(("runs", run_id), records.run_from)

    def grant(self, grant_id: str) -> Grant | None:
        """Find a grant."""
        return self._find(("grants", grant_id), records.grant_from)

    def action(self, run_id: str, op_id: str) -> Action | None:
        """Find an action."""
        return self._find(("actions", run_id, op_id), records.action_from_values)

    def spending(self, run_id: str, op_id: str) -> Spending | None:
        """Find a spending."""
        return self._find(("spendings", run_id, op_id), records.spending_from)

    def fence(self, fence_id: str) -> Fence | None:
        """Find a fence."""
        return self._find(("fences", fence_id), records.fence_from)

    def duty(self, run_id: str, op_id: str, kind: DutyKind, job: int = 0) -> Duty | None:
        """Find a duty."""
        return self._find(("duties", run_id, op_id, kind, job), records.duty_from)

    def last_undo(self, run_id: str) -> str:
        """Name the action that is undone next."""
        self._writes.out()
        row = self._db.execute(_LAST_UNDO, (run_id,)).fetchone()
        return str(row[0]) if row else ""

    def look_below(self, run_id: str, at: int) -> None:
        """Note when to look, at the latest."""
        self._writes.add(_LOOK_BELOW, (run_id, at))

    def looked_below(self, run_id: str, at: int) -> None:
        """Note when to look next."""
        self._writes.change()
        if at == NEVER:
            self._db.execute("DELETE FROM stops WHERE run_id = ?", (run_id,))
        else:
            self._db.execute("UPDATE stops SET at = ? WHERE run_id = ?", (at, run_id))

    def stops_due(self, limit: int) -> list[str]:
        """Name runs below which it is time to look."""
        self._writes.out()
        return read_stopped(self._db, self.now, limit)

    def jobs(self, run_id: str, below: bool, limit: int) -> list[Duty]:
        """Find open call-offs that nobody has made due: the paths of all below begin with that of the run."""
        self._writes.out()
        path = self._path(run_id)
        end = path[:-1] + chr(ord(path[-1]) + 1)
        rows = self._db.execute(_JOBS_BELOW if below else _JOBS_OF, (path, end, limit))
        return [records.duty_from(json.loads(row[0])) for row in rows]

    def _path(self, run_id: str) -> str:
        run = self.run(run_id)
        return "".join(f"{link}," for link in (run.path if run else (run_id,)))

    @property
    def any_fence(self) -> bool:
        """Whether any fence stands."""
        return any(self._by_anchor().values())

    def fences_at(self, anchor: str) -> list[Fence]:
        """Find the standing fences under an anchor."""
        return list(self._by_anchor().get(anchor, {}).values())

    def standing_fences(self) -> list[Fence]:
        """Find all standing fences."""
        found = [one for under in self._by_anchor().values() for one in under.values()]
        return sorted(found, key=lambda one: one.seq)

    def fences_since(self, seq: int) -> list[Fence]:
        """Find all fences with a higher number."""
        self._writes.out()
        return read_fences(self._db, "WHERE seq > ?", (seq,))

    def _by_anchor(self) -> dict[str, dict[str, Fence]]:
        if self._standing is None:
            self._writes.out()
            self._standing = {}
            for one in read_fences(self._db, "WHERE standing"):
                self._standing.setdefault(one.selector.anchor, {})[one.fence_id] = one
        return self._standing

    def _find(self, key: Key, read: Callable[[Any], R]) -> R | None:
        """Find a record: among those known from this process's own transactions, or in the file.

        No other process can have written it: the directory's lock is ours.
        """
        if known := self._known.get(key):
            return cast(R, known)
        if known := self._known_before.get(key):
            return self._know(key, cast(R, known))
        row = self._db.execute(_FIND[str(key[0])], key[1:]).fetchone()
        return self._know(key, read(json.loads(row[0]))) if row else None

    def _know(self, key: Key, record: R) -> R:
        if len(self._known) >= _MOST_KNOWN:
            self._writes.out()  # what is forgotten is read again
            self._known, self._known_before = {}, self._known
        self._known[key] = record
        return record

    def put(self, record: Record) -> None:
        """Write a record whole."""
        match record:
            case Run():
                fields = _text(records.run_fields(record))
                row = (record.run_id, record.open_seq, record.end_time, fields)
                self._writes.add(_PUT_RUN, row)
                self._know(("runs", record.run_id), record)
            case Grant():
                fields = _text(records.grant_fields(record))
                self._writes.add("INSERT OR REPLACE INTO grants VALUES (?, ?)", (record.grant_id, fields))
                self._know(("grants", record.grant_id), record)
            case Action():
                key = (record.run_id, record.intent.op_id)
                awaits = record.state is ActionState.AWAITING_APPROVAL
                since = record.prepare_seq if awaits else None
                fields = _text(records.action_values(record))
                self._writes.add("INSERT OR REPLACE INTO actions VALUES (?, ?, ?, ?)", (*key, since, fields))
                self._know(("actions", *key), record)
            case Spending():
                key = (record.run_id, record.op_id)
                fields = _text(records.spending_fields(record))
                self._writes.add("INSERT OR REPLACE INTO spendings VALUES (?, ?, ?)", (*key, fields))
                self._know(("spendings", *key), record)
            case Fence():
                self._put_fence(record)
            case Duty():
                self._put_duty(record)

    def _put_duty(self, duty: Duty) -> None:
        key = (duty.run_id, duty.op_id, duty.kind, duty.job)
        is_open = duty.state is DutyState.OPEN
        path = self._path(duty.run_id) if is_open and duty.due == NEVER else None
        columns = (is_open, duty.fence, duty.due, path, _text(records.duty_fields(duty)))
        self._writes.add("INSERT OR REPLACE INTO duties VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *columns))
        self._know(("duties", *key), duty)

    def _put_fence(self, fence: Fence) -> None:
        row = (fence.seq, fence.fence_id, fence.standing, _text(records.fence_fields(fence)))
        self._writes.add("INSERT OR REPLACE INTO fences VALUES (?, ?, ?, ?)", row)
        self._know(("fences", fence.fence_id), fence)
        under = self._by_anchor().setdefault(fence.selector.anchor, {})
        if fence.standing:
            under[fence.fence_id] = fence
        else:
            under.pop(fence.fence_id, None)

    def last_seq(self, run_id: str) -> int:
        """Tell the number of a run's last entry."""
        self._writes.out()
        (seq,) = self._db.execute("SELECT MAX(seq) FROM journal WHERE run_id = ?", (run_id,)).fetchone()
        return seq or 0

    def forget(self, command: verbs.Release) -> None:
        """Delete what a run left."""
        self._writes.change()
        for delete in _FORGET:
            self._db.execute(delete, (command.run_id,))
        self._db.executemany("DELETE FROM grants WHERE grant_id = ?", [(one,) for one in command.grant_ids])
        self._forget()

    def append(self, run_id: str, kind: Kind, data: Mapping[str, str]) -> int:
        """Write a journal entry."""
        self.seq += 1
        kept = _text({name: str(value) for name, value in data.items() if value})
        row = (run_id, self.seq, self.now, kind.value, kept)
        self._writes.add("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", row)
        self._stopped += stopped(run_id, kind)
        return self.seq

    def take_stopped(self) -> list[str]:
        """Name what stopped since this was asked last; also what was taken back again: it is a hint."""
        told, self._stopped = self._stopped, []
        return told

    def close(self) -> None:
        """Let go of the files."""
        self._db.close()
        self._watermark.close()


#: Whether a run is on the list is settled when it is opened, and again when it is let go of.
_PUT_RUN = (
    "INSERT INTO runs VALUES (?, ?, ?, ?) "
    "ON CONFLICT (run_id) DO UPDATE SET end_time = excluded.end_time, fields = excluded.fields"
)

_LAST_UNDO = (
    "SELECT op_id FROM duties WHERE open AND kind = 'UNDO' AND run_id = ? ORDER BY fence DESC LIMIT 1"
)

#: With MAX the other columns are those of the row that has it.
_NEXT_UNDOS = (
    "SELECT fields, MAX(fence) FROM duties WHERE open AND kind = 'UNDO' "
    "GROUP BY run_id ORDER BY run_id LIMIT ?"
)
_DUE = (
    f"SELECT fields FROM duties WHERE open AND kind = ? AND due < {NEVER} "  # noqa: S608 - our own number
    "ORDER BY due, run_id, op_id, job LIMIT ?"
)

_JOBS_BELOW = "SELECT fields FROM duties WHERE path >= ?1 AND path < ?2 ORDER BY path, op_id, job LIMIT ?3"
_JOBS_OF = "SELECT fields FROM duties WHERE path = ?1 ORDER BY op_id, job LIMIT ?3"
_LOOK_BELOW = "INSERT INTO stops VALUES (?, ?) ON CONFLICT DO UPDATE SET at = min(at, excluded.at)"
#: Whatever was at work in another epoch is over.
_LOOK_EVERYWHERE = "UPDATE stops SET at = 0 WHERE at > 0"


_FORGET = (
    "DELETE FROM journal WHERE run_id = ?",
    "DELETE FROM actions WHERE run_id = ?",
    "DELETE FROM spendings WHERE run_id = ?",
    "DELETE FROM duties WHERE run_id = ?",
    "UPDATE runs SET open_seq = 0 WHERE run_id = ?",  # off the list; the record itself still has it
)


def _new_epoch() -> str:
    return f"sql-{secrets.token_hex(8)}"


def read_meta(db: sqlite3.Connection) -> tuple[str, int, int]:
    """Read the epoch, the highest time seen and the last sequence number."""
    epoch, now, seq = db.execute("SELECT epoch, now, seq FROM meta").fetchone()
    return epoch, now, seq


def read_runs(db: sqlite3.Connection, ids: Sequence[str]) -> list[Run | None]:
    """Read runs by id, in the order asked for."""
    return _read_all(db, "runs", [(run_id,) for run_id in ids], records.run_from)


def read_grants(db: sqlite3.Connection, ids: Sequence[str]) -> list[Grant | None]:
    """Read grants by id, in the order asked for."""
    return _read_all(db, "grants", [(grant_id,) for grant_id in ids], records.grant_from)


def read_actions(db: sqlite3.Connection, ids: Sequence[tuple[str, str]]) -> list[Action | None]:
    """Read actions by run and op_id, in the order asked for."""
    return _read_all(db, "actions", ids, records.action_from_values)


def _read_all(
    db: sqlite3.Connection, table: str, keys: Sequence[Key], read: Callable[[Any], R]
) -> list[R | None]:
    rows = [db.execute(_FIND[table], key).fetchone() for key in keys]
    return [read(json.loads(row[0])) if row else None for row in rows]


_RUN_IDS = "SELECT open_seq, run_id FROM runs WHERE open_seq > 0 AND (:before = 0 OR open_seq < :before)"
_YOUNGEST = "ORDER BY open_seq DESC LIMIT :limit"
#: By an index each: there may be very many runs that ended long ago.
_ACTIVE = f"SELECT * FROM ({_RUN_IDS} AND end_time = 0 {_YOUNGEST})"  # noqa: S608 - our own words
_ENDED = f"SELECT * FROM ({_RUN_IDS} AND end_time > 0 AND end_time > :since {_YOUNGEST})"  # noqa: S608


def read_run_ids(db: sqlite3.Connection, before_seq: int, limit: int) -> list[tuple[int, str]]:
    """Read opened runs, the youngest first."""
    return list(db.execute(f"{_RUN_IDS} {_YOUNGEST}", {"before": before_seq, "limit": limit}))


def read_oldest_run_ids(db: sqlite3.Connection, after_seq: int, limit: int) -> list[tuple[int, str]]:
    """Read opened runs, the oldest first."""
    select = "SELECT open_seq, run_id FROM runs WHERE open_seq > ? ORDER BY open_seq LIMIT ?"
    return list(db.execute(select, (after_seq, limit)))


def read_recent_run_ids(
    db: sqlite3.Connection, before_seq: int, limit: int, now: int
) -> list[tuple[int, str]]:
    """Read those that nobody ended, or not long ago, the youngest first."""
    told = {"before": before_seq, "limit": limit, "since": now - RECENT_MS}
    return list(db.execute(f"{_ACTIVE} UNION ALL {_ENDED} {_YOUNGEST}", told))


def read_awaiting(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Read which actions wait for a person, the oldest first."""
    return list(db.execute("SELECT run_id, op_id FROM actions WHERE awaits_since ORDER BY awaits_since"))


def read_open_duties(db: sqlite3.Connection, kind: DutyKind, limit: int) -> list[Duty]:
    """Read open duties of a kind: of UNDO the next one of each run."""
    undo = kind is DutyKind.UNDO
    rows = db.execute(_NEXT_UNDOS, (limit,)) if undo else db.execute(_DUE, (kind, limit))
    return [records.duty_from(json.loads(row[0])) for row in rows]


def read_stopped(db: sqlite3.Connection, now: int, limit: int) -> list[str]:
    """Read below which runs it is time to look for jobs."""
    rows = db.execute("SELECT run_id FROM stops WHERE at <= ? ORDER BY at, run_id LIMIT ?", (now, limit))
    return [run_id for (run_id,) in rows]


def read_fences(db: sqlite3.Connection, where: str = "", told: tuple[int, ...] = ()) -> list[Fence]:
    """Read fences, the oldest first."""
    rows = db.execute(f"SELECT fields FROM fences {where} ORDER BY seq", told)  # noqa: S608 - the caller's own words
    return [records.fence_from(json.loads(row[0])) for row in rows]


def read_journal(db: sqlite3.Connection, run_id: str, after_seq: int, limit: int) -> list[Entry]:
    """Read a run's entries in order."""
    select = "SELECT seq, time, kind, data FROM journal WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
    rows = db.execute(select, (run_id, after_seq, limit))
    return [Entry(seq, time, run_id, Kind(kind), json.loads(data)) for seq, time, kind, data in rows]
