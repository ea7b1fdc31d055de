"""The agent: while the model talks, its tool writes."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import countermand
from examples.openai_gateway.ledger import Ledger
from examples.openai_gateway.model import FakeModel

#: Answers a prompt in a run, word by word.
Agent = Callable[[countermand.ActiveRun, str], AsyncGenerator[str, None]]


def fake_agent(model: FakeModel, ledger: Ledger) -> Agent:
    """Answer an agent with this model, and a tool that writes to this ledger."""

    async def answer(run: countermand.ActiveRun, prompt: str) -> AsyncGenerator[str, None]:
        """What is spawned belongs to the request, and is stopped with it."""
        with run.grant(scopes=["ledger.write"]):
            async with countermand.scope("agent") as scope:
                scope.spawn(ledger.write_rows, kind="tool")
                closing = ledger.enqueue_closing_row()
                async with aclosing(model.stream(prompt)) as words:
                    async for word in words:
                        yield word
                await closing

    return answer
