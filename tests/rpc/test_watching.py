"""Being told of a stop: whatever ends authority is told to those who watch it, once, with its reason."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb
from grant_service.store.memory import MemoryStore
from tests.rpc.sessions import Opened, reason, session
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import ManualClock, Served, served, until

Stopping = Callable[[Served], Awaitable[Any]]


async def _cancel(sidecar: Served) -> None:
    await sidecar.cancel("r-1", note="enough", actor="ada", tag="t-1")


async def _cancel_above(sidecar: Served) -> None:
    await sidecar.cancel("r-0", note="all of it")


async def _finish(sidecar: Served) -> None:
    await sidecar.issuer("FinishRun", run_id="r-1")


async def _revoke(sidecar: Served) -> None:
    await sidecar.fence("Revoke", tenant="acme")


async def _freeze(sidecar: Served) -> None:
    await sidecar.fence("Freeze", agent="mailer")


async def _run_out(sidecar: Served) -> None:
    token = await sidecar.grant_for("r-0", request_id="g-spend")
    spend = {"grant_token": token, "op_id": "s-1", "budget": "coins", "amount": 11}
    await sidecar.tool.refused("SpendBudget", **spend)


async def _let_time_pass(sidecar: Served) -> None:
    sidecar.clock.advance(3601)


async def _lose_the_epoch(sidecar: Served) -> None:
    sidecar.store.renew_epoch()


STOPS: dict[Stopping, str] = {
    _cancel: "REVOKED",
    _cancel_above: "REVOKED",
    _finish: "RUN_FINISHED",
    _revoke: "FENCED",
    _freeze: "FENCED",
    _run_out: "REVOKED",
    _let_time_pass: "RUN_DEADLINE",
    _lose_the_epoch: "STORE_EPOCH",
}


async def _opened(sidecar: Served) -> str:
    """A run below another, and the token of a grant for it."""
    coins = [{"name": "coins", "limit": 10}]
    await sidecar.issuer("OpenRun", run_id="r-0", tenant="acme", agent="mailer", budgets=coins)
    hour = {"seconds": 3600}
    await sidecar.issuer(
        "OpenRun", run_id="r-1", parent_run_id="r-0", tenant="acme", agent="mailer", ttl=hour
    )
    return await sidecar.grant_for("r-1", ttl={"seconds": 900})


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__[1:])
async def test_whatever_stops_it_is_told(stop: Stopping) -> None:
    """With what a commit is refused with from then on."""
    async with served() as sidecar:
        token = await _opened(sidecar)
        async with session(sidecar.tool) as opened:
            number = await opened.watch(token)
            assert await opened.silent(0.05)
        async with session(sidecar.tool) as opened:
            number = await opened.watch(token)
            await stop(sidecar)
            told = await opened.stop()
        assert (told.watch_id, told.run_id, reason(told.refusal)) == (number, "r-1", STOPS[stop])
        if stop is not _let_time_pass:  # the grant's own time is over by then, too
            refused = await sidecar.tool.refused(
                "SpendBudget", grant_token=token, op_id="s", budget="x", amount=1
            )
            assert refused.reason == STOPS[stop]
            assert (
                refused.metadata.items()
                >= {name: value for name, value in told.refusal.metadata.items() if "ago" not in name}.items()
            )


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__[1:])
async def test_what_stopped_before_is_in_the_answer(stop: Stopping) -> None:
    """So what was missed while there was no session is told before anything else."""
    async with served() as sidecar:
        token = await _opened(sidecar)
        async with session(sidecar.tool) as opened:
            known = (await opened.told(grant_token=token)).position
        await stop(sidecar)
        async with session(sidecar.tool) as opened:
            told = await opened.told(grant_token=token, after=known)
            assert await opened.silent(0.05)
        assert (told.watch_id, reason(told.refusal)) == (0, STOPS[stop])
        assert not len(sidecar.sidecar._watching)


async def test_answers_and_stops_say_as_of_where_they_hold(sidecar: Served) -> None:
    """By the numbers of the journal: nothing that is written up to there is missed."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        told = await opened.told(grant_token=token)
        standing = await sidecar.store.standing()
        assert (told.position.store_epoch, told.position.seq) == (standing.epoch, standing.last_seq)
        await _cancel(sidecar)
        stop = await opened.stop()
    assert stop.position.store_epoch == standing.epoch
    assert stop.position.seq >= int(stop.refusal.metadata["seq"]) > told.position.seq


