"""One request to the seven-layer agent: what it meets, and what is seen of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import countermand

#: Who works for a request; the HTTP request itself is the seventh.
LAYERS = {"task", "thread", "stream", "blocking stream", "tool", "sub-agent", "writer"}


@dataclass
class Play:
    """`key` is in the names of all that it does to the world."""

    key: str
    #: How the model talks, as the provider calls it.
    model: str
    #: What the mail server does with the second mail, as the target calls it.
    second: str
    #: From here on those go on who listen to nobody.
    released: threading.Event = field(default_factory=threading.Event)
    #: All mails are sent: those have done their work who listen.
    mailed: threading.Event = field(default_factory=threading.Event)
    #: The request's work is over; and so is that of the task that belongs to nobody.
    over: threading.Event = field(default_factory=threading.Event)
    ran_away: threading.Event = field(default_factory=threading.Event)
    run_id: str = ""
    child_id: str = ""
    #: Who is at work.
    at_work: set[str] = field(default_factory=set)
    #: How often the task has looked something up.
    looks: int = 0
    #: The jobs that are in the queue, as they are waited for.
    jobs: list[Any] = field(default_factory=list)
    #: What raised in whom, and with which reason.
    told: dict[str, str] = field(default_factory=dict)

    def name(self, what: str) -> str:
        """Name one thing that it does to the world."""
        return f"{self.key}-{what}"

    @contextmanager
    def working(self, layer: str) -> Iterator[None]:
        """Say that a layer is at work, for as long as it is."""
        self.at_work.add(layer)
        try:
            yield
        finally:
            self.at_work.discard(layer)

    @contextmanager
    def telling(self, who: str) -> Iterator[None]:
        """Put on file how somebody is told of the stop."""
        try:
            yield
        except countermand.StopTheRun as error:
            self.told[who] = f"{type(error).__name__}: {getattr(error, 'stop_reason', '')}"
            raise
