"""Where code runs: the body of a scope, or a piece of its work. Scopes opened there are within that place."""

import time
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Optional

from countermand.work.interrupts import level
from countermand.work.tree import WorkNode, WorkState

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from countermand.work.owner import Owner
    from countermand.work.token import CancellationToken

#: The token of a blocking scope, where that is the innermost around the running code.
above_here: ContextVar[Optional["CancellationToken"]] = ContextVar("countermand_above", default=None)

#: The place of the running code. What is begun from here inherits it with its context.
here: ContextVar[Optional["Place"]] = ContextVar("countermand_place", default=None)


def enter(place: "Place") -> None:
    """Let the running code be in this place."""
    here.set(place)
    above_here.set(None)


def apart() -> Context:
    """Answer the context of the running code, but in no place: what a loop keeps must keep no scope alive."""
    context = copy_context()
    context.run(here.set, None)
    context.run(above_here.set, None)
    return context


_SETTLED = frozenset({WorkState.DONE, WorkState.FAILED, WorkState.STOPPED, WorkState.NEVER_RAN})


class Place:
    """What a body and a piece of work have in common: a name, a state, and the scopes that are open in it."""

    def __init__(self, owner: "Owner", name: str, kind: str, state: WorkState) -> None:
        self.owner = owner
        self.name = name
        self.kind = kind
        self.nested: dict[Owner, None] = {}
        self.task: asyncio.Task[Any] | None = None
        #: It was told of as work that did not stop.
        self.was_named = False
        self._state = state
        self._begun = time.monotonic()
        self._ended: float | None = None

    @property
    def path(self) -> str:
        """The names from the outermost scope down to it."""
        return f"{self.owner.path}/{self.name}"

    @property
    def state(self) -> WorkState:
        """Where it is in its life."""
        if self._state is not WorkState.QUEUED and not self.is_over and level(self.task) > self._level:
            return WorkState.SHIELDED
        return self._state

    @property
    def _level(self) -> int:
        return 0

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self._state in _SETTLED

    @property
    def age(self) -> float:
        """Seconds since it was begun, until it ended."""
        return (time.monotonic() if self._ended is None else self._ended) - self._begun

    def node(self) -> WorkNode:
        """Answer what it is at this moment, and what is below it."""
        children = tuple(nested.node() for nested in self.nested)
        return WorkNode(self.path, self.kind, self.state, self.age, children)

    def over(self, state: WorkState) -> None:
        """Note how it ended. Scopes that loose tasks have open in it are the body's from now on."""
        self._state, self._ended = state, time.monotonic()
        if self.nested and self is not self.owner.body:
            self.owner.body.nested.update(self.nested)
            self.nested.clear()


class Body(Place):
    """The block that holds a scope open."""

    def __init__(self, owner: "Owner") -> None:
        super().__init__(owner, "body", "body", WorkState.RUNNING)
        self.task = owner.host.task

    @property
    def _level(self) -> int:
        return self.owner.host.level

    def told(self) -> None:
        """Note that it was told to stop."""
        self._state = WorkState.STOPPING
