"""A budget that runs out stops the scope it is made in, against a real sidecar; and a run stops a stream."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

import countermand
import countermand.sync
from countermand import Price, Stopped, StopReason, Usage
from countermand.streams.ledger import Ledger
from countermand.testing import Sidecar, sidecar
from tests.work.support import forever


@pytest.fixture
def real() -> Iterator[Sidecar]:
    """A real sidecar that forgets."""
    with sidecar() as running:
        yield running


async def test_it_stops_the_scope_it_is_made_in(real: Sidecar) -> None:
    """All that is at work there, with the reason BUDGET; the run has ended for the same."""
    async with countermand.connect(real.home) as cm:
        run = cm.open_run(budgets={"tokens_out": 50})
        with pytest.raises(Stopped) as stopped:
            async with run, countermand.scope("agent") as scope:
                work = scope.spawn(forever)
                with run.grant(scopes=["*"]):
                    tokens = countermand.token_budget()
                    await tokens.take(Usage(10, 51))
        end = (await cm.auditor.run(run.run_id)).end

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert work.state is countermand.WorkState.STOPPED
    assert scope.receipt is not None
    assert scope.receipt.stop is stopped.value.stop
    assert end is not None
    assert end.reason is StopReason.BUDGET


async def test_a_blocking_one_stops_the_scope_from_its_thread(real: Sidecar) -> None:
    """The thread knows the scope it was started in."""

    def calls_models() -> None:
        with (
            real.connect_sync() as cm,
            cm.open_run(budgets={"tokens_out": 50}) as run,
            run.grant(scopes=["*"]),
        ):
            tokens = countermand.sync.token_budget()
            with tokens.request(4096) as request:
                assert request.max_tokens == 50
            tokens.take(Usage(10, 51))

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            work = scope.spawn(forever)
            scope.spawn(asyncio.to_thread, calls_models)

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert work.state is countermand.WorkState.STOPPED


async def test_a_silent_stream_ends_when_the_budget_is_used_up_elsewhere(real: Sidecar) -> None:
    """No signal of this process gets through to it: the sidecar ends the run, and that ends the stream."""

    async def silent() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    async with countermand.connect(real.home) as cm:
        with pytest.raises(Stopped) as stopped:
            async with cm.open_run(budgets={"tokens_out": 50}) as run:
                token = (await cm.issuer.issue(run.run_id, scopes=["*"])).token
                async with countermand.guard(silent(), until=run) as guarded:
                    async for _ in guarded:
                        await cm.tool.spend(token, "tokens_out", 51, incurred=True)

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert stopped.value.stop.run_id == run.run_id
    assert guarded.partial == ["a"]
    assert guarded.not_closed == ""


def test_a_run_of_the_blocking_client_ends_a_stream_that_sleeps(real: Sidecar) -> None:
    """Its session has a thread that hears of the stop."""
    silence = threading.Event()

    def silent() -> Iterator[str]:
        yield "a"
        silence.wait()

    with (
        real.connect_sync() as cm,
        real.connect_sync() as other,
        pytest.raises(Stopped) as stopped,
        cm.open_run() as run,
    ):
        for _ in countermand.sync.guard(silent(), until=run, close=silence.set):
            other.operator.cancel(run.run_id, reason="INCIDENT", note="leak", actor="ann")

    assert (stopped.value.stop_reason, stopped.value.note) == (StopReason.INCIDENT, "leak")


async def test_a_section_that_is_shielded_may_run_out_too() -> None:
    """The scope is stopped; the section is not cut in half, and hears of it by the budget."""
    done = []

    async def saves() -> None:
        async with scope.shield():
            tokens = countermand.token_budget(limits={"tokens_out": 1}, shared=False)
            with pytest.raises(Stopped):
                await tokens.take(Usage(0, 2))
            await asyncio.sleep(0)
            done.append("saved")

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            scope.spawn(saves)

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert done == ["saved"]


def test_a_blocking_scope_is_stopped_too() -> None:
    """From the thread that took too much; the others are told."""
    with pytest.raises(Stopped) as stopped, countermand.sync.scope("agent") as scope:
        waits = scope.spawn(lambda token: token.wait())
        tokens = countermand.sync.token_budget(limits={"tokens_out": 1}, shared=False)
        tokens.take(Usage(0, 2))

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert waits.state in (countermand.WorkState.DONE, countermand.WorkState.STOPPED)


async def test_a_grant_stops_a_stream(real: Sidecar) -> None:
    """A revoke that reaches it is enough: its run goes on."""

    async def silent() -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    async with countermand.connect(real.home) as cm, cm.open_run(agent="talker") as run:
        grant = run.grant(scopes=["*"])
        await grant.token()
        with pytest.raises(Stopped) as stopped:
            async for _ in countermand.guard(silent(), until=grant):
                over = countermand.Selector(run_id=run.run_id)
                await cm.operator.revoke(over, reason="INCIDENT")

    assert stopped.value.stop_reason is StopReason.INCIDENT


@pytest.mark.parametrize(
    ("usage", "price", "micros"),
    [
        (Usage(1_000_000, 0), Price(3, 15), 3_000_000),
        (Usage(0, 1_000_000), Price(3, 15), 15_000_000),
        (Usage(100, 0, cached=60, cache_written=20), Price(3, 15, cached=0.3, cache_written=4), 158),
        (Usage(100, 0, cached=60, cache_written=20), Price(3, 15), 300),
        (Usage(1, 0), Price(0.1, 0.4), 1),
        (Usage(), Price(3, 15), 0),
    ],
)
def test_what_tokens_cost(usage: Usage, price: Price, micros: int) -> None:
    """In millionths of a dollar; a part of one counts as a whole."""
    assert price.of(usage) == micros


def test_the_least_of_all_limits_counts() -> None:
    """Those here and those told; what was counted here is taken of both until the sidecar says otherwise."""
    ledger = Ledger("in", "out", "usd", None, {"out": 100})
    ledger.learn({"out": 60, "tool_calls": 3})
    assert ledger.count(Usage(5, 10)) == ""
    assert ledger.left == {"out": 50}
    ledger.learn({"out": 500})
    assert ledger.left == {"out": 90}
    assert ledger.count(Usage(0, 90)) == ""
    assert ledger.count(Usage(0, 1)) == "out"
    assert ledger.left == {"out": 0}
    assert ledger.reserve(1, 0, 1) == "out"
