"""What the session stream brings: commits that travel together, and those who watch told of a stop."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median, quantiles

import grpc

from bench.__main__ import STORES, spread
from bench.commit import TURN, alone
from bench.redis_server import redis_server
from bench.rig import DIGEST, Rig, callers, rig
from countermand._errors import CountermandError
from countermand._rpcs import COMMIT, Sealed
from countermand._session import AsyncSession
from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import session_service_pb2 as pb

#: What the stream must bring: at 64 callers so many times the rate of calls that travel alone.
RATE, CALLERS = 4.0, 64
ALONE, TOGETHER, WATCHED, KEPT = 300, 6000, 1000, 100


@dataclass
class Sample:
    """One repetition on one store. Times in microseconds, rates per second."""

    unary_p50: float
    session_p50: float
    unary_rate: float
    session_rate: float
    service_cpu: float


@dataclass
class Told:
    """How long after a cancel's answer those who watch heard of it, in milliseconds."""

    p50: float
    p99: float
    last: float
    cancel: float


class Stream:
    """A client's session with a rig."""

    def __init__(self, of: Rig) -> None:
        self._rig = of
        self._channel = grpc.aio.insecure_channel(of.target("tool"), [("grpc.enable_retries", 0)])
        self.session = AsyncSession(self._channel)

    async def open(self) -> None:
        """Have it open."""
        ready = asyncio.Event()
        self.session.on_change(lambda is_there: ready.set() if is_there else None)
        if not self.session.want():
            await ready.wait()

    def commit(self, op_id: str) -> Awaitable[object]:
        """Commit one action."""
        request = action_pb.CommitActionRequest(grant_token=self._rig.token, op_id=op_id, digest=DIGEST)
        call: Awaitable[object] = self.session.call(COMMIT, Sealed(request), 10.0)
        return call

    async def close(self) -> None:
        """Hang up."""
        await self.session.close()
        await self._channel.close()


