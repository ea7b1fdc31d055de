"""What the author of an adapter writes: one class that attempts an effect through it."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from countermand._errors import CountermandError
from countermand._words import Outcome


class Grade(StrEnum):
    """How close to the effect a seam asks for its permit."""

    #: In the same transaction as the effect: a stop that the target knows of wins, however late.
    A = "A"
    #: On the last line before the effect.
    B = "B"
    #: Earlier: something of ours or of somebody else's lies between.
    C = "C"


class Fault(StrEnum):
    """What the suite asks the effect to suffer."""

    #: The code of the effect raises.
    RAISED = "RAISED"
    #: The target acts, and the connection is lost before anybody gets its answer.
    LOST = "LOST"
    #: The effect has its permit and stays inside until the suite says `release`.
    HELD = "HELD"


class Seam:
    """One seam through which effects leave a process, as the suite sees it.

    The suite makes one for all its checks: `start`, any number of attempts, `close`, on one event loop.
    """

    #: What it is called in the table of all seams, and how close it asks.
    name: str
    grade: Grade
    #: The action under which the effect is put on record. What else an attempt puts there is not looked at.
    action: str
    #: What the grant of the suite allows.
    scopes: tuple[str, ...] = ("*",)
    #: What is honestly on record after each fault, and after a cancel while the effect is inside.
    raised: Outcome = Outcome.UNKNOWN
    lost: Outcome = Outcome.UNKNOWN
    cancelled: Outcome = Outcome.SUCCEEDED
    #: What a refused attempt raises. Where another process acts, whatever tells its waiter of the refusal.
    refusals: tuple[type[Exception], ...] = (CountermandError,)
    #: Where the sidecar of the suite listens, for `countermand.connect`; set before `start`.
    home: Path

    async def start(self) -> None:
        """Start what attempts need: a target, a worker."""

    async def close(self) -> None:
        """Stop it. Called even where `start` failed."""

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        """Do the effect once, through the adapter, under whatever grant is current here, or none.

        Raises what the adapter raises. Where another process acts, hand it the grant's token and wait for it.
        """
        raise NotImplementedError

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        """Attempt the effect so late that `stop` has returned before the adapter asks for its permit.

        Say it anew where an attempt begins before it asks: call `stop` in between. A job is enqueued first.
        """
        await stop()
        await self.attempt(key)

    def happened(self, key: str) -> int:
        """Answer how often the effect of this key reached its target: ask the target, not the adapter."""
        raise NotImplementedError

    def entered(self, key: str) -> bool:
        """Say whether an effect that is `Fault.HELD` has begun, where that takes longer than its permit."""
        return True

    def release(self, key: str) -> None:
        """Let an attempt go on that was `Fault.HELD`."""
        raise NotImplementedError

    async def stop_target(self, run_id: str) -> None:
        """Grade A only: tell the target itself to stop a run. Nothing of it lands after this has returned."""
        raise NotImplementedError


class BlockingSeam(Seam):
    """The same where the adapter blocks: say `act`, it is called in a thread that has the grant."""

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        """Do the effect once, in a thread."""
        await asyncio.to_thread(self.act, key, fault)

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        """Attempt the effect too late, in a thread."""
        loop = asyncio.get_running_loop()

        async def finish() -> None:
            await stop()

        def stop_now() -> None:
            asyncio.run_coroutine_threadsafe(finish(), loop).result()

        await asyncio.to_thread(self.act_late, key, stop_now)

    def act(self, key: str, fault: Fault | None) -> None:
        """Do the effect once, through the adapter, under whatever grant is current here, or none."""
        raise NotImplementedError

    def act_late(self, key: str, stop: Callable[[], None]) -> None:
        """Do as `late` says."""
        stop()
        self.act(key, None)
