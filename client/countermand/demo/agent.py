"""The agent: a process that runs its user's errands, some of them slow, until it is told to stop.

    python -m countermand.demo.agent DIRECTORY [HOME]

The first line on its standard input is the grant's token, or empty; the next says "stop". Stop does what it
does in most products: the loop begins nothing new. What was begun goes on in its threads and in the queue.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from countermand import CountermandError
from countermand.demo.errands import (
    CALENDAR,
    CANCELLER,
    EMAIL,
    INVOICE,
    PUBLISHING_S,
    QUEUED_S,
    TICKET,
    UPLOAD,
    UPLOADING_S,
    WRITING_S,
    Errand,
)
from countermand.demo.gates import Gate
from countermand.demo.ledger import Jobs, Ledger
from countermand.demo.stage import exit_with_the_stage, gate_of, jobs_below, queue_below, report


class Agent:
    """Runs five errands with five tools. It does not know whether anybody stands in between."""

    def __init__(self, gate: Gate, directory: Path) -> None:
        self._gate = gate
        self._world = Ledger(directory / "ledger")
        self._jobs = Jobs(jobs_below(directory), self._world)
        self._queue = queue_below(directory)

    def run(self, stopped: Callable[[], object]) -> None:
        """Begin every errand, then wait to be stopped; what was begun is waited for."""
        self.send_email()
        self.book_calendar()
        slow = [threading.Thread(target=work) for work in (self.upload, self.write_ticket)]
        for thread in slow:
            thread.start()
        self.queue_invoice()
        stopped()
        report("stopped")
        for thread in slow:
            thread.join()

    def send_email(self) -> None:
        """A quick effect."""
        with self._gate.intend(EMAIL) as act, act.commit():
            act.receipt = self._land(EMAIL)
            act.undo_with(message=act.receipt)

    def book_calendar(self) -> None:
        """A quick effect that can be undone exactly."""
        with self._gate.intend(CALENDAR) as act, act.commit():
            act.receipt = self._land(CALENDAR)
            act.undo_with(entry=act.receipt)

    def upload(self) -> None:
        """A slow effect: once begun, it goes on. At its end it is only accepted, and published later."""
        with self._gate.intend(UPLOAD) as act, act.commit():
            report("begun", UPLOAD.op_id)
            time.sleep(UPLOADING_S)
            effect = (UPLOAD.op_id, UPLOAD.action, UPLOAD.resource)
            act.receipt = job = self._jobs.accept(
                effect, PUBLISHING_S, lambda receipt: report("landed", UPLOAD.op_id, receipt)
            )
            act.accepted(handle=job, canceller=CANCELLER)
            report("accepted", UPLOAD.op_id, job)

    def write_ticket(self) -> None:
        """An effect that a model takes a while to write; only then it is committed."""
        try:
            with self._gate.intend(TICKET) as act:
                report("writing", TICKET.op_id)
                time.sleep(WRITING_S)
                with act.commit():
                    act.receipt = self._land(TICKET)
        except CountermandError as error:
            report("refused", TICKET.op_id, f"{error.reason}: {error}")

    def queue_invoice(self) -> None:
        """An effect that another process will have, later."""
        handed = self._gate.hand_over(INVOICE)
        job = {"op_id": INVOICE.op_id, "due": time.monotonic() + QUEUED_S, "handed": handed}
        draft = self._queue / "draft"
        draft.write_text(json.dumps(job))
        draft.rename(self._queue / "job")  # whole, or not there
        report("queued", INVOICE.op_id)

    def _land(self, errand: Errand) -> str:
        receipt = self._world.land(errand.op_id, errand.action, errand.resource)
        report("landed", errand.op_id, receipt)
        return receipt


def main() -> None:
    """Run the errands; end at once if the stage is gone."""
    token = sys.stdin.readline().strip()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    directory, home = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    Agent(gate_of(home, token), directory).run(stop.wait)


def _listen(stop: threading.Event) -> None:
    if sys.stdin.readline().strip() == "stop":
        stop.set()
    exit_with_the_stage()


if __name__ == "__main__":
    main()