async def sample(of: Rig, stream: Stream) -> Sample:
    """Measure once, one thing right after the other."""
    unary, session = list[float](), list[float]()
    ids = await of.prepare(2 * ALONE)
    for first in range(0, 2 * ALONE, 2 * TURN):
        unary += await alone([partial(of.commit, op) for op in ids[first : first + TURN]])
        session += await alone([partial(stream.commit, op) for op in ids[first + TURN : first + 2 * TURN]])
    ids = await of.prepare(TOGETHER + TOGETHER // 4)
    unary_rate = await _rate([partial(of.commit, op) for op in ids[TOGETHER:]])
    before = of.cpu_seconds()
    session_rate = await _rate([partial(stream.commit, op) for op in ids[:TOGETHER]])
    cpu = (of.cpu_seconds() - before) / TOGETHER * 1e6
    return Sample(median(unary), median(session), unary_rate, session_rate, cpu)


async def _rate(calls: list[partial[Awaitable[object]]]) -> float:
    start = time.perf_counter()
    await callers(CALLERS, list(calls))
    return len(calls) / (time.perf_counter() - start)


async def told(of: Rig, stream: Stream) -> Told:
    """Have a thousand runs watched, cancel the one above them, and see when the last of them hears of it."""
    await of.open()
    heard: list[float] = []
    everybody = asyncio.Event()

    def hear(_: CountermandError) -> None:
        heard.append(time.perf_counter())
        if len(heard) == WATCHED:
            everybody.set()

    async def watch() -> None:
        child = grant_pb.OpenRunRequest(agent="bench", parent_run_id=of.run_id)
        run = (await of.issuer.OpenRun(child)).run
        scopes = [grant_pb.Scope(action="bench.*")]
        issued = await of.issuer.IssueGrant(grant_pb.IssueGrantRequest(run_id=run.run_id, scopes=scopes))
        stream.session.watch(Sealed(pb.WatchRunRequest(grant_token=issued.grant_token)), hear)

    await callers(CALLERS, [watch] * WATCHED)
    await asyncio.sleep(1.5)
    start = time.perf_counter()
    await of.cancel()
    answered = time.perf_counter()
    async with asyncio.timeout(30):
        await everybody.wait()
    late = sorted(max(0.0, (at - answered) * 1000) for at in heard)
    await of.open()
    return Told(median(late), quantiles(late, n=100)[98], late[-1], (answered - start) * 1000)


async def memory(of: Rig) -> float:
    """Tell how many KB a sidecar takes for a session that a client keeps open and has little to ask on."""
    streams = [Stream(of) for _ in range(KEPT)]
    before = of.memory_kb()
    for stream in streams:
        await stream.open()
    taken = of.memory_kb() - before
    for stream in streams:
        await stream.close()
    return taken / KEPT


async def measure(repetitions: int) -> dict[str, tuple[list[Sample], list[Told]]]:
    """Take every repetition on each store in turn."""
    samples: dict[str, tuple[list[Sample], list[Told]]] = {name: ([], []) for name in STORES}
    async with AsyncExitStack() as stack:
        lazy, synced = (stack.enter_context(redis_server(sync)) for sync in ("everysec", "always"))
        urls = dict(zip(STORES, ("sqlite", f"unix://{lazy}", f"unix://{synced}"), strict=True))
        rigs = [await stack.enter_async_context(rig(name, url)) for name, url in urls.items()]
        streams = [Stream(one) for one in rigs]
        for stream in streams:
            await stream.open()
            stack.push_async_callback(stream.close)
        for number in range(-1, repetitions):
            for one, stream in zip(rigs, streams, strict=True):
                taken, heard = await sample(one, stream), await told(one, stream)
                if number >= 0:  # the first is a warm-up
                    samples[one.name][0].append(taken)
                    samples[one.name][1].append(heard)
            print(f"  repetition {number + 1} of {repetitions}", file=sys.stderr)
        print(f"memory of a session that is kept open: {await memory(rigs[1]):.0f} KB")
    return samples


def rows(taken: list[Sample], heard: list[Told]) -> list[tuple[str, str]]:
    """Name the figures of one store, ratios taken within each repetition."""
    return [
        ("commit alone p50, 1 caller, us", spread([one.unary_p50 for one in taken])),
        ("commit in a session p50, 1 caller, us", spread([one.session_p50 for one in taken])),
        ("commits/s alone, 64 callers", spread([one.unary_rate for one in taken])),
        ("commits/s in a session, 64 callers", spread([one.session_rate for one in taken])),
        ("session / alone, 64 callers", spread([one.session_rate / one.unary_rate for one in taken], 2)),
        ("service CPU per commit in a session, us", spread([one.service_cpu for one in taken])),
        ("cancel of a run above 1,000 watched, ms", spread([one.cancel for one in heard], 1)),
        ("... then half of them know after, ms", spread([one.p50 for one in heard], 1)),
        ("... 99 of 100 after, ms", spread([one.p99 for one in heard], 1)),
        ("... the last after, ms", spread([one.last for one in heard], 1)),
    ]


def main() -> int:
    """Print a table for each store, and whether the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.session", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="how often each figure is taken")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    samples = asyncio.run(measure(options.repetitions))
    if options.output == "json":
        print(
            json.dumps(
                {store: [asdict(one) for some in both for one in some] for store, both in samples.items()}
            )
        )
    met = True
    for store, (taken, heard) in samples.items():
        print(f"\n{store}: {STORES[store]}")
        for name, value in rows(taken, heard):
            print(f"  {name:<42} {value}")
        ratio = median(one.session_rate / one.unary_rate for one in taken)
        faster = median(one.session_p50 / one.unary_p50 for one in taken)
        if store in ("sqlite", "redis"):
            good = ratio >= RATE and faster < 1
            met = met and good
            print(f"goal, {store}: {ratio:.2f} times the rate, of {RATE:g}: {'met' if good else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
