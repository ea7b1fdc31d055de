"""Reading much for people who watch: a way to Redis of its own, behind which no cancel waits."""

import asyncio

import pytest

from grant_service.core import verbs
from grant_service.core.run import StopReason
from grant_service.core.store import Durability
from grant_service.rpc.watching import Watch, Watching
from grant_service.store.dial import Dial
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import scripts
from tests.redis.proxy import proxy_before
from tests.redis.support import Desk
from tests.support.redis_server import RedisServer

WATCHED = 2000


def _dial(url: str) -> Dial:
    return Dial(url, scripts().values(), Durability.VOLATILE, 30.0)


@pytest.mark.parametrize("shared", [False, True], ids=["as it is", "control"])
async def test_a_cancel_waits_for_nobody_who_watches(server: RedisServer, shared: bool) -> None:
    """A flood of looks is under way and gets no answer; in the control they share the operators' link."""
    async with proxy_before(server) as slow:
        link, aside = _dial(server.url).link(), _dial(slow.url).link()
        store = RedisStore(link, control=aside if shared else _dial(server.url).link(), aside=aside)
        watching = Watching(store.aside())
        looking = asyncio.create_task(watching.work())
        try:
            await Desk(store).ready()
            asked = [watching.add(Watch(("r-1",), "g-1", lambda *_: None)) for _ in range(WATCHED)]
            assert all(refusal is None for _, refusal in await asyncio.gather(*asked))
            slow.open.clear()
            watching._heard("")  # something may have stopped, whatever it is
            await asyncio.sleep(0)
            cancel = store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP, "", "", ""))
            cancelling = asyncio.ensure_future(cancel)
            if shared:
                await asyncio.wait([cancelling], timeout=0.3)
                assert not cancelling.done()
                slow.open.set()
            assert (await asyncio.wait_for(cancelling, 20)).known
            assert len(watching) == WATCHED or shared
        finally:
            slow.open.set()
            looking.cancel()
            await store.close()


async def test_a_store_has_three_ways_to_its_redis(server: RedisServer) -> None:
    """One for decisions, one for cancels, one for whoever watches; it closes all of them."""
    async with proxy_before(server) as proxy:
        store = await RedisStore.connect(proxy.url)
        await Desk(store).ready()
        before = proxy.connections
        await store.aside().runs(["r-1"])
        await store.aside().runs(["r-1"])
        assert (before, proxy.connections) == (2, 3)
        await store.close()
        await asyncio.sleep(0.05)
        assert not proxy._clients
