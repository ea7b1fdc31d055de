# Derived from client/countermand/_async/guard.py by scripts/unasync.py. Do not edit.
"""`guard`: a stream that a stop ends, whether it speaks or is silent."""

from collections.abc import Iterable
from typing import TypeVar

from countermand.streams import Guarded
from countermand.streams.closing import Close
from countermand.streams.listening import Until

T = TypeVar("T")

#: What `guard` answers.
GuardedStream = Guarded


def guard(stream: Iterable[T], *, until: Until | None = None, close: Close | None = None) -> Guarded[T]:
    """Read a model's stream so that a stop ends it: at the next chunk, or at once while it is silent.

    It is stopped with the scope it is read in, and with `until`: a scope, a token or an open run. Its loop
    then raises `Stopped`, the provider's connection is closed, and what came is kept in `partial`. However
    the loop is left, the connection is closed. `close` closes it where the stream itself has no way to.
    """
    return Guarded(stream, until, close)
