"""How a provider's connection is closed: by what the stream has for that, whichever SDK it is of."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

SHARED = (
    "it came over HTTP/2, and its close does not tell the provider, who may talk on: "
    "use HTTP/1.1, as the SDKs do by themselves, or pass close="
)

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
    """
    one = None if is_shared(stream) else _socket(stream)
    if not isinstance(one, socket.socket):
        return False
    with contextlib.suppress(OSError):  # it is closed
        socket.socket.shutdown(one, socket.SHUT_RDWR)  # that of a TLS socket would wait for its turn
    return True


def is_shared(stream: object) -> bool:
    """Say whether others use the stream's connection, as with HTTP/2.

    It is not ours to cut, and the client libraries forget such a stream without telling the provider.
    """
    return "stream_id" in _extensions(stream)


def _socket(stream: object) -> object:
    network = _extensions(stream).get("network_stream")
    ask = getattr(network, "get_extra_info", None)
    return ask("socket") if callable(ask) else None


def _extensions(stream: object) -> dict[str, Any]:
    """Answer what httpx tells of a response's connection."""
    found = getattr(getattr(stream, "response", stream), "extensions", None)
    return found if isinstance(found, dict) else {}
