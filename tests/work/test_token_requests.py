"""Requests to models at the same time: together they never ask for more than is left."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import countermand
import countermand.sync
from countermand import Stopped, StopReason, Usage
from countermand.streams.ledger import Ledger
from tests.work.support import USER, a_turn

LEFT = 100


def budget(left: int = LEFT) -> countermand.TokenBudget:
    """Answer a budget that asks no sidecar."""
    return countermand.token_budget(limits={"tokens_out": left}, shared=False)


def blocking_budget() -> countermand.sync.TokenBudget:
    """The same, for threads."""
    return countermand.sync.token_budget(limits={"tokens_out": LEFT}, shared=False)


async def asked_for_at_once(tokens: countermand.TokenBudget) -> int:
    """Have ten requests under way, and answer how much they ask for at most at a time."""
    under_way, most = [0], [0]

    async def ask() -> None:
        async with tokens.request(40) as request:
            under_way[0] += request.max_tokens
            most[0] = max(most[0], under_way[0])
            await a_turn(5)
            under_way[0] -= request.max_tokens
            await request.take(Usage(0, 1))

    await asyncio.gather(*(ask() for _ in range(10)))
    return most[0]


def asked_for_in_threads(tokens: countermand.sync.TokenBudget) -> int:
    """The same, in threads."""
    under_way, most, lock = [0], [0], threading.Lock()

    def ask(_: int) -> None:
        with tokens.request(40) as request:
            with lock:
                under_way[0] += request.max_tokens
                most[0] = max(most[0], under_way[0])
            time.sleep(0.005)
            with lock:
                under_way[0] -= request.max_tokens
            request.take(Usage(0, 1))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(10)))
    return most[0]


async def test_together_they_never_ask_for_more_than_is_left() -> None:
    """Who finds nothing free waits, and all are served."""
    tokens = budget()
    assert 40 < await asked_for_at_once(tokens) <= LEFT
    assert (tokens.used, tokens.held) == (Usage(0, 10), {})


def test_nor_do_threads() -> None:
    """Of one budget."""
    tokens = blocking_budget()
    assert 40 < asked_for_in_threads(tokens) <= LEFT
    assert (tokens.used, tokens.held) == (Usage(0, 10), {})


async def test_without_holding_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: where nothing is held, ten ask for what two could have."""
    monkeypatch.setattr(Ledger, "_held_of", lambda *_: 0)
    assert await asked_for_at_once(budget()) > LEFT
    assert asked_for_in_threads(blocking_budget()) > LEFT


async def test_one_that_waits_is_served_when_an_answer_took_less() -> None:
    """It is not refused: the budget has not run out. One that must have more than is left has."""
    tokens = budget()
    async with tokens.request(LEFT) as first:
        waits = asyncio.create_task(tokens.request(50).__aenter__())
        await a_turn()
        assert not waits.done()
        await first.take(Usage(0, 60))
        second = await waits
    assert second.max_tokens == 40
    with pytest.raises(Stopped) as stopped:
        async with tokens.request(50, least=41):
            pass
    assert stopped.value.stop_reason is StopReason.BUDGET


async def test_one_that_would_wait_for_itself_is_refused() -> None:
    """In the block of the one that holds all. A task that was started there waits, as for any other."""
    tokens, blocking = budget(), blocking_budget()

    async def within() -> int:
        async with tokens.request(50) as request:
            return request.max_tokens

    async with tokens.request(LEFT) as first:
        with pytest.raises(countermand.FixTheCall, match="within the block of another"):
            await within()
        beside = asyncio.create_task(within())
        await a_turn()
        await first.take(Usage(0, 60))
        assert await beside == await within() == 40
    with (
        blocking.request(LEFT),
        pytest.raises(countermand.FixTheCall, match="within the block of another"),
        blocking.request(50),
    ):
        pass
    assert (tokens.held, blocking.held) == ({}, {})


async def test_one_that_waits_hears_that_the_budget_ran_out() -> None:
    """By another who took more than was left."""
    tokens = budget()
    async with tokens.request(LEFT) as first:
        waits = asyncio.create_task(tokens.request(50).__aenter__())
        await a_turn()
        with pytest.raises(Stopped):
            await first.take(Usage(0, LEFT + 1))
        with pytest.raises(Stopped):
            await waits
    assert not tokens._ledger._waiting


