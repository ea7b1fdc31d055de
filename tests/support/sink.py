"""The outside world of a compensation: a file of its own that keeps what was done, and does nothing twice.

It is the ground truth of the crash tests: no word of the service or of a compensator gets into it.
"""

import fcntl
import os
from collections import Counter
from pathlib import Path


class Sink:
    """Takes effects by their idempotency key. Every line is on the disk when `act` returns."""

    def __init__(self, path: Path, *, careless: bool = False) -> None:
        """Use a file; a careless sink heeds no key and does everything again, for a control."""
        self.path, self._careless = path, careless

    def act(self, key: str) -> None:
        """Do it, unless it is done."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            again = key in self.done and not self._careless
            os.write(file, f"{'asked again' if again else 'done'} {key}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)

    @property
    def done(self) -> list[str]:
        """The keys of what was done, in order."""
        return self._lines("done ")

    @property
    def twice(self) -> list[str]:
        """The keys of what was done more than once: nothing, whatever crashed."""
        return [key for key, times in Counter(self.done).items() if times > 1]

    @property
    def asked_again(self) -> list[str]:
        """The keys of what was asked for again and not done again."""
        return self._lines("asked again ")

    def _lines(self, word: str) -> list[str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [line.removeprefix(word) for line in lines if line.startswith(word)]
