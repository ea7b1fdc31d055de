"""A fence: a standing revocation over everything a selector names.

A run carries *marks*: its id, subject, agent, tenant and labels, and those of every run above it. A selector
names some marks, and perhaps an action; a fence stands over a grant when all of them are there. It is kept
under one of them, its anchor, so that a commit looks up its own few marks and never a list of fences.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from grant_service.core.scope import action_matches

#: The journal of the fences. No run can have this id.
FENCES = "_fences"

#: The anchor of a fence that stands over everything.
EVERYTHING = "all"

#: Kinds of marks, the most telling first: a fence is kept under its first, and a label often says `env=prod`.
_KINDS = ("grant", "run", "subject", "agent", "tenant", "label")


class FenceKind(StrEnum):
    """What a fence does to what comes after it: a revoke nothing, a freeze blocks it."""

    REVOKE = "REVOKE"
    FREEZE = "FREEZE"


@dataclass(frozen=True, slots=True)
class Selector:
    """What a fence stands over: all marks must be there, and the action must match. Neither is everything."""

    marks: tuple[str, ...] = ()
    action: str = ""

    @property
    def anchor(self) -> str:
        """The mark under which a fence is found."""
        if self.marks:
            return self.marks[0]
        return f"action={self.action}" if self.action else EVERYTHING

    @property
    def text(self) -> str:
        """Write it in one line, for people too."""
        action = [f"action={self.action}"] if self.action else []
        return " ".join([*self.marks, *action]) or EVERYTHING

    def names(self, marks: frozenset[str], action: str) -> bool:
        """Say whether it names something with these marks; `action` is a name, or '' for no action at all."""
        if self.action and not (action and action_matches(self.action, action)):
            return False
        return all(mark in marks for mark in self.marks)


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence as the store holds it. Times are milliseconds of the store's clock."""

    fence_id: str
    kind: FenceKind
    selector: Selector
    reason: str
    actor: str
    note: str
    #: Its journal entry. Grants that go back to a lower number are dead.
    seq: int
    time: int
    #: Until when a grant from before it could otherwise be alive.
    kill_until: int
    #: How long a freeze was asked to last, and until when it blocks; 0: until it is lifted.
    ttl_ms: int = 0
    block_until: int = 0
    lift_actor: str = ""
    lift_note: str = ""
    lift_time: int = 0
    lift_seq: int = 0
    #: Whether commits still look for it.
    standing: bool = True

    @property
    def run_marks(self) -> tuple[str, ...]:
        """The marks that a run may have, without those of grants."""
        return tuple(mark for mark in self.selector.marks if not mark.startswith("grant="))

    def blocks(self, now: int) -> bool:
        """Say whether it refuses what was issued after it, too."""
        lasts = not self.block_until or now < self.block_until
        return self.kind is FenceKind.FREEZE and not self.lift_time and lasts

    def is_over(self, now: int) -> bool:
        """Say whether it can refuse nothing any more: all it killed has expired since."""
        return now >= self.kill_until and not self.blocks(now)

    def refuses(self, root_seq: int, now: int) -> bool:
        """Say whether it refuses a grant that goes back to this number."""
        return root_seq < self.seq or self.blocks(now)


def marks_of(run_id: str, subject: str, agent: str, tenant: str, labels: Mapping[str, str]) -> list[str]:
    """Write a run's own marks."""
    named = (("run", run_id), ("subject", subject), ("agent", agent), ("tenant", tenant))
    own = [f"{kind}={value}" for kind, value in named if value]
    return own + [f"label={name}={value}" for name, value in sorted(labels.items())]


def run_mark(run_id: str) -> str:
    """Write a run's own mark; the runs below it have it, too."""
    return f"run={run_id}"


def grant_mark(grant_id: str) -> str:
    """Write a grant's mark."""
    return f"grant={grant_id}"


def selector_of(marks: Iterable[str], action: str = "") -> Selector:
    """Put a selector into its one form, so that equal ones are equal texts."""
    ordered = sorted(set(marks), key=lambda mark: (_KINDS.index(mark.partition("=")[0]), mark))
    return Selector(tuple(ordered), "" if action == "*" else action)


def action_anchors(pattern: str) -> Iterator[str]:
    """Name the anchors of every fence over actions that covers this name or pattern whole."""
    if pattern in ("", "*"):
        return
    yield f"action={pattern}"
    name = pattern.removesuffix(".*")
    while "." in name:
        name = name.rpartition(".")[0]
        yield f"action={name}.*"
