"""What stops a stream: the scope it is read in, and a scope, token, run or grant that was named."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from countermand._errors import FixTheCall
from countermand._world import log
from countermand.work.interrupts import level
from countermand.work.owner import StopSource, open_place
from countermand.work.place import above_here
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken

#: Is told of the stop, from any thread.
Heard = Callable[[Stop], None]


class Scoped(Protocol):
    """A scope of either kind: its token is cancelled with it, and it with its token."""

    @property
    def token(self) -> CancellationToken: ...


#: What can stop a stream.
Until: TypeAlias = Scoped | CancellationToken | StopSource


def listen(until: Until | None, heard: Heard) -> Callable[[], None]:
    """Have `heard` called at the stop of what was named, or of the scope this is in.

    Answers how to hear no more.
    """
    ends = [_listen(until, heard)] if until is not None else []
    token = None if _is_shielded() else surrounding()
    if token is not None and token is not token_of(until):
        ends.append(token.on_cancel(heard))

    def end() -> None:
        while ends:
            try:
                ends.pop()()
            except Exception as error:  # such as that of a client that is closed: the stream is, all the same
                log.warning("a stream goes on to be told of stops: %s", error)

    return end


def _listen(until: Until, heard: Heard) -> Callable[[], object]:
    token = token_of(until)
    if token is not None:
        return token.on_cancel(heard)
    if hasattr(until, "watch"):
        return until.watch(heard)
    raise FixTheCall(
        f"{type(until).__name__} cannot stop a stream: give until= a scope, a token, an open run, or "
        "an object whose watch(callback) calls back with a Stop"
    )


def token_of(what: object) -> CancellationToken | None:
    """Answer the token of a scope, or what is one itself."""
    token = what if isinstance(what, CancellationToken) else getattr(what, "token", None)
    return token if isinstance(token, CancellationToken) else None


def surrounding() -> CancellationToken | None:
    """Answer the token of the scope, of either kind, that the running code is in."""
    place = open_place()
    return above_here.get() or (place.owner.token if place else None)


def _is_shielded() -> bool:
    """Whether a stop of the scope around arrives only at the end of a section."""
    place = open_place()
    return above_here.get() is None and place is not None and level(_current_task()) > place._level


def _current_task() -> "asyncio.Task[object] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # a thread: nothing shields it
