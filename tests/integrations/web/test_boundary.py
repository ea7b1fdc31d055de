"""The boundary on real servers: it watches the connection, leaves bodies alone, and cleans up."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import h2.config
import h2.connection
import h2.events
import pytest
import wsproto
import wsproto.events
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.websockets import WebSocket

import countermand
from countermand.integrations.asgi import RequestBoundary, run_for_request
from countermand.testing import Sidecar
from tests.integrations.web.servers import SERVERS, Served, answer, hang_up, request, serving
from tests.integrations.web.test_gateway import until

pytestmark = pytest.mark.usefixtures("quiet")


class Seen:
    """What an application has seen, in order."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.run_ids: list[str] = []

    async def work(self, run: countermand.ActiveRun) -> None:
        """Note a run, have clean-up, and work until something stops that."""
        scope = countermand.current_scope()
        assert scope
        self.run_ids.append(run.run_id)
        for name in ("first", "second"):
            scope.defer(self.words.append, name)
        scope.spawn(self._forever)
        self.words.append("began")

    async def _forever(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.words.append("stopped")


STOPPED = ["began", "stopped", "second", "first"]


def application(home: Any, seen: Seen) -> FastAPI:
    """An application with an endpoint for each way to use the boundary."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with countermand.connect(home) as cm:
            app.state.cm = cm
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(RequestBoundary)

    async def run_of(request: Request) -> AsyncIterator[countermand.ActiveRun]:
        async with run_for_request(request, app.state.cm, agent="dependency") as run:
            yield run

    @app.post("/plain")
    async def plain(request: Request) -> str:
        async with run_for_request(request, app.state.cm, agent="plain") as run:
            await seen.work(run)
            await asyncio.Event().wait()
        return "never"

    @app.post("/dependency")
    async def dependency(run: Annotated[countermand.ActiveRun, Depends(run_of)]) -> str:
        await seen.work(run)
        await asyncio.Event().wait()
        return "never"

    @app.post("/silent")
    async def silent(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            async with run_for_request(request, app.state.cm, agent="silent") as run:
                await seen.work(run)
                yield b"x"
                await asyncio.Event().wait()

        return StreamingResponse(body())

    @app.post("/chatty")
    async def chatty(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            async with run_for_request(request, app.state.cm, agent="chatty") as run:
                await seen.work(run)
                while True:
                    yield b"x" * 10_000
                    await asyncio.sleep(0)

        return StreamingResponse(body())

    @app.post("/slow-end")
    async def slow_end(request: Request) -> str:
        async with run_for_request(request, app.state.cm, agent="slow") as run:
            await seen.work(run)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.3)
        return "never"

    @app.post("/swallows")
    async def swallows(request: Request) -> str:
        with contextlib.suppress(countermand.Stopped):
            async with run_for_request(request, app.state.cm, agent="swallows") as run:
                await seen.work(run)
                await asyncio.Event().wait()
        return "to nobody"

    @app.post("/before")
    async def before(request: Request) -> Response:
        body = await request.body()
        async with run_for_request(request, app.state.cm, agent="before"):
            return PlainTextResponse(body)

    @app.post("/during")
    async def during(request: Request) -> Response:
        async with run_for_request(request, app.state.cm, agent="during"):
            await asyncio.sleep(0.2)
            return PlainTextResponse(await request.body())

    @app.post("/after")
    async def after(request: Request) -> Response:
        async with run_for_request(request, app.state.cm, agent="after"):
            await asyncio.sleep(0.2)
        return PlainTextResponse(await request.body())

    @app.post("/both")
    async def both(request: Request) -> Response:
        """Read half of it before, and half of it during."""
        parts = request.stream()
        body = await anext(parts)
        async with run_for_request(request, app.state.cm, agent="both"):
            body += b"".join([part async for part in parts])
        return PlainTextResponse(body)

    @app.post("/reading")
    async def reading(request: Request) -> Response:
        """Wait in the body for what never comes."""
        async with run_for_request(request, app.state.cm, agent="reading") as run:
            await seen.work(run)
            return PlainTextResponse(await request.body())

    @app.post("/twice")
    async def twice(request: Request) -> str:
        """Two runs, one after the other."""
        for _ in range(2):
            async with run_for_request(request, app.state.cm, agent="twice") as run:
                seen.run_ids.append(run.run_id)
        return "both"

    @app.post("/tasks")
    async def tasks() -> list[str]:
        """The tasks of boundary and scopes that are there."""
        found = [repr(task) for task in asyncio.all_tasks()]
        return [one for one in found if "integrations/asgi" in one or "countermand/work" in one]

    @app.websocket("/socket")
    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return app


class World:
    """An application as it is served."""

    def __init__(self, served: Served, seen: Seen, home: Any) -> None:
        self.served, self.seen, self.home = served, seen, home

    def ends(self) -> list[str]:
        """How the runs that it saw have ended; '' where one has not."""

        async def ask() -> list[str]:
            async with countermand.connect(self.home) as cm:
                runs = [(await cm.auditor.report(run_id)).run for run_id in self.seen.run_ids]
            return [str(run.end.reason) if run.end else "" for run in runs]

        return asyncio.run(ask())


@pytest.fixture(params=SERVERS)
def world(request: pytest.FixtureRequest, real: Sidecar) -> Iterator[World]:
    """The application on each server."""
    seen = Seen()
    with serving(application(real.home, seen), request.param) as served:
        yield World(served, seen, real.home)


@pytest.mark.parametrize("path", ["plain", "dependency", "silent", "chatty", "slow-end", "swallows"])
def test_who_hangs_up_ends_it_with_its_clean_up(world: World, path: str) -> None:
    """Whatever kind of handler it is, its work is stopped first, and then cleaned up, the last first."""
    line = world.served.post(f"/{path}", {})
    until(lambda: world.seen.words)
    time.sleep(0.1)
    hang_up(line)
    until(lambda: world.seen.words == STOPPED, 2.0)
    until(lambda: world.ends() == ["CLIENT_DISCONNECTED"], 2.0)


def test_who_hangs_up_within_the_body_ends_it(world: World) -> None:
    """A handler that waits for the rest of a body hears of it as a stop, and not as an error."""
    line = world.served.connect()
    line.sendall(request("/reading", b"x" * 1000)[:-500])
    until(lambda: world.seen.words)
    hang_up(line)
    until(lambda: world.seen.words == STOPPED, 2.0)
    until(lambda: world.ends() == ["CLIENT_DISCONNECTED"], 2.0)


@pytest.mark.parametrize("path", ["before", "during", "after", "both"])
@pytest.mark.parametrize("size", [1, 5_000, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["whole", "chunked"])
def test_bodies_arrive_whole(world: World, path: str, size: int, is_chunked: bool) -> None:
    """Read before, in, or after the run, nothing is missing, doubled or out of order."""
    body = bytes(index % 251 for index in range(size))
    with world.served.connect() as line:
        if is_chunked:
            line.sendall(f"POST /{path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            step = max(1, size // 7)
            for start in range(0, size, step):
                part = body[start : start + step]
                line.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                time.sleep(0.01)
            line.sendall(b"0\r\n\r\n")
        else:
            line.sendall(request(f"/{path}", body))
        assert answer(line) == (200, body)
        line.sendall(request(f"/{path}", b"next"))
        assert answer(line) == (200, b"next")


def test_a_request_may_have_two_runs(world: World) -> None:
    """One after the other, and both finish."""
    with world.served.post("/twice", {}) as line:
        assert answer(line) == (200, b'"both"')
    assert world.ends() == ["RUN_FINISHED", "RUN_FINISHED"]


def test_a_stop_from_elsewhere_is_told_to_who_waits(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's cancel stops the work too; the client is still there and gets an error."""
    with world.served.post("/plain", {}) as line:
        until(lambda: world.seen.words)
        with countermand.sync.connect(world.home) as operator:
            operator.operator.cancel(world.seen.run_ids[0], reason="INCIDENT")
        assert answer(line)[0] == 500
    assert world.seen.words == STOPPED
    assert world.ends() == ["INCIDENT"]
    until(lambda: any(one.exc_info and "Stopped" in str(one.exc_info[0]) for one in caplog.records))
    caplog.clear()


def test_many_at_once_end_alone(world: World) -> None:
    """Of twenty who wait, those who leave end theirs and nobody else's; no task is left of them."""
    lines = [world.served.post("/plain", {}) for _ in range(20)]
    until(lambda: len(world.seen.run_ids) == 20)
    for line in lines[::2]:
        hang_up(line)
    until(lambda: world.ends().count("CLIENT_DISCONNECTED") == 10)
    time.sleep(0.2)
    assert world.ends().count("") == 10
    with world.served.post("/tasks", {}) as line:
        assert answer(line)[1].count(b"_look") == 10
    for line in lines[1::2]:
        hang_up(line)
    until(lambda: world.ends() == ["CLIENT_DISCONNECTED"] * 20)
    with world.served.post("/tasks", {}) as line:
        assert answer(line) == (200, b"[]")


def test_a_websocket_is_none_of_its_business(real: Sidecar) -> None:
    """It passes through the boundary as it is."""
    with serving(application(real.home, Seen()), "hypercorn") as served, served.connect() as line:
        client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        line.sendall(client.send(wsproto.events.Request(host="loopback", target="/socket")))
        client.receive_data(line.recv(65536))
        assert [type(one) for one in client.events()] == [wsproto.events.AcceptConnection]
        line.sendall(client.send(wsproto.events.TextMessage(data="hello")))
        client.receive_data(line.recv(65536))
        assert next(client.events()) == wsproto.events.TextMessage(data="hello")


class _Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        """Do nothing, in a task of its own."""
        answer: Response = await call_next(request)
        return answer


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("path", ["plain", "silent", "chatty"])
@pytest.mark.parametrize("between", [_Passing, GZipMiddleware])
def test_other_middleware_may_stand_between(real: Sidecar, server: str, path: str, between: Any) -> None:
    """Also one that runs the application in another task, and throws the body away when that is stopped."""
    seen = Seen()
    app = application(real.home, seen)
    app.user_middleware.append(type(app.user_middleware[0])(between))
    with serving(app, server) as served:
        line = served.post(f"/{path}", {})
        until(lambda: seen.words)
        time.sleep(0.1)
        hang_up(line)
        until(lambda: seen.words == STOPPED, 2.0)
        until(lambda: World(served, seen, real.home).ends() == ["CLIENT_DISCONNECTED"], 2.0)


def test_one_stream_that_is_reset_ends_alone(real: Sidecar) -> None:
    """HTTP/2: of three requests on one connection one is reset; the others, and later ones, go on."""
    seen = Seen()
    with serving(application(real.home, seen), "hypercorn") as served, served.connect() as line:
        client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        for number, path in enumerate(("/silent", "/plain", "/silent")):
            _ask(client, 2 * number + 1, path)
            line.sendall(client.data_to_send())
            until(lambda: len(seen.run_ids) == number + 1)  # noqa: B023 - called here
        world = World(served, seen, real.home)
        client.reset_stream(3)
        line.sendall(client.data_to_send())
        until(lambda: world.ends() == ["", "CLIENT_DISCONNECTED", ""], 2.0)
        client.reset_stream(1)
        line.sendall(client.data_to_send())
        until(lambda: world.ends() == ["CLIENT_DISCONNECTED", "CLIENT_DISCONNECTED", ""], 2.0)
        _ask(client, 7, "/twice")
        line.sendall(client.data_to_send())
        assert _body(client, line, 7) == b'"both"'
        assert world.ends()[2:] == ["", "RUN_FINISHED", "RUN_FINISHED"]
        line.shutdown(socket.SHUT_RDWR)
        until(lambda: world.ends()[2] == "CLIENT_DISCONNECTED", 2.0)


def _ask(client: h2.connection.H2Connection, stream: int, path: str) -> None:
    head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "loopback")]
    client.send_headers(stream, [*head, ("content-length", "2")])
    client.send_data(stream, b"{}", end_stream=True)


def _body(client: h2.connection.H2Connection, line: socket.socket, stream: int) -> bytes:
    body = b""
    while True:
        for event in client.receive_data(line.recv(65536)):
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream:
                body += event.data
            if isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                return body
        line.sendall(client.data_to_send())


async def test_without_the_boundary_it_says_what_to_do(real: Sidecar) -> None:
    """It does not open a run that nobody watches."""
    async with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.FixTheCall, match=r"app\.add_middleware\(RequestBoundary\)"):
            async with run_for_request({"type": "http", "headers": []}, cm):
                pass
