"""What processes show of their work."""

from dataclasses import dataclass

from countermand.work.tree import WorkNode


@dataclass(frozen=True, slots=True)
class ShownWork:
    """What a process has at work for a run, as it said `age` seconds ago. It decides nothing."""

    run_id: str
    process: str
    age: float
    roots: tuple[WorkNode, ...]


@dataclass(frozen=True, slots=True)
class RunWork:
    """What is at work for a run, as far as processes show it."""

    works: tuple[ShownWork, ...]
    #: Why there may be more, a sentence each, such as a sidecar on the same store that does not answer.
    gaps: tuple[str, ...] = ()
