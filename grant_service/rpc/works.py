"""What processes show of their work, for people who look: in memory, while their sessions last."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.errors import ErrorReason, Refused
from grant_service.rpc import limits
from grant_service.rpc.limits import invalid

#: How much one process may show of a run, and of how many runs one session may show something.
_MOST_NODES, _MOST_RUNS = 200, 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What a process has at work for a run, and when it said so, by the loop's clock."""

    path: tuple[str, ...]
    process: str
    nodes: Sequence[pb.WorkNode]
    at: float


@dataclass
class Works:
    """All that is shown to one sidecar, by the session it is shown over."""

    _shown: dict[object, dict[tuple[str, str], Shown]] = field(default_factory=dict)

    def show(self, over: object, path: tuple[str, ...], process: str, nodes: Sequence[pb.WorkNode]) -> None:
        """Keep this in the place of what was shown before; nothing is kept of nothing."""
        mine = self._shown.setdefault(over, {})
        key = (path[-1], process)
        if not nodes:
            mine.pop(key, None)
            return
        if len(mine) >= _MOST_RUNS and key not in mine:
            raise Refused(ErrorReason.OVERLOADED)
        mine[key] = Shown(path, process, nodes, asyncio.get_running_loop().time())

    def forget(self, over: object) -> None:
        """Forget what was shown over a session."""
        self._shown.pop(over, None)

    def of(self, run_id: str) -> Iterator[Shown]:
        """Find what is at work for a run and the runs below it."""
        for mine in self._shown.values():
            yield from (one for one in mine.values() if run_id in one.path)


def checked(nodes: Sequence[pb.WorkNode]) -> Sequence[pb.WorkNode]:
    """Take what a process shows: a tree of plain lines, and not too much of it."""
    if len(nodes) > _MOST_NODES:
        raise invalid("nodes", f"must be {_MOST_NODES} at the most")
    depth = -1
    for node in nodes:
        if node.depth > depth + 1:
            raise invalid("nodes.depth", "must be at most one more than that of the node before")
        depth = node.depth
        for name in ("name", "kind", "state"):
            limits.text(f"nodes.{name}", getattr(node, name))
    return nodes
