"""One process for each data directory."""

import fcntl
import os
from pathlib import Path


class Taken(Exception):
    """Another process has the lock; whoever wanted it knows what that means, and the way out."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder}")


class LockFile:
    """Held by the kernel for as long as the process lives: it cannot be left behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock, or raise Taken with the process that has it."""
        handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "?"
            os.close(handle)
            raise Taken(holder) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Let somebody else have it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
