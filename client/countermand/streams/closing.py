"""How a provider's connection is closed: by what the stream has for that, whichever SDK it is of."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

#: Closes something; an async one answers what to await.
Close = Callable[[], Any]


def closers_of(stream: object, given: Close | None, names: tuple[str, ...]) -> list[Close]:
    """Answer what closes a stream: what was given, or what it has, and what its response has."""
    if given is not None:
        return [given]
    found = (_closer(one, names) for one in (stream, getattr(stream, "response", None)))
    return [one for one in found if one is not None]


def _closer(one: object, names: tuple[str, ...]) -> Close | None:
    for name in names:
        close = getattr(one, name, None)
        if callable(close):
            closer: Close = close
            return closer
    return None


def cut(stream: object) -> bool:
    """Cut the connection under a blocking stream, from any thread; answer whether there is one to cut.

    Closing the socket would not do: whoever reads it sleeps on, and the connection stays open meanwhile.
    One that is shared with other requests, as with HTTP/2, is not cut.
    """
    cuts = [one for one in _sockets(stream) if isinstance(one, socket.socket)]
    for one in cuts:
        with contextlib.suppress(OSError):  # it is closed
            socket.socket.shutdown(one, socket.SHUT_RDWR)  # that of a TLS socket would wait for its turn
    return bool(cuts)


def _sockets(stream: object) -> Iterator[object]:
    extensions = getattr(getattr(stream, "response", stream), "extensions", None)
    if isinstance(extensions, dict) and "stream_id" not in extensions:
        with contextlib.suppress(AttributeError):  # no network stream, or not of the known kind
            yield (
                extensions["network_stream"].get_extra_info("socket")
                if "network_stream" in extensions
                else None
            )
