"""A reserve on the disk, given up when the disk is full so that a cancel still fits."""

import contextlib
import os
import shutil
from pathlib import Path

#: Enough for some ten thousand cancels and settles.
SIZE = 8 * 1024 * 1024

#: A disk with less than this is full, though a few more decisions may fit.
_LITTLE = 1024 * 1024


class Headroom:
    """A file that is only there to be deleted. While it is gone only urgent calls are decided."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self.released = False

    def release(self) -> None:
        """Give the room back to the disk."""
        self.released = True
        self._path.unlink(missing_ok=True)

    def is_tight(self) -> bool:
        """Say whether the disk has next to no room beside the reserve."""
        return shutil.disk_usage(self._path.parent).free < _LITTLE

    def restore(self) -> bool:
        """Take the room again if there is plenty; say whether the reserve stands."""
        if self._path.exists() and self._path.stat().st_size == self._size:
            self.released = False
            return True
        if shutil.disk_usage(self._path.parent).free < 2 * self._size:
            self.released = True
            return False
        try:
            self._fill()
        except OSError:
            self.release()
            return False
        self.released = False
        return True

    def _fill(self) -> None:
        """Write the file for real: a sparse one would reserve nothing."""
        handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(handle, 0, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        finally:
            os.close(handle)
