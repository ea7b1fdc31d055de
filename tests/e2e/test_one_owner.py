"""One owner: a run with work of every kind is cancelled from another process, and every layer of it stops."""

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.owned import LAYERS
from tests.e2e.provider import Provider
from tests.support.redis_server import RedisServer
from tests.support.sidecar import ROOT, SidecarProcess, sidecar_running

#: Milliseconds in which each layer must have stopped on any machine; figures are in docs/performance.md.
SOON = 1500

COMMAND = Path(sys.executable).parent / "countermand"


@dataclass
class Told:
    """What became of it: when each layer was last at work, what the agent printed, and the report."""

    lines: dict[str, list[int]]
    agent: dict[str, Any]
    report: dict[str, Any]
    provider: Provider

    def stopped_after(self, nanoseconds: int) -> float:
        """How many milliseconds after the run's end something was."""
        end = datetime.fromisoformat(self.report["run"]["end"]["time"])
        return nanoseconds / 1e6 - end.timestamp() * 1000


def _lines(log: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for line in log.read_text().splitlines() if log.exists() else []:
        layer, when = line.split()
        found[layer].append(int(when))
    return found


@contextmanager
def agent(sidecar: SidecarProcess, provider: Provider, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """The agent in a process of its own, at work on everything."""
    command = [sys.executable, "-m", "tests.e2e.owned", str(sidecar.home), str(provider.socket), str(log)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        ends = time.monotonic() + 30
        while not {*LAYERS, "silent", "prepared"} <= _lines(log).keys():
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < ends, f"only {sorted(_lines(log))} are at work"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def _say(sidecar: SidecarProcess, *arguments: str) -> str:
    done = subprocess.run(
        [str(COMMAND), *arguments, "--home", str(sidecar.home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cancelled(sidecar: SidecarProcess) -> Told:
    """Have everything at work, cancel the run from the command line, and see what became of it."""
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as name:
        log, provider = Path(name) / "log", Provider(Path(name) / "provider.sock")
        with provider.serving(), agent(sidecar, provider, log) as process:
            _say(sidecar, "cancel", "r-all", "--reason", "user_stop", "--note", "enough")
            out, _ = process.communicate(timeout=30)
            time.sleep(0.1)  # whatever went on would show
        report = json.loads(_say(sidecar, "report", "r-all", "--output", "json"))
        return Told(_lines(log), json.loads(out), report, provider)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One cancel, looked at by every test of this module, on each store."""
    server = None
    if request.param == "redis":
        server = RedisServer(tmp_path_factory.mktemp("redis"))
        server.start()
    try:
        with sidecar_running(store=server.url if server else "sqlite") as sidecar:
            yield cancelled(sidecar)
    finally:
        if server:
            server.close()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_stops(told: Told, layer: str) -> None:
    """Task, thread, process, stream and sub-agent: soon after the cut, the last line was written."""
    assert told.stopped_after(told.lines[layer][-1]) < SOON


@pytest.mark.parametrize("kind", ["chatty", "silent"])
def test_a_provider_sees_its_caller_go(told: Told, kind: str) -> None:
    """The connection is closed, whether the model spoke or was silent; it sends nothing more."""
    spoken = told.provider.spoken[kind]
    assert 0 < told.stopped_after(spoken.gone) < SOON
    assert spoken.sent[-1] <= spoken.gone


def test_nothing_is_written_after_the_cut(told: Told) -> None:
    """A tool that does not listen finds the door closed."""
    assert told.lines["refused"]
    assert "WRITTEN" not in told.lines
    assert told.stopped_after(told.lines["refused"][0]) > 0


def test_receipt_and_report_agree(told: Told) -> None:
    """The same reason, by the same person, at the same entry; what would not stop is named."""
    end = told.report["run"]["end"]
    assert (told.agent["reason"], told.agent["note"]) == ("USER_STOP", "enough")
    assert (end["reason"], end["note"]) == ("USER_STOP", "enough")
    assert (told.agent["actor"], told.agent["seq"]) == (end["actor"], end["seq"])
    assert told.agent["not_stopped"] == ["late"]
    assert {"task", "cpu", "chatty", "silent"} <= set(told.agent["stopped"])
    assert [one["action"] for one in told.report["interrupted"]] == ["db.write"]
    assert [one["reason"] for one in told.report["late_attempts"]] == ["REVOKED"]
    assert not told.report["done"]


def test_clean_ups_come_last_in_first_out(told: Told) -> None:
    """When all work has ended."""
    assert told.agent["cleaned"] == ["third", "second", "first"]


def test_the_sub_agents_run_is_over_too(told: Told) -> None:
    """It is below the one that was cancelled."""
    assert len(told.report["descendant_run_ids"]) == 1
