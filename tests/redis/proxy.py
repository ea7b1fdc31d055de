"""A proxy before a Redis that can hold back, lose, change and invent replies."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.redis_server import RedisServer

Change = Callable[[bytes], bytes | None]


class Proxy:
    """Passes everything on, unless told otherwise."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.path = folder / "proxy.sock"
        self.connections = 0
        #: Held back while it is not set, in both directions.
        self.open = asyncio.Event()
        self.open.set()
        #: What to make of the next replies; None drops them and cuts the connection.
        self.change: Change = lambda reply: reply
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.path}"

    def cut_after(self, mark: bytes) -> None:
        """Lose the next reply in which the mark is, after Redis has done what it was asked to, and cut."""

        def lose(reply: bytes) -> bytes | None:
            if mark not in reply:
                return reply
            self.change = lambda later: later
            return None

        self.change = lose

    def change_once(self, change: Callable[[bytes], bytes]) -> None:
        """Change the next reply."""

        def once(reply: bytes) -> bytes:
            self.change = lambda later: later
            return change(reply)

        self.change = once

    def invent(self, reply: bytes) -> None:
        """Send a reply to whoever is connected, though nobody asked."""
        for client in self._clients:
            client.write(reply)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._clients.append(writer)
        there, back = await asyncio.open_unix_connection(str(self._server.socket))
        pumps = [
            asyncio.create_task(self._pump(reader, back, lambda request: request)),
            asyncio.create_task(self._pump(there, writer, lambda reply: self.change(reply))),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        self._clients.remove(writer)
        for end in (writer, back):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, change: Change) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await self.open.wait()
                changed = change(data)
                if changed is None:
                    return
                sink.write(changed)
                await sink.drain()


@asynccontextmanager
async def proxy_before(server: RedisServer) -> AsyncIterator[Proxy]:
    """Run a proxy for a `with` block."""
    with tempfile.TemporaryDirectory(prefix="cm-proxy-") as folder:
        proxy = Proxy(server, Path(folder))
        listener = await asyncio.start_unix_server(proxy._serve, str(proxy.path))
        yield proxy
        listener.close()
        for task in proxy._tasks:
            task.cancel()
        await asyncio.sleep(0.01)
