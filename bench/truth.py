"""What the truth costs: `python -m bench.truth`, the third part of `make bench`.

How long does a cancel with its report take as a run's actions grow? How fast do four compensators undo a
thousand effects? And what is left in the store of 100,000 runs that are over, before and after they are
archived?
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median

import redis.asyncio

from bench.authority import DAY_MS, STORES, Figures, Homes, timed, together
from bench.rig import DIGEST, Rig, callers, rig
from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import undo_service_pb2 as undo_pb
from grant_service.archive.archiver import Archiver
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.seals import Seals
from grant_service.core import verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.errors import granted
from grant_service.core.grant import GrantRef
from grant_service.core.run import StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.store import Durability, Store
from grant_service.log import configure
from grant_service.store.dial import Dial
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import scripts
from grant_service.store.sqlite import SqliteStore
from grant_service.tokens.keys import load_or_create

ACTIONS = (1, 100, 10_000)
UNDOS, UNDO_RUNS, WORKERS = 1_000, 50, 4
ARCHIVED = 100_000

#: Stands in for `_host.lua`: an archive takes what ended long ago, and nobody waits that long for a figure.
_HOST = """
local function host_time_ms() return tonumber(redis.call('GET', 'bench:time')) end
local function host_epoch() return 'bench' end
"""
#: Ahead of the server's own clock, by which records expire.
_START = (time.time_ns() // 1_000_000) + 3_600_000


async def settle_many(one: Rig, count: int) -> None:
    """Do so many things under the rig's grant, each of which can be undone."""
    intents = [
        action_pb.Intent(
            op_id=f"a-{number}",
            action="bench.act",
            digest=DIGEST,
            reversibility=action_pb.REVERSIBILITY_COMPENSABLE,
            compensation="bench.undo",
        )
        for number in range(count)
    ]

    async def act(intent: action_pb.Intent) -> None:
        await one.tool.PerformAction(action_pb.PerformActionRequest(grant_token=one.token, intent=intent))
        outcome = action_pb.OUTCOME_SUCCEEDED
        settle = action_pb.SettleActionRequest(grant_token=one.token, op_id=intent.op_id, outcome=outcome)
        await one.tool.SettleAction(settle)

    await callers(64, [partial(act, intent) for intent in intents])


async def cancels(one: Rig, repetitions: int) -> Figures:
    """Time a cancel that answers with its report."""
    figures: Figures = {}
    for count in ACTIONS:
        for _ in range(repetitions):
            await one.open()
            await settle_many(one, count)
            took = await timed(one.cancel)
            figures.setdefault(f"cancel and report, {count:,} actions, ms", []).append(took)
    return figures


async def undos(one: Rig, repetitions: int) -> Figures:
    """Time how long four compensators, whose functions do nothing, take over a thousand effects."""
    figures: Figures = {}
    for _ in range(repetitions):
        runs = []
        for _ in range(UNDO_RUNS):
            await one.open()
            await settle_many(one, UNDOS // UNDO_RUNS)
            await one.issuer.FinishRun(grant_pb.FinishRunRequest(run_id=one.run_id))
            runs.append(one.run_id)
        for run_id in runs:
            await one.operator.UndoRun(control_pb.UndoRunRequest(run_id=run_id))
        start = time.perf_counter()
        done = sum(await asyncio.gather(*(_compensate(one) for _ in range(WORKERS))))
        seconds = time.perf_counter() - start
        if done != UNDOS:
            raise SystemExit(f"bench: {done} of {UNDOS} effects were undone")
        figures.setdefault(f"{UNDOS:,} undos by {WORKERS} workers, s", []).append(seconds)
        figures.setdefault("undos/s", []).append(UNDOS / seconds)
    return figures


async def _compensate(one: Rig) -> int:
    """Claim and complete until there is nothing left."""
    done = 0
    while True:
        claim = undo_pb.ClaimDutyRequest(worker="bench", compensations=["bench.undo"])
        answer = await one.compensator.ClaimDuty(claim)
        if not answer.HasField("duty"):
            return done
        duty = answer.duty
        which = {"run_id": duty.run_id, "op_id": duty.op_id, "kind": duty.kind, "lease_id": duty.lease_id}
        await one.compensator.CompleteDuty(undo_pb.CompleteDutyRequest(**which))
        done += 1


class Aged:
    """A store whose clock we set, and how much it holds."""

    def __init__(self, name: str, home: Path, url: str) -> None:
        self.now = _START
        self._name, self._home, self._url = name, home, url
        self.store: Store

    async def open(self) -> None:
        """Open it in this process."""
        if self._name == "sqlite":
            self.store = await SqliteStore.start(self._home / "data" / "countermand.db", lambda: self.now)
            return
        self._client = redis.asyncio.Redis.from_url(self._url)
        await self.advance(0)
        dial = Dial(self._url, scripts(_HOST).values(), Durability.VOLATILE, 60.0)
        self.store = RedisStore(dial.link(), control=dial.link(), host=_HOST)

    async def advance(self, ms: int) -> None:
        """Let time pass."""
        self.now += ms
        if self._name == "redis":
            await self._client.set("bench:time", self.now)

    async def held(self) -> float:
        """Tell how many MiB it holds: memory in use of Redis, pages in use of SQLite."""
        if self._name == "redis":
            return float((await self._client.info("memory"))["used_memory"]) / 2**20
        with sqlite3.connect(self._home / "data" / "countermand.db") as db:
            (pages,), (free,) = (
                db.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "freelist_count")
            )
            (size,) = db.execute("PRAGMA page_size").fetchone()
        return float((pages - free) * size) / 2**20

    async def close(self) -> None:
        """Let go of it."""
        await self.store.close()
        if self._name == "redis":
            await self._client.aclose()


