"""The highest number a database has given, kept outside of it: it tells when an older copy was put back.

A copy may lack a revocation that was acknowledged after it was made. The number is written after each
commit and not synced: in a power cut it may fall behind, but it never runs ahead of the database.
"""

import os
from pathlib import Path

_DIGITS = 20


class Watermark:
    """A file beside the database."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)

    def read(self) -> int | None:
        """Read the number, or None if there never was one or it cannot be read."""
        text = os.pread(self._handle, _DIGITS + 1, 0)
        return int(text) if len(text) == _DIGITS and text.isdigit() else None

    def write(self, seq: int) -> None:
        """Write the number, in one small write in place."""
        os.pwrite(self._handle, f"{seq:0{_DIGITS}d}".encode(), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)
