"""What the tests of the scripts share: where the checkout is, and running one of its programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program as make does, from the root of the checkout; never raises."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def script(name: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of scripts/*.py with the Python of the tests."""
    return run(sys.executable, ROOT / "scripts" / name, *arguments, **environment)


def write(root: Path, name: str, text: str) -> None:
    """Put a file, and the folders above it, below `root`."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def program(folder: Path, name: str, body: str) -> Path:
    """Put a shell script into `folder`, so that it is found when PATH is that folder."""
    write(folder, name, f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    return folder / name


def bare_machine(folder: Path, *tools: str) -> str:
    """A PATH on which nothing is found but the named tools of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for tool in tools:
        found = shutil.which(tool)
        assert found, f"this machine has no {tool}"
        (folder / tool).symlink_to(found)
    return str(folder)