async def archive(homes: Homes, name: str, count: int) -> Figures:
    """Fill a store with runs that end, half finished and half cancelled, and archive them."""
    aged = Aged(name, *homes.new(name))
    await aged.open()
    empty = await aged.held()
    start = time.perf_counter()
    await _live_and_end(aged.store, count)
    filled, full = time.perf_counter() - start, await aged.held()
    await aged.advance(3_600_000)
    with tempfile.TemporaryDirectory(prefix="cm-bench-") as directory:
        seals = Seals(load_or_create(Path(directory) / "keys"))
        files = ArchiveFiles(Path(directory) / "archive", seals.doubt)
        archiver = Archiver(aged.store, files, seals.block, after_ms=0, keep_ms=0)
        start, archived = time.perf_counter(), 0
        while found := await archiver.look():
            archived += found
        seconds = time.perf_counter() - start
        on_disk = sum(path.stat().st_size for path in (Path(directory) / "archive").iterdir()) / 2**20
        if archived != count:
            raise SystemExit(f"bench: {archived} of {count} runs were archived")
        left = await aged.held()
        files.close()
    await aged.close()
    per_run = 2**20 / count
    return {
        f"{count:,} runs lived and ended, s": [filled],
        "the store before any, MiB": [empty],
        f"... with {count:,} ended runs, MiB": [full],
        "... after they are archived, MiB": [left],
        "left of one run, bytes": [(left - empty) * per_run],
        "archive files, MiB": [on_disk],
        "archived runs/s": [count / seconds],
    }


async def _live_and_end(store: Store, count: int) -> None:
    """Let runs live a short life: a grant, one effect, the end."""

    async def live(number: int) -> None:
        run, grant = f"r-{number}", f"g-{number}"
        await store.open(verbs.Open(run, DAY_MS, DAY_MS, subject="u-7", agent="mailer", tenant="acme"))
        granted(await store.issue(verbs.Issue(grant, run, "tool", (Scope("email.*"),), 300_000)))
        ref = GrantRef(grant, run, (), "tool", "")
        intent = Intent("o-1", "email.send", "mailto:team@example.com", "0" * 64, Reversibility.IRREVERSIBLE)
        granted(await store.perform(verbs.Perform(ref, "tool", intent, 5_000, 1000)))
        granted(
            await store.settle(verbs.Settle(ref, "tool", "o-1", ActionState.SUCCEEDED, "<1@example.com>"))
        )
        if number % 2:
            granted(await store.finish(verbs.Finish(run)))
        else:
            await store.cancel(verbs.Cancel(run, StopReason.USER_STOP, "operator"))

    await together([live(number) for number in range(count)])


async def measure(name: str, repetitions: int, runs: int) -> Figures:
    """Ask all three questions of one store."""
    async with AsyncExitStack() as stack:
        homes = Homes(stack)
        home, url = homes.new(name)
        one = await stack.enter_async_context(rig(name, url, home))
        figures = await cancels(one, repetitions) | await undos(one, repetitions)
        print(f"  {name}: cancels and undos timed", file=sys.stderr)
        return figures | await archive(homes, name, runs)


def spread(values: Sequence[float]) -> str:
    """Write a median, and the smallest and largest value where there are several."""
    text: Callable[[float], str] = lambda value: f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"  # noqa: E731
    found = text(median(values))
    return f"{found} [{text(min(values))}-{text(max(values))}]" if len(values) > 1 else found


def main() -> int:
    """Print a table for each store."""
    parser = argparse.ArgumentParser(prog="python -m bench.truth", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="how often each time is taken (>= 5)")
    parser.add_argument("--runs", type=int, default=ARCHIVED, help="how many runs are archived")
    parser.add_argument("--store", choices=STORES, action="append", help="one store; both if not said")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    configure("error")
    for name in options.store or STORES:
        figures = asyncio.run(measure(name, max(5, options.repetitions), options.runs))
        if options.output == "json":
            print(json.dumps({name: figures}))
            continue
        print(f"\n{name}")
        for label, values in figures.items():
            print(f"  {label:<52} {spread(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
