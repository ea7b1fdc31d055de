"""The processes of the demo: started here, ended here, and their directory removed, however the demo ends."""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from countermand.demo.stage import Event

#: Seconds a process gets to end by itself.
_PATIENCE_S = 2.0

#: What a process is reported to have done last.
ENDED = "ended"


class Players:
    """Starts processes that report events. On leaving the block every one of them is gone."""

    def __init__(self) -> None:
        # Not below $TMPDIR, which may be long: the path of a socket has to be short.
        self.directory = Path(tempfile.mkdtemp(prefix="cm-demo-", dir="/tmp"))
        self.home = self.directory / "home"
        self._processes: list[subprocess.Popen[str]] = []
        self._listeners: list[threading.Thread] = []
        self._events: queue.Queue[Event] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def start_sidecar(self) -> subprocess.Popen[str]:
        """Start a sidecar with a home of its own; its log stays there."""
        self.home.mkdir(mode=0o700)
        with (self.home / "log").open("w") as log:
            return self._start("countermand.demo.sidecar", output=log, errors=log)

    def start_undoer(self, below: str) -> subprocess.Popen[str]:
        """Start the compensator for a story that plays in this directory; it waits for the sidecar."""
        with (self.directory / "undoer.log").open("w") as log:
            return self.start("countermand.demo.undoer", str(self.directory / below), errors=log)

    def start(self, module: str, *arguments: str, errors: IO[str] | None = None) -> subprocess.Popen[str]:
        """Start one of the demo's programs and listen to it."""
        process = self._start(module, *arguments, output=subprocess.PIPE, errors=errors)
        listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
        listener.start()
        self._listeners.append(listener)
        return process

    def _start(
        self, module: str, *arguments: str, output: int | IO[str], errors: IO[str] | None
    ) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env=clean | {"COUNTERMAND_HOME": str(self.home), "COUNTERMAND_LOG_LEVEL": "warning"},
            text=True,
            start_new_session=True,  # Ctrl-C comes to us alone, and we end them in order
        )
        self._processes.append(process)
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        if process.stdout:
            with process.stdout as said:
                for line in said:
                    self._events.put(Event(**json.loads(line)))
        self._events.put(Event(0, ENDED))

    def events(self, timeout: float) -> Iterator[Event]:
        """Answer what is reported, as it comes; nothing for this long is an error."""
        while True:
            try:
                yield self._events.get(timeout=timeout)
            except queue.Empty:
                raise TimeoutError(f"no process of the demo has said anything for {timeout:g} s") from None

    @staticmethod
    def order(process: subprocess.Popen[str], line: str) -> None:
        """Tell a process something."""
        if process.stdin:
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            _end(process)
        for listener in self._listeners:
            listener.join()
        shutil.rmtree(self.directory, ignore_errors=True)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()
