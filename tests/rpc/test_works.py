"""What sidecars tell each other of the work that is shown to them: bounded, and read like a process's."""

import asyncio
import base64
from collections.abc import Callable, Sequence

import pytest

from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.neighbours import Told
from grant_service.rpc.works import Works


class Others:
    """Neighbours that answer what a test says."""

    def __init__(self, *answers: str, missing: int | None = 0) -> None:
        self.told, self.asked = Told(answers, missing), 0
        self.wait = asyncio.Event()
        self.wait.set()

    def answer_with(self, answer: Callable[[str], str]) -> None:
        """Not asked here."""

    async def ask(self, _: str) -> Told:
        """Answer, once the test lets it."""
        self.asked += 1
        await self.wait.wait()
        return self.told

    async def close(self) -> None:
        """Nothing to let go of."""


def written(nodes: Sequence[pb.WorkNode], run_id: str = "r-1", process: str = "p 1") -> str:
    """An answer as it travels."""
    work = pb.ShownWork(run_id=run_id, process=process, nodes=nodes)
    return base64.b64encode(pb.GetWorkResponse(works=[work]).SerializeToString()).decode()


NODE = pb.WorkNode(name="think", kind="llm", state="RUNNING")
BROKEN = {
    "no answer": "!",
    "no message": base64.b64encode(b"\xff\xff").decode(),
    "a forged line": written([pb.WorkNode(name="a\nb")]),
    "too much": written([NODE] * 201),
    "a long name": written([pb.WorkNode(name="x" * 129)]),
    "no run": written([NODE], run_id="a b"),
    "an escape": written([NODE], process="\x1b[2J"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_breaks_the_rules_is_a_gap(broken: str) -> None:
    """Nothing of it is shown; what others say is."""
    told = await Works(Others(BROKEN[broken], written([NODE]))).of("r-1")
    assert [node.name for work in told.works for node in work.nodes] == ["think"]
    assert list(told.gaps) == ["a sidecar on this store answered what cannot be read"]


@pytest.mark.parametrize(
    ("missing", "gaps"),
    [
        (0, []),
        (2, ["sidecars on this store that did not answer: 2"]),
        (None, ["the other sidecars on this store could not be asked"]),
    ],
)
async def test_who_was_not_heard_is_a_gap(missing: int | None, gaps: list[str]) -> None:
    """What is shown here is told all the same."""
    works = Works(Others(missing=missing))
    works.show("session", ("r-0", "r-1"), "p 1", [NODE])
    told = await works.of("r-0")
    assert ([work.run_id for work in told.works], list(told.gaps)) == (["r-1"], gaps)


async def test_an_answer_to_another_sidecar_is_bounded() -> None:
    """What does not go into it is said to be missing."""
    works = Works()
    long = [pb.WorkNode(name="x" * 128, kind="k" * 128, state="s" * 128)] * 200
    for index in range(10):
        works.show("session", ("r-1",), f"p {index}", long)
    answer = works.answer("r-1")
    told = await Works(Others(answer)).of("r-1")
    assert len(answer) < 400_000
    assert 1 < len(told.works) < 10
    assert list(told.gaps) == ["a sidecar on this store is shown more than it can pass on"]


async def test_those_who_look_at_one_moment_ask_once() -> None:
    """And each for a run of its own."""
    others = Others(written([NODE]))
    works = Works(others)
    others.wait.clear()
    looks = [asyncio.ensure_future(works.of("r-1")) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    looks.pop().cancel()  # one who leaves takes nothing from the others
    others.wait.set()
    assert [len(one.works) for one in await asyncio.gather(*looks)] == [1] * 49
    assert others.asked == 1
    await works.of("r-1")
    assert others.asked == 2
