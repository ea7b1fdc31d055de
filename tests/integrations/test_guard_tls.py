"""Guarded streams over TLS, as with every real provider."""

import asyncio
import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import countermand
import countermand.sync
from countermand import CancellationToken, Stop, Stopped
from tests.integrations.provider import SAYS, Exchange, provider

HI: Any = [{"role": "user", "content": "hi"}]
HOW = {"api_key": "x", "max_retries": 0, "timeout": 10}


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A key and its certificate, for loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "provider.pem"
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def contexts(pem: Path) -> Contexts:
    """What the provider and its clients need: the certificate, and trust in it."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    return theirs, ssl.create_default_context(cafile=str(pem))


def assert_it_was_stopped(exchange: Exchange, stopped_at: float) -> None:
    """The provider saw the client hang up, and sent nothing from then on."""
    assert exchange.is_closed_within(2)
    assert exchange.closed_at - stopped_at < 2
    time.sleep(0.1)
    assert exchange.sent_after(exchange.closed_at) == 0


@pytest.mark.parametrize("model", ["chatty", "silent"])
def test_a_blocked_read_is_broken(contexts: Contexts, model: str) -> None:
    """The socket below the encryption is cut, though a thread sleeps in it."""
    theirs, ours = contexts
    token, ended = CancellationToken(), []
    with provider(theirs) as fake:
        client = openai.OpenAI(
            base_url=f"{fake.url.replace('127.0.0.1', 'localhost')}/v1",
            http_client=openai.DefaultHttpxClient(verify=ours),
            **HOW,
        )
        stream = client.chat.completions.create(model=model, stream=True, messages=HI)
        guarded = countermand.sync.guard(stream, until=token)

        def read() -> None:
            try:
                for _ in guarded:
                    pass
            except Stopped:
                ended.append(time.monotonic())

        thread = threading.Thread(target=read)
        thread.start()
        while len(guarded.partial) < SAYS:
            time.sleep(0.005)
        stopped_at = time.monotonic()
        token.cancel(Stop())
        thread.join(10)
        assert_it_was_stopped(fake.last, stopped_at)
        client.close()

    assert ended[0] - stopped_at < 0.9
    assert guarded.not_closed == ""


@pytest.mark.parametrize("model", ["chatty", "silent"])
async def test_a_read_on_an_event_loop_is_broken(contexts: Contexts, model: str) -> None:
    """The same, for the async client."""
    theirs, ours = contexts
    token = CancellationToken()
    with provider(theirs) as fake:
        client = openai.AsyncOpenAI(
            base_url=f"{fake.url.replace('127.0.0.1', 'localhost')}/v1",
            http_client=openai.DefaultAsyncHttpxClient(verify=ours),
            **HOW,
        )
        stream = await client.chat.completions.create(model=model, stream=True, messages=HI)
        guarded = countermand.guard(stream, until=token)

        async def read() -> None:
            async for _ in guarded:
                pass

        reading = asyncio.create_task(read())
        while len(guarded.partial) < SAYS:  # noqa: ASYNC110 - what it waits for is in another thread
            await asyncio.sleep(0.005)
        stopped_at = time.monotonic()
        token.cancel(Stop())
        with pytest.raises(Stopped):
            await reading
        await asyncio.to_thread(assert_it_was_stopped, fake.last, stopped_at)
        await client.close()

    assert guarded.not_closed == ""


CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHUNK |= {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}


class OverHttp2:
    """A provider that talks HTTP/2; it counts its tokens, and notes whether it was told to stop."""

    def __init__(self, pem: Path) -> None:
        self.sent, self.was_told = 0, False
        listens = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{listens.getsockname()[1]}/v1"
        self._config = hypercorn.config.Config()
        self._config.bind = [f"fd://{listens.detach()}"]  # which closes it
        self._config.certfile = self._config.keyfile = str(pem)
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(hypercorn.asyncio.serve(self._app, self._config, shutdown_trigger=self._stop.wait))

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert scope["http_version"] == "2"
        watching = asyncio.ensure_future(self._watch(receive))
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for _ in range(100):
            body = f"data: {json.dumps(CHUNK)}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self.sent += 1
            await asyncio.sleep(0.01)
        watching.cancel()

    async def _watch(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.was_told = True

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture
def over_http2(pem: Path) -> Iterator[OverHttp2]:
    """One of this test's own."""
    made = OverHttp2(pem)
    yield made
    made.close()


async def test_that_http2_tells_the_provider_nothing_is_said(over_http2: OverHttp2, pem: Path) -> None:
    """A limit: once this fails, the client library tells it, and `not_closed` need not say so."""
    http = openai.DefaultAsyncHttpxClient(verify=ssl.create_default_context(cafile=str(pem)), http2=True)
    async with openai.AsyncOpenAI(base_url=over_http2.url, http_client=http, **HOW) as client:
        stream = await client.chat.completions.create(model="m", stream=True, messages=HI)
        async with countermand.guard(stream) as guarded:
            async for _ in guarded:
                if len(guarded.partial) == SAYS:
                    break
        sent = over_http2.sent
        await asyncio.sleep(0.3)

        assert over_http2.sent > sent + SAYS
        assert not over_http2.was_told
    assert guarded.not_closed.startswith("it came over HTTP/2")
