"""How far a database had come, kept outside of it: the highest number given and the latest time told.

A database that has come less far is an older copy put back, which may lack a revocation that was
acknowledged. The mark is written after each commit, and before a time is told, but it is not synced: in a
power cut it may fall behind. Its number never runs ahead of the database.
"""

import os
from pathlib import Path

_DIGITS = 20


class Watermark:
    """A file beside the database."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)

    def read(self) -> tuple[int, int] | None:
        """Read number and time, or None if there never were any or they cannot be read."""
        words = os.pread(self._handle, 2 * _DIGITS + 2, 0).split()
        if [len(word) for word in words] != [_DIGITS, _DIGITS] or not all(map(bytes.isdigit, words)):
            return None
        return int(words[0]), int(words[1])

    def write(self, seq: int, now: int) -> None:
        """Write number and time, in one small write in place."""
        os.pwrite(self._handle, f"{seq:0{_DIGITS}d} {now:0{_DIGITS}d}".encode(), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)
