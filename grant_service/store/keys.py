"""Every key in Redis: its name, and how long it lives.

All keys of a partition carry its hash tag, so that they share one slot and a script may touch them together.
The scripts set the expiry; they never make a name.
"""

from collections.abc import Sequence
from enum import StrEnum

from grant_service.core.duty import ALL_DUTIES, DutyKind, which
from grant_service.core.fence import FENCES

#: Begins every key. Its number goes up with the records: a sidecar that knows other ones, and so not every
#: rule, finds nothing here, and refuses.
PREFIX = "cm5"


class Life(StrEnum):
    """How long a key lives."""

    #: For ever: one key a partition.
    PERMANENT = "permanent"
    #: Until its run's `keep_until`; for ever once that run is cancelled: its id can never be opened again.
    TOMBSTONE = "tombstone"
    #: Until its run's `keep_until`; the journal of a run cancelled before it was opened, for a set time.
    RUN = "run"
    #: As long as somebody is there to say so, and a quarter of an hour.
    PRESENCE = "presence"


LIVES = {
    "meta": Life.PERMANENT,  # hash {seq, now, standing, looked_in}: last number, highest time seen, and so on
    "runs": Life.PERMANENT,  # sorted set open_seq -> run id; reading it prunes runs that are gone
    "active": Life.PERMANENT,  # the same, of runs that nobody ended, or not long ago
    "awaiting": Life.PERMANENT,  # sorted set prepare_seq -> run/op of what waits for a person; pruned too
    "undoing": Life.PERMANENT,  # sorted set seq -> run id of runs that undos were asked for; pruned too
    "calling_off": Life.PERMANENT,  # sorted set due -> run/op(/job) of what is to be called off; pruned too
    "asking": Life.PERMANENT,  # the same, of what can be asked about
    "jobs": Life.PERMANENT,  # sorted set by name: path,/op of what is called off if a run of it is stopped
    "cuts": Life.PERMANENT,  # sorted set when -> path of a run below which jobs are to be looked for
    "fences": Life.PERMANENT,  # hash id -> a fence: records.fence_fields as JSON
    "standing": Life.PERMANENT,  # sorted set kill_until -> id of a fence that commits look for
    "anchors": Life.PERMANENT,  # hash anchor -> ids of the standing fences under it, comma-separated
    "sidecars": Life.PRESENCE,  # sorted set time -> name of a sidecar that was there then
    "run": Life.TOMBSTONE,  # hash, as in records.run_fields
    "journal": Life.RUN,  # stream; an entry's id is `<seq>-0`, its fields kind, time and the data
    "grant": Life.RUN,  # hash, as in records.grant_fields
    "action": Life.RUN,  # hash, as in records.action_fields
    "spending": Life.RUN,  # hash, as in records.spending_fields
    "undo": Life.RUN,  # sorted set number of the permit -> op of a run's open undos
    "duty": Life.RUN,  # hash, as in records.duty_fields
}


class Keys:
    """Names the keys of one partition."""

    def __init__(self, prefix: str = PREFIX, partition: str = "p0") -> None:
        self.stem = f"{prefix}:{{{partition}}}:"
        self.meta = f"{self.stem}meta"
        #: The channel on which scripts say that something stopped.
        self.stops = f"{self.meta}:stops"
        self.runs = f"{self.stem}runs"
        self.active = f"{self.stem}active"
        self.awaiting = f"{self.stem}awaiting"
        self.undoing = f"{self.stem}undoing"
        self.calling_off = f"{self.stem}calling_off"
        self.asking = f"{self.stem}asking"
        self.jobs = f"{self.stem}jobs"
        self.cuts = f"{self.stem}cuts"
        self.fences = f"{self.stem}fences"
        self.standing = f"{self.stem}standing"
        self.anchors = f"{self.stem}anchors"
        self.sidecars = f"{self.stem}sidecars"
        #: The channel on which sidecars ask each other.
        self.questions = f"{self.meta}:questions"

    def answers(self, asker: str) -> str:
        """Name the channel on which a sidecar is answered."""
        return f"{self.meta}:answers:{asker}"

    def run(self, run_id: str) -> str:
        """Name a run's record."""
        return f"{self.stem}run:{run_id}"

    def path(self, run_ids: Sequence[str]) -> list[str]:
        """Name the records of the runs of a path."""
        return [self.run(run_id) for run_id in run_ids]

    def journal(self, run_id: str) -> str:
        """Name a run's journal, or that of the fences, which stays for ever."""
        return f"{self.stem}journal:{run_id}"

    def journals(self, run_ids: Sequence[str]) -> list[str]:
        """Name the journals of the runs of a path."""
        return [self.journal(run_id) for run_id in run_ids]

    def grant(self, grant_id: str) -> str:
        """Name a grant."""
        return f"{self.stem}grant:{grant_id}"

    def chain(self, grant_ids: Sequence[str]) -> list[str]:
        """Name the grants of a chain."""
        return [self.grant(grant_id) for grant_id in grant_ids]

    def action(self, run_id: str, op_id: str) -> str:
        """Name an action of a run."""
        return f"{self.stem}action:{run_id}:{op_id}"

    def spending(self, run_id: str, op_id: str) -> str:
        """Name a spending of a run."""
        return f"{self.stem}spending:{run_id}:{op_id}"

    def undo(self, run_id: str) -> str:
        """Name the list of a run's open undos."""
        return f"{self.stem}undo:{run_id}"

    def duty(self, run_id: str, op_id: str, kind: DutyKind, job: int = 0) -> str:
        """Name a duty of an action."""
        return f"{self.stem}duty:{run_id}:{op_id}:{which(kind, job)}"

    def all_duties(self, run_id: str, op_id: str) -> list[str]:
        """Name all duties an action may have."""
        return [self.duty(run_id, op_id, kind, job) for kind, job in ALL_DUTIES]

    def duties(self, run_id: str, op_id: str) -> list[str]:
        """Name the lists on which an action's duties may be, and the duties."""
        return [self.undo(run_id), self.calling_off, self.asking, *self.all_duties(run_id, op_id)]

    def life(self, key: str) -> Life:
        """Tell how long a key lives; a key that is not named here is an error."""
        if not key.startswith(self.stem):
            raise KeyError(key)
        if key == self.journal(FENCES):
            return Life.PERMANENT
        return LIVES[key.removeprefix(self.stem).partition(":")[0]]
