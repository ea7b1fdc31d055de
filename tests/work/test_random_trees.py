"""Random trees of scopes, stopped at random moments from random places: the promise holds in all of them."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

import pytest

import countermand
from countermand import Stop, Stopped, StopReason, StopReceipt
from countermand.work import interrupts
from countermand.work.closing import Closing
from tests.work.support import a_turn, forever

SEEDS = 800


class Story:
    """One random tree, and what happened in it."""

    def __init__(self, seed: int, patience: float = 20.0) -> None:
        self.patience = patience
        self.random = random.Random(seed)
        self.scopes: list[countermand.WorkScope] = []
        self.works: list[countermand.Work[object]] = []
        #: The clean-ups of each scope, in the order in which they ran.
        self.cleaned: dict[str, list[int]] = {}
        self.asked_for: dict[str, int] = {}
        #: Sections begun and ended, by their number.
        self.begun: set[int] = set()
        self.whole: set[int] = set()
        self.cut: set[int] = set()
        self.outside = False

    async def tell(self) -> None:
        """Play it, and look at what is left."""
        root = asyncio.create_task(self._agent(3, "root"))
        for _ in range(self.random.randrange(1, 40)):
            await asyncio.sleep(0)
        if self.random.random() < 0.3:
            self.outside = root.cancel()
        else:
            self.scopes[0].cancel_threadsafe(Stop(StopReason.INCIDENT))
        await asyncio.wait({root}, timeout=self.patience)
        self._look(root)

    async def _agent(self, depth: int, name: str) -> None:
        chance = self.random
        timeout = 0.001 * chance.randrange(1, 5) if chance.random() < 0.2 else None
        async with countermand.scope(name, timeout=timeout, grace=10) as scope:
            self.scopes.append(scope)
            self.cleaned[scope.path] = []
            self.asked_for[scope.path] = count = chance.randrange(4)
            for number in range(count):
                scope.defer(self._clean_up, scope.path, number)
            for number in range(chance.randrange(5)):
                begin = chance.choice([scope.spawn, scope.background])
                work = chance.choice([a_turn, forever, self._fails, self._section, self._slow, self._stops])
                with contextlib.suppress(Stopped):
                    self.works.append(begin(work, name=f"{name}-{number}"))
            if chance.random() < 0.2:
                with contextlib.suppress(Stopped):
                    self.works.append(scope.run_in_thread(lambda token: token.wait("2ms")))
            if depth and chance.random() < 0.8:
                for number in range(chance.randrange(3)):
                    with contextlib.suppress(Stopped):
                        self.works.append(scope.spawn(self._agent, depth - 1, f"a{number}"))
            if depth and chance.random() < 0.5:
                with contextlib.suppress(Stopped):
                    await self._agent(depth - 1, "inner")
            await chance.choice([a_turn, self._section, self._stops, self._waits_a_little])()

    async def _clean_up(self, path: str, number: int) -> None:
        await a_turn(self.random.randrange(3))
        self.cleaned[path].append(number)

    async def _fails(self) -> None:
        await a_turn(self.random.randrange(30))
        if self.random.random() < 0.3:
            raise ValueError("boom")

    async def _section(self) -> None:
        number = len(self.begun)
        scope = countermand.current_scope()
        assert scope is not None
        async with scope.shield():
            self.begun.add(number)
            try:
                await a_turn(self.random.randrange(10))
            except asyncio.CancelledError:
                self.cut.add(number)
                raise
            self.whole.add(number)

    async def _slow(self) -> None:
        try:
            await forever()
        finally:
            await a_turn(self.random.randrange(10))

    async def _stops(self) -> None:
        await a_turn(self.random.randrange(20))
        with contextlib.suppress(Stopped):
            self.random.choice(self.scopes).cancel_threadsafe(Stop(StopReason.BUDGET))
        await a_turn(self.random.randrange(3))

    async def _waits_a_little(self) -> None:
        await asyncio.sleep(0.002)

    def _look(self, root: "asyncio.Task[None]") -> None:
        assert root.done()
        assert root.cancelled() or isinstance(root.exception(), Stopped | ValueError | None)
        assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
        assert all(work.is_over for work in self.works)
        assert all(scope._owner.is_closed for scope in self.scopes)
        for scope in self.scopes:  # backwards, each once
            assert self.cleaned[scope.path] == list(reversed(range(self.asked_for[scope.path])))
            if scope.receipt is not None:
                self._look_at(scope.receipt, scope)
        if not self.outside:
            assert self.cut == set()
            assert self.begun == self.whole
            assert root.cancelling() == 0
        else:
            assert root.cancelled()
        assert len(interrupts._shields) == 0

    def _look_at(self, receipt: StopReceipt, scope: countermand.WorkScope) -> None:
        assert receipt.not_stopped == ()
        assert receipt.stop is scope.token.stop
        told = [*receipt.stopped, *receipt.finished_anyway, *receipt.failed]
        assert max(Counter(id(node) for node in told).values(), default=1) == 1


async def _play(seed: int) -> None:
    try:
        await Story(seed).tell()
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("block", range(8))
async def test_what_is_promised_holds_in_every_tree(block: int) -> None:
    """All work has ended, clean-up ran backwards and once, no section was cut, no cancellation was lost."""
    for seed in range(block * SEEDS // 8, (block + 1) * SEEDS // 8):
        await _play(seed)


def _no_shield(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(interrupts, "level", lambda task: 0)


def _no_join(patch: pytest.MonkeyPatch) -> None:
    async def join(self: Closing) -> None:
        return None

    patch.setattr(Closing, "_join", join)


@pytest.mark.filterwarnings("ignore")  # a broken tree leaves all kinds of things behind
@pytest.mark.parametrize("guard", [_no_shield, _no_join])
async def test_a_tree_without_the_guard_is_found(
    guard: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: with a guard taken out, some of the same trees break what is promised."""
    guard(monkeypatch)
    found = 0
    for seed in range(60):
        try:
            await Story(seed, patience=0.3).tell()
        except (AssertionError, AttributeError, RuntimeError, KeyError):
            found += 1
        await _sweep()
    assert found > 0


async def _sweep() -> None:
    """End what a broken scope left."""
    interrupts._shields.clear()
    await a_turn(100)  # clean-ups first
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await a_turn(20)
