"""The agent of owned.py at work, its run cancelled from the command line, and what became of it."""

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

from tests.e2e.owned import LAYERS
from tests.e2e.provider import Provider
from tests.support.sidecar import ROOT, SidecarProcess

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
def agent(
    sidecar: SidecarProcess, provider: Provider, log: Path, run: str
) -> Iterator["subprocess.Popen[str]"]:
    """The agent in a process of its own, at work on everything."""
    command = [
        sys.executable,
        "-m",
        "tests.e2e.owned",
        str(sidecar.home),
        str(provider.socket),
        str(log),
        run,
    ]
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


def cancelled(sidecar: SidecarProcess, run: str = "r-all") -> Told:
    """Have everything at work, cancel the run from the command line, and see what became of it."""
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as name:
        log, provider = Path(name) / "log", Provider(Path(name) / "provider.sock")
        with provider.serving(), agent(sidecar, provider, log, run) as process:
            _say(sidecar, "cancel", run, "--reason", "user_stop", "--note", "enough")
            out, _ = process.communicate(timeout=30)
            time.sleep(0.1)  # whatever went on would show
        report = json.loads(_say(sidecar, "report", run, "--output", "json"))
        return Told(_lines(log), json.loads(out), report, provider)
