"""Sidecars whose telling of stops cannot be relied on: `python -m tests.races.pushes NAME`.

The real sidecar, with what it pushes dropped, delayed, reordered or made up. No promise depends on a push, so
the races must find nothing; what clients hear of is another matter, and is told.
"""

import asyncio
import itertools
import random
import sys
from collections.abc import Callable
from typing import Any

from grant_service.core.errors import ErrorReason, Refusal
from grant_service.rpc import session
from grant_service.rpc.watching import Position
from tests.support.standby import live_again_and_again

_tell = session._Session._stopped


def dropped() -> None:
    """Tell nobody of anything, not even of what has stopped before it was watched."""
    watch, numbers = session._Session._watch, itertools.count(10**6)

    async def silent(self: Any, call: Any, request: Any) -> Any:
        answer = await watch(self, call, request)
        if answer.HasField("refusal"):
            answer.ClearField("refusal")
            answer.watch_id = next(numbers)
        return answer

    session._Session._watch = silent  # type: ignore[method-assign]
    session._Session._stopped = lambda *_: None  # type: ignore[method-assign]


def delayed() -> None:
    """Tell everybody up to half a second later."""

    def later(self: Any, *told: Any) -> None:
        asyncio.get_running_loop().call_later(random.random() / 2, _tell, self, *told)

    session._Session._stopped = later  # type: ignore[method-assign]


def reordered() -> None:
    """Hold back what is to be told, and tell it in any order."""
    held: list[Callable[[], None]] = []

    def shuffled(self: Any, *told: Any) -> None:
        held.append(lambda: _tell(self, *told))
        random.shuffle(held)
        if len(held) > 3:
            held.pop()()

    session._Session._stopped = shuffled  # type: ignore[method-assign]


def made_up() -> None:
    """Tell everybody at once that their run was cancelled, whether it was or not."""
    watch = session._Session._watch

    async def lie(self: Any, call: Any, request: Any) -> Any:
        answer = await watch(self, call, request)
        refusal = Refusal(ErrorReason.REVOKED, {"run": answer.run_id, "ended_run": answer.run_id})
        told = (answer.watch_id, answer.run_id, refusal, Position("", 0))
        asyncio.get_running_loop().call_soon(_tell, self, *told)
        return answer

    session._Session._watch = lie  # type: ignore[method-assign]


#: Each fault, and whether clients hear of stops all the same.
FAULTS: dict[Callable[[], None], bool] = {dropped: False, delayed: True, reordered: True, made_up: True}

if __name__ == "__main__":
    {fault.__name__: fault for fault in FAULTS}[sys.argv.pop(1)]()
    sys.exit(live_again_and_again())
