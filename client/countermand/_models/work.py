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
