"""A real sidecar, a real store, and somebody who writes to the store behind its back."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

import countermand.sync
from countermand.cli.exit_codes import ExitCode
from grant_service.store.keys import Keys
from tests.cli.support import Shell
from tests.support.redis_server import redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running

#: An entry as a store holds it: number, time, kind, data.
Row = tuple[int, int, str, dict[str, str]]
Rewrite = Callable[[Callable[[list[Row]], list[Row]]], None]


@dataclass
class Rig:
    """A sidecar with the run r-1 stopped, a shell, and a hand in the store."""

    sidecar: SidecarProcess
    shell: Shell
    rewrite: Rewrite


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line, in this process."""
    return Shell(monkeypatch, capsys)


@pytest.fixture(params=["sqlite", "redis"])
def rig(
    request: pytest.FixtureRequest, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """On either store."""
    if request.param == "sqlite":
        with sidecar_running() as sidecar:
            monkeypatch.setenv("COUNTERMAND_HOME", str(sidecar.home))
            yield Rig(sidecar, shell, in_sqlite(sidecar.home / "data" / "countermand.db"))
        return
    with redis_running(tmp_path / "redis") as server, sidecar_running(store=server.url) as sidecar:
        monkeypatch.setenv("COUNTERMAND_HOME", str(sidecar.home))
        with server.client() as client:
            yield Rig(sidecar, shell, in_redis(client))


def in_sqlite(path: Path) -> Rewrite:
    """Rewrite rows."""

    def rewrite(change: Callable[[list[Row]], list[Row]]) -> None:
        with sqlite3.connect(path) as db:
            select = "SELECT seq, time, kind, data FROM journal WHERE run_id = 'r-1' ORDER BY seq"
            rows = [(seq, time, kind, json.loads(data)) for seq, time, kind, data in db.execute(select)]
            db.execute("DELETE FROM journal WHERE run_id = 'r-1'")
            for seq, time, kind, data in change(rows):
                row = ("r-1", seq, time, kind, json.dumps(data))
                db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", row)
        db.close()

    return rewrite


def in_redis(client: redis.Redis) -> Rewrite:
    """Rewrite a stream."""

    def rewrite(change: Callable[[list[Row]], list[Row]]) -> None:
        key = Keys().journal("r-1")
        rows: list[Row] = []
        for name, fields in client.xrange(key):
            told = {_text(one): _text(value) for one, value in fields.items()}
            rows.append((int(_text(name).partition("-")[0]), int(told.pop("time")), told.pop("kind"), told))
        client.delete(key)
        for seq, time, kind, data in change(rows):
            client.xadd(key, {"kind": kind, "time": time, **data}, id=f"{seq}-0")

    return rewrite


def _text(told: bytes | str) -> str:
    return told.decode() if isinstance(told, bytes) else told


def play(rig: Rig, tmp_path: Path) -> list[str]:
    """Open, act, stop; keep what the cancel answered, and the keys. Answer how to verify."""
    with countermand.sync.connect(rig.sidecar.home) as cm:
        cm.issuer.open(run_id="r-1", agent="mailer")
        token = cm.issuer.issue("r-1", scopes=["*"]).token
        for op in ("o-1", "o-2", "o-3"):
            cm.tool.perform(token, countermand.Intent.of("email.send", op_id=op))
            cm.tool.settle(token, op, "SUCCEEDED", receipt=f"m-{op}")
    stopped = rig.shell("cancel", "r-1", "--reason", "user_stop", "--output", "json")
    (tmp_path / "stop.json").write_text(stopped.out)
    assert rig.shell("journal", "keys", "--output-file", str(tmp_path / "keys.json")).code == 0
    return [
        "journal",
        "verify",
        "r-1",
        "--head",
        str(tmp_path / "stop.json"),
        "--key",
        str(tmp_path / "keys.json"),
    ]


def other_receipt(rows: list[Row]) -> list[Row]:
    """Another message was sent, says the journal now."""
    seq, time, kind, data = rows[7]
    return [*rows[:7], (seq, time, kind, {**data, "receipt": "m-9"}), *rows[8:]]


def exchanged(rows: list[Row]) -> list[Row]:
    """Two entries have each other's number."""
    one, other = rows[4], rows[7]
    changed = [*rows]
    changed[4], changed[7] = (one[0], *other[1:]), (other[0], *one[1:])
    return changed


TAMPERINGS: dict[str, tuple[Callable[[list[Row]], list[Row]], int]] = {
    "edited": (other_receipt, 8),
    "an effect removed": (lambda rows: [*rows[:2], *rows[5:]], 3),
    "the cut moved back": (lambda rows: [*rows[:-1], (rows[-1][0], rows[-1][1] - 1, *rows[-1][2:])], 12),
    "exchanged": (exchanged, 5),
    "cut off": (lambda rows: rows[:-2], 11),
    "put in": (lambda rows: [*rows, (rows[-1][0] + 1, rows[-1][1], "LIFTED", {})], 0),
    "emptied": (lambda _: [], 1),
}


def test_a_store_that_was_tampered_with_is_found_out(rig: Rig, tmp_path: Path) -> None:
    """By the head in what the cancel answered; the first bad entry is named, and mending it mends all."""
    verify = play(rig, tmp_path)
    holds = rig.shell.json(*verify)
    assert (holds["holds"], holds["by_kept_head"], holds["notes"]) == (True, True, [])
    saved: list[Row] = []
    rig.rewrite(lambda rows: saved.extend(rows) or rows)  # type: ignore[func-returns-value]
    assert len(saved) == 12
    for name, (tamper, place) in TAMPERINGS.items():
        rig.rewrite(lambda _, tamper=tamper: tamper(saved))  # type: ignore[misc]
        done = rig.shell(*verify, "--output", "json")
        if not place:  # it is behind all that the head covers
            assert done.code == ExitCode.OK, name
            assert done.document["journals"][0]["uncovered_count"] == 1
            continue
        assert done.code == ExitCode.DOES_NOT_HOLD, name
        (journal,) = done.document["journals"]
        assert journal["fault"]["place"] == place, name
        now = tamper(saved)
        expected = now[place - 1] if place <= len(now) else (0, 0, "")
        assert (journal["fault"]["seq"], journal["fault"]["kind"]) == (expected[0], expected[2]), name
        rig.rewrite(lambda _: saved)
        assert rig.shell(*verify).code == ExitCode.OK, name


def test_by_itself_a_journal_is_only_caught_at_contradictions(rig: Rig, tmp_path: Path) -> None:
    """An edit passes, and it is said why; what the run's record knows of, and is gone, does not."""
    play(rig, tmp_path)
    rig.rewrite(other_receipt)
    passed = rig.shell("journal", "verify", "r-1")
    assert passed.code == ExitCode.OK
    assert passed.out.startswith("Consistent: run r-1, 12 entries, ")
    assert "Only a kept head proves that nothing was edited" in passed.err
    assert "The keys came from the service itself" in passed.err
    rig.rewrite(lambda rows: rows[:-1])
    done = rig.shell("journal", "verify", "r-1")
    assert done.code == ExitCode.DOES_NOT_HOLD
    assert "the run's record says that entry 12 ended it" in done.out
    rig.rewrite(lambda rows: [*rows[:2], *rows[5:]])
    done = rig.shell("journal", "verify", "r-1")
    assert "it has 2 actions, and the run's record counts 3" in done.out


def test_a_key_that_was_retired_still_verifies_its_heads(rig: Rig, tmp_path: Path) -> None:
    """Its private half removed and the sidecar started again: the service still lists it."""
    from grant_service.tokens.keys import rotate

    verify = play(rig, tmp_path)[:-2]
    keys = rig.sidecar.home / "keys"
    (old,) = keys.glob("*.pem")
    rotate(keys)
    old.unlink()
    rig.sidecar.restart()
    listed = rig.shell.json("journal", "keys")["keys"]
    assert [(one["key_id"] == old.stem, one["signing"]) for one in listed] == [(False, True), (True, False)]
    assert rig.shell(*verify).code == ExitCode.OK
