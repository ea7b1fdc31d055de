"""The embedded store's file: what a restart keeps, what a restored copy ends, who can read it."""

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed, explain
from grant_service.core.grant import GrantRef
from grant_service.core.journal import Kind
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.sqlite import SqliteStore

REF = GrantRef("g-1", "r-1", (), "tool", "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "countermand.db"


async def _with_a_grant(path: Path) -> SqliteStore:
    store = await SqliteStore.start(path)
    await store.open(verbs.Open("r-1", 60_000, 60_000))
    await store.issue(verbs.Issue("g-1", "r-1", "tool", (Scope("*"),), 60_000))
    return store


async def _perform(store: SqliteStore, op_id: str) -> verbs.Permitted | Refusal:
    intent = Intent(op_id, "email.send", "", "00", Reversibility.IRREVERSIBLE)
    return await store.perform(verbs.Perform(REF, "tool", intent, 5_000, 100))


async def test_a_restart_keeps_the_epoch(path: Path) -> None:
    """A grant outlives a restart of the sidecar: SQLite forgot nothing."""
    store = await _with_a_grant(path)
    await store.close()

    again = await SqliteStore.start(path)
    try:
        assert isinstance(await _perform(again, "o-1"), verbs.Permitted)
    finally:
        await again.close()


@pytest.mark.parametrize("how", ["written over", "put in its place"])
async def test_a_restored_backup_revives_no_grant(path: Path, tmp_path: Path, how: str) -> None:
    """After a backup from before the cancel is restored, the grant is over, and numbers go on."""
    store = await _with_a_grant(path)
    await store.close()
    backup = tmp_path / "backup.db"
    shutil.copyfile(path, backup)
    store = await SqliteStore.start(path)
    cancelled = await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))
    await store.close()

    if how == "put in its place":
        path.unlink()
    shutil.copyfile(backup, path)  # written over, it keeps its inode
    again = await SqliteStore.start(path)
    try:
        refusal = await _perform(again, "o-1")
        opened = await again.open(verbs.Open("r-2", 60_000, 60_000))
    finally:
        await again.close()

    assert isinstance(refusal, Refusal)
    assert refusal.reason is ErrorReason.STORE_EPOCH
    assert isinstance(opened, verbs.Opened)
    assert opened.run.open_seq > cancelled.seq


@pytest.mark.parametrize("text", ["", "12", "not a number, not at all"])
async def test_a_lost_watermark_ends_what_was_issued(path: Path, text: str) -> None:
    """Nobody knows whether the file is the newest, so its grants are over."""
    store = await _with_a_grant(path)
    await store.close()
    path.with_suffix(".mark").write_text(text)

    again = await SqliteStore.start(path)
    try:
        refusal = await _perform(again, "o-1")
    finally:
        await again.close()

    assert isinstance(refusal, Refusal)
    assert refusal.reason is ErrorReason.STORE_EPOCH


async def test_a_copy_beside_the_original_has_its_own_epoch(path: Path, tmp_path: Path) -> None:
    """Two sidecars on two copies of one directory do not honour each other's grants."""
    store = await _with_a_grant(path)
    await store.close()
    elsewhere = tmp_path / "copy"
    shutil.copytree(path.parent, elsewhere)

    copy = await SqliteStore.start(elsewhere / path.name)
    try:
        refusal = await _perform(copy, "o-1")
    finally:
        await copy.close()

    assert isinstance(refusal, Refusal)
    assert refusal.reason is ErrorReason.STORE_EPOCH


async def test_nobody_else_can_read_the_files(path: Path) -> None:
    """The database, its log and everything beside it are the user's own, in use and from the start."""
    path.parent.mkdir(mode=0o755)
    store = await _with_a_grant(path)
    try:
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        await store.close()

    assert {"countermand.db", "countermand.db-wal", "countermand.db-shm", "countermand.mark"} <= set(modes)
    assert set(modes.values()) == {0o600}


async def test_a_damaged_file_is_refused_by_name(path: Path) -> None:
    """What is no database is not taken for an empty one."""
    path.parent.mkdir()
    path.write_text("not a database, and long enough to be looked at" * 100)

    with pytest.raises(StoreFailed) as failed:
        await SqliteStore.start(path)

    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    assert "countermand.db is damaged" in failed.value.refusal.details["cause"]


@pytest.mark.parametrize("schema", [5, 7])
async def test_a_file_of_another_schema_is_left_to_whoever_knows_it(path: Path, schema: int) -> None:
    """It is refused with what to do, and not touched: the sidecar that wrote it still can use it."""
    store = await _with_a_grant(path)
    await store.close()
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version = {schema}")
    file.close()
    before = path.read_bytes()

    with pytest.raises(StoreFailed) as failed:
        await SqliteStore.start(path)

    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    assert explain(failed.value.refusal) == (
        f"the store is not fit to decide: countermand.db has schema {schema}, this sidecar knows 6; "
        "run the sidecar that wrote it"
    )
    assert path.read_bytes() == before
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 6")
    file.close()
    again = await SqliteStore.start(path)  # nobody holds the lock of a store that did not start
    await again.close()


