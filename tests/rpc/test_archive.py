"""The archive behind a running sidecar: callers do not notice where a journal is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grant_service.app import Sidecar
from grant_service.core.errors import Refused
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from grant_service.store.sqlite import SqliteStore
from grant_service.tokens.keys import rotate
from tests.archive.support import Forger
from tests.rpc.support import Caller, ManualClock, Served, put_keys, request, short_home, until

HOUR = 3600


@pytest.fixture(autouse=True)
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archiver looks often."""
    monkeypatch.setattr("grant_service.archive.archiver._LONG_REST", 0.02)


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that a sidecar can be started on again."""
    with short_home() as path:
        put_keys(path)
        yield path


async def start(home: Path, clock: ManualClock) -> Served:
    """Start a sidecar on SQLite that archives what ended an hour ago."""
    settings = Settings(home=home, store="sqlite", archive_after=HOUR)
    store = await SqliteStore.start(home / "data" / "countermand.db", clock)
    sidecar = await Sidecar.start(settings, store=store, clock=clock)
    callers = {role: Caller(f"unix:{home}/run/{role.value}.sock") for role in Role}
    return Served(home, sidecar, store, clock, callers)


async def stop(served: Served) -> None:
    """Hang up, and stop the sidecar."""
    for caller in served.callers.values():
        await caller.channel.close()
    await served.sidecar.stop()


async def archived(served: Served, run_id: str = "r-1") -> None:
    """Wait until a run's journal has left the store."""

    async def gone() -> bool:
        return not await served.store.journal(run_id, 0, 1)

    await until(gone)


async def test_every_door_tells_of_an_archived_run(home: Path) -> None:
    """Report, run, journal, a repeated cancel: as before, and after a restart as well."""
    clock = ManualClock()
    served = await start(home, clock)
    token = await served.grant()
    await served.permit(token, "o-1")
    await served.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1, receipt="<1@example.com>")
    before = (await served.cancel()).report
    entries = (await served.auditor("ListEntries", run_id="r-1")).entries
    clock.advance(HOUR)
    await archived(served)
    for _ in range(2):
        report = (await served.auditor("GetReport", run_id="r-1")).report
        assert (report.done, report.cut_seq, report.gaps) == (before.done, before.cut_seq, before.gaps)
        assert report.heads[0].hash == before.heads[0].hash
        assert (await served.auditor("ListEntries", run_id="r-1")).entries == entries
        assert (await served.auditor("GetRun", run_id="r-1")).run.end.seq == before.cut_seq
        assert (await served.auditor("GetHead", run_id="r-1")).head.hash == before.heads[0].hash
        watch = served.auditor.rpc("WatchEntries")(request("WatchEntries", run_id="r-1"))
        assert [(await watch.read()).entry for _ in entries] == list(entries)
        watch.cancel()
        why = await served.auditor("ExplainRefusal", run_id="r-1", op_id="o-1")
        assert why.details["ended_run"] == "r-1"
        assert [one.kind for one in why.story] == ["PREPARED", "PERMITTED", "SETTLED", "CANCELLED"]
        again = await served.cancel()
        assert (again.replayed, again.known, again.report.done) == (True, True, before.done)
        await stop(served)
        served = await start(home, clock)
    assert (await served.tool.refused("CommitAction", **_commit(token))).reason == "GRANT_UNKNOWN"
    await stop(served)


def _commit(token: str) -> dict[str, object]:
    return {"grant_token": token, "op_id": "o-1", "digest": b"d" * 32}


async def test_a_sidecar_does_not_start_on_a_damaged_archive(home: Path) -> None:
    """It would tell a report without what the file held, and nobody would know."""
    clock = ManualClock()
    served = await start(home, clock)
    await served.grant()
    await served.cancel()
    clock.advance(HOUR)
    await archived(served)
    await stop(served)
    (path,) = (home / "archive").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"USER_STOP", b"USER_STOQ"))
    (home / "archive" / "index.db").unlink()
    with pytest.raises(Refused) as refused:
        await start(home, clock)
    assert refused.value.refusal.reason == "STORE_UNFIT"
    assert path.name in refused.value.refusal.details["cause"]


async def test_a_report_is_not_told_from_a_damaged_file(home: Path) -> None:
    """The chain does not hold: no answer is better than that one."""
    clock = ManualClock()
    served = await start(home, clock)
    await served.grant()
    await served.cancel()
    clock.advance(HOUR)
    await archived(served)
    (path,) = (home / "archive").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"USER_STOP", b"INCIDENT_"))
    refused = await served.auditor.refused("GetReport", run_id="r-1")
    assert refused.reason == "STORE_UNFIT"
    assert path.name in refused.message
    await stop(served)


async def test_a_report_is_not_signed_of_a_past_that_somebody_put_together(home: Path) -> None:
    """Chain and checksum hold; nobody with a key of ours has seen it."""
    clock = ManualClock()
    served = await start(home, clock)
    await served.grant()
    await served.cancel()
    clock.advance(HOUR)
    await archived(served)
    await stop(served)
    forger = Forger(home / "archive")
    forger.blocks["r-1"].entries.pop()
    forger.blocks["r-1"].fit()
    forger.put()
    served = await start(home, clock)
    for rpc in ("GetReport", "GetRun", "ListEntries"):
        refused = await served.auditor.refused(rpc, run_id="r-1")
        assert refused.reason == "STORE_UNFIT"
        for said in (
            forger.path.name,
            "run r-1",
            "does not have the seal of key",
            "restore it from a backup",
        ):
            assert said in refused.message
    await stop(served)


async def test_a_rotated_key_still_vouches_for_what_it_sealed(home: Path) -> None:
    """Its private half may go."""
    clock = ManualClock()
    served = await start(home, clock)
    await served.grant()
    await served.cancel()
    clock.advance(HOUR)
    await archived(served)
    await stop(served)
    (old,) = (home / "keys").glob("*.pem")
    rotate(home / "keys")
    old.unlink()
    served = await start(home, clock)
    assert (await served.auditor("GetReport", run_id="r-1")).report.run.run_id == "r-1"
    await stop(served)


def test_where_the_archive_is(home: Path) -> None:
    """Below the home for the embedded store; for a Redis only if somebody wants it."""
    settings = Settings(home=home, store="sqlite", archive="off")
    assert settings.archive_path is None
    assert Settings(home=home, store="redis://localhost").archive_path is None
    assert Settings(home=home, store="redis://localhost", archive="on").archive_path == home / "archive"
    assert Settings(home=home, store="memory").archive_path is None
