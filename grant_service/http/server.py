"""A listener that answers one question, and costs the decisions beside it next to nothing, whoever asks.

It accepts so many connections a second and keeps so many at a time, however many want in: the rest wait in
the kernel. Who is slow loses its place to who comes.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from grant_service.rpc.listener import Unlistenable, make_way

_log = structlog.get_logger()

#: Connections at a time, and seconds between two that are accepted: nobody gets more of the event loop.
_MOST, _PAUSE = 16, 0.05
#: How many may wait in the kernel to be accepted: those behind them are told to try again.
_WAITING = 32
#: Seconds a connection may take from its first byte to its last.
_PATIENCE = 2.0
#: Bytes of a request that are read at the most.
_MOST_BYTES = 4096
_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Writes the page. It is called on the event loop; what it answers is called in a thread.
Page = Callable[[], Callable[[], bytes]]


class Served:
    """Answers `GET /metrics`, and refuses everything else."""

    def __init__(self, listening: socket.socket, page: Page) -> None:
        self._listening, self._page = listening, page
        self._open: dict[asyncio.Task[None], None] = {}

    async def work(self) -> None:
        """Serve until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listening)
                except OSError as error:  # such as no descriptor left: somebody else needs them more
                    _log.warning("metrics: no connection can be accepted", cause=error.strerror)
                    await asyncio.sleep(1)
                    continue
                self._begin(connection)
                await asyncio.sleep(_PAUSE)
        finally:
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            _close(self._listening)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if len(self._open) >= _MOST:
            next(iter(self._open)).cancel()
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._open[task] = None
        task.add_done_callback(lambda done: self._open.pop(done, None))
        # A task that is cancelled before its first step runs nothing of what is in it.
        task.add_done_callback(lambda _: connection.close())

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._answer(await _head(connection))
                await loop.sock_sendall(connection, answer)
        except (OSError, TimeoutError):
            pass  # who left, or was too slow, has nothing to be told

    async def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(head) > _MOST_BYTES:
            return _refusal("431 Request Header Fields Too Large")
        if not head.endswith(b"\r\n\r\n") or len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _refusal("400 Bad Request")
        if words[1].split(b"?", 1)[0] != b"/metrics":
            return _refusal("404 Not Found")
        if words[0] != b"GET":
            return _refusal("405 Method Not Allowed", "Allow: GET\r\n")
        try:
            return _response("200 OK", _TYPE, await asyncio.to_thread(self._page()))
        except Exception as defect:
            _log.error("metrics", exc_info=defect)
            return _refusal("500 Internal Server Error")


async def _head(connection: socket.socket) -> bytes:
    """Read a request up to the end of its head, or one byte too much; a body has no meaning here."""
    loop, head = asyncio.get_running_loop(), b""
    while b"\r\n\r\n" not in head and len(head) <= _MOST_BYTES:
        more = await loop.sock_recv(connection, _MOST_BYTES + 1 - len(head))
        if not more:
            return head
        head += more
    end = head.find(b"\r\n\r\n")
    return head if end < 0 else head[: end + 4]


def _response(status: str, kind: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _refusal(status: str, more: str = "") -> bytes:
    return _response(status, "text/plain; charset=utf-8", f"{status}\n".encode(), more)


def bind(where: str, run: Path) -> tuple[socket.socket, str]:
    """Listen on `metrics.sock` beside the other sockets, or on a loopback port; answer its address, too."""
    if where == "socket":
        return _bind_socket(run / "metrics.sock")
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_WAITING)
    except OSError as error:
        cause = f"cannot listen on {where} ({error.strerror})"
        raise Unlistenable(cause, "choose another port for COUNTERMAND_METRICS_LISTEN") from error
    listening.setblocking(False)
    return listening, f"http://{where}/metrics"


def _close(listening: socket.socket) -> None:
    where = listening.getsockname()
    listening.close()
    if isinstance(where, str):
        Path(where).unlink(missing_ok=True)


def _bind_socket(path: Path) -> tuple[socket.socket, str]:
    make_way(path)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(os.fspath(path))
        listening.listen(_WAITING)
    except OSError as error:
        listening.close()
        cause = f"cannot listen on {path} ({error.strerror})"
        raise Unlistenable(cause, "see whether the directory is writable") from error
    finally:
        os.umask(before)
    listening.setblocking(False)
    return listening, f"unix:{path} (GET /metrics)"
