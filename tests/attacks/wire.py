"""HTTP/2 by hand, as far as an attacker needs it: a call sent piece by piece, and streams left open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """One frame."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def headers(fields: dict[str, str]) -> bytes:
    """HPACK in its simplest form: every name and value in full, nothing remembered."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields.items())


def _text(value: str) -> bytes:
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()


class HeldCall:
    """A call with its headers sent; the frame of its request goes out as slowly as one likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> None:
        self._reader, self._writer = reader, writer
        self._sent = 0
        grpc_message = b"\0" + len(message).to_bytes(4, "big") + message
        self.frame = frame(_DATA, _END_STREAM, 1, grpc_message)

    @classmethod
    @asynccontextmanager
    async def begin(cls, socket: Path, method: str, message: bytes) -> AsyncIterator["HeldCall"]:
        """Connect and send all that comes before the request; hang up at the end."""
        reader, writer = await asyncio.open_unix_connection(str(socket))
        told = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
        told |= {"te": "trailers", "content-type": "application/grpc"}
        try:
            writer.write(_PREFACE + frame(_SETTINGS, 0, 0, b""))
            writer.write(frame(_HEADERS, _END_HEADERS, 1, headers(told)))
            await writer.drain()
            yield cls(reader, writer, message)
        finally:
            writer.close()
            await writer.wait_closed()

    async def send(self, until: int) -> None:
        """Send the frame up to this byte, and give the server time to take it in."""
        self._writer.write(self.frame[self._sent : until])
        self._sent = until
        await self._writer.drain()
        await asyncio.sleep(0.02)

    async def answer(self) -> bytes:
        """What the server answers until it ends the call: a message if it accepts, nothing if it refuses."""
        said = b""
        async with asyncio.timeout(10):
            while True:
                head = await self._reader.readexactly(9)
                body = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                if kind == _SETTINGS and not flags & _ACK:
                    self._writer.write(frame(_SETTINGS, _ACK, 0, b""))
                if kind == _PING and not flags & _ACK:
                    self._writer.write(frame(_PING, _ACK, 0, body))
                said += body if kind == _DATA else b""
                if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                    return said


@asynccontextmanager
async def opened_streams(socket: Path, method: str, count: int) -> AsyncIterator[int]:
    """Open so many streams on one connection and leave them open; tell how many were reset."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    told = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
    block = headers(told | {"te": "trailers", "content-type": "application/grpc"})
    try:
        writer.write(_PREFACE + frame(_SETTINGS, 0, 0, b"") + frame(_SETTINGS, _ACK, 0, b""))
        for number in range(count):
            writer.write(frame(_HEADERS, _END_HEADERS, 2 * number + 1, block))
        yield await _resets(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _resets(reader: asyncio.StreamReader) -> int:
    """Count the streams that were refused; all of them, if the connection was."""
    count = 0
    while True:
        try:
            async with asyncio.timeout(0.3):
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
        except TimeoutError:
            return count
        except (OSError, asyncio.IncompleteReadError):
            return count + 1
        count += head[3] in (_RST_STREAM, _GOAWAY)