async def test_a_store_that_has_less_than_was_known_of_it_is_not_trusted(sidecar: Served) -> None:
    """In one epoch positions only grow: what it lost may be a stop. Those of another epoch say nothing."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        now = (await opened.told(grant_token=token)).position
        ahead = pb.Position(store_epoch=now.store_epoch, seq=now.seq + 1)
        foreign = pb.Position(store_epoch="another", seq=now.seq + 1)
        assert reason((await opened.told(grant_token=token, after=ahead)).refusal) == "STORE_UNFIT"
        for after in (now, foreign):
            assert (await opened.told(grant_token=token, after=after)).watch_id


async def test_what_stops_while_it_is_looked_at_is_told() -> None:
    """The look that is under way has read the fences before it: the hint makes for another look."""
    store = ObstructedStore()
    async with served(store) as sidecar:
        watching = sidecar.sidecar._watching
        watching.everything_every, watching._epoch = 1e12, (await store.standing()).epoch  # no look by time
        token = await _opened(sidecar)
        async with session(sidecar.tool) as opened:
            await opened.watch(token)
            store.after["grants"] = lambda: _once(store.after, "grants", _revoke(sidecar))
            watching._heard("")
            assert reason((await opened.stop()).refusal) == "FENCED"


async def _once(hooks: dict[str, Any], name: str, work: Awaitable[Any]) -> None:
    del hooks[name]
    await work
    await asyncio.sleep(0.05)  # its hint is heard before the look goes on


async def test_a_stop_says_who_and_why(sidecar: Served) -> None:
    """The reason travels from end to end."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        await opened.watch(token)
        await _cancel(sidecar)
        told = (await opened.stop()).refusal
    wanted = {"stop_reason": "USER_STOP", "actor": "operator:ada", "note": "enough", "tag": "t-1"}
    assert dict(told.metadata).items() >= wanted.items()


async def test_it_is_told_once_and_not_to_those_who_watch_no_more(sidecar: Served) -> None:
    """A run that is cancelled and then fenced stops once."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        number, other = await opened.watch(token), await opened.watch(token)
        await opened.ask({"unwatch": pb.UnwatchRunRequest(watch_id=other)})
        await _cancel(sidecar)
        await _revoke(sidecar)
        assert (await opened.stop()).watch_id == number
        assert await opened.silent()


async def test_the_owner_is_told_by_the_id_of_the_run(sidecar: Served) -> None:
    """A run that has no grant yet can be stopped, too."""
    await _opened(sidecar)
    async with session(sidecar.issuer) as opened:
        await opened.watch(run_id="r-1")
        await _cancel_above(sidecar)
        told = await opened.stop()
    assert (told.run_id, told.refusal.metadata["ended_run"]) == ("r-1", "r-0")


async def test_a_tool_watches_by_what_it_holds_alone(sidecar: Served) -> None:
    """It cannot look at a run by its id, nor by a grant that is for somebody else."""
    await _opened(sidecar)
    foreign = await sidecar.grant_for("r-1", audience="elsewhere")
    async with session(sidecar.tool) as opened:
        named = await opened.refused(watch=pb.WatchRunRequest(run_id="r-1"))
        other = await opened.refused(watch=pb.WatchRunRequest(grant_token=foreign))
    assert (reason(named), reason(other)) == ("TOKEN_MISSING", "WRONG_AUDIENCE")


async def test_an_unknown_run_is_not_watched(sidecar: Served) -> None:
    """A misspelt id would never stop."""
    async with session(sidecar.issuer) as opened:
        assert reason(await opened.refused(watch=pb.WatchRunRequest(run_id="r-9"))) == "RUN_UNKNOWN"


async def test_what_goes_on_is_left_alone(sidecar: Served) -> None:
    """A cancel of one run, or a fence over others, is not told to those it does not reach."""
    token = await _opened(sidecar)
    await sidecar.issuer("OpenRun", run_id="r-2", parent_run_id="r-0")
    async with session(sidecar.tool) as opened:
        await opened.watch(token)
        await sidecar.cancel("r-2")
        await sidecar.fence("Revoke", tenant="other")
        assert await opened.silent(0.2)


class Deaf(MemoryStore):
    """A store whose hints all get lost."""

    def on_stop(self, _: Any) -> None:
        """Say nothing."""


async def test_a_lost_hint_costs_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is looked at now and then, whether anything was said or not."""
    clock = ManualClock()
    async with served(Deaf(clock)) as sidecar:
        sidecar.sidecar._watching.everything_every = 0.5
        token = await _opened(sidecar)
        async with session(sidecar.tool) as opened:
            await opened.watch(token)
            await asyncio.sleep(0.1)  # it has been asked about
            await _cancel(sidecar)
            assert reason((await opened.stop()).refusal) == "REVOKED"


