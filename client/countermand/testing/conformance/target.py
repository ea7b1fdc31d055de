"""A target whose effects any process can bring about, and the suite can count, hold and fail."""

import asyncio
import os
import time
from pathlib import Path
from urllib.parse import quote

from countermand.testing.conformance.seam import Fault

#: Whoever holds an effect longer than this has forgotten it.
_LONGEST_HOLD = 60.0
_LOOK_EVERY = 0.01


class Target:
    """Effects as lines in files of one folder, for seams whose effect is a function of the author's own.

    Give the folder's path to a worker, and it makes the same target there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def hit(self, key: str, fault: Fault | str | None = None) -> None:
        """Be the effect, for code that blocks."""
        self._raise(fault)
        ends = time.monotonic() + _LONGEST_HOLD
        while self._waits(key, fault, ends):
            time.sleep(_LOOK_EVERY)
        self._land(key, fault)

    async def hit_async(self, key: str, fault: Fault | str | None = None) -> None:
        """Be the effect, for code on an event loop."""
        self._raise(fault)
        ends = time.monotonic() + _LONGEST_HOLD
        while self._waits(key, fault, ends):  # noqa: ASYNC110 - another process may release it
            await asyncio.sleep(_LOOK_EVERY)
        self._land(key, fault)

    def happened(self, key: str) -> int:
        """Answer how often the effect landed."""
        path = self._path(key, "landed")
        return len(path.read_bytes()) if path.exists() else 0

    def entered(self, key: str) -> bool:
        """Say whether an effect that is to be held has come so far."""
        return self._path(key, "entered").exists()

    def release(self, key: str) -> None:
        """Let an effect go on that is held."""
        self._path(key, "released").touch()

    @staticmethod
    def _raise(fault: Fault | str | None) -> None:
        if fault == Fault.RAISED:
            raise RuntimeError("the effect failed, as it was asked to")

    def _waits(self, key: str, fault: Fault | str | None, ends: float) -> bool:
        if fault != Fault.HELD or self._path(key, "released").exists():
            return False
        if time.monotonic() > ends:
            raise TimeoutError(f"effect {key} was held for {_LONGEST_HOLD:.0f} s and never released")
        self._path(key, "entered").touch()
        return True

    def _land(self, key: str, fault: Fault | str | None) -> None:
        with self._path(key, "landed").open("ab", buffering=0) as landed:
            landed.write(b".")  # one write of one byte: effects of several processes do not mix
        if fault == Fault.LOST:
            raise ConnectionResetError("the connection was lost after the effect, as it was asked to")

    def _path(self, key: str, what: str) -> Path:
        return self.folder / f"{quote(key, safe='')}.{what}"
