"""What stops a stream: the scope it is read in, and a scope, token, run or source that was named."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from countermand._errors import CountermandError, FixTheCall
from countermand.work.causes import because_of
from countermand.work.interrupts import level
from countermand.work.owner import StopSource, open_place
from countermand.work.scope import WorkScope
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken

#: Is told of the stop, from any thread.
Heard = Callable[[Stop], None]


class Runs(Protocol):
    """An open run of either client."""

    def on_stop(self, heard: Callable[[CountermandError], None], /) -> Callable[[], None]: ...


#: What can stop a stream.
Until: TypeAlias = WorkScope | CancellationToken | StopSource | Runs


def listen(until: Until | None, heard: Heard) -> Callable[[], None]:
    """Have `heard` called at the stop of what was named, or of the scope this is in.

    Answers how to hear no more.
    """
    ends = [_listen(until, heard)] if until is not None else []
    token = _surrounding()
    if token is not None and token is not _token_of(until):
        ends.append(token.on_cancel(heard))

    def end() -> None:
        while ends:
            ends.pop()()

    return end


def _listen(until: Until, heard: Heard) -> Callable[[], object]:
    token = _token_of(until)
    if token is not None:
        return token.on_cancel(heard)
    if hasattr(until, "watch"):
        return until.watch(heard)
    if hasattr(until, "on_stop") and not asyncio.iscoroutinefunction(until.on_stop):
        return until.on_stop(lambda why: heard(because_of(why)))
    raise FixTheCall(
        f"{type(until).__qualname__} cannot stop a stream: give until= a scope, a token, an open run, or "
        "an object whose watch(callback) calls back with a Stop"
    )


def _token_of(until: Until | None) -> CancellationToken | None:
    if isinstance(until, WorkScope):
        return until.token
    return until if isinstance(until, CancellationToken) else None


def _surrounding() -> CancellationToken | None:
    """Answer the token of the scope the running code is in; none where it is shielded from that."""
    place = open_place()
    if place is None or level(_current_task()) > place._level:
        return None
    return place.owner.token


def _current_task() -> "asyncio.Task[object] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # a thread: nothing shields it
