"""Restarts, lost data, a clock that goes back, a full memory: what we still promise then."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.budget import Budget
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.duty import DutyKind
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.keys import Keys
from grant_service.store.redis import RedisStore
from tests.redis.support import Desk
from tests.support.redis_server import RedisServer

META = Keys().meta


def reason(answer: object) -> ErrorReason:
    """Why this was refused."""
    assert isinstance(answer, Refusal), answer
    return answer.reason


async def failure(call: object) -> StoreFailed:
    """Expect that the store could not decide."""
    with pytest.raises(StoreFailed) as failed:
        await call  # type: ignore[misc]
    return failed.value


async def noticed() -> None:
    """Let the links see that their connections are gone; calls made before that would be unknown."""
    await asyncio.sleep(0.02)


async def test_a_restart_with_its_data_ends_older_grants(own_server: RedisServer) -> None:
    """Whether all the data are back nobody knows: no commit, yet reports and cancels work."""
    store = await RedisStore.connect(own_server.url)
    desk = await Desk(store).ready()
    await desk.perform("done")
    await desk.prepare("waiting")
    own_server.restart()
    await noticed()
    for answer in (await desk.commit("waiting"), await desk.perform("new"), await desk.open()):
        assert reason(answer) is ErrorReason.STORE_EPOCH
    assert reason(await desk.issue()) is ErrorReason.STORE_EPOCH
    again = await desk.commit("done")
    assert reason(again) is ErrorReason.STORE_EPOCH
    assert again.details["prior_decision"] == "PERMITTED"
    settled = await desk.settle("done")
    assert isinstance(settled, verbs.Settled)
    assert settled.after_cut
    cancelled = await desk.cancel()
    assert cancelled.known
    assert not cancelled.replayed
    kinds = await desk.kinds()
    assert kinds[:5] == ["OPENED", "ISSUED", "PREPARED", "PERMITTED", "PREPARED"]
    assert kinds[-2:] == ["SETTLED", "CANCELLED"]
    assert isinstance(await (Desk(store, run="r-2", grant="g-2")).ready(), Desk)
    await store.close()


async def test_a_cancel_survives_a_restart(own_server: RedisServer) -> None:
    """What was cancelled stays cancelled, by its own reason."""
    store = await RedisStore.connect(own_server.url)
    desk = await Desk(store).ready()
    first = await desk.cancel()
    own_server.restart()
    await noticed()
    again = await desk.cancel()
    assert again.replayed
    assert again.seq == first.seq
    assert reason(await desk.perform()) is ErrorReason.REVOKED
    await store.close()


async def test_a_restart_without_its_data_knows_no_grant(own_server: RedisServer) -> None:
    """An empty store refuses by itself: only a grant that is present allows anything."""
    store = await RedisStore.connect(own_server.url)
    desk = await Desk(store).ready()
    await desk.prepare()
    own_server.kill()
    own_server.wipe()
    own_server.start()
    await noticed()
    for answer in (await desk.commit(), await desk.perform("new"), await desk.settle()):
        assert reason(answer) is ErrorReason.GRANT_UNKNOWN
    assert reason(await desk.issue()) is ErrorReason.RUN_UNKNOWN
    assert not (await desk.cancel()).known
    assert reason(await desk.open()) is ErrorReason.REVOKED
    await store.close()


async def test_flushing_all_data_is_no_licence(store: RedisStore, server: RedisServer) -> None:
    """FLUSHALL under a running sidecar: same connection, same epoch, and nothing is allowed any more."""
    desk = await Desk(store).ready()
    await desk.prepare()
    with server.client() as client:
        client.flushall()
    assert reason(await desk.commit()) is ErrorReason.GRANT_UNKNOWN


@pytest.mark.parametrize("lost", [Keys().run("r-1"), Keys().grant("g-1"), Keys().action("r-1", "o-1")])
async def test_one_record_lost_is_enough_to_refuse(store: RedisStore, server: RedisServer, lost: str) -> None:
    """Take away any record a commit stands on, and it is refused."""
    desk = await Desk(store).ready()
    await desk.prepare()
    with server.client() as client:
        assert client.delete(lost) == 1
    assert isinstance(await desk.commit(), Refusal)


async def test_an_outcome_is_taken_though_records_of_budgets_are_gone(
    store: RedisStore, server: RedisServer
) -> None:
    """It tells what is left in those that are there; a lost one refuses nothing."""
    await Desk(store, run="r-0").open(budgets=(Budget("usd", 5),))
    desk = Desk(store, parents=("r-0",))
    await desk.open()
    await desk.issue(budgets=(Budget("eur", 3),))
    for op in ("o-1", "o-2"):
        await desk.perform(op)
    assert (await desk.settle("o-1")).remaining == {"eur": 3, "usd": 5}
    with server.client() as client:
        assert client.delete(Keys().run("r-0")) == 1
    settled = await desk.settle("o-2")
    assert (settled.after_cut, settled.remaining) == (True, {"eur": 3})


async def test_a_lost_journal_is_enough_to_refuse_but_not_to_cancel(
    store: RedisStore, server: RedisServer
) -> None:
    """Nothing is permitted that could not be reported; a cancel starts a new journal."""
    desk = await Desk(store).ready()
    await desk.prepare()
    with server.client() as client:
        client.delete(Keys().journal("r-1"))
    failed = await failure(desk.commit())
    assert failed.refusal.reason is ErrorReason.INTERNAL
    child = Desk(store, run="r-2", parents=("r-1",))
    assert (await failure(child.open())).refusal.reason is ErrorReason.INTERNAL
    assert (await store.runs(["r-2"])) == [None]
    assert (await desk.cancel()).known
    assert await desk.kinds() == ["CANCELLED"]


async def test_a_clock_far_behind_gives_no_authority(store: RedisStore, server: RedisServer) -> None:
    """By a clock that was ahead nothing is permitted; what ends or reports goes on, at the highest time."""
    desk = await Desk(store).ready()
    await desk.prepare()
    await desk.perform("done")
    await desk.prepare("unwanted")
    ahead = (await store.standing()).now + CLOCK_TOLERANCE_MS + 10_000
    with server.client() as client:
        client.hset(META, "now", ahead)
    lone = Desk(store, run="r-2", grant="g-2")
    refused = [await desk.commit(), await desk.perform("new"), await desk.prepare("new"), await lone.open()]
    for answer in (*refused, await desk.issue()):
        assert reason(answer) is ErrorReason.CLOCK_UNSURE
        assert int(answer.details["behind_ms"]) > CLOCK_TOLERANCE_MS
    assert isinstance(await desk.settle("done"), verbs.Settled)
    assert isinstance(await desk.abandon("unwanted"), verbs.Abandoned)
    assert (await desk.cancel()).time == ahead
    assert (await store.standing()).now == ahead


async def test_a_clock_a_little_behind_stands_still(store: RedisStore, server: RedisServer) -> None:
    """Within the tolerance the highest time seen stands in: nothing expires later than it would have."""
    desk = await Desk(store).ready()
    ahead = (await store.standing()).now + 50_000
    with server.client() as client:
        client.hset(META, "now", ahead)
    answer = await desk.perform()
    assert isinstance(answer, verbs.Permitted)
    assert answer.use_by == ahead + 5_000
    with server.client() as client:
        assert int(client.hget(META, "now") or 0) == ahead


def fill(client: redis.Redis) -> None:
    """Write until there is no room left."""
    for number in range(10_000):
        client.set(f"filler:{number}", "x" * 10_000)


@contextmanager
def full(server: RedisServer) -> Iterator[redis.Redis]:
    """Fill the memory of the server up to its limit, and make room again afterwards."""
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)
        # Buffers come and go: without this the next command might find a little room again.
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 200_000)
        yield client
        client.config_set("maxmemory", 0)
        client.delete(*client.keys("filler:*"))


async def test_a_full_store_gives_no_authority_and_still_takes_it_away(
    store: RedisStore, server: RedisServer
) -> None:
    """With no memory left whatever adds authority or records is refused as STORE_FULL; the rest works."""
    desk = await Desk(store).ready()
    for op in ("waiting", "unwanted"):
        await desk.prepare(op)
    await desk.perform("done")
    lone = Desk(store, run="r-2", grant="g-2")
    await lone.open(budgets=(Budget("usd", 5),))
    await lone.issue()
    await lone.perform("done")
    new = Desk(store, run="r-3", grant="g-3")
    careful = Desk(store, run="r-4", grant="g-4")
    await careful.open()
    await careful.issue(Scope("*", approval_from=Reversibility.READ_ONLY))
    await careful.prepare("asked")
    undone = await Desk(store, run="r-5", grant="g-5").ready()
    for op in ("o-1", "o-2", "o-3", "o-4"):
        await undone.effect(op)
    await undone.perform("o-5", use_ms=1)
    await undone.finish()
    for op in ("o-1", "o-2", "o-3"):
        await undone.undo(op)
    for op in ("o-3", "o-2"):
        await undone.claim(op)
        await undone.withdraw(op)
    await undone.claim("o-1")
    with full(server):
        calls = (desk.commit("waiting"), desk.perform("new"), desk.prepare("new"), new.open(), desk.issue())
        duties = (undone.undo("o-4"), undone.claim("o-1", lease="l-2"), undone.renew("o-1"))
        for call in (*calls, *duties):
            failed = await failure(call)
            assert failed.refusal.reason is ErrorReason.STORE_FULL
            assert isinstance(failed.__cause__, redis.exceptions.OutOfMemoryError)
        assert isinstance(await desk.settle("done"), verbs.Settled)
        assert (await lone.settle("done")).remaining == {"usd": 5}
        assert isinstance(await desk.abandon("unwanted"), verbs.Abandoned)
        assert isinstance(await lone.finish(), verbs.Finished)
        assert isinstance(await careful.deny("asked"), verbs.Denied)
        assert isinstance(await undone.resolve("o-5"), verbs.Resolved)
        assert isinstance(await undone.complete("o-3"), verbs.Completed)
        assert isinstance(await undone.fail("o-1"), verbs.Failed)
        assert isinstance(await undone.withdraw("o-4"), verbs.Withdrawn)
        assert [duty.op_id for duty in await store.open_duties(DutyKind.UNDO, 10)] == ["o-1"]
        assert isinstance(await desk.revoke("agent=mailer"), verbs.Fenced)
        assert isinstance(await desk.freeze("agent=mailer"), verbs.Fenced)
        assert (await failure(desk.lift())).refusal.reason is ErrorReason.STORE_FULL
        assert (await desk.cancel()).known
        assert not (await new.cancel()).known
        standing = await store.standing()
        assert "no room left" in standing.trouble
        assert standing.last_seq > 0
        assert (await desk.kinds())[-3:] == ["SETTLED", "ABANDONED", "CANCELLED"]
    assert reason(await desk.commit("waiting")) is ErrorReason.REVOKED
    assert reason(await careful.perform("later")) is ErrorReason.FENCED
    assert (await store.standing()).trouble == ""


async def test_a_demoted_primary_decides_nothing(store: RedisStore, server: RedisServer) -> None:
    """A server that becomes a replica refuses, even if it takes writes; promoted, it is a new epoch."""
    desk = await Desk(store).ready()
    await desk.prepare()
    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
        for writable in ("yes", "no"):
            client.config_set("replica-read-only", writable)
            for call in (desk.commit(), desk.perform("new"), desk.cancel(), store.standing()):
                failed = await failure(call)
                assert failed.refusal.reason is ErrorReason.STORE_UNFIT
                assert "replica" in failed.refusal.details["cause"]
        client.replicaof("NO", "ONE")
    assert reason(await desk.commit()) is ErrorReason.STORE_EPOCH
    assert (await desk.cancel()).known


async def test_a_primary_without_the_replicas_it_must_have_refuses(
    store: RedisStore, server: RedisServer
) -> None:
    """Redis then takes no writes: nothing is decided, and the reason and the way out are told."""
    desk = await Desk(store).ready()
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        failed = await failure(desk.perform())
    assert failed.refusal.reason is ErrorReason.STORE_UNFIT
    assert failed.refusal.details["remedy"]


async def test_a_foreign_value_under_our_key_is_an_error_not_a_permit(
    store: RedisStore, server: RedisServer
) -> None:
    """A script that fails half-way leaves a refused caller and a run that can be cancelled."""
    desk = await Desk(store).ready()
    await desk.prepare()
    with server.client() as client:
        client.hset(Keys().run("r-1"), "deadline", "soon")
        failed = await failure(desk.commit())
        assert failed.refusal.reason is ErrorReason.INTERNAL
        client.delete(Keys().grant("g-1"))
        client.set(Keys().grant("g-1"), "x", px=60_000)
        assert (await failure(desk.commit())).refusal.reason is ErrorReason.INTERNAL
    assert (await desk.cancel()).known
    assert "PERMITTED" not in await desk.kinds()


async def test_settling_unknown_is_kept_open(store: RedisStore) -> None:
    """An outcome nobody knew can be told later."""
    desk = await Desk(store).ready()
    await desk.perform()
    assert (await desk.settle(outcome=ActionState.UNKNOWN)).state is ActionState.UNKNOWN
    assert (await desk.settle()).state is ActionState.SUCCEEDED
