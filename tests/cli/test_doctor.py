"""The doctor finds what is wrong, says how to mend it, and changes nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from countermand.cli import checks
from countermand.cli.exit_codes import ExitCode
from countermand.cli.health import Health
from countermand.testing import Sidecar
from tests.cli.support import Done, Shell
from tests.support.sidecar import SidecarProcess, sidecar_running


def failing(done: Done) -> dict[str, dict[str, Any]]:
    """The checks that failed, by name."""
    assert done.code == ExitCode.ASK_OPERATOR
    assert done.document["healthy"] is False
    return {one["name"]: one for one in done.document["checks"] if one["verdict"] == "FAIL"}


def test_a_healthy_sidecar_passes(granted: Shell) -> None:
    """Versions, home, directories, keys, four listeners, store."""
    done = granted.json("doctor")
    assert done["healthy"] is True
    verdicts = {one["name"]: one["verdict"] for one in done["checks"]}
    assert verdicts.pop("store") == "WARN"  # this one forgets, and the doctor says so
    assert set(verdicts.values()) == {"OK"}
    assert {"issuer listener", "tool listener", "operator listener", "auditor listener"} <= set(verdicts)
    assert {"version", "home", "socket directory", "keys", "kept tokens"} <= set(verdicts)
    store = next(one for one in done["checks"] if one["name"] == "store")
    assert store["told"].startswith("memory, VOLATILE, epoch mem-")
    assert store["fix"]


def test_a_store_that_keeps_is_fine() -> None:
    """The embedded store, in a process of its own; nothing is known of it until there is a run."""
    from countermand.sync import connect

    with sidecar_running() as sidecar, connect(sidecar.home) as client:
        place = checks.Place(str(sidecar.home))
        assert _found(place, "store").told.startswith("answers")
        client.issuer.open(run_id="r-1")
        store = _found(place, "store")
        assert store.verdict is checks.Verdict.OK
        assert store.told.startswith("embedded (SQLite), SYNCED, epoch sql-")
        _a_stopped_process_is_found(sidecar, place)


def _a_stopped_process_is_found(sidecar: SidecarProcess, place: checks.Place) -> None:
    """A process that died leaves its sockets behind: nobody answers there."""
    sidecar.kill()
    listener = _found(place, "tool listener")
    assert listener.verdict is checks.Verdict.FAIL
    assert "does not answer" in listener.told


def _found(place: checks.Place, name: str) -> checks.Check:
    return next(one for one in checks.every(place) if one.name == name)


def test_no_home(shell: Shell, tmp_path: Path) -> None:
    """One finding, not one for each thing that cannot be there either."""
    done = shell("doctor", "--home", str(tmp_path / "none"), "--output", "json")
    assert list(failing(done)) == ["home"]
    assert "countermand serve" in failing(done)["home"]["fix"]


def test_nothing_was_ever_served(shell: Shell, tmp_path: Path) -> None:
    """An empty home: every listener is absent."""
    found = failing(shell("doctor", "--home", str(tmp_path), "--output", "json"))
    assert {"socket directory", "keys", "tool listener", "operator listener"} <= set(found)
    assert "countermand serve" in found["tool listener"]["fix"]


BREAK: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "an open socket directory": (lambda home: (home / "run").chmod(0o755), "socket directory", "chmod 700"),
    "an open key directory": (lambda home: (home / "keys").chmod(0o750), "keys", "chmod 700"),
    "an exposed key": (lambda home: _first_key(home).chmod(0o644), "keys", "chmod 600"),
    "no key": (lambda home: _lose_keys(home), "keys", "serve"),
    "open tokens": (lambda home: (home / "grants").chmod(0o777), "kept tokens", "chmod 700"),
    "a home for everybody": (lambda home: home.chmod(0o777), "home", "chmod go-w"),
    "a missing socket": (lambda home: (home / "run" / "tool.sock").unlink(), "tool listener", "serve"),
}


def _lose_keys(home: Path) -> None:
    for one in (home / "keys").iterdir():
        one.unlink()


def _first_key(home: Path) -> Path:
    return next(one for one in (home / "keys").iterdir() if one.is_file())


@pytest.mark.parametrize("what", BREAK)
def test_what_is_broken_is_found_with_its_remedy(real: Sidecar, granted: Shell, what: str) -> None:
    """One thing broken, one thing found, and the line that mends it."""
    spoil, name, fix = BREAK[what]
    spoil(real.home)
    found = failing(granted("doctor", "--output", "json"))
    assert list(found) == [name]
    assert fix in found[name]["fix"]
    table = granted("doctor")
    assert "to mend it: " in table.out
    assert "1 of " in table.err


def test_a_store_that_does_not_answer_is_told_apart_from_a_dead_listener(
    granted: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health has a component for the store."""
    from countermand.cli import health

    monkeypatch.setattr(health, "health", lambda *_: Health.NOT_SERVING)
    found = failing(granted("doctor", "--output", "json"))
    assert "its store does not" in found["tool listener"]["told"]


def test_the_health_of_a_listener_is_the_protocols(real: Sidecar) -> None:
    """Read without the protocol's package, as the package reads it."""
    from countermand._address import Role, Sockets
    from countermand.cli.health import health

    target = Sockets(real.home).target(Role.OPERATOR)
    assert health(target, "", 2) is Health.SERVING
    assert health(target, "store", 2) is Health.SERVING
    assert health(target, "nonsense", 2) is Health.SILENT
    assert health("unix:/nowhere/x.sock", "", 0.2) is Health.SILENT


def test_a_development_port_is_warned_of(shell: Shell) -> None:
    """It needs no home, and anybody can use it."""
    done = shell("doctor", "--target", "127.0.0.1:1", "--output", "json")
    target = next(one for one in done.document["checks"] if one["name"] == "target")
    assert target["verdict"] == "WARN"
    assert "anybody" in target["told"]
    assert "home" not in {one["name"] for one in done.document["checks"]}


def test_it_changes_nothing(real: Sidecar, granted: Shell) -> None:
    """No run, no entry, no file."""

    def state() -> tuple[list[str], str]:
        files = [str(path) for path in sorted(real.home.rglob("*"))]
        return files, granted("journal", "r-1").out + granted("runs", "--output", "json").out

    before = state()
    granted("doctor")
    assert state() == before
    shutil.rmtree(real.home / "grants")
    granted("doctor")
    assert not (real.home / "grants").exists()
