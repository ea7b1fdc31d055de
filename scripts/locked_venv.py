"""Keep a virtual environment equal to a hash-locked requirements file. Standard library only.

    locked_venv.py .venv requirements/dev.txt --editable

A stamp inside the environment records what it was made from; while that is unchanged nothing is done.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".made-from"


class SetUpFailed(Exception):
    """The environment could not be made; the message is one line and says what to do."""


def ensure(directory: Path, lock: Path, *, editable: bool = False) -> Path:
    """Return the Python of an environment that holds what `lock` names (and this project, if editable)."""
    python = directory / "bin" / "python"
    made_from = _fingerprint(lock, editable)
    with _one_at_a_time(directory):
        if _read(directory / STAMP) != made_from:
            _make(directory, python, lock, editable)
            (directory / STAMP).write_text(made_from)
    return python


def _make(directory: Path, python: Path, lock: Path, editable: bool) -> None:
    _say(f"setting up {directory.name} from {lock.name} (once; a minute or so)")
    _require_venv()
    (directory / STAMP).unlink(missing_ok=True)  # an interrupted set-up must not look finished
    if not _usable(directory, python):
        _run(sys.executable, "-m", "venv", "--clear", str(directory))
    pip = (str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check")
    _run(*pip, "--require-hashes", "--no-deps", "-r", str(lock))
    if editable:
        # The build backend is in the lock, so nothing is fetched here that has no hash.
        _run(*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def _usable(directory: Path, python: Path) -> bool:
    """Whether the environment was made by this interpreter, so that installing over it is enough."""
    config = _read(directory / "pyvenv.cfg")
    return python.exists() and f"version = {_version()}\n" in config and f" {directory}\n" in config


def _require_venv() -> None:
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    raise SetUpFailed(
        f"{sys.executable} cannot make virtual environments: install {package} (apt-get install {package})"
    )


def _fingerprint(lock: Path, editable: bool) -> str:
    """A hash of what the environment is made from, and of where it is: environments cannot be moved."""
    digest = hashlib.sha256(f"{ROOT}\n{_version()}\n{editable}\n".encode())
    for path in (lock, *([ROOT / "pyproject.toml"] if editable else [])):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold off a second set-up of the same environment: `make test` and `make serve` in two terminals."""
    with (directory.parent / f"{directory.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SetUpFailed(f"this step failed (see above): {' '.join(command)}")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _say(text: str) -> None:
    print(f"bootstrap: {text}", file=sys.stderr)


def main() -> int:
    """Command line: directory, lock, and whether to install the project itself."""
    parser = argparse.ArgumentParser(
        description="Keep a virtual environment equal to a locked requirements file."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--editable", action="store_true", help="also install this project, editable")
    arguments = parser.parse_args()
    try:
        ensure(ROOT / arguments.directory, ROOT / arguments.lock, editable=arguments.editable)
    except SetUpFailed as failure:
        _say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
