"""A whole agent: the real SDKs, a fake provider, and the budget of a run that a real sidecar keeps."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

import countermand
import countermand.sync
from countermand import Stopped, StopReason
from countermand.testing import Sidecar, sidecar
from tests.integrations.provider import SAYS, Provider

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def real() -> Iterator[Sidecar]:
    """A real sidecar that forgets."""
    with sidecar() as running:
        yield running


async def test_an_agent_of_openais_talks_until_its_budget_is_over(real: Sidecar, fake: Provider) -> None:
    """Each request asks for what is left; the one that takes more ends the run, and is the last."""
    async with (
        countermand.connect(real.home) as cm,
        openai.AsyncOpenAI(api_key="x", base_url=f"{fake.url}/v1", max_retries=0, timeout=10) as model,
    ):
        run = cm.open_run(agent="talker", budgets={"tokens_out": 2 * SAYS + 1})
        with pytest.raises(Stopped) as stopped:
            async with run, countermand.scope("agent"):
                with run.grant(scopes=["*"]):
                    tokens = countermand.token_budget(run)
                    while True:
                        async with tokens.request(100) as request:
                            stream = await model.chat.completions.create(
                                model="brief",
                                messages=HI,
                                stream=True,
                                stream_options={"include_usage": True},
                                max_tokens=request.max_tokens,
                            )
                            async for _ in countermand.guard(stream, tokens=request):
                                pass
        told = await cm.auditor.run(run.run_id)

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert [one.asked["max_tokens"] for one in fake.exchanges] == [2 * SAYS + 1, SAYS + 1, 1]
    assert told.end is not None
    assert told.end.reason is StopReason.BUDGET
    assert told.budgets["tokens_out"].remaining == 0


def test_an_agent_of_anthropics_is_ended_by_another_process(real: Sidecar, fake: Provider) -> None:
    """Its silent stream ends when what it shares is used up: the provider sees it hang up."""
    with (
        real.connect_sync() as cm,
        anthropic.Anthropic(api_key="x", base_url=fake.url, max_retries=0, timeout=10) as model,
        pytest.raises(Stopped) as stopped,
        cm.open_run(agent="talker", budgets={"tokens_out": 50}) as run,
    ):
        token = cm.issuer.issue(run.run_id, scopes=["*"]).token
        with model.messages.stream(model="silent", max_tokens=50, messages=HI) as stream:
            guarded = countermand.sync.guard(stream, until=run)
            for event in guarded:
                if event.type == "text" and event.snapshot == "a" * SAYS:
                    cm.tool.spend(token, "tokens_out", 51, incurred=True)

    assert stopped.value.stop_reason is StopReason.BUDGET
    assert fake.last.is_closed_within(2)
    assert len(fake.last.sent) == SAYS
    assert guarded.not_closed == ""
    usage = guarded.usage  # what was told by then: the prompt, and the count it began with
    assert usage == countermand.Usage(7, 1, cached=4)
