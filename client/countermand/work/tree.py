"""A look at the work of a scope: what there is, of which kind, since when, and what it is doing."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

#: What a piece of work does; only people look at it.
WorkKind = Literal["llm", "tool", "io", "cpu"]


class WorkState(StrEnum):
    """Where a piece of work, or a scope, is in its life."""

    #: It waits for its turn, in a pool or for the event loop.
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    #: It runs a section that must not be cut in half; a stop waits until that is over.
    SHIELDED = "SHIELDED"
    #: It was told to stop and has not ended yet.
    STOPPING = "STOPPING"
    #: It came to its end.
    DONE = "DONE"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    #: It was stopped before its first step.
    NEVER_RAN = "NEVER_RAN"


@dataclass(frozen=True, slots=True)
class WorkNode:
    """A piece of work, or a scope, as it was at one moment; what belongs to it is below it."""

    #: The names from the outermost scope down to it, with slashes between.
    path: str
    #: `llm`, `tool`, `io` or `cpu`; `scope` for a scope, and `body` for the block that holds one open.
    kind: str
    state: WorkState
    #: Seconds since it was begun.
    age: float
    children: tuple["WorkNode", ...] = ()

    @property
    def name(self) -> str:
        """The last name of its path."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> list[str]:
        own = f"{'  ' * depth}{self.name} ({self.kind}) {self.state} {self.age:.1f}s"
        return [own, *(line for child in self.children for line in child._lines(depth + 1))]
