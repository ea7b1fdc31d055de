"""The compensator: a process of its own that undoes what the agent did, and calls off what it can.

    python -m countermand.demo.undoer DIRECTORY

The functions are what the person who integrated the tools writes: a correction for a mail, a deletion for a
calendar entry and for a file, a call to the upload service to leave it be.
"""

import sys
import threading
from pathlib import Path

import countermand.sync as countermand
from countermand.demo.errands import CANCELLER
from countermand.demo.ledger import Jobs, Ledger
from countermand.demo.stage import exit_with_the_stage, jobs_below, report, undone_below


def functions(directory: Path) -> countermand.Registry:
    """Answer the functions that undo what the agent's tools do."""
    registry = countermand.Registry()
    world = Ledger(undone_below(directory))

    @registry.compensation("email.correct")
    def correct(duty: countermand.Duty) -> str:
        return world.land(duty.op_id, "email.correct", duty.resource)

    @registry.compensation("calendar.delete")
    def delete_entry(duty: countermand.Duty) -> str:
        return world.land(duty.op_id, "calendar.delete", duty.resource)

    @registry.compensation("files.delete")
    def delete_file(duty: countermand.Duty) -> str:
        return world.land(duty.op_id, "files.delete", duty.resource)

    @registry.canceller(CANCELLER)
    def cancel(duty: countermand.Duty) -> countermand.Refused | None:
        jobs = Jobs(jobs_below(directory), Ledger(directory / "ledger"))
        return None if jobs.call_off(duty.handle) else countermand.Refused("it is published")

    return registry


def tell(step: countermand.DutyStep) -> None:
    """Tell the stage what came of a duty."""
    kind = "called off" if step.duty.kind is countermand.DutyKind.CALL_OFF else "undone"
    if step.what is countermand.Progress.DONE:
        report(kind, step.duty.op_id, step.receipt or step.duty.handle)
    elif step.what is not countermand.Progress.BEGUN:
        report(f"not {kind}", step.duty.op_id, step.note)


def main() -> None:
    """Do what is due until the stage is gone."""
    threading.Thread(target=exit_with_the_stage, daemon=True).start()
    directory = Path(sys.argv[1])
    countermand.compensator(functions(directory), name="demo", poll="100ms", on_step=tell).run()


if __name__ == "__main__":
    main()
