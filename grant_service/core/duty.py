"""A duty: what a compensator is to do about an action, by a function of whoever integrated the tool.

UNDO runs the action's compensation, CALL_OFF asks the outside world to stop what it has only accepted, and
ASK asks what became of an action that nobody settled. A duty is its own authority: one function for one
action, used once, until a time that was set when the action was prepared. No cancel ends it; `withdraw` does.
"""

from dataclasses import dataclass
from enum import StrEnum

#: How long after its permit an action may be asked about at the least, in milliseconds: while the permit
#: could be used nobody was asked, however short a time there is to undo the effect.
ASK_MS = 15 * 60 * 1000

#: When a job is due that is called off if its run is stopped: nobody knows when that will be, if ever.
NEVER = 2**53 - 1

#: When to look for jobs of a run that was cancelled: before those of all that only time may have stopped.
AT_ONCE = -1

#: How many stopped runs, and how many jobs of each, are looked at in one step; and how many steps may pass
#: without finding a job.
RUNS_AT_ONCE, JOBS_AT_ONCE, LOOKS = 100, 500, 20
#: How many jobs of one action can be called off: what it begins again and again is beyond that only told of.
MAX_JOBS = 4

#: After so many failures in a row the wait before the next attempt no longer doubles.
MOST_DOUBLINGS = 6


class DutyKind(StrEnum):
    """What is to be done."""

    UNDO = "UNDO"
    CALL_OFF = "CALL_OFF"
    ASK = "ASK"


class DutyState(StrEnum):
    """Where a duty is in its life."""

    OPEN = "OPEN"
    #: Undone; called off, and the outside world said so; asked, and answered.
    DONE = "DONE"
    #: The outside world said that it will not be called off.
    REFUSED = "REFUSED"
    #: Tried as often, or as long, as it may be.
    FAILED = "FAILED"
    #: Somebody took the authority back.
    WITHDRAWN = "WITHDRAWN"
    #: There is nothing to do after all: the outcome is known, or nothing happened.
    MOOT = "MOOT"


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty as the store holds it. Times are milliseconds of the store's clock."""

    run_id: str
    op_id: str
    kind: DutyKind
    #: The function that carries it out.
    name: str
    state: DutyState
    #: The entry that made it.
    seq: int
    #: The number of the action's permit: of a run's effects the last one is undone first.
    fence: int
    epoch: str
    #: Not before, and not after.
    due: int
    until: int
    attempts: int = 0
    #: Who carries it out now, and until when nobody else may.
    worker: str = ""
    lease: str = ""
    lease_until: int = 0
    #: The claim that was last said to have failed, and the entry that says so: said again it is a replay.
    failed_lease: str = ""
    failed_seq: int = 0
    #: Of a CALL_OFF: which of its action's jobs, from 0, and what the outside world calls it.
    job: int = 0
    handle: str = ""

    @property
    def which(self) -> str:
        """Name it among the duties of its action."""
        return which(self.kind, self.job)

    def is_free(self, now: int) -> bool:
        """Say whether somebody may claim it now, as far as it alone can tell."""
        return self.due <= now and self.lease_until <= now


def which(kind: DutyKind, job: int) -> str:
    """Name a duty among those of its action: by its kind, and from the second job on by that, too."""
    return f"{kind}/{job}" if job else str(kind)


#: Every duty an action can have.
ALL_DUTIES = tuple(
    (kind, job) for kind in DutyKind for job in range(MAX_JOBS if kind is DutyKind.CALL_OFF else 1)
)


def retry_after(attempts: int, retry_ms: int) -> int:
    """Say how long to wait after so many failures: twice as long each time, up to a bound."""
    return retry_ms << min(max(0, attempts - 1), MOST_DOUBLINGS)
