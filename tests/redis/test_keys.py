"""Every key: one slot, one declared life, and nothing that stays unasked."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.crc import key_slot

from grant_service.core import verbs
from grant_service.core.duty import DutyKind
from grant_service.core.errors import Refusal
from grant_service.core.fence import FENCES
from grant_service.core.store import Durability
from grant_service.store.dial import Dial
from grant_service.store.keys import LIVES, Keys, Life
from grant_service.store.link import Link
from grant_service.store.redis import RedisStore
from grant_service.store.redis_control import TOMBSTONE_KEEP_MS
from grant_service.store.scripts import scripts
from tests.redis.support import HOUR, Desk, leaks, story
from tests.support.redis_server import RedisServer

ALL = (
    Keys().meta,
    Keys().runs,
    Keys().active,
    Keys().awaiting,
    Keys().undoing,
    Keys().calling_off,
    Keys().asking,
    Keys().jobs,
    Keys().cuts,
    Keys().fences,
    Keys().standing,
    Keys().anchors,
    Keys().sidecars,
    Keys().run("r-1"),
    Keys().journal("r-1"),
    Keys().grant("g-1"),
    Keys().action("r-1", "o-1"),
    Keys().spending("r-1", "o-1"),
    Keys().undo("r-1"),
    Keys().duty("r-1", "o-1", DutyKind.UNDO),
)
#: Those of one run.
OF_RUN = ALL[13:]


def test_all_keys_of_a_partition_share_a_slot() -> None:
    """A script may touch them together, also where slots matter."""
    assert {key_slot(key.encode()) for key in ALL} == {key_slot(b"p0")}
    other = Keys(partition="p1")
    assert key_slot(other.run("r-1").encode()) == key_slot(other.meta.encode()) == key_slot(b"p1")


def test_every_kind_of_key_has_a_declared_life() -> None:
    """A new kind of key has to say how long it lives."""
    lives = {key: Keys().life(key) for key in ALL}
    assert set(lives.values()) == set(Life)
    assert len(LIVES) == len(ALL)
    assert Keys().life(Keys().journal(FENCES)) is Life.PERMANENT, "no run ends it"
    for foreign in ("cm5:{p1}:meta", "cm5:{p0}:other", "cm5:{p0}:other:r-1", "meta"):
        with pytest.raises(KeyError):
            Keys().life(foreign)


async def test_the_whole_story_leaves_only_declared_keys(store: RedisStore, server: RedisServer) -> None:
    """All kinds of keys come to be, and none lives longer than declared."""
    await story(store)
    with server.client() as client:
        kinds = {key.removeprefix(Keys().stem).split(":")[0] for key in client.scan_iter(count=1000)}
        assert kinds == set(LIVES) - {"sidecars"}  # that one is for sidecars, not for what they decide
        assert leaks(client) == []


async def test_a_leak_is_found(store: RedisStore, server: RedisServer) -> None:
    """The negative control: a key of a strange name, and one whose expiry was taken, are both named."""
    desk = await Desk(store).ready()
    with server.client() as client:
        client.set("stray", "x")
        client.persist(Keys().grant("g-1"))
        client.persist(Keys().run("r-1"))
        assert sorted(leaks(client)) == sorted(["stray", Keys().grant("g-1"), Keys().run("r-1")])
        client.delete("stray", Keys().grant("g-1"))
        await desk.cancel()
        client.expire(Keys().run("r-1"), 100)
        assert leaks(client) == [Keys().run("r-1")], "a tombstone that would go is wrong too"
        client.persist(Keys().run("r-1"))


async def test_records_go_when_their_run_is_no_longer_kept(store: RedisStore, server: RedisServer) -> None:
    """Every record of a run has the same end: its deadline and the time it is kept beyond."""
    desk = Desk(store)
    opened = await desk.open(ttl_ms=HOUR, keep_ms=2 * HOUR)
    assert isinstance(opened, verbs.Opened)
    await desk.issue(ttl_ms=1_000)
    await desk.effect()
    await desk.spend()
    await desk.finish()
    await desk.undo()
    assert opened.run.keep_until == opened.run.open_time + 3 * HOUR
    with server.client() as client:
        ends = {key: client.execute_command("PEXPIRETIME", key) for key in OF_RUN}
    assert ends == dict.fromkeys(OF_RUN, opened.run.keep_until)


async def test_a_childs_records_stay_as_long_as_the_child_says(
    store: RedisStore, server: RedisServer
) -> None:
    """A child's deadline is its parent's at the latest; how long it is kept is its own matter."""
    parent = Desk(store)
    await parent.open(ttl_ms=HOUR)
    child = Desk(store, run="r-2", parents=("r-1",))
    opened = await child.open(ttl_ms=2 * HOUR, keep_ms=5 * HOUR)
    assert isinstance(opened, verbs.Opened)
    assert opened.run.deadline < opened.run.open_time + 2 * HOUR
    with server.client() as client:
        end = client.execute_command("PEXPIRETIME", Keys().run("r-2"))
    assert end == opened.run.keep_until == opened.run.deadline + 5 * HOUR


async def test_a_cancelled_run_stays_for_ever(store: RedisStore, server: RedisServer) -> None:
    """Its record is the tombstone; the rest of it goes when it would have gone."""
    desk = await Desk(store).ready()
    await desk.perform()
    with server.client() as client:
        before = client.execute_command("PEXPIRETIME", Keys().journal("r-1"))
        await desk.cancel()
        assert client.pttl(Keys().run("r-1")) == -1
        assert client.execute_command("PEXPIRETIME", Keys().journal("r-1")) == before


async def test_the_tombstone_of_a_run_nobody_opened(store: RedisStore, server: RedisServer) -> None:
    """Its record stays for ever, its journal for a month."""
    desk = Desk(store)
    cancelled = await desk.cancel()
    with server.client() as client:
        assert client.pttl(Keys().run("r-1")) == -1
        end = client.execute_command("PEXPIRETIME", Keys().journal("r-1"))
    assert end == cancelled.time + TOMBSTONE_KEEP_MS
    assert await store.run_ids(0, 10) == []


async def test_what_expired_is_pruned_when_read(store: RedisStore, server: RedisServer) -> None:
    """The list of runs does not grow for ever; a run that was cancelled stays on it."""
    expected = []
    for name in ("ended", "long"):
        opened = await Desk(store, run=name).open()
        assert isinstance(opened, verbs.Opened)
        expected.append((opened.run.open_seq, name))
    ended = Desk(store, run="ended")
    await ended.cancel()
    for number in range(7):
        await Desk(store, run=f"short-{number}", grant=f"g-{number}").open(ttl_ms=1, keep_ms=1)
    end = time.monotonic() + 10
    with server.client() as client:
        while client.exists(*(Keys().run(f"short-{number}") for number in range(7))):
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        assert client.zcard(Keys().runs) == 9
        assert await store.run_ids(0, 100) == expected[::-1]
        assert client.zcard(Keys().runs) == 2
    again = await Desk(store, run="short-0").open()
    assert isinstance(again, verbs.Opened)
    assert not again.replayed
    assert (await store.run_ids(0, 1)) == [(again.run.open_seq, "short-0")]
    assert isinstance(await ended.open(), Refusal)


class Meanwhile:
    """A link on which something happens just before the list of runs is pruned."""

    def __init__(self, link: Link, happens: Callable[[], Awaitable[object]]) -> None:
        self._link, self._happens = link, happens

    async def call(self, *args: str | int) -> Any:
        """Let it happen first."""
        if args[0] == "ZREMRANGEBYSCORE":
            await self._happens()
        return await self._link.call(*args)

    def drop(self, why: str) -> None:
        """Pass it on."""
        self._link.drop(why)

    async def close(self) -> None:
        """Pass it on."""
        await self._link.close()


async def test_a_run_opened_again_while_the_list_is_pruned_stays_on_it(
    store: RedisStore, server: RedisServer
) -> None:
    """Found gone, opened again under the same id, and only then pruned: the new one must not go."""
    desk = Desk(store)
    await desk.open()
    with server.client() as client:
        client.delete(Keys().run("r-1"), Keys().journal("r-1"))
    dial = Dial(server.url, scripts().values(), Durability.SYNCED, 2.0)
    lister = RedisStore(dial.link(), control=Meanwhile(dial.link(), desk.open))
    assert await lister.run_ids(0, 10) == []
    ((_, run_id),) = await store.run_ids(0, 10)
    assert run_id == "r-1"
    await lister.close()


async def test_the_far_end_of_the_list_is_pruned_too(store: RedisStore, server: RedisServer) -> None:
    """Nobody pages that far, and still the list does not keep what is gone."""
    for number in range(40):
        await Desk(store, run=f"r-{number}").open()
    with server.client() as client:
        client.delete(*(Keys().run(f"r-{number}") for number in range(30)))
        assert len(await store.run_ids(0, 3)) == 3
        assert client.zcard(Keys().runs) == 10


async def test_runs_are_listed_in_pages(store: RedisStore, server: RedisServer) -> None:
    """Pages of any size give every run once, the youngest first, past any number of gaps."""
    for number in range(20):
        await Desk(store, run=f"r-{number}").open()
    whole = await store.run_ids(0, 100)
    assert [run_id for _, run_id in whole] == [f"r-{number}" for number in reversed(range(20))]
    with server.client() as client:
        client.delete(*(Keys().run(f"r-{number}") for number in range(5, 15)))
    kept = [row for row in whole if int(row[1][2:]) not in range(5, 15)]
    paged, before = [], 0
    while page := await store.run_ids(before, 3):
        assert len(page) <= 3
        paged += page
        before = page[-1][0]
    assert paged == kept
