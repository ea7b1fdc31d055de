"""Real servers on loopback, each on an event loop of its own, and a client that can hang up."""

import asyncio
import contextlib
import functools
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

App = Callable[..., Awaitable[None]]

#: How each is run, by its name; uvicorn takes httptools by itself where that is installed.
SERVERS = ("uvicorn-h11", "uvicorn-httptools", "hypercorn")


class Served:
    """An application that is being served, until the block is left."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> socket.socket:
        """Connect to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def post(self, path: str, content: Any, *headers: str) -> socket.socket:
        """Send a request, and answer the connection it went out on; the answer is still to come."""
        line = self.connect()
        line.sendall(request(path, json.dumps(content).encode(), *headers))
        return line


def request(path: str, body: bytes, *headers: str) -> bytes:
    """Write a request."""
    head = [f"POST {path} HTTP/1.1", "host: loopback", f"content-length: {len(body)}", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def hang_up(line: socket.socket) -> None:
    """Leave, as a closed tab does."""
    line.shutdown(socket.SHUT_RDWR)
    line.close()


def answer(line: socket.socket) -> tuple[int, bytes]:
    """Read one answer to its end, and leave the connection as it is."""
    with line.makefile("rb") as told:
        status = int(told.readline().split()[1])
        headers = dict[bytes, bytes]()
        while (text := told.readline()) not in (b"\r\n", b""):
            name, _, value = text.partition(b":")
            headers[name.lower()] = value.strip()
        if b"chunked" not in headers.get(b"transfer-encoding", b""):
            return status, told.read(int(headers[b"content-length"]))
        body = b""
        while size := int(told.readline(), 16):
            body += told.read(size)
            told.readline()
        told.readline()
        return status, body


@contextlib.contextmanager
def serving(app: App, server: str) -> Iterator[Served]:
    """Serve an application for a block."""
    ready, ends = threading.Event(), list[Callable[[], object]]()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        name, _, parser = server.partition("-")
        run = functools.partial(_uvicorn, parser) if name == "uvicorn" else _hypercorn
        failures = list[BaseException]()

        def body() -> None:
            try:
                asyncio.run(run(app, listening, ready, ends))
            except BaseException as failure:
                failures.append(failure)
            finally:
                ready.set()

        thread = threading.Thread(target=body, name=f"test-{server}")
        thread.start()
        ready.wait(10)
        try:
            yield Served(listening.getsockname()[1])
        finally:
            for end in ends:
                end()
            thread.join(15)
            assert not thread.is_alive(), "the server did not end"
            assert not failures, failures


async def _uvicorn(
    parser: Any, app: App, listening: socket.socket, ready: threading.Event, ends: list[Any]
) -> None:
    config = uvicorn.Config(app, http=parser, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    ends.append(lambda: setattr(server, "should_exit", True))
    serve = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not (server.started or serve.done()):  # noqa: ASYNC110 - it has no event for this
        await asyncio.sleep(0.01)
    assert parser in config.http_protocol_class.__module__  # type: ignore[union-attr]
    ready.set()
    await serve


async def _hypercorn(app: App, listening: socket.socket, ready: threading.Event, ends: list[Any]) -> None:
    import hypercorn.asyncio  # the environments of the queues are without it
    import hypercorn.config

    loop, over = asyncio.get_running_loop(), asyncio.Event()
    config = hypercorn.config.Config()
    config.bind = [f"fd://{socket.fromfd(listening.fileno(), socket.AF_INET, socket.SOCK_STREAM).detach()}"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = 5
    ends.append(lambda: loop.call_soon_threadsafe(over.set))
    serve = asyncio.ensure_future(hypercorn.asyncio.serve(app, config, shutdown_trigger=over.wait))
    await asyncio.sleep(0.3)
    ready.set()
    await serve
