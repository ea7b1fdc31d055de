"""The ways a request may take: over TLS, and through a proxy. What was not sent is known there, too."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import httpx
import httpx2
import pytest
import requests

from countermand.integrations.aiohttp import permit_middleware
from countermand.integrations.httpx import PermitTransport
from countermand.integrations.httpx2 import PermitTransport as PermitTransport2
from countermand.integrations.requests import PermitAdapter
from countermand.testing import Sidecar
from countermand.testing.conformance.stage import caught
from tests.integrations.http.opened import on_record
from tests.integrations.http.target import serving
from tests.integrations.test_guard_tls import pem

__all__ = ["pem"]


class Httpx:
    def __init__(self, pem: Path, proxy: str | None) -> None:
        inner = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=str(pem)), proxy=proxy)
        self.client: Any = httpx.Client(transport=PermitTransport(inner))

    def post(self, url: str) -> None:
        with self.client:
            self.client.post(url, content=b"x")


class Httpx2(Httpx):
    def __init__(self, pem: Path, proxy: str | None) -> None:
        inner = httpx2.HTTPTransport(verify=ssl.create_default_context(cafile=str(pem)), proxy=proxy)
        self.client = httpx2.Client(transport=PermitTransport2(inner))


class Requests:
    def __init__(self, pem: Path, proxy: str | None) -> None:
        self.session = requests.Session()
        self.session.trust_env, self.session.verify = False, str(pem)
        self.session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.session.mount("https://", PermitAdapter())
        self.session.mount("http://", PermitAdapter())

    def post(self, url: str) -> None:
        with self.session:
            self.session.post(url, data=b"x")


class Aiohttp:
    def __init__(self, pem: Path, proxy: str | None) -> None:
        self.tls, self.proxy = ssl.create_default_context(cafile=str(pem)), proxy

    async def post(self, url: str) -> None:
        async with (
            aiohttp.ClientSession(middlewares=[permit_middleware()]) as session,
            session.post(url, data=b"x", ssl=self.tls, proxy=self.proxy),
        ):
            pass


KINDS: list[Any] = [Httpx, Httpx2, Requests, Aiohttp]


async def post(kind: Any, pem: Path, proxy: str | None, url: str, real: Sidecar) -> tuple[Any, Any]:
    """Send one write; answer what was raised, and what is on record."""
    async with real.connect() as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            sender = kind(pem, proxy)
            by_thread = kind is not Aiohttp
            raised = await caught(asyncio.to_thread(sender.post, url) if by_thread else sender.post(url))
        [action] = await on_record(run)
    return raised, action


@contextmanager
def proxying(refuses: bool) -> Iterator[str]:
    """Serve a proxy that opens tunnels, or says no."""

    def talk(line: socket.socket) -> None:
        with suppress(OSError), line, line.makefile("rb") as read:
            host, _, port = read.readline().split()[1].decode().rpartition(":")
            while read.readline().strip():
                pass
            if refuses:
                line.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection((host, int(port))) as out:
                line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(out, line), daemon=True)
                back.start()
                pump(line, out)
                back.join()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def tls(pem: Path) -> ssl.SSLContext:
    """What a target speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@each
async def test_over_tls_and_through_a_tunnel(
    kind: Any, pem: Path, tls: ssl.SSLContext, real: Sidecar
) -> None:
    """A write arrives once, with its permit's number; to ask for the tunnel is not to send it."""
    with serving(tls=tls) as target, proxying(refuses=False) as proxy:
        for way in (None, proxy):
            raised, action = await post(kind, pem, way, f"https://localhost:{target.port}/ok/x", real)
            assert (raised, action.state) == (None, "SUCCEEDED")
            assert target.seen[-1].headers["countermand-fence"] == str(action.fence)
        assert len(target.seen) == 2


@each
async def test_what_the_way_refuses_was_not_sent(
    kind: Any, pem: Path, tls: ssl.SSLContext, real: Sidecar
) -> None:
    """A certificate that nobody knows, and a proxy that says no."""
    with serving(tls=tls) as target, proxying(refuses=True) as proxy:
        stranger = Path(certifi.where())
        url = f"https://localhost:{target.port}/ok/x"
        for trusted, way in ((stranger, None), (pem, proxy)):
            raised, action = await post(kind, trusted, way, url, real)
            assert raised
            assert (action.state, action.note[:8]) == ("FAILED", "not sent")
        assert target.seen == []
