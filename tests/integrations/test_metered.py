"""Streams of the real SDKs under a token budget: counted as they come, and cut where it runs out."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import countermand
import countermand.sync
from countermand import CancellationToken, Stop, Stopped, StopReason, Usage
from countermand.testing import Sidecar, sidecar
from tests.integrations.openers import (
    ASYNC,
    BLOCKING,
    Opens,
    assert_it_was_stopped,
    chat,
    messages,
    raw_messages,
    responses,
)
from tests.integrations.provider import SAYS, Provider

pytestmark = pytest.mark.usefixtures("closing")

LIMIT = 20
#: What anthropic's tell of at the beginning: the prompt, and one token of output before the first.
BEGUN = {raw_messages: Usage(7, 1, cached=4), messages: Usage(7, 1, cached=4)}


@pytest.fixture(scope="module")
def real() -> Iterator[Sidecar]:
    """A real sidecar."""
    with sidecar() as running:
        yield running


def said(guarded: Any) -> int:
    """Count the tokens that came."""
    return int(guarded.text.count("a"))


@ASYNC
async def test_it_is_cut_where_the_budget_runs_out(real: Sidecar, fake: Provider, opens: Opens) -> None:
    """The provider is hung up on in mid-stream; all that came is on record, and the run is over."""
    async with countermand.connect(real.home) as cm:
        with pytest.raises(Stopped) as stopped:
            async with cm.open_run(budgets={"tokens_out": LIMIT}) as run:
                with run.grant(scopes=["*"]):
                    tokens = countermand.token_budget(run)
                    async with tokens.request(4096) as request:
                        stream = await opens(fake.url, "chatty")
                        guarded = countermand.guard(stream, tokens=request)
                        async for _ in guarded:
                            pass
        told = await cm.auditor.run(run.run_id)

    await asyncio.to_thread(assert_it_was_stopped, fake.last, time.monotonic())
    begun = BEGUN.get(opens, Usage())
    assert stopped.value.stop_reason is StopReason.BUDGET
    assert guarded.took == begun + Usage(0, said(guarded), estimated=said(guarded))
    assert guarded.took is not None
    assert guarded.took.output == told.budgets["tokens_out"].taken == LIMIT + 1
    assert told.end is not None
    assert told.end.reason is StopReason.BUDGET
    assert (guarded.not_closed, guarded.not_told) == ("", "")
    assert len(fake.last.sent) < 10 * LIMIT  # of the 2000 that it would have said


@BLOCKING
def test_one_that_blocks_is_cut_too(real: Sidecar, fake: Provider, opens: Callable[..., Any]) -> None:
    """The same, in a thread."""
    with real.connect_sync() as cm:
        with (
            pytest.raises(Stopped) as stopped,
            cm.open_run(budgets={"tokens_out": LIMIT}) as run,
            run.grant(scopes=["*"]),
            countermand.sync.token_budget(run).request(4096) as request,
        ):
            guarded = countermand.sync.guard(opens(fake.url, "chatty"), tokens=request)
            for _ in guarded:
                pass
        told = cm.auditor.run(run.run_id)

    assert_it_was_stopped(fake.last, time.monotonic())
    assert stopped.value.stop_reason is StopReason.BUDGET
    assert guarded.took is not None
    assert guarded.took.output == told.budgets["tokens_out"].taken == LIMIT + 1
    assert (guarded.not_closed, guarded.not_told) == ("", "")


@ASYNC
@pytest.mark.parametrize("is_counted", [True, False])
async def test_a_stop_loses_no_tokens(real: Sidecar, fake: Provider, opens: Opens, is_counted: bool) -> None:
    """What a silent stream has said is on record when it is stopped; where nothing counts it, nothing is."""
    token = CancellationToken()
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget() if is_counted else None
            guarded = countermand.guard(await opens(fake.url, "silent"), until=token, tokens=tokens)
            with pytest.raises(Stopped):
                async for _ in guarded:
                    if said(guarded) == SAYS:
                        asyncio.get_running_loop().call_soon(token.cancel, Stop(StopReason.USER_STOP))
        told = await cm.auditor.run(run.run_id)

    taken = told.budgets["tokens_out"].taken
    assert taken == (BEGUN.get(opens, Usage()).output + SAYS if is_counted else 0)
    assert fake.last.is_closed_within(2)


@ASYNC
async def test_one_that_is_whole_is_taken_once(real: Sidecar, fake: Provider, opens: Opens) -> None:
    """With what the provider says in the end; where it says nothing, what was counted stays an estimate."""
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 500}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            async with tokens.request(100, input=9) as request:
                guarded = countermand.guard(await opens(fake.url, "brief"), tokens=request)
                async for _ in guarded:
                    pass
        told = await cm.auditor.run(run.run_id)

    assert guarded.is_complete
    expected = {chat: Usage(9, SAYS, estimated=9 + SAYS), responses: Usage(7, SAYS, cached=4, reasoning=1)}
    assert guarded.took == tokens.used == expected.get(opens, Usage(7, SAYS, cached=4))
    assert told.budgets["tokens_out"].taken == SAYS
    assert tokens.left == {"tokens_out": 500 - SAYS}


async def test_agents_beside_each_other_never_ask_for_more_than_is_left(
    real: Sidecar, fake: Provider
) -> None:
    """Ten at once; the provider sees what each asks for, and the run is not over."""
    open_now, most = [0], [0]
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 100}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(run)

            async def agent() -> None:
                async with tokens.request(40) as request:
                    open_now[0] += request.max_tokens
                    most[0] = max(most[0], open_now[0])
                    guarded = countermand.guard(await chat(fake.url, "brief"), tokens=request)
                    async for chunk in guarded:
                        if chunk.choices[0].finish_reason:  # the last: what was held is let go of after it
                            open_now[0] -= request.max_tokens

            async with countermand.scope("agents") as scope:
                for _ in range(10):
                    scope.spawn(agent)
        told = await cm.auditor.run(run.run_id)

    assert 40 < most[0] <= 100
    assert told.budgets["tokens_out"].taken == 10 * SAYS
    assert tokens.left == {"tokens_out": 100 - 10 * SAYS}
