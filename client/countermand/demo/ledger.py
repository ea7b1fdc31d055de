"""The outside world: what reached it, written down by itself, whoever sent it."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect that landed. `at` is the machine's monotonic clock, the same in every process."""

    at: float
    op_id: str
    action: str
    resource: str
    receipt: str


class Jobs:
    """A service of the outside world that accepts a job now and does it later, unless it is called off.

    Whether a job is done or called off is decided by who first makes a file of its name, in any process.
    """

    def __init__(self, directory: Path, ledger: "Ledger") -> None:
        self._directory, self._ledger = directory, ledger
        directory.mkdir(exist_ok=True)

    def accept(self, effect: tuple[str, str, str], seconds: float, done: Callable[[str], object]) -> str:
        """Take a job in and answer what it is called; it lands so many seconds later."""
        job = f"job-{os.urandom(2).hex()}"

        def land() -> None:
            time.sleep(seconds)
            if self._decide(job):
                done(self._ledger.land(*effect))

        threading.Thread(target=land, name=job).start()
        return job

    def call_off(self, job: str) -> bool:
        """Call a job off; answers False if it is done already."""
        return self._decide(job)

    def _decide(self, job: str) -> bool:
        try:
            (self._directory / job).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Ledger:
    """A file that is only appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def land(self, op_id: str, action: str, resource: str) -> str:
        """Let an effect happen; answer the outside world's receipt."""
        effect = Effect(
            time.monotonic(), op_id, action, resource, f"{action.partition('.')[0]}-{os.urandom(2).hex()}"
        )
        with self._path.open("a") as file:  # one short write to a file opened for appending: lines stay whole
            file.write(json.dumps(asdict(effect)) + "\n")
        return effect.receipt

    @property
    def effects(self) -> list[Effect]:
        """What landed so far, in order."""
        if not self._path.exists():
            return []
        return [Effect(**json.loads(line)) for line in self._path.read_text().splitlines()]
