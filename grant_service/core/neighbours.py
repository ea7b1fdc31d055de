"""The other sidecars on one store, asked for what decides nothing and each alone knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Told:
    """What the others answered, and how many should have and did not; None if nobody could be asked."""

    answers: Sequence[str]
    missing: int | None


class Neighbours(Protocol):
    """Asks all of them at once."""

    def answer_with(self, answer: Callable[[str], str]) -> None:
        """Be there from now on, and answer what others ask."""
        ...

    async def ask(self, question: str) -> Told:
        """Ask the others; who does not answer soon is missing."""
        ...

    async def close(self) -> None:
        """Be there no more."""
        ...
