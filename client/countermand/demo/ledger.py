"""The outside world: what reached it, written down by itself, whoever sent it."""

import json
import os
import time
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
