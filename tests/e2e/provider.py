"""A model's provider for tests: it speaks all the time or falls silent, and knows when its caller went."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PAUSE = 0.005


@dataclass
class Spoken:
    """What was said over one connection: when each token was sent, and when the caller had gone."""

    sent: list[int] = field(default_factory=list)
    gone: int = 0


class Provider:
    """Listens on a Unix socket; the first line of a caller says `chatty` or `silent`."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.spoken: dict[str, Spoken] = {}
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_unix_server(self._speak, str(self.socket)):
            self._ready.set()
            await self._stop.wait()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = (await reader.readline()).decode().strip()
        told = self.spoken[kind] = Spoken()
        leaving = asyncio.ensure_future(reader.read())
        try:
            while not leaving.done():
                if kind == "chatty" or len(told.sent) < 3:
                    writer.write(b"token\n")
                    await writer.drain()
                    told.sent.append(time.time_ns())
                await asyncio.wait([leaving], timeout=_PAUSE)
        except ConnectionError:
            pass
        told.gone = time.time_ns()
        leaving.cancel()
        writer.close()

    @contextmanager
    def serving(self) -> Iterator["Provider"]:
        """Serve in a thread."""
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        thread.start()
        assert self._ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(10)
