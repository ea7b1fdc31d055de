"""What authority costs as it grows: `python -m bench.authority`, the second half of `make bench`.

Three questions, each asked of both stores. Does a commit cost more when more grants are alive, when fences
stand, or deep in a tree? What does a revoke cost by itself, and what does counting what it hit? What does a
cancel cost by itself, and what does its report, when the tree below it grows?
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median

from bench.commit import alone
from bench.redis_server import redis_server
from bench.rig import Rig, rig
from grant_service.app import open_store
from grant_service.core import verbs
from grant_service.core.compile import compile_report
from grant_service.core.errors import granted
from grant_service.core.fence import marks_of, selector_of
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Scope
from grant_service.core.store import Durability, Store
from grant_service.core.sweep import count
from grant_service.settings import Settings

STORES = ("sqlite", "redis")
LIVE = (1, 10_000, 100_000)
TREES = (10, 1_000, 100_000)
DAY_MS = 86_400_000
_AT_ONCE = 500
_CALLS = 200
_RUNS = 100

Figures = dict[str, list[float]]


class Homes:
    """Places for stores, and the Redis servers behind them; all are gone at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def new(self, store: str) -> tuple[Path, str]:
        """Make a home and name its store."""
        home = Path(tempfile.mkdtemp(prefix="cm-bench-"))
        self._stack.callback(shutil.rmtree, home)
        if store == "sqlite":
            return home, store
        return home, f"unix://{self._stack.enter_context(redis_server('everysec'))}"


async def opened(home: Path, url: str) -> Store:
    """Open a store in this process, to fill it or to time it without a sidecar around it."""
    return await open_store(Settings(home=home, store=url, accept_durability=Durability.EVERY_SECOND))


async def fill(store: Store, grants: int, tenant: str) -> None:
    """Put so many live grants into runs of a tenant."""
    runs = max(1, min(_RUNS, grants))
    await together(
        [store.open(verbs.Open(f"{tenant}-{n}", DAY_MS, DAY_MS, tenant=tenant)) for n in range(runs)]
    )
    issues = (
        verbs.Issue(f"{tenant}-g-{n}", f"{tenant}-{n % runs}", "tool", (Scope("email.*"),), DAY_MS)
        for n in range(grants)
    )
    await together([store.issue(one) for one in issues])


async def plant(store: Store, grants: int) -> str:
    """Grow a tree: one run, runs below it, and grants delegated in each from the one above."""
    root = "tree"
    await store.open(verbs.Open(root, DAY_MS, DAY_MS))
    granted(await store.issue(verbs.Issue("tree-g", root, "tool", (Scope("*"),), DAY_MS)))
    top = GrantRef("tree-g", root, (), "tool", "")
    children = min(_RUNS, grants)
    asked = [
        verbs.Delegate(
            top, "tool", f"g-{n}", (Scope("*"),), DAY_MS, 10**6, child=verbs.Open(f"c-{n}", 0, DAY_MS)
        )
        for n in range(children)
    ]
    await together([store.delegate(one) for one in asked])
    below = [GrantRef(f"g-{n}", f"c-{n}", (root,), "tool", "", ("tree-g",)) for n in range(children)]
    more = [
        verbs.Delegate(below[n % children], "tool", f"g-{n}", (Scope("email.*"),), DAY_MS, 10**6)
        for n in range(children, grants)
    ]
    await together([store.delegate(one) for one in more])
    return root


async def together(calls: Sequence[Awaitable[object]]) -> None:
    """Make many calls, some hundreds at a time."""
    for start in range(0, len(calls), _AT_ONCE):
        await asyncio.gather(*calls[start : start + _AT_ONCE])


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    """Take the time of one call, in milliseconds."""
    start = time.perf_counter()
    await call()
    return (time.perf_counter() - start) * 1e3


