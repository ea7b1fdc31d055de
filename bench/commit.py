"""What a commit costs: against an empty RPC on the same server, and against the naive `redis.get`."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

import redis

from bench.rig import Rig, callers

#: Calls of one repetition: one caller at a time, and 64 of them.
ALONE, TOGETHER = 300, 1500

#: One caller makes so many empty calls, then so many commits, and so on: both meet the machine in one state.
TURN = 10

Call = Callable[[], Awaitable[object]]


@dataclass
class Sample:
    """One repetition on one store. Times in microseconds, rates per second."""

    empty_p50: float
    commit_p50: float
    commit_p99: float
    naive_p50: float
    empty_rate: float
    commit_rate: float
    cpu_alone: float
    cpu_together: float


async def sample(rig: Rig, naive: redis.Redis) -> Sample:
    """Measure once, one thing right after the other."""
    empty, commits = await _in_turns(rig)
    ids = await rig.prepare(ALONE)
    before = rig.cpu_seconds()
    await alone([partial(rig.commit, op) for op in ids])
    cpu_alone = (rig.cpu_seconds() - before) / ALONE * 1e6
    empty_rate = await _together([rig.empty] * TOGETHER)
    ids = await rig.prepare(TOGETHER)
    before = rig.cpu_seconds()
    commit_rate = await _together([partial(rig.commit, op) for op in ids])
    cpu_together = (rig.cpu_seconds() - before) / TOGETHER * 1e6
    return Sample(
        empty_p50=median(empty),
        commit_p50=median(commits),
        commit_p99=quantiles(commits, n=100)[98],
        naive_p50=_naive(naive),
        empty_rate=empty_rate,
        commit_rate=commit_rate,
        cpu_alone=cpu_alone,
        cpu_together=cpu_together,
    )


async def _in_turns(rig: Rig) -> tuple[list[float], list[float]]:
    """Make empty calls and commits alternately; answer how long each took."""
    empty, commits = [], []
    ids = await rig.prepare(ALONE)
    for first in range(0, ALONE, TURN):
        empty += await alone([rig.empty] * TURN)
        commits += await alone([partial(rig.commit, op) for op in ids[first : first + TURN]])
    return empty, commits


async def alone(calls: Sequence[Call]) -> list[float]:
    """Make calls one after the other; answer how long each took."""
    times = []
    for call in calls:
        start = time.perf_counter()
        await call()
        times.append((time.perf_counter() - start) * 1e6)
    return times


async def _together(calls: list[Call]) -> float:
    start = time.perf_counter()
    await callers(64, calls)
    return len(calls) / (time.perf_counter() - start)


def _naive(client: redis.Redis) -> float:
    """What people do today: look at a flag, then act. It decides nothing and writes nothing."""
    times = []
    for _ in range(ALONE):
        start = time.perf_counter()
        client.get("cancelled:run")
        times.append((time.perf_counter() - start) * 1e6)
    return median(times)
