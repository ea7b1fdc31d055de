"""Sidecars whose telling of stops cannot be relied on: `python -m tests.races.pushes NAME`.

The real sidecar, with what it pushes dropped, delayed, reordered or made up. No promise depends on a push, so
the races must find nothing; what clients hear of is another matter, and is told.
"""

import asyncio
import random
import sys
from collections.abc import Callable
from typing import Any

from grant_service.core.errors import ErrorReason, Refusal
from grant_service.rpc import session
from tests.support.standby import live_again_and_again

_tell = session._Session._stopped


def dropped() -> None:
    """Tell nobody of anything."""
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
    add = session._Session._add

    def lie(self: Any, number: int, watch: Any) -> None:
        add(self, number, watch)
        refusal = Refusal(ErrorReason.REVOKED, {"run": watch.run_id, "ended_run": watch.run_id})
        _tell(self, number, watch.run_id, refusal)

    session._Session._add = lie  # type: ignore[method-assign]


#: Each fault, and whether clients hear of stops all the same.
FAULTS: dict[Callable[[], None], bool] = {dropped: False, delayed: True, reordered: True, made_up: True}

if __name__ == "__main__":
    {fault.__name__: fault for fault in FAULTS}[sys.argv.pop(1)]()
    sys.exit(live_again_and_again())
