# Derived from client/countermand/_async/guard.py by scripts/unasync.py. Do not edit.
"""`guard`: a stream that a stop ends, whether it speaks or is silent."""

from collections.abc import Iterable
from typing import TypeVar

from countermand._sync.token_budget import TokenBudget
from countermand._sync.token_request import TokenRequest
from countermand.streams import Guarded
from countermand.streams.closing import Close
from countermand.streams.listening import Until

T = TypeVar("T")

#: What `guard` answers.
GuardedStream = Guarded


def guard(
    stream: Iterable[T],
    *,
    until: Until | None = None,
    close: Close | None = None,
    tokens: TokenBudget | TokenRequest | None = None,
) -> Guarded[T]:
    """Read a model's stream so that a stop ends it: at the next chunk, or at once while it is silent.

    It is stopped with the scope it is read in, and with `until`: a scope, a token or an open run. Its loop
    then raises `Stopped`, the provider's connection is closed, and what came is kept in `partial`. However
    the loop is left, the connection is closed. `close` closes it where the stream itself has no way to.

    With `tokens`, a budget or a request of it, what it takes is counted with each chunk, the stream is
    stopped where that runs out, and the sidecar is told of it however the stream ends.
    """
    return Guarded(stream, until, close, tokens._meter() if tokens is not None else None)
