"""Functions for worker processes: they are imported there, so they stand in a module."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def add(one: int, two: int) -> int:
    return one + two


def fails(text: str) -> None:
    raise ValueError(text)


def spin(folder: str) -> None:
    """Compute for ever, and never look up; leave word of who does."""
    _leave(folder, "worker", os.getpid())
    while True:
        pass


def spin_in_c(folder: str) -> None:
    """Compute for very long within one call, which lets no other thread have its turn."""
    _leave(folder, "worker", os.getpid())
    pow(7, 10**9)


def spin_with_a_child(folder: str) -> None:
    """Start a process that would go on by itself."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _leave(folder, "child", child.pid)
    spin(folder)


def leaves_a_child(folder: str) -> str:
    """Answer, and leave a process running."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _leave(folder, "child", child.pid)
    return "done"


def kills_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exits() -> None:
    sys.exit(3)


class Unreadable(Exception):
    """Can be written and not read: its constructor wants more than its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def fails_unreadably() -> None:
    raise Unreadable("a", "b")


def answers_a_lock() -> object:
    import threading

    return threading.Lock()


def big(size: int) -> bytes:
    return b"x" * size


def modules() -> list[str]:
    return sorted(sys.modules)


def group() -> tuple[int, int]:
    return os.getpgid(0), os.getpid()


def _leave(folder: str, name: str, pid: int) -> None:
    path = Path(folder, name)
    path.with_suffix(".new").write_text(str(pid))
    path.with_suffix(".new").rename(path)


def left(folder: Path, name: str, patience: float = 20.0) -> int:
    """Wait for the word that a worker leaves; answer the process it names."""
    end = time.monotonic() + patience
    while not (path := folder / name).exists():
        assert time.monotonic() < end, f"no word of {name}"
        time.sleep(0.005)
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """Say whether a process still runs; one that only waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_gone(pid: int, patience: float = 10.0) -> bool:
    """Say whether a process ends, in so many seconds."""
    end = time.monotonic() + patience
    while is_alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
