"""Rounds by the ten thousand of each race over authority: `python -m tests.races.campaign KIND --rounds N`.

The rounds are those of authority.py with all their callers: a hundred delegations, 80 grants used or issued,
50 actions that wait for a person, a thousand takers. Two services on one real Redis play them, without the
wire (inside.py). It ends with 1 at the first fault; with `--defect NAME`, a guard taken out, it has to.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from grant_service.settings import Settings
from grant_service.store import redis
from grant_service.tokens.keys import load_or_create
from tests.races import authority, authority_sabotage
from tests.races.inside import Inside
from tests.races.load import Load
from tests.support.redis_server import redis_running

KINDS: dict[str, Callable[[Load, int], Awaitable[authority.Told]]] = {
    "delegate": authority.delegate_round,
    "extend": authority.extend_round,
    "fence": authority.fence_round,
    "approval": authority.approval_round,
    "budget": authority.budget_round,
}
#: After so many rounds comes a new server: nothing is ever taken out of its memory.
CHUNK = 250
SERVICES, AT_ONCE = 2, 3
#: Where there is one, Redis keeps its file here: what a disk does to it is tested elsewhere, and takes long.
MEMORY = "/dev/shm"  # noqa: S108 - a folder of our own is made below it
#: Seconds. A campaign goes on beside other work, where a store may get no turn for long.
PATIENCE = 60.0


async def play(kind: str, numbers: range) -> tuple[int, authority.Told]:
    """Play rounds on a new server, a few at a time, up to the first fault: how many, and what they told."""
    played, told, left = 0, authority.Told(), iter(numbers)

    async def some(load: Load) -> None:
        nonlocal played
        for number in left:
            one = await KINDS[kind](load, number)
            played += 1
            told.met.update(one.met)
            told.faults.extend(one.faults)
            if told.faults:
                return

    quick = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=quick) as home, redis_running(Path(home) / "redis") as server:
        settings = Settings(home=Path(home), store=server.url)
        keyring = load_or_create(Path(home) / "keys")
        async with AsyncExitStack() as stack:
            stores = [await redis.RedisStore.connect(server.url, timeout=PATIENCE) for _ in range(SERVICES)]
            for store in stores:
                stack.push_async_callback(store.close)
            load = await stack.enter_async_context(
                Load(*(Inside(store, keyring, settings) for store in stores), seed=numbers.start)
            )
            await asyncio.gather(*(some(load) for _ in range(AT_ONCE)))
    return played, told


async def campaign(kind: str, rounds: int, number: int) -> bool:
    """Play so many rounds, and say after each chunk what they met; answer whether all went well."""
    start, met, played = time.monotonic(), Counter[str](), 0
    while played < rounds:
        more, told = await play(kind, range(number + played, number + min(played + CHUNK, rounds)))
        played += more
        met.update(told.met)
        took = time.monotonic() - start
        print(f"{kind}: {played} rounds in {took:.0f} s: {dict(met)}, {len(told.faults)} faults", flush=True)
        if told.faults:
            print(*told.faults[:10], sep="\n", flush=True)
            return False
    return True


def main() -> int:
    """Read what is wanted, and play it."""
    defects = {defect.__name__: defect for defect in authority_sabotage.DEFECTS}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="its number, to go on where others ended")
    parser.add_argument("--defect", choices=defects)
    wanted = parser.parse_args()
    structlog.configure(
        logger_factory=structlog.ReturnLoggerFactory()
    )  # stops by the thousand are its business
    if wanted.defect:
        defects[wanted.defect]()
    return 0 if asyncio.run(campaign(wanted.kind, wanted.rounds, wanted.first)) else 1


if __name__ == "__main__":
    sys.exit(main())
