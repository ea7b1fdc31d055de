"""How fast a job is found that is to be called off, among very many that are not: `python -m bench.jobs`.

Each of many runs at work has one job that the outside world has accepted. A few of the runs are cancelled,
one after another: how long does a compensator look for the job then, and how long when there is none?
"""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack

from bench.authority import DAY_MS, STORES, Figures, Homes, timed, together
from bench.truth import Aged, spread
from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.duty import DutyKind
from grant_service.core.errors import granted
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.store import Store
from grant_service.log import configure

JOBS = 100_000
#: How many duties a claim looks at first.
LOOK = 512


async def _begin(store: Store, count: int) -> None:
    """Let runs begin a job each, and go on."""

    async def begin(number: int) -> None:
        run, grant = f"r-{number}", f"g-{number}"
        await store.open(verbs.Open(run, DAY_MS, DAY_MS))
        granted(await store.issue(verbs.Issue(grant, run, "tool", (Scope("*"),), 300_000)))
        ref = GrantRef(grant, run, (), "tool", "")
        intent = Intent("o-1", "video.render", "", "0" * 64, Reversibility.IRREVERSIBLE)
        granted(await store.perform(verbs.Perform(ref, "tool", intent, 5_000, 1000, undo_ms=DAY_MS)))
        job = {"handle": f"job-{number}", "canceller": "video.cancel"}
        granted(await store.settle(verbs.Settle(ref, "tool", "o-1", ActionState.SUCCEEDED, **job)))

    await together([begin(number) for number in range(count)])


async def measure(name: str, repetitions: int, count: int) -> Figures:
    """Look when nothing is to be called off, and after each of some cancels."""
    async with AsyncExitStack() as stack:
        aged = Aged(name, *Homes(stack).new(name))
        await aged.open()
        stack.push_async_callback(aged.close)
        store = aged.store
        await _begin(store, count)
        idle, cancels, finds = list[float](), list[float](), list[float]()
        for number in range(repetitions):
            idle.append(await timed(lambda: store.open_duties(DutyKind.CALL_OFF, LOOK)))
            run = f"r-{count * number // repetitions}"
            stop = verbs.Cancel(run, StopReason.USER_STOP, "operator")
            cancels.append(await timed(lambda stop=stop: store.cancel(stop)))  # type: ignore[misc]
            start = time.perf_counter()
            (duty,) = await store.open_duties(DutyKind.CALL_OFF, LOOK)
            which = (duty.run_id, duty.op_id, duty.kind)
            granted(await store.claim(verbs.Claim(*which, "w", "l", 30_000, 6)))
            finds.append((time.perf_counter() - start) * 1e3)
            if duty.run_id != run:
                raise SystemExit(f"bench: the job of {duty.run_id} was found, and not that of {run}")
            granted(await store.complete(verbs.Complete(*which, "l", "DONE")))
        return {
            f"a look among {count:,} jobs of runs at work, ms": idle,
            "cancel of one of the runs, ms": cancels,
            "its job found and claimed, ms": finds,
        }


def main() -> int:
    """Print a table for each store."""
    parser = argparse.ArgumentParser(prog="python -m bench.jobs", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20, help="how many runs are cancelled")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many runs have a job")
    parser.add_argument("--store", choices=STORES, action="append", help="one store; both if not said")
    options = parser.parse_args()
    configure("error")
    for name in options.store or STORES:
        figures = asyncio.run(measure(name, options.repetitions, options.jobs))
        print(f"\n{name}")
        for label, values in figures.items():
            print(f"  {label:<50} {spread(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