async def revokes(homes: Homes, name: str, repetitions: int) -> tuple[Figures, list[tuple[str, Path, str]]]:
    """Time a revoke by tenant and the count of what it hit, among 1 to 100,000 live grants."""
    figures: Figures = {}
    filled = []
    for live in LIVE:
        home, url = homes.new(name)
        store = await opened(home, url)
        await fill(store, live, "acme")
        selector = selector_of(marks_of("", "", "", "acme", {}))
        for number in range(repetitions):
            command = verbs.Revoke(f"f-{number}", selector, StopReason.INCIDENT, kill_ms=1)
            figures.setdefault(f"revoke, {live:,} live grants, ms", []).append(
                await timed(partial(store.revoke, command))
            )
            figures.setdefault(f"counting what it hit, {live:,} live grants, ms", []).append(
                await timed(partial(count, store, selector, 0, 60.0))
            )
        await store.close()
        filled.append((f"{live:,} live grants", home, url))
    return figures, filled


async def cancels(homes: Homes, name: str, repetitions: int) -> Figures:
    """Time a cancel and its report, over 10 to 100,000 grants in the tree."""
    figures: Figures = {}
    for size in TREES:
        home, url = homes.new(name)
        store = await opened(home, url)
        root = await plant(store, size)
        figures[f"its report, {size:,} grants in the tree, ms"] = [
            await timed(partial(compile_report, store, root)) for _ in range(min(3, repetitions))
        ]
        # A run can be cancelled once: first the root of all, then runs below it, which cost the same.
        figures[f"cancel, {size:,} grants in the tree, ms"] = [
            await timed(partial(store.cancel, verbs.Cancel(run, StopReason.USER_STOP)))
            for run in [root, *(f"c-{n}" for n in range(min(repetitions, size) - 1))]
        ]
        await store.close()
    return figures


async def fenced(stack: AsyncExitStack, homes: Homes, name: str) -> list[Rig]:
    """Start sidecars on which fences stand, and one that commits deep in a tree."""
    rigs = []
    for fences, near in ((0, False), (8, False), (64, False), (64, True)):
        home, url = homes.new(name)
        where = "under other marks" if not near else "under the run's own agent"
        one = await stack.enter_async_context(rig(f"{fences} fences {where}", url, home))
        for number in range(fences):
            await one.freeze(f"f-{number}", f"t-{number}", "bench" if near else "")
        rigs.append(one)
    home, url = homes.new(name)
    rigs.append(await stack.enter_async_context(rig("depth 8", url, home, depth=8)))
    return rigs


async def commits(rigs: Sequence[Rig], repetitions: int) -> Figures:
    """Time commits on each rig in turn, again and again."""
    figures: Figures = {}
    for number in range(-1, repetitions):
        for one in rigs:
            ids = await one.prepare(_CALLS)
            times = await alone([partial(one.commit, op) for op in ids])
            if number >= 0:
                figures.setdefault(f"commit p50, {one.name}, us", []).append(median(times))
    return figures


async def measure(name: str, repetitions: int) -> Figures:
    """Ask all three questions of one store."""
    async with AsyncExitStack() as stack:
        homes = Homes(stack)
        figures, filled = await revokes(homes, name, repetitions)
        print(f"  {name}: revokes timed", file=sys.stderr)
        figures |= await cancels(homes, name, repetitions)
        print(f"  {name}: cancels timed", file=sys.stderr)
        rigs = [await stack.enter_async_context(rig(label, url, home)) for label, home, url in filled]
        rigs += await fenced(stack, homes, name)
        return figures | await commits(rigs, repetitions)


def main() -> int:
    """Print a table for each store."""
    parser = argparse.ArgumentParser(prog="python -m bench.authority", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7, help="how often each figure is taken (>= 5)")
    parser.add_argument("--store", choices=STORES, action="append", help="one store; both if not said")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    for name in options.store or STORES:
        figures = asyncio.run(measure(name, max(5, options.repetitions)))
        if options.output == "json":
            print(json.dumps({name: figures}))
            continue
        print(f"\n{name}")
        for label, values in figures.items():
            digits = 0 if label.endswith("us") else 2
            spread = f"{median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"
            print(f"  {label:<52} {spread}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
