"""A model that costs money for as long as it talks: it stands for the provider's stream."""

import asyncio
from collections.abc import AsyncIterator


class FakeModel:
    """Answers every prompt with numbered words, one at a time, and counts them."""

    def __init__(self, words: int = 40, pause: float = 0.05) -> None:
        self.words, self.pause = words, pause
        #: How many words it has produced, over all prompts.
        self.produced = 0

    async def stream(self, prompt: str) -> AsyncIterator[str]:
        """Answer word by word."""
        for number in range(self.words):
            await asyncio.sleep(self.pause)
            self.produced += 1
            yield f"{prompt[:20]}-{number} "
