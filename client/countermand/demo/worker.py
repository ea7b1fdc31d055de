"""The queue worker: a process of its own that takes up a job when it is due. Nobody tells it to stop.

python -m countermand.demo.worker DIRECTORY [HOME]
"""

import json
import sys
import threading
import time
from pathlib import Path

from countermand import CountermandError
from countermand.demo.errands import ERRANDS
from countermand.demo.gates import Gate
from countermand.demo.ledger import Ledger
from countermand.demo.stage import exit_with_the_stage, gate_of, queue_below, report


def work(gate: Gate, directory: Path) -> None:
    """Wait for the job, wait until it is due, do it."""
    path = queue_below(directory) / "job"
    while not path.exists():
        time.sleep(0.01)
    job = json.loads(path.read_text())
    time.sleep(max(0.0, job["due"] - time.monotonic()))
    errand = ERRANDS[job["op_id"]]
    try:
        with gate.take_over(errand, job["handed"]) as act, act.commit():
            act.receipt = Ledger(directory / "ledger").land(errand.op_id, errand.action, errand.resource)
            report("landed", errand.op_id, str(act.receipt))
    except CountermandError as error:
        report("refused", errand.op_id, f"{error.reason}: {error}")


def main() -> None:
    """Do the one job of the demo; end at once if the stage is gone."""
    threading.Thread(target=exit_with_the_stage, daemon=True).start()
    work(gate_of(sys.argv[2] if len(sys.argv) > 2 else ""), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