async def test_a_time_that_was_told_survives_a_crash(path: Path) -> None:
    """After a crash, and with the clock set back, the store's time goes on from what somebody acted by."""
    ahead = 2_000_000_000_000
    store = await SqliteStore.start(path, lambda: ahead)
    told = (await store.standing()).now
    crashed = path.parent.parent / "crashed"
    shutil.copytree(path.parent, crashed)
    await store.close()
    for name in ("countermand.db", "countermand.mark"):  # what a process that is killed leaves behind
        shutil.copyfile(crashed / name, path.parent / name)

    again = await SqliteStore.start(path, lambda: ahead - 60_000)
    try:
        assert (await again.standing()).now == told == ahead
    finally:
        await again.close()


async def test_a_second_writer_is_seen_though_the_lock_was_removed(path: Path) -> None:
    """A cancel by a process that should not be there is honoured: no record is trusted that another wrote."""
    one = await _with_a_grant(path)
    assert isinstance(await _perform(one, "o-1"), verbs.Permitted)
    (path.parent / "lock").unlink()

    other = await SqliteStore.start(path)
    try:
        await other.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))
        refusal = await _perform(one, "o-2")
    finally:
        await other.close()
        await one.close()

    assert isinstance(refusal, Refusal)
    assert refusal.reason is ErrorReason.REVOKED


LOOK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM journal WHERE kind = 'PERMITTED'").fetchone()[0])
db.close()
"""


async def test_a_look_at_the_file_from_outside_loses_nothing(path: Path) -> None:
    """Whoever closes the file last tidies up its log: that must not be somebody else while it is in use.

    A process loses its locks on a file with the first handle of it that it closes, and SQLite then takes it
    for gone.
    """
    store = await _with_a_grant(path)
    for permitted in range(3):
        seen = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", LOOK, path], check=True, capture_output=True, text=True
        )
        assert int(seen.stdout) == permitted
        assert isinstance(await _perform(store, f"o-{permitted}"), verbs.Permitted)
        kinds = [entry.kind for entry in await store.journal("r-1", 0, 100)]
        assert kinds.count(Kind.PERMITTED) == permitted + 1
    await store.close()


async def test_refused_calls_do_not_use_up_the_reserve(path: Path) -> None:
    """While the store lives on its reserve a refusal leaves no trace, so that a cancel still fits."""
    store = await _with_a_grant(path)
    await _perform(store, "o-1")
    settle = verbs.Settle(REF, "tool", "nothing-known", ActionState.SUCCEEDED)
    try:
        await store.settle(settle)
        before = await store.journal("r-1", 0, 100)
        store._headroom.release()
        refusal = await store.settle(settle)
        after = await store.journal("r-1", 0, 100)
        settled = await store.settle(verbs.Settle(REF, "tool", "o-1", ActionState.SUCCEEDED))
    finally:
        await store.close()

    assert isinstance(refusal, Refusal)
    assert refusal.reason is ErrorReason.ACTION_UNKNOWN
    assert before[-1].kind == "REFUSED"
    assert after == before
    assert isinstance(settled, verbs.Settled)
    assert settled.seq == before[-1].seq + 1


async def test_letting_go_of_a_run_does_not_use_up_the_reserve(path: Path) -> None:
    """A long journal's end takes room in the log first. The cancels that come meanwhile need that more."""
    store = await _with_a_grant(path)
    try:
        await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))
        (*_, last) = await store.journal("r-1", 0, 100)
        store._headroom.release()
        with pytest.raises(StoreFailed) as full:
            await store.release(verbs.Release("r-1", last.seq, ("g-1",)))
        kept = await store.journal("r-1", 0, 100)
        assert (await store.cancel(verbs.Cancel("r-2", StopReason.USER_STOP))).seq == last.seq + 1
        store._headroom.restore()
        assert await store.release(verbs.Release("r-1", last.seq, ("g-1",)))
    finally:
        await store.close()

    assert full.value.refusal.reason is ErrorReason.STORE_FULL
    assert kept[-1] == last


async def test_a_spent_quota_gives_up_the_reserve_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite calls it an input/output error; the cancel is tried again with the reserve's room."""
    store = await _with_a_grant(path)
    transact, calls = store._state.transact, 0

    def spent(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if store._headroom._path.exists():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR_WRITE"
            raise error
        return transact(*args, **options)

    monkeypatch.setattr(store._state, "transact", spent)
    try:
        cancelled = await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP))
    finally:
        await store.close()

    assert cancelled.known
    assert calls == 2
