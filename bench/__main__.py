"""Run the measurements, all interleaved, and print medians with their spread."""

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from statistics import median

import redis

from bench.commit import Sample, sample
from bench.redis_server import redis_server
from bench.rig import rig

#: What a commit may cost at one caller, as a multiple of an empty RPC on the same server.
GOALS = {"sqlite": 2.5, "redis": 2.0}

#: How each store keeps what it decides.
STORES = {
    "sqlite": "every commit on disk before it is answered",
    "redis": "appendfsync everysec: synced about once a second",
    "redis, synced": "appendfsync always: every commit on disk before it is answered",
}


async def measure(repetitions: int) -> dict[str, list[Sample]]:
    """Take every repetition on each store in turn, so that a slow moment of the machine hits all alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in STORES}
    async with AsyncExitStack() as stack:
        lazy, synced = (stack.enter_context(redis_server(sync)) for sync in ("everysec", "always"))
        urls = dict(zip(STORES, ("sqlite", f"unix://{lazy}", f"unix://{synced}"), strict=True))
        rigs = [await stack.enter_async_context(rig(name, url)) for name, url in urls.items()]
        naive = stack.enter_context(redis.Redis(unix_socket_path=str(lazy)))
        for number in range(-1, repetitions):
            for one in rigs:
                taken = await sample(one, naive)
                if number >= 0:  # the first is a warm-up
                    samples[one.name].append(taken)
            print(f"  repetition {number + 1} of {repetitions}", file=sys.stderr)
    return samples


def spread(values: list[float], digits: int = 0) -> str:
    """Write a median with its smallest and largest value."""
    return f"{median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


def rows(taken: list[Sample]) -> list[tuple[str, str]]:
    """Name the figures of one store, ratios taken within each repetition."""
    return [
        ("commit p50, 1 caller, us", spread([one.commit_p50 for one in taken])),
        ("commit p99, 1 caller, us", spread([one.commit_p99 for one in taken])),
        ("empty RPC p50, 1 caller, us", spread([one.empty_p50 for one in taken])),
        ("naive redis.get p50, us", spread([one.naive_p50 for one in taken])),
        ("commit / empty RPC, p50", spread([one.commit_p50 / one.empty_p50 for one in taken], 2)),
        ("commit / naive redis.get, p50", spread([one.commit_p50 / one.naive_p50 for one in taken], 2)),
        ("commits/s, 64 callers", spread([one.commit_rate for one in taken])),
        ("empty RPCs/s, 64 callers", spread([one.empty_rate for one in taken])),
        ("commits/s / empty RPCs/s", spread([one.commit_rate / one.empty_rate for one in taken], 2)),
        (
            "commits/s / naive gets/s",
            spread([one.commit_rate * one.naive_p50 / 1e6 for one in taken], 2),
        ),
        ("service CPU per commit, 1 caller, us", spread([one.cpu_alone for one in taken])),
        ("service CPU per commit, 64 callers, us", spread([one.cpu_together for one in taken])),
    ]


def is_met(store: str, taken: list[Sample]) -> bool:
    """Say whether a store meets its goal."""
    ratio, goal = median(one.commit_p50 / one.empty_p50 for one in taken), GOALS[store]
    word = "met" if ratio <= goal else "MISSED"
    print(f"goal, {store}: commit / empty RPC, p50, {ratio:.2f} of {goal}: {word}", file=sys.stderr)
    return ratio <= goal


def main() -> int:
    """Print a table for each store, and whether the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7, help="how often each figure is taken (>= 5)")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    samples = asyncio.run(measure(max(5, options.repetitions)))
    if options.output == "json":
        print(json.dumps({store: [asdict(one) for one in taken] for store, taken in samples.items()}))
    else:
        for store, taken in samples.items():
            print(f"\n{store}: {STORES[store]}")
            for name, value in rows(taken):
                print(f"  {name:<40} {value}")
    met = [is_met(store, samples[store]) for store in GOALS]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
