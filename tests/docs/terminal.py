"""A reader's terminal: the blocks of one page, run in order, in a home of its own.

`make` and `countermand` are the real ones behind shim.py: `serve` goes to the background, and targets that
take minutes are only planned.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.docs.pages import ROOT, Block
from tests.support.sidecar import make_home

BIN = Path(sys.executable).parent
SHIM = Path(__file__).with_name("shim.py")
SECONDS = 60.0
#: What of the checkout a reader's commands may name.
SHOWN = (".venv", "deploy")


class Failed(AssertionError):
    """A block did not do what a reader was told."""


class Terminal:
    """Runs blocks; closing it ends what they left running."""

    def __init__(self) -> None:
        self.home, self._folder = make_home(), make_home()
        self._pids = self._folder / "pids"
        shims = self._folder / "shims"
        for name in SHOWN:
            (self._folder / name).symlink_to(ROOT / name)
        shims.mkdir()
        for name in ("make", "countermand"):
            (shims / name).write_text(_shim(name))
            (shims / name).chmod(0o755)
        told = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERMAND_")}
        told |= {"PATH": f"{shims}:{BIN}:{told['PATH']}", "NO_COLOR": "1", "COLUMNS": "120"}
        told |= {"DOCS_ROOT": str(ROOT), "DOCS_PIDS": str(self._pids), "DOCS_SHIMS": str(shims)}
        self._environment = told | {"COUNTERMAND_HOME": str(self.home)}

    def run(self, block: Block) -> str:
        """Run a block and answer what a reader sees."""
        command = self._python(block.text) if block.language == "python" else self._shell(block.text)
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            text=True,
        )
        if done.returncode:
            raise Failed(f"{block} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def serve(self) -> None:
        """Start a sidecar for a page that takes one for granted."""
        self.run(Block("(before the page)", 0, "sh", "countermand serve\n"))

    def _python(self, text: str) -> list[str]:
        """A program is run; tests are run by pytest, as in a project of the reader's own."""
        script = self._folder / "test_pasted.py"
        script.write_text(text, "utf-8")
        if not re.search(r"^(?:async )?def test_", text, re.MULTILINE):
            return [sys.executable, str(script)]
        (self._folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]

    def _shell(self, text: str) -> list[str]:
        """What a block exports or assigns holds for the blocks after it; the shims stay first on the path."""
        state = self._folder / "state"
        before = ["set -eu -o pipefail -o allexport", f"if [ -e {state} ]; then . {state}; fi"]
        after = ['PATH="$DOCS_SHIMS:$PATH"', f"export -p >{state}"]
        return ["bash", "-c", "\n".join([*before, text, *after])]

    def close(self) -> None:
        """End what was left running, by its process id, and remove the files."""
        pids = self._pids.read_text().split() if self._pids.exists() else []
        for pid in map(int, pids):
            _end(pid)
        for folder in (self.home, self._folder):
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _shim(name: str) -> str:
    """Stand for a program. Most commands of ours need nothing of the shim, and are many: they go past it."""
    past = f'[ "$1" = serve ] || exec "{BIN / name}" "$@"\n' if name == "countermand" else ""
    return f'#!/bin/sh\n{past}exec "{sys.executable}" -I -S "{SHIM}" {name} "$@"\n'


def _end(pid: int, patience: float = 15.0) -> None:
    """End a session that the shim started: ask first, then insist."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
