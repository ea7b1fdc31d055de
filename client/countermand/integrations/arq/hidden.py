"""The token among a job's arguments: arq logs those when a job starts, and keeps them with its result."""

from typing import Any


class Hidden(str):
    """A text that does not show itself, and arrives as one that is not kept."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrived, (str(self),)


class Arrived(Hidden):
    """The same on its worker. What is written of it, as arq does with the result, is nothing."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrived, ("",)
