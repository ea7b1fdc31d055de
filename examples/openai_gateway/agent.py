"""The agent: while the model talks, its tool writes."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import countermand
from examples.openai_gateway.ledger import Ledger
from examples.openai_gateway.model import FakeModel


async def answer(
    run: countermand.ActiveRun, model: FakeModel, ledger: Ledger, prompt: str
) -> AsyncIterator[str]:
    """Answer word by word. What is spawned belongs to the request, and is stopped with it."""
    with run.grant(scopes=["ledger.write"]):
        async with countermand.scope("agent") as scope:
            scope.spawn(ledger.write_rows, kind="tool")
            closing = ledger.enqueue_closing_row()
            async with aclosing(model.stream(prompt)) as words:
                async for word in words:
                    yield word
            await closing
