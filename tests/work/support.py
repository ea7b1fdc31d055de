"""Work that tests start, and what they look at."""

import asyncio
from collections.abc import Iterable

from countermand import Stop, StopReason, WorkNode

USER = Stop(StopReason.USER_STOP, note="enough", actor="ann")


async def forever() -> None:
    """Work until it is stopped."""
    await asyncio.Event().wait()


async def a_turn(count: int = 3) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def names(nodes: Iterable[WorkNode]) -> list[str]:
    """Answer the names of pieces of work; blocks are left out."""
    return sorted(node.name for node in nodes if node.kind != "body")
