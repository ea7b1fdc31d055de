"""What processes show of their work, for people who look: in memory, while their sessions last.

Each sidecar has what is shown to it. Whoever looks has the others on the same store asked, then and there.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.neighbours import Neighbours, Told
from grant_service.rpc import limits
from grant_service.rpc.encode import duration
from grant_service.rpc.limits import invalid

#: How much one process may show of a run, and of how many runs one session may show something.
_MOST_NODES, _MOST_RUNS = 200, 200
#: How much a sidecar tells another one of a run, in bytes.
_MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Shown:
    """What a process has at work for a run, and when it said so, by the loop's clock."""

    path: tuple[str, ...]
    process: str
    nodes: Sequence[pb.WorkNode]
    at: float


@dataclass
class Works:
    """All that is shown to one sidecar, by the session it is shown over; and the way to the others."""

    neighbours: Neighbours | None = None
    _shown: dict[object, dict[tuple[str, str], Shown]] = field(default_factory=dict)
    #: Those who look at a run at one moment ask together.
    _asking: "dict[str, asyncio.Task[Told]]" = field(default_factory=dict)

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

    async def of(self, run_id: str) -> pb.GetWorkResponse:
        """Tell what is at work for a run and the runs below it, here or elsewhere; and what is missing."""
        told = await self._told(run_id) if self.neighbours else Told((), 0)
        whole = pb.GetWorkResponse(works=self._here(run_id))
        if told.missing is None:
            whole.gaps.append("the other sidecars on this store could not be asked")
        elif told.missing > 0:
            whole.gaps.append(f"sidecars on this store that did not answer: {told.missing}")
        for answer in told.answers:
            if (part := _read(answer)) is None:
                whole.gaps.append("a sidecar on this store answered what cannot be read")
            else:
                whole.MergeFrom(part)
        return whole

    def answer(self, run_id: str) -> str:
        """Tell another sidecar what is shown here, as much as goes into an answer."""
        part, size = pb.GetWorkResponse(), 0
        for one in self._here(run_id):
            size += one.ByteSize()
            if size > _MOST_BYTES:
                part.gaps.append("a sidecar on this store is shown more than it can pass on")
                break
            part.works.append(one)
        return base64.b64encode(part.SerializeToString()).decode()

    async def _told(self, run_id: str) -> Told:
        assert self.neighbours is not None  # noqa: S101 - asked for right before
        asking = self._asking.get(run_id)
        if asking is None:
            asking = self._asking[run_id] = asyncio.create_task(self.neighbours.ask(run_id))
            asking.add_done_callback(lambda _: self._asking.pop(run_id, None))
        return await asyncio.shield(asking)

    def _here(self, run_id: str) -> Iterator[pb.ShownWork]:
        now = asyncio.get_running_loop().time()
        for mine in self._shown.values():
            for one in mine.values():
                if run_id in one.path:
                    yield pb.ShownWork(
                        run_id=one.path[-1],
                        process=one.process,
                        age=duration(round((now - one.at) * 1000)),
                        nodes=one.nodes,
                    )


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


def _read(answer: str) -> pb.GetWorkResponse | None:
    """Read what another sidecar told, by the rules for what a process shows; None if it breaks them."""
    try:
        part = pb.GetWorkResponse.FromString(base64.b64decode(answer, validate=True))
        for work in part.works:
            limits.identifier("run_id", work.run_id)
            limits.text("process", work.process)
            checked(work.nodes)
        for gap in part.gaps:
            limits.text("gaps", gap)
    except (binascii.Error, ValueError, DecodeError, Refused):
        return None
    return part
