"""How the processes of the demo talk: events out on standard output, orders in on standard input."""

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from countermand import SecretToken
from countermand.demo.gates import Countermand, Gate, NoGate


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in one of the processes."""

    at: float
    what: str
    op_id: str = ""
    told: str = ""


_writing = threading.Lock()


def report(what: str, op_id: str = "", told: str = "") -> None:
    """Tell the stage."""
    line = json.dumps(asdict(Event(time.monotonic(), what, op_id, told)))
    with _writing:
        print(line, flush=True)


def exit_with_the_stage() -> None:
    """End this process when the one that started it is gone, however it went."""
    for _ in sys.stdin:
        pass
    os._exit(0)


def gate_of(home: str, token: str = "") -> Gate:
    """Make the gate the stage chose: '' is none, otherwise the sidecar's home."""
    if not home:
        return NoGate()
    import countermand.sync as countermand

    return Countermand(countermand.connect(home), SecretToken(token) if token else None)


def jobs_below(directory: Path) -> Path:
    """Where the upload service keeps what became of its jobs."""
    return directory / "jobs"


def undone_below(directory: Path) -> Path:
    """Where the outside world writes down what was undone."""
    return directory / "undone"


def queue_below(directory: Path) -> Path:
    """Where jobs wait for the worker."""
    return directory / "queue"