async def test_one_that_waits_is_stopped_with_its_scope() -> None:
    """On an event loop, and in a thread."""
    tokens, blocking = budget(), blocking_budget()

    ends: list[Stopped] = []

    def waits_in_a_thread() -> None:
        try:
            with blocking.request(50):
                pytest.fail("it was not free")
        except Stopped as stopped:
            ends.append(stopped)

    async def waits() -> None:
        async with tokens.request(50):
            pytest.fail("it was not free")

    with blocking.request(LEFT):
        async with tokens.request(LEFT), countermand.scope("agent") as scope:
            work = [scope.spawn(waits), scope.spawn(asyncio.to_thread, waits_in_a_thread)]
            while not (tokens._ledger._waiting and blocking._ledger._waiting):  # noqa: ASYNC110 - a thread
                await asyncio.sleep(0.001)
            receipt = await scope.cancel(USER)
            assert receipt.is_clean
            assert [one.state for one in work] == [countermand.WorkState.STOPPED] * 2
        async with asyncio.timeout(10):  # its thread ends by itself, and not because there is something free
            while not ends:  # noqa: ASYNC110 - a thread
                await asyncio.sleep(0.001)
    assert ends[0].stop is USER
    assert (tokens.held, blocking.held, tokens._ledger._waiting) == ({}, {}, {})


async def test_one_that_streams_stops_the_others() -> None:
    """The budget is one: where a stream has used it up, what is silent beside it is stopped as well."""
    closed = []

    async def talks() -> AsyncIterator[str]:
        while True:
            yield "a"
            await asyncio.sleep(0)

    async def silent() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def drain(guarded: "countermand.GuardedStream[str]") -> None:
        async for _ in guarded:
            pass

    tokens = budget()
    streams = [countermand.guard(one, tokens=tokens) for one in (silent(), talks())]
    ended = await asyncio.gather(*map(drain, streams), return_exceptions=True)
    assert [one.stop for one in ended if isinstance(one, Stopped)] == [tokens.stop] * 2
    assert tokens.used == Usage(0, LEFT + 1, estimated=LEFT + 1)
    assert closed == [True]
    assert not tokens._meters


def test_one_that_streams_stops_the_others_in_threads() -> None:
    """A read that sleeps is broken."""
    tokens, silence = blocking_budget(), threading.Event()

    def silent() -> Iterator[str]:
        yield "a"
        silence.wait()

    sleeps = countermand.sync.guard(silent(), tokens=tokens, close=silence.set)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, sleeps)
        while not sleeps.partial:
            time.sleep(0.001)
        with pytest.raises(Stopped):
            list(countermand.sync.guard(iter("a" * 2 * LEFT), tokens=tokens))
        with pytest.raises(Stopped) as stopped:
            reading.result(10)
    assert stopped.value.stop is sleeps.stop is tokens.stop
    assert tokens.used == Usage(0, LEFT + 1, estimated=LEFT + 1)


async def test_its_scope_is_stopped_with_the_stream() -> None:
    """All that is at work there, in the moment in which the budget runs out."""

    async def reads() -> None:
        async for _ in countermand.guard(talks(), tokens=tokens):
            pass

    async def talks() -> AsyncIterator[str]:
        while True:
            yield "a"

    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            tokens = budget()
            beside = scope.spawn(asyncio.Event().wait)
            scope.spawn(reads)
    assert stopped.value.stop is tokens.stop
    assert beside.state is countermand.WorkState.STOPPED
    assert tokens.used.output == LEFT + 1


async def test_a_tokenizer_that_fails_leaves_nothing_open() -> None:
    """Its failure is told, the stream is closed, and what came is counted."""
    closed = []

    async def talks() -> AsyncIterator[str]:
        try:
            while True:
                yield "abcd"
        finally:
            closed.append(True)

    def fails(text: str) -> int:
        raise LookupError(text)

    tokens = countermand.token_budget(limits={"tokens_out": LEFT}, shared=False, count=fails)
    guarded = countermand.guard(talks(), tokens=tokens)
    with pytest.raises(LookupError):
        async for _ in guarded:
            pass
    assert (closed, guarded.partial, tokens.used) == ([True], ["abcd"], Usage(0, 2, estimated=2))