async def test_a_store_that_does_not_answer_is_asked_again() -> None:
    """The hint came, and the look failed."""

    class Failing(MemoryStore):
        fails = 0

        async def runs(self, ids: Any) -> Any:
            if self.fails:
                self.fails -= 1
                from grant_service.core.errors import ErrorReason, StoreFailed

                raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="a test")
            return await super().runs(ids)

    store = Failing(ManualClock())
    async with served(store) as sidecar:
        token = await _opened(sidecar)
        async with session(sidecar.tool) as opened:
            await opened.watch(token)
            await asyncio.sleep(0.1)
            await sidecar.store.cancel(_command())
            store.fails = 1
            assert reason((await opened.stop()).refusal) == "REVOKED"
            assert store.fails == 0


def _command() -> Any:
    from grant_service.core import verbs
    from grant_service.core.run import StopReason

    return verbs.Cancel("r-1", StopReason.USER_STOP, "", "", "")


async def test_a_closed_session_watches_nothing(sidecar: Served) -> None:
    """Nothing is kept for those who have gone."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        await _watch_many(opened, token, 20)
        assert len(sidecar.sidecar._watching) == 20
    await until(lambda: _watches_nothing(sidecar))


async def test_who_left_meanwhile_watches_nothing() -> None:
    """The store was slow; the session that asked has gone, so nobody would ever end this watch."""
    store = ObstructedStore()
    store.before["runs"] = lambda: asyncio.sleep(0.1)
    async with served(store) as sidecar:
        await sidecar.issuer("OpenRun", run_id="r-1")
        async with session(sidecar.issuer) as opened:
            await opened.send(*({"watch": pb.WatchRunRequest(run_id="r-1")} for _ in range(20)))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert not len(sidecar.sidecar._watching)


async def _watches_nothing(sidecar: Served) -> bool:
    return not len(sidecar.sidecar._watching)


async def _watch_many(opened: Opened, token: str, count: int) -> None:
    await opened.ask(*({"watch": pb.WatchRunRequest(grant_token=token)} for _ in range(count)))


def test_the_contract_names_every_stop() -> None:
    """A reason that a client has no word for would be told as `ask an operator`."""
    assert {f"ERROR_REASON_{name}" for name in STOPS.values()} <= set(errors_pb2.ErrorReason.keys())


async def test_a_grant_that_was_extended_is_told_of_its_stop(sidecar: Served) -> None:
    """That its first time is over is no stop; what stops it later is told as ever."""
    token = await _opened(sidecar)
    async with session(sidecar.tool) as opened:
        await opened.watch(token)
        sidecar.clock.advance(900)
        await sidecar.issuer("ExtendGrant", grant_token=token, ttl={"seconds": 900})
        sidecar.clock.advance(800)
        await sidecar.cancel("r-1")
        assert reason((await opened.stop()).refusal) == "REVOKED"
