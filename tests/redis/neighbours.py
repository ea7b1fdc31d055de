"""Neighbours as tests have them: each answers with its name."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from grant_service.store.redis import RedisStore
from grant_service.store.redis_neighbours import RedisNeighbours


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what comes about elsewhere."""
    ends = time.monotonic() + 20
    while not await is_so():
        assert time.monotonic() < ends, "it did not come to pass"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def neighbour(url: str, name: str) -> AsyncIterator[RedisNeighbours]:
    """One that answers with its name and the question, once it is there."""
    store = await RedisStore.connect(url)
    one = store.neighbours(name)
    assert isinstance(one, RedisNeighbours)
    one.answer_with(lambda question: f"{name} {question}")
    try:
        await until(partial(_is_present, one))
        yield one
    finally:
        await one.close()
        await store.close()


async def _is_present(one: RedisNeighbours) -> bool:
    if not one._hints.listening:
        return False
    (names,) = await one._asker.read(("ZRANGEBYSCORE", one._keys.sidecars, "-inf", "+inf"))
    return one._name in names
