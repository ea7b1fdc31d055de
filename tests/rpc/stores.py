"""Stores that behave badly, for tests of what stands before them."""

import asyncio
from collections.abc import Callable
from typing import Any

from grant_service.core.store import Durability, Standing
from grant_service.store.memory import MemoryStore

VERBS = (
    *("open", "issue", "delegate", "prepare", "commit", "perform", "settle", "abandon", "cancel", "finish"),
    *("extend", "spend", "revoke", "freeze", "lift", "approve", "deny"),
    *("resolve", "undo", "withdraw", "claim", "renew", "complete", "fail"),
)
READS = (
    *("runs", "run_ids", "recent_run_ids", "journal", "grants", "actions", "awaiting", "fences"),
    "open_duties",
)


class UntouchedStore:
    """Answers health, and remembers every other call as a fault of the test."""

    def __init__(self) -> None:
        self.touched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in (*VERBS, *READS):
            raise AttributeError(name)

        async def touch(*_: Any) -> Any:
            self.touched.append(name)
            raise AssertionError(f"{name} reached the store")

        return touch

    def aside(self) -> "UntouchedStore":
        """There is one way to it."""
        return self

    def neighbours(self, _: str) -> None:
        """It is alone."""

    def on_stop(self, _: Any) -> None:
        """Nothing stops here."""

    async def standing(self) -> Standing:
        """Stand well."""
        return Standing("epoch", Durability.VOLATILE, 1, 0)

    async def close(self) -> None:
        """Nothing to let go of."""


class ObstructedStore(MemoryStore):
    """Decides like the store in memory, between whatever `before` and `after` do: wait, fail, or nothing."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        super().__init__(*([clock] if clock else []))
        self.entered: list[str] = []
        self._entry = asyncio.Event()
        self.before: dict[str, Callable[[], Any]] = {}
        self.after: dict[str, Callable[[], Any]] = {}

    async def _obstruct(self, verb: str) -> None:
        self.entered.append(verb)
        self._entry.set()
        if verb in self.before:
            await self.before[verb]()

    async def standing(self) -> Standing:
        """Tell how it stands, if nothing is in the way."""
        await self._obstruct("standing")
        return await super().standing()

    async def wait_for(self, verb: str, calls: int) -> None:
        """Wait until so many calls of a verb have reached the store."""
        while self.entered.count(verb) < calls:
            self._entry.clear()
            await self._entry.wait()


def _obstructed(verb: str) -> Any:
    decide = getattr(MemoryStore, verb)

    async def obstructed(self: ObstructedStore, *told: Any) -> Any:
        await self._obstruct(verb)
        answer = await decide(self, *told)
        if verb in self.after:
            await self.after[verb]()
        return answer

    return obstructed


for _verb in (*VERBS, *READS):
    setattr(ObstructedStore, _verb, _obstructed(_verb))


def raising(error: BaseException) -> Callable[[], Any]:
    """Something to do before a verb: fail."""

    async def fail() -> None:
        raise error

    return fail
