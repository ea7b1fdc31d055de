"""A real HTTP server on raw sockets that answers, stalls, fails, redirects and hangs up, as the path says.

`PUT /stall/k-1` stalls, and so on: the first segment is what it does, the second the key of the effect.
"""

import dataclasses
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import BinaryIO
from urllib.parse import urlsplit

_PATIENCE = 30.0


@dataclass(frozen=True)
class Seen:
    """One request that arrived whole."""

    method: str
    what: str
    key: str
    headers: Message
    body: bytes


@dataclass
class Target:
    """What arrived, and what is held."""

    port: int
    #: Whoever connects is cut off, unread.
    deaf: bool = False
    tls: ssl.SSLContext | None = None
    seen: list[Seen] = dataclasses.field(default_factory=list)
    _released: dict[str, threading.Event] = dataclasses.field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, key: str) -> list[Seen]:
        """The requests for one key."""
        return [one for one in self.seen if one.key == key]

    def release(self, key: str) -> None:
        """Answer whoever stalls for this key."""
        self._event(key).set()

    def _event(self, key: str) -> threading.Event:
        return self._released.setdefault(key, threading.Event())

    def talk(self, line: socket.socket) -> None:
        """Serve one connection, one request after the other."""
        if self.deaf:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
            return
        with suppress(OSError), self._secured(line) as line, line.makefile("rb") as read:
            while (seen := request(read, line)) and self._answer(line, seen):
                pass

    def _secured(self, line: socket.socket) -> socket.socket:
        return self.tls.wrap_socket(line, server_side=True) if self.tls else line

    def _answer(self, line: socket.socket, seen: Seen) -> bool:
        """Answer one request; say whether the connection stays."""
        self.seen.append(seen)
        if seen.what == "drop" or (seen.what == "once" and len(self.of(seen.key)) == 1):
            return False
        if seen.what in ("stall", "lose") and not self._event(seen.key).wait(_PATIENCE):
            return False
        if seen.what == "lose":
            return False
        head, body = self._reply(seen)
        length = 100 if seen.what == "half" else len(body)
        line.sendall(f"HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n".encode() + body)
        return seen.what != "half"

    def _reply(self, seen: Seen) -> tuple[str, bytes]:
        if seen.what.isdigit():
            return f"{seen.what} Said So\r\nLocation: /ok/{seen.key}?secret=1", b""
        head = "200 OK\r\nX-Request-Id: req-1"
        if seen.what == "xml":
            return head, b"<Error><Code>InternalError</Code></Error>"
        return head, b"yes" if seen.method in ("GET", "POST") else b""


def request(read: BinaryIO, line: socket.socket) -> Seen | None:
    """Read one request; None if there is none any more."""
    first = read.readline().decode().split(" ")
    if len(first) != 3:
        return None
    lines = []
    while (field := read.readline()).strip():
        lines.append(field)
    headers = BytesParser().parsebytes(b"".join(lines))
    if headers["expect"]:
        line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    what, _, key = urlsplit(first[1]).path.removeprefix("/").partition("/")  # to a proxy it is a whole URL
    body = (
        b"".join(chunks(read))
        if headers["transfer-encoding"]
        else read.read(int(headers["content-length"] or 0))
    )
    return Seen(first[0], what, key, headers, body)


def chunks(read: BinaryIO) -> Iterator[bytes]:
    """Read a body that comes in chunks."""
    while size := int(read.readline().strip() or b"0", 16):
        yield read.read(size)
        read.readline()
    read.readline()


@contextmanager
def serving(*, deaf: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[Target]:
    """Serve on loopback; every connection has a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Target(listener.getsockname()[1], deaf, tls)
        threads: list[threading.Thread] = []
        accept = threading.Thread(target=_accept, args=(listener, target.talk, threads), daemon=True)
        accept.start()
        yield target
        listener.shutdown(socket.SHUT_RDWR)
        accept.join()


def _accept(
    listener: socket.socket, talk: Callable[[socket.socket], None], threads: list[threading.Thread]
) -> None:
    with suppress(OSError):
        while True:
            line, _ = listener.accept()
            threads.append(threading.Thread(target=talk, args=(line,), daemon=True))
            threads[-1].start()
