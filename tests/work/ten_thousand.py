"""Ten thousand scopes, each stopped in another way, in a process of their own; prints what is left of them.

A program of its own, because what other tests have left in a process comes and goes.
"""

import asyncio
import contextlib
import gc
import json
import logging
import os
import threading
import time
import tracemalloc
from pathlib import Path

import countermand
from countermand import Stopped
from countermand.work import interrupts
from tests.work import jobs
from tests.work.support import USER, a_turn, forever

SCOPES = 10_000


def held() -> dict[str, object]:
    """Count what a process can leave behind."""
    pid = os.getpid()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "children": sorted(child for child in children if jobs.is_alive(int(child))),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "shields": len(interrupts._shields),
    }


async def one(number: int, above: countermand.WorkScope) -> None:
    """Open a scope with work of every kind that is cheap, and stop it; each time in another way."""
    with contextlib.suppress(Stopped, ValueError):
        async with countermand.scope("agent", timeout="60s") as scope:
            scope.defer(int)
            scope.token.on_cancel(lambda _: None)
            scope.spawn(forever)
            async with scope.shield():
                pass
            if number % 4 == 0:
                await scope.cancel(USER)
            elif number % 4 == 1:
                async with countermand.scope("sub") as sub:
                    sub.spawn(forever)
                    scope.cancel(USER)
                    await forever()
            elif number % 4 == 2:
                raise ValueError
            else:
                scope.detach(scope.spawn(a_turn, 0), to=above)
                scope.cancel(USER)
                await forever()
            if number % 500 == 0:
                raise ValueError


async def main() -> None:
    """Play them; count objects after the second thousand and the last, and bytes over the second thousand."""
    logging.getLogger("countermand").setLevel(logging.CRITICAL)
    objects = []
    async with countermand.scope("app") as above:
        before = held()
        for number in range(SCOPES):
            if number == 1000:
                tracemalloc.start()  # it is slow, so for one thousand only
            await one(number, above)
            if number in (1999, SCOPES - 1):
                await a_turn()
                gc.collect()
                objects.append(len(gc.get_objects()))
            if number == 1999:
                grown = tracemalloc.get_traced_memory()[0]
                tracemalloc.stop()
        after = held()
    left = {name: after[name] for name in before if after[name] != before[name]}
    told = {"left": left, "bytes": grown, "objects": objects[1] - objects[0], "cpu": time.process_time()}
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main())
