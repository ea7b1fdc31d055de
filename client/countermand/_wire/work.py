"""What is at work in a process: a tree there, a list of nodes with their depth on the way."""

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration

from countermand._models.work import RunWork, ShownWork
from countermand.v1 import journal_service_pb2 as journal
from countermand.work.tree import WorkNode, WorkState

#: As many as a sidecar takes, and as long as it takes a name.
_MOST, _LONGEST = 200, 128


def work_nodes(root: WorkNode) -> list[journal.WorkNode]:
    """Write a tree; what is too much of it is left out, which the last line says."""
    nodes = [_node(depth, one) for depth, one in _walk(root, 0)]
    if len(nodes) > _MOST:
        left = len(nodes) - _MOST + 1
        nodes = [
            *nodes[: _MOST - 1],
            journal.WorkNode(name=f"and {left} more", kind="scope", state="RUNNING"),
        ]
    return nodes


def _walk(node: WorkNode, depth: int) -> Iterator[tuple[int, WorkNode]]:
    yield depth, node
    for child in node.children:
        yield from _walk(child, depth + 1)


def _node(depth: int, told: WorkNode) -> journal.WorkNode:
    name = "".join(letter if letter.isprintable() else " " for letter in told.name)[:_LONGEST]
    age = Duration()
    age.FromMilliseconds(round(told.age * 1000))
    return journal.WorkNode(depth=depth, name=name, kind=told.kind, state=told.state, age=age)


def run_work(message: journal.GetWorkResponse) -> RunWork:
    """Read what is at work for a run."""
    return RunWork(tuple(map(shown_work, message.works)), tuple(message.gaps))


def shown_work(message: journal.ShownWork) -> ShownWork:
    """Read what a process shows."""
    since = message.age.ToMilliseconds() / 1000
    nodes = iter([*message.nodes, journal.WorkNode()])
    roots, _ = _read(nodes, next(nodes), 0, "", since)
    return ShownWork(message.run_id, message.process, since, roots)


def _read(
    nodes: Iterator[journal.WorkNode], node: journal.WorkNode, depth: int, above: str, since: float
) -> tuple[tuple[WorkNode, ...], journal.WorkNode]:
    """Read the nodes of one depth and what is below them; answer the node behind them, too."""
    found: list[WorkNode] = []
    while node.name and node.depth >= depth:
        told, path = node, f"{above}/{node.name}" if above else node.name
        below, node = _read(nodes, next(nodes), depth + 1, path, since)
        state = WorkState(told.state) if told.state in set(WorkState) else WorkState.RUNNING
        age = told.age.ToMilliseconds() / 1000 + since
        found.append(WorkNode(path, told.kind, state, age, below))
    return tuple(found), node
