"""The lists of open duties in Redis: in order, in pages, and without what is gone."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.duty import Duty, DutyKind
from grant_service.core.store import Durability
from grant_service.store.dial import Dial
from grant_service.store.keys import Keys
from grant_service.store.link import Link
from grant_service.store.redis import RedisStore
from grant_service.store.scripts import scripts
from tests.redis.support import Desk, hosted, undoable
from tests.support.redis_server import RedisServer

ASK, CALL_OFF, UNDO = DutyKind.ASK, DutyKind.CALL_OFF, DutyKind.UNDO
KEYS = Keys()

#: A host whose time stands still, so that many duties are due at the same moment.
STILL = """
local function host_time_ms() return 4000000000000 end
local function host_epoch() return 'epoch-1' end
"""


def named(duties: list[Duty]) -> list[tuple[str, str]]:
    """Say whose duties these are."""
    return [(duty.run_id, duty.op_id) for duty in duties]


async def with_duties(store: RedisStore, run: str, *ops: str) -> Desk:
    """A cancelled run whose effects are to be undone, and called off."""
    desk = await Desk(store, run=run, grant=f"g-{run}").ready()
    for op in ops:
        await desk.perform(op, wanted=undoable(op))
        await desk.settle(op, handle="job-1")
    await desk.cancel()
    for op in ops:
        await desk.undo(op)
    return desk


async def test_duties_due_at_the_same_time_are_listed_by_run_and_action(server: RedisServer) -> None:
    """In pages of any size the first ones are the same, though Redis would put `a-b/x` before `a/x`."""
    wanted = [(run, op) for run in ("a", "a-b", "a.b", "ab") for op in ("o", "o-1", "o.1")]
    async with hosted(server, STILL) as store:
        for run in ("ab", "a.b", "a-b", "a"):
            await with_duties(store, run, "o.1", "o", "o-1")
        for limit in (0, 1, 2, 3, 7, 12, 100):
            assert named(await store.open_duties(CALL_OFF, limit)) == wanted[:limit]
            undos = [(run, "o-1") for run in ("a", "a-b", "a.b", "ab")]
            assert named(await store.open_duties(UNDO, limit)) == undos[:limit]
        with server.client() as client:
            client.flushall()


async def test_what_is_gone_is_taken_off_when_read(store: RedisStore, server: RedisServer) -> None:
    """Of a run that is no longer kept nothing stays on the lists; all that is left moves up."""
    for run in ("r-1", "r-2", "r-3"):
        desk = await with_duties(store, run, "o-1", "o-2")
    asking = await Desk(store, run="r-4", grant="g-4").ready()
    await asking.perform(wanted=undoable("o-1"))
    with server.client() as client:
        of_run = [key for run in ("r-1", "r-2", "r-4") for key in client.scan_iter(f"{KEYS.stem}*:{run}*")]
        client.delete(*of_run)
        assert [client.zcard(key) for key in (KEYS.undoing, KEYS.jobs, KEYS.asking)] == [3, 6, 1]
        assert named(await store.open_duties(UNDO, 1)) == [("r-3", "o-2")]
        assert named(await store.open_duties(CALL_OFF, 1)) == [("r-3", "o-1")]
        assert named(await store.open_duties(ASK, 1)) == []
        assert [client.zcard(key) for key in (KEYS.undoing, KEYS.calling_off, KEYS.asking)] == [1, 2, 0]
        assert client.zcard(KEYS.jobs) == 0
        client.delete(KEYS.duty("r-3", "o-2", UNDO))
        assert named(await store.open_duties(UNDO, 1)) == [("r-3", "o-1")], "the last one is lost: go on"
    assert isinstance(await desk.claim("o-1"), verbs.Claimed)


async def test_a_run_without_open_undos_is_taken_off_when_read(
    store: RedisStore, server: RedisServer
) -> None:
    """What is undone is no longer looked for; asked for again it is found again."""
    desk = await with_duties(store, "r-1", "o-1")
    await desk.claim()
    assert isinstance(await desk.fail(final=True), verbs.Failed)
    with server.client() as client:
        assert client.zrange(KEYS.undoing, 0, -1) == ["r-1"]
        assert await store.open_duties(UNDO, 10) == []
        assert client.exists(KEYS.undoing) == 0
    await desk.undo()
    assert named(await store.open_duties(UNDO, 10)) == [("r-1", "o-1")]


class Meanwhile:
    """A link on which something happens once, just before a call that takes something off a list."""

    def __init__(self, link: Link, happens: Callable[[], Awaitable[object]]) -> None:
        self._link, self._happens = link, happens
        self._prune, self._happened = scripts()["prune"].sha, False

    async def call(self, *args: str | int) -> Any:
        """Let it happen first."""
        if not self._happened and (args[0] == "ZREMRANGEBYSCORE" or args[1] == self._prune):
            self._happened = True
            await self._happens()
        return await self._link.call(*args)

    def drop(self, why: str) -> None:
        """Pass it on."""
        self._link.drop(why)

    async def close(self) -> None:
        """Pass it on."""
        await self._link.close()


@pytest.mark.parametrize("kind", DutyKind)
async def test_a_duty_made_again_while_its_list_is_pruned_stays_on_it(
    store: RedisStore, server: RedisServer, kind: DutyKind
) -> None:
    """Found gone, made again under the same name, and only then pruned: the new one must not go."""
    desk = await Desk(store).ready()

    async def make() -> None:
        again = await replace(desk, run="r-1").ready()
        await again.perform(wanted=undoable("o-1"))
        if kind is not ASK:
            await again.settle(outcome=ActionState.SUCCEEDED, handle="job-1")
        await again.cancel()
        await again.undo()

    await make()
    await store.open_duties(kind, 10)
    with server.client() as client:
        client.delete(*client.scan_iter(f"{KEYS.stem}*1*"))
    dial = Dial(server.url, scripts().values(), Durability.SYNCED, 2.0)
    lister = RedisStore(dial.link(), control=Meanwhile(dial.link(), make))
    found = named(await lister.open_duties(kind, 10))
    assert named(await store.open_duties(kind, 10)) == [("r-1", "o-1")]
    assert found == ([("r-1", "o-1")] if kind is ASK else []), "it looks again at what it has pruned"
    await lister.close()


async def test_jobs_that_nobody_will_call_off_do_not_stay(store: RedisStore, server: RedisServer) -> None:
    """Looks take a sample of what waits, and take off what is over or no longer kept."""
    desk = await Desk(store).ready()
    for op in ("o-1", "o-2", "o-3"):
        await desk.perform(op, wanted=undoable(op), use_ms=1)
        await desk.settle(op, outcome=ActionState.UNKNOWN, handle="job-1")
    await desk.resolve("o-1", outcome=ActionState.FAILED)
    with server.client() as client:
        client.delete(KEYS.duty(desk.run, "o-2", CALL_OFF))
        assert await store.open_duties(CALL_OFF, 10) == []
        assert client.zrange(KEYS.jobs, 0, -1) == [f"{desk.run},/o-3"]


async def test_a_run_that_is_looked_through_is_not_looked_at_again(
    store: RedisStore, server: RedisServer
) -> None:
    """One that was stopped. The others are when their time is over: one at work may be cut off then."""
    runs = [await with_job(store, f"r-{n}") for n in (1, 2, 3)]
    await runs[0].cancel()
    await runs[1].finish()
    with server.client() as client:
        assert named(await store.open_duties(CALL_OFF, 10)) == [("r-1", "o-1")]
        assert client.zrange(KEYS.jobs, 0, -1) == ["r-2,/o-1", "r-3,/o-1"]
        deadlines = {run: float(client.hget(KEYS.run(run), "deadline")) for run in ("r-2", "r-3")}
        assert dict(client.zrange(KEYS.cuts, 0, -1, withscores=True)) == deadlines


async def with_job(store: RedisStore, run: str) -> Desk:
    """A run with a job that can be called off."""
    desk = await Desk(store, run=run, grant=f"g-{run}").ready()
    await desk.perform(wanted=undoable("o-1"))
    await desk.settle(handle="job-1")
    return desk
