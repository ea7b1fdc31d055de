"""The embedded store: SQLite in WAL mode, one writer, every decision on disk before it is answered.

The calls of one event-loop turn, and those that arrive while the disk is busy, share one transaction and one
fsync. What a call wrote can be taken back alone, so one that fails does not take its neighbours with it.
Reading has a connection and a thread of its own: a long report never delays a decision.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from grant_service.core import lifecycle
from grant_service.core.action import Action
from grant_service.core.clock import Clock, system_clock
from grant_service.core.duty import Duty, DutyKind
from grant_service.core.errors import ErrorReason, StoreFailed, explain
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry
from grant_service.core.run import Run
from grant_service.core.store import Durability, Standing, State
from grant_service.store import sqlite_state
from grant_service.store.by_rules import ByRules
from grant_service.store.headroom import Headroom
from grant_service.store.lockfile import LockFile, Taken

C = TypeVar("C")
A = TypeVar("A")
T = TypeVar("T")

#: These must work when the disk is full: they stop things, or say what became of them. Not so `release`: what
#: it frees in the file makes no room on the disk, and to delete a long journal would use up the reserve.
_URGENT = frozenset(
    {
        lifecycle.cancel,
        lifecycle.revoke,
        lifecycle.freeze,
        lifecycle.deny,
        lifecycle.settle,
        lifecycle.abandon,
        lifecycle.finish,
        lifecycle.resolve,
        lifecycle.withdraw,
        lifecycle.complete,
        lifecycle.fail,
    }
)

Rule = Callable[[State, Any], Any]
Call = tuple[Rule, Any, "asyncio.Future[Any]"]


class SqliteStore(ByRules):
    """One file, one process. `start` it; it holds the directory's lock until it is closed."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = LockFile(path.parent / "lock")
        self._headroom = Headroom(path.parent / "headroom")
        self._full = False
        self._queue: list[Call] = []
        self._flushing = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="countermand-sqlite-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="countermand-sqlite-read")

    @classmethod
    async def start(cls, path: Path, clock: Clock = system_clock) -> "SqliteStore":
        """Open the store, or create it; refuse a directory that another process uses."""
        store = cls(path, clock)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            store._lock.take()
        except Taken as taken:
            cause = f"{path.parent} is in use by another sidecar ({taken}), and a file has one writer"
            remedy = "stop that one, or set COUNTERMAND_HOME to another directory"
            raise StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy=remedy) from taken
        try:
            await store._in(store._writer, store._connect)
        except BaseException:
            store._lock.release()
            raise
        return store

    def _connect(self) -> None:
        with _mapped(self._path):
            self._state = sqlite_state.SqliteState(sqlite_state.connect(self._path), self._path)
            self._read = sqlite_state.connect(self._path, read_only=True)
        self._headroom.restore()

    async def renew_epoch(self, epoch: str | None = None) -> None:
        """End everything issued so far, as a loss of facts would have to."""
        await self._in(self._writer, lambda: self._state.renew_epoch(epoch))

    async def _decide(self, rule: Callable[[State, C], A], command: C) -> A:
        """Queue a call for the next transaction. The caller may go away; the decision stays."""
        if self._closing:
            raise StoreFailed(ErrorReason.DRAINING)
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._queue.append((rule, command, future))
        if not self._flushing:
            self._flushing = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._flush)
        return await future

    def _flush(self) -> None:
        """Hand what is queued to the writer's thread; what comes meanwhile goes in the next batch."""
        batch, self._queue = self._queue, []
        self._writer.submit(self._decide_batch, batch, asyncio.get_running_loop())

    def _decide_batch(self, batch: list[Call], loop: asyncio.AbstractEventLoop) -> None:
        """Decide a batch, and call back once for all of it: waking the loop is what costs."""
        try:
            answers = self._write([(rule, told) for rule, told, _ in batch])
        except BaseException as failure:
            answers = [failure] * len(batch)
        loop.call_soon_threadsafe(self._answer, batch, answers, self._state.take_stopped())

    def _answer(self, batch: list[Call], answers: list[Any], stopped: list[str]) -> None:
        for (_, _, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        if self._queue:
            self._flush()
        else:
            self._flushing = False
            self._idle.set()
        self._tell(stopped)

    def _write(self, batch: list[tuple[Rule, Any]]) -> list[Any]:
        """Decide a batch in one transaction; on a full disk decide the urgent ones in the headroom."""
        if self._headroom.released:
            return self._write_urgent(batch, _full("the reserve is in use"))
        try:
            with _mapped(self._path):
                return self._state.transact(self._clock(), batch)
        except StoreFailed as failed:
            if not _may_lack_room(failed):
                raise
            self._full = True
            if any(rule in _URGENT for rule, _ in batch):
                self._headroom.release()
                return self._write_urgent(batch, failed)
            raise

    def _write_urgent(self, batch: list[tuple[Rule, Any]], full: StoreFailed) -> list[Any]:
        urgent = [call for call in batch if call[0] in _URGENT]
        with _mapped(self._path):
            decided = self._state.transact(self._clock(), urgent, keep_refusals=False) if urgent else []
        answers = iter(decided)
        return [next(answers) if rule in _URGENT else full for rule, _ in batch]

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    async def _reading(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def mapped() -> T:
            with _mapped(self._path):
                return work(self._read)

        return await self._in(self._reader, mapped)

    async def runs(self, ids: Sequence[str]) -> list[Run | None]:
        """Read runs by id."""
        return await self._reading(lambda read: sqlite_state.read_runs(read, ids))

    async def run_ids(self, before_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the youngest first."""
        return await self._reading(lambda read: sqlite_state.read_run_ids(read, before_seq, limit))

    async def oldest_run_ids(self, after_seq: int, limit: int) -> list[tuple[int, str]]:
        """Read opened runs, the oldest first."""
        return await self._reading(lambda read: sqlite_state.read_oldest_run_ids(read, after_seq, limit))

    async def recent_run_ids(self, before_seq: int, limit: int, now: int) -> list[tuple[int, str]]:
        """Read runs that nobody ended, or not long ago, the youngest first."""
        return await self._reading(
            lambda read: sqlite_state.read_recent_run_ids(read, before_seq, limit, now)
        )

    async def grants(self, ids: Sequence[str]) -> list[Grant | None]:
        """Read grants by id."""
        return await self._reading(lambda read: sqlite_state.read_grants(read, ids))

    async def actions(self, ids: Sequence[tuple[str, str]]) -> list[Action | None]:
        """Read actions by run and op_id."""
        return await self._reading(lambda read: sqlite_state.read_actions(read, ids))

    async def awaiting(self) -> list[tuple[str, str]]:
        """Read which actions wait for a person."""
        return await self._reading(sqlite_state.read_awaiting)

    async def open_duties(self, kind: DutyKind, limit: int) -> list[Duty]:
        """Read open duties of a kind."""
        if kind is DutyKind.CALL_OFF:
            await self._call_off_stopped()
        return await self._reading(lambda read: sqlite_state.read_open_duties(read, kind, limit))

    async def _any_stopped(self) -> bool:
        now = await self._in(self._writer, lambda: self._state.tell_time(self._clock()))
        return bool(await self._reading(lambda read: sqlite_state.read_stopped(read, now, 1)))

    async def fences(self) -> list[Fence]:
        """Read all fences."""
        return await self._reading(sqlite_state.read_fences)

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]:
        """Read a run's entries in order."""
        return await self._reading(lambda read: sqlite_state.read_journal(read, run_id, after_seq, limit))

    async def standing(self) -> Standing:
        """Tell how the store stands. One without room says so, and looks for room again."""
        epoch, _, seq = await self._reading(sqlite_state.read_meta)
        now, trouble = await self._in(
            self._writer, lambda: (self._state.tell_time(self._clock()), self._trouble())
        )
        return Standing(epoch, Durability.SYNCED, now, seq, trouble)

    def _trouble(self) -> str:
        """Say what is wrong. Only an urgent call gives up the reserve, so it may stand on a full disk."""
        if self._headroom.released and not self._headroom.restore():
            return explain(_full("the reserve is in use").refusal)
        if self._full and self._headroom.is_tight():
            return explain(_full("the disk is full").refusal)
        self._full = False
        return ""

    async def close(self) -> None:
        """Answer everything that was asked, then let go of the file and the lock."""
        self._closing = True
        await self._idle.wait()
        await self._in(self._reader, self._read.close)
        await self._in(self._writer, self._state.close)
        self._reader.shutdown()
        self._writer.shutdown()
        self._lock.release()


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the store's own, in this one place."""
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(error, path) from error
    except OSError as error:
        cause = f"{path.parent}: {error.strerror or error}"
        remedy = "see whether the directory is writable and the disk has room"
        raise StoreFailed(ErrorReason.STORE_UNFIT, cause=cause, remedy=remedy) from error


def _failure(error: sqlite3.Error, path: Path) -> StoreFailed:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return _full("the disk is full")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        remedy = "move the file away or restore it from a backup"
        return StoreFailed(ErrorReason.STORE_UNFIT, cause=f"{path.name} is damaged", remedy=remedy)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause=name)


def _may_lack_room(failed: StoreFailed) -> bool:
    """Say whether giving up the reserve may help: SQLite calls a spent quota an input/output error."""
    spent = failed.refusal.details.get("cause", "").startswith("SQLITE_IOERR")
    return spent or failed.refusal.reason is ErrorReason.STORE_FULL


def _full(cause: str) -> StoreFailed:
    return StoreFailed(ErrorReason.STORE_FULL, cause=cause)
