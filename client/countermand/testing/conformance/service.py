"""The sidecar of the suite: in this process, or a command of an environment that has the extra."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol

import countermand.sync
from countermand._errors import CountermandError
from countermand.testing import Sidecar, short_folder, sidecar

#: The command of an environment that has the extra `service`.
VARIABLE = "COUNTERMAND_SIDECAR"
_START_SECONDS, _STOP_SECONDS = 30.0, 15.0
_LOOK_EVERY = 0.05
#: How long a permit of the suite lasts, in seconds: on a slow machine, too, what is inside stays in flight.
_PERMIT_USE = 60


class Service(Protocol):
    """A sidecar that can go away and come back as it was, at the same home."""

    home: Path

    def start(self) -> None:
        """Start it; it answers when this returns."""

    def stop(self) -> None:
        """Stop it; nobody answers when this returns, and nothing is forgotten."""

    def pause(self) -> None:
        """Have it hang: it takes what it is asked, and answers nobody."""

    def resume(self) -> None:
        """Have it go on. Called once after each `pause`."""


class ProcessService:
    """A sidecar as a process of another environment."""

    def __init__(self, program: str, home: Path, *options: str) -> None:
        self.home = home
        self._program, self._options = program, options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with tempfile.TemporaryFile() as said:
            command = [self._program, "--home", str(self.home), "serve", "--permit-use", str(_PERMIT_USE)]
            command += self._options
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            ends = time.monotonic() + _START_SECONDS
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > ends:
                    self.stop()
                    said.seek(0)
                    raise RuntimeError(f"{VARIABLE}={self._program} did not start: {said.read()[-2000:]!r}")
                time.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """End it as its operator would, or else for good."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Have the process hang."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        with countermand.sync.connect(self.home, control_timeout=0.5) as cm:
            try:
                cm.auditor.runs(page_size=1)
            except CountermandError:
                return False
            return True


def make_service() -> Service:
    """Answer a sidecar in a home of its own, not yet started; `remove` it afterwards."""
    home = short_folder()
    if program := os.environ.get(VARIABLE):
        return ProcessService(program, home)
    return _in_process(home)


def _in_process(home: Path) -> Sidecar:
    return sidecar(home=home, store="sqlite", permit_use=_PERMIT_USE)


def remove(service: Service) -> None:
    """Stop it, and remove its home."""
    try:
        service.stop()
    finally:
        shutil.rmtree(service.home, ignore_errors=True)
