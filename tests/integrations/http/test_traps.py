"""What HTTP clients do by themselves: they follow, repeat, wait and stream. No permit stretches over that."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import urllib3

import countermand
import countermand.sync
from countermand.integrations._http.sending import Answer, Call, Write
from countermand.integrations.httpx import AsyncPermitTransport, PermitTransport
from countermand.integrations.requests import PermitAdapter
from countermand.testing import ManualClock, Sidecar, sidecar
from countermand.testing.conformance.stage import caught
from tests.integrations.http.clients import (
    SENDERS,
    Aiohttp,
    AsyncHttpx,
    AsyncHttpx2,
    Boto3,
    Httpx,
    Httpx2,
    Requests,
    Sender,
)
from tests.integrations.http.opened import on_record, sending
from tests.integrations.http.target import Target
from tests.integrations.web.servers import serving as serve_asgi

free = pytest.mark.parametrize("kind", [kind for kind in SENDERS if kind.is_free], ids=lambda kind: kind.name)


@free
async def test_each_hop_of_a_redirect_is_a_write_of_its_own(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """The first one did nothing, and the second one has its own permit, name and number."""
    key = f"hop-{kind.__name__}"
    async with sending(kind, target.url, real) as (sender, run):
        assert await sender.send("POST", "307", key, body=b"x") == 200
        first, second = await on_record(run)
    assert (first.state, second.state) == ("FAILED", "SUCCEEDED")
    assert first.receipt == f"/ok/{key}"  # its query stays out of the journal
    hops = target.of(key)
    assert [seen.headers["idempotency-key"] for seen in hops] == [first.op_id, second.op_id]
    assert [seen.headers["countermand-fence"] for seen in hops] == [str(first.fence), str(second.fence)]


@free
async def test_what_the_caller_has_set_stays_theirs(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """Their key, and the time they will wait if it is the shorter one. The permit's number is ours."""
    key = f"set-{kind.__name__}"
    told = {"Idempotency-Key": "mine", "Request-Timeout": "1.5", "Countermand-Fence": "0"}
    async with sending(kind, target.url, real) as (sender, run):
        await sender.send("POST", "ok", key, headers=told)
        [action] = await on_record(run)
        with pytest.raises(countermand.InvalidRequest):
            await sender.send("POST", "ok", key, headers={"Request-Timeout": "soon"})
    [seen] = target.of(key)
    assert seen.headers.get_all("idempotency-key") == ["mine"]
    assert seen.headers.get_all("request-timeout") == ["1.500"]
    assert seen.headers.get_all("countermand-fence") == [str(action.fence)]


async def test_where_nobody_knows_how_long_the_grant_lasts_nothing_is_said(
    real: Sidecar, target: Target
) -> None:
    """Of a token that was handed over; what the caller has set is passed on."""
    async with real.connect() as cm, cm.open_run(agent="clerk") as run:
        token = await run.grant(scopes=["*"]).token()
        async with httpx.AsyncClient(transport=AsyncPermitTransport()) as client:
            with cm.use_token(token):
                await client.post(f"{target.url}/ok/handed")
                await client.post(f"{target.url}/ok/handed", headers={"Request-Timeout": "400"})
    assert [seen.headers["request-timeout"] for seen in target.of("handed")] == [None, "400.000"]


@pytest.mark.parametrize("kind", [Httpx, AsyncHttpx, Httpx2, AsyncHttpx2], ids=lambda kind: kind.name)
async def test_a_tunnel_that_the_caller_asks_for_is_a_write_of_its_own(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """Unlike the one that a client asks its proxy for on the way: this one was sent."""
    key = f"tunnel-{kind.__name__}"
    async with sending(kind, target.url, real) as (sender, run):
        assert await caught(sender.send("CONNECT", "drop", key))
        [action] = await on_record(run)
    assert (action.state, len(target.of(key))) == ("UNKNOWN", 1)


@free
async def test_a_password_in_a_url_is_not_journalled(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """Nor is the query."""
    key = f"secret-{kind.__name__}"
    async with sending(kind, target.url.replace("//", "//user:secret@"), real) as (sender, run):
        assert await sender.send("POST", "ok", f"{key}?secret") == 200
        [action] = await on_record(run)
    assert action.resource == f"{target.url}/ok/{key}"


@free
async def test_a_host_that_is_not_the_urls_is_refused(
    kind: type[Sender], real: Sidecar, target: Target
) -> None:
    """A target that serves several goes by the header. A mapping may say what it acts on; reads just go."""
    key, other = f"host-{kind.__name__}", {"Host": "other.example"}
    async with sending(kind, target.url, real) as (sender, _):
        with pytest.raises(countermand.FixTheCall, match="another host"):
            await sender.send("POST", "ok", key, headers=other)
        assert target.of(key) == []
        assert await sender.send("GET", "ok", key, headers=other) == 200
        assert await sender.send("POST", "ok", key, headers={"Host": target.url[7:].upper()}) == 200
    async with sending(kind, target.url, real, action=lambda _: {"resource": "other"}) as (sender, _):
        assert await sender.send("POST", "ok", key, headers=other) == 200
    assert [seen.method for seen in target.of(key)] == ["GET", "POST", "POST"]


@pytest.mark.parametrize("kind", [Httpx, AsyncHttpx, Httpx2, AsyncHttpx2], ids=lambda kind: kind.name)
async def test_a_path_that_is_not_the_urls_is_refused(kind: Any, real: Sidecar, target: Target) -> None:
    """httpx sends another one if told to by its extension `target`."""
    async with sending(kind, target.url, real) as (sender, _):
        send = sender.client.request  # type: ignore[attr-defined]
        sender.client.request = lambda *told, **named: send(  # type: ignore[attr-defined]
            *told, **named, extensions={"target": b"/ok/elsewhere"}
        )
        with pytest.raises(countermand.FixTheCall, match="'target'"):
            await sender.send("POST", "ok", "here")
    assert target.of("elsewhere") == []


@free
async def test_a_read_that_may_be_a_write_is_one(kind: type[Sender], real: Sidecar, target: Target) -> None:
    """Some servers take another method from a header, and not every server knows every method."""
    key = f"override-{kind.__name__}"
    async with sending(kind, target.url, real, granted=False) as (sender, _):
        for method, headers in (("GET", {"X-HTTP-Method-Override": "DELETE"}), ("TRACE", {}), ("QUERY", {})):
            with pytest.raises(countermand.NoGrant):
                await sender.send(method, "ok", key, headers=headers)
    assert target.of(key) == []


@free
async def test_a_post_that_only_asks_can_be_named(kind: type[Sender], real: Sidecar, target: Target) -> None:
    """A search, or a model: by whoever knows. No answer, and no clear one, is no."""
    key = f"asks-{kind.__name__}"

    def only_asks(call: Call) -> bool:
        return {b"yes": True, b"slip": None, b"one": 1}[call.body or b""]  # type: ignore[return-value]

    async with sending(kind, target.url, real, granted=False, also_reads=only_asks) as (sender, _):
        assert await sender.send("POST", "ok", key, body=b"yes") == 200
        for body in (b"slip", b"one"):
            with pytest.raises(countermand.NoGrant):
                await sender.send("POST", "ok", key, body=body)
    assert [seen.body for seen in target.of(key)] == [b"yes"]


@free
async def test_a_mapping_says_what_a_request_means(kind: type[Sender], real: Sidecar, target: Target) -> None:
    """Its name, what it acts on, what it costs; and a reader of the answer what came of it."""

    def mean(call: Call) -> Write:
        assert call.body == b"12.50"
        return {"name": "billing.charge", "resource": "invoice:7", "op_id": f"charge-{kind.__name__}"}

    def settle(act: Any, answer: Answer) -> None:
        assert (answer.status, answer.headers["x-request-id"]) == (200, "req-1")
        act.receipt = "ch-1"

    key = f"mapped-{kind.__name__}"
    async with sending(kind, target.url, real, action=mean, settle=settle) as (sender, run):
        await sender.send("POST", "ok", key, body=b"12.50")
        [action] = await on_record(run)
        with pytest.raises(countermand.AlreadySettled):  # the effect has a name, so it happens once
            await sender.send("POST", "ok", key, body=b"12.50")
    assert (action.action, action.resource, action.receipt) == ("billing.charge", "invoice:7", "ch-1")
    assert [seen.headers["idempotency-key"] for seen in target.of(key)] == [f"charge-{kind.__name__}"]


async def test_an_answer_that_is_not_understood_is_the_callers_all_the_same(
    real: Sidecar, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sees a failure instead would repeat what was done."""

    def settle(act: Any, answer: Answer) -> None:
        raise KeyError(answer.headers["x-request-id"])

    async with sending(Httpx, target.url, real, settle=settle) as (sender, run):
        assert await sender.send("POST", "ok", "puzzling") == 200
        [action] = await on_record(run)
    assert (action.state, action.note) == ("UNKNOWN", "its answer was not understood: KeyError")
    assert "was not understood" in caplog.text


async def test_a_reader_of_answers_that_is_async_is_not_passed_over(real: Sidecar, target: Target) -> None:
    """Nobody waits for it, so what it would say of the effect is not known."""

    async def settle(act: Any, answer: Answer) -> None:
        act.failed("it was only queued")

    async with sending(AsyncHttpx, target.url, real, settle=settle) as (sender, run):
        assert await sender.send("POST", "ok", "awaited") == 200
        [action] = await on_record(run)
    assert (action.state, action.note) == ("UNKNOWN", "its answer was not understood: TypeError")


async def test_a_stream_is_sent_as_one(real: Sidecar, target: Target) -> None:
    """It is not read ahead, so it is not in the digest either."""

    def parts() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def async_parts() -> Any:
        for part in parts():
            yield part

    for kind in (Httpx, AsyncHttpx, Httpx2, AsyncHttpx2, Requests, Aiohttp):
        key = f"stream-{kind.__name__}"
        is_async = kind in (AsyncHttpx, AsyncHttpx2, Aiohttp)
        bodies: list[bytes | None] = []

        def look(call: Call, bodies: list[bytes | None] = bodies) -> Write:
            bodies.append(call.body)
            return {}

        async with sending(kind, target.url, real, action=look) as (sender, _):
            await sender.send("POST", "ok", key, body=async_parts() if is_async else parts())
        assert [seen.body for seen in target.of(key)] == [b"one two"]
        assert bodies == [None]


# -- clients that repeat by themselves


async def test_retries_of_requests_repeat_no_write(real: Sidecar, target: Target) -> None:
    """urllib3 would send it three times under one permit: the second time is refused. Reads it may repeat."""
    retry = urllib3.Retry(total=2, status_forcelist=[500], allowed_methods=None, raise_on_status=False)
    async with sending(Requests, target.url, real, max_retries=retry) as (sender, run):
        with pytest.raises(countermand.AlreadyPermitted):
            await sender.send("POST", "500", "retried", body=b"x")
        assert await sender.send("GET", "500", "reread") == 500
        [action] = await on_record(run)
    assert (len(target.of("retried")), action.state) == (1, "UNKNOWN")
    assert len(target.of("reread")) == 3


def test_without_its_connections_requests_would_repeat_it(real: Sidecar, target: Target) -> None:
    """The control: an adapter that asks before it sends, but not where, sends thrice under one permit."""

    class Naive(PermitAdapter):
        def get_connection_with_tls_context(self, *told: Any, **named: Any) -> Any:
            return super(PermitAdapter, self).get_connection_with_tls_context(*told, **named)

    retry = urllib3.Retry(total=2, status_forcelist=[500], allowed_methods=None, raise_on_status=False)
    with real.connect_sync() as cm, cm.open_run(agent="clerk") as run, requests.Session() as session:
        session.mount("http://", Naive(max_retries=retry))
        with run.grant(scopes=["*"]):
            session.post(f"{target.url}/500/thrice")
    assert len(target.of("thrice")) == 3


async def test_each_attempt_of_boto3_is_a_write_of_its_own(real: Sidecar, target: Target) -> None:
    """With one key for the target, and a stop between two of them ends it."""

    class Stubborn(Boto3):
        attempts = 3

    async with sending(Stubborn, target.url, real) as (sender, run):
        assert await sender.send("PUT", "500", "stubborn", body=b"x") == 500
        actions = await on_record(run)
        sender.client.meta.events.register(  # type: ignore[attr-defined]
            "needs-retry", lambda **_: asyncio.run_coroutine_threadsafe(run.cancel(), loop).result() and None
        )
        loop = asyncio.get_running_loop()
        with pytest.raises(countermand.Revoked):
            await sender.send("PUT", "500", "stopped", body=b"x")
    assert [one.state for one in actions] == ["UNKNOWN"] * 3
    seen = target.of("stubborn")
    assert [one.headers["countermand-fence"] for one in seen] == [str(one.fence) for one in actions]
    assert {one.headers["idempotency-key"] for one in seen} == {actions[0].op_id}
    assert all(
        "idempotency-key" in one.headers["authorization"] for one in seen
    )  # added before it was signed
    assert len(target.of("stopped")) == 1


async def test_aiohttp_repeats_a_put_as_a_write_of_its_own(real: Sidecar, target: Target) -> None:
    """It does so by itself, once, when a connection that was kept is lost."""
    async with sending(Aiohttp, target.url, real) as (sender, run):
        assert await sender.send("PUT", "once", "again", body=b"x") == 200
        states = [one.state for one in await on_record(run)]
    assert (states, len(target.of("again"))) == (["UNKNOWN", "SUCCEEDED"], 2)


async def test_an_inner_middleware_of_aiohttp_repeats_no_write(real: Sidecar, target: Target) -> None:
    """What stands between ours and the target sends under one permit once."""

    async def twice(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        (await handler(request)).close()
        return await handler(request)

    async with sending(Aiohttp, target.url, real, inner=[twice]) as (sender, run):
        with pytest.raises(countermand.AlreadyPermitted):
            await sender.send("POST", "500", "twice")
        [action] = await on_record(run)
    assert (len(target.of("twice")), action.state) == (1, "UNKNOWN")


# -- a permit that lapses on the way


@pytest.fixture
def clock() -> ManualClock:
    """The clock of permits; it stands still until it is moved."""
    return ManualClock()


@pytest.fixture
def slow(clock: ManualClock) -> Iterator[Sidecar]:
    """A sidecar by that clock."""
    with sidecar(clock=clock) as running:
        yield running


def late_httpx(sender: Any, advance: Callable[[], None]) -> None:
    def trace(name: str, _: Any) -> None:
        if name == "connection.connect_tcp.complete":
            advance()

    send = sender.client.request
    sender.client.request = lambda *told, **named: send(*told, **named, extensions={"trace": trace})


def late_async_httpx(sender: Any, advance: Callable[[], None]) -> None:
    async def trace(name: str, _: Any) -> None:
        if name == "connection.connect_tcp.complete":
            advance()

    send = sender.client.request
    sender.client.request = lambda *told, **named: send(*told, **named, extensions={"trace": trace})


def late_requests(sender: Any, advance: Callable[[], None]) -> None:
    class Slow(PermitAdapter):
        def get_connection_with_tls_context(self, *told: Any, **named: Any) -> Any:
            pool = super().get_connection_with_tls_context(*told, **named)
            connect = pool.ConnectionCls.connect
            pool.ConnectionCls.connect = lambda connection: (connect(connection), advance())[0]
            return pool

    sender.client.mount("http://", Slow())


def late_aiohttp(sender: Any, advance: Callable[[], None]) -> None:
    connect = sender.client.connector.connect

    async def slow(*told: Any, **named: Any) -> Any:
        connection = await connect(*told, **named)
        advance()
        return connection

    sender.client.connector.connect = slow


def late_boto3(sender: Any, advance: Callable[[], None]) -> None:
    sender.client.meta.events.register("before-send", lambda **_: advance())


@pytest.mark.parametrize(
    ("kind", "late"),
    [
        (Httpx, late_httpx),
        (AsyncHttpx, late_async_httpx),
        (Httpx2, late_httpx),
        (AsyncHttpx2, late_async_httpx),
        (Requests, late_requests),
        (Aiohttp, late_aiohttp),
        (Boto3, late_boto3),
    ],
    ids=lambda one: getattr(one, "name", "-"),
)
async def test_a_permit_that_lapsed_while_it_connected_sends_nothing(
    kind: type[Sender], late: Any, slow: Sidecar, clock: ManualClock, target: Target
) -> None:
    """The connection is there, the time in which to begin is over: nothing is sent, and that is known."""
    async with sending(kind, target.url, slow) as (sender, run):
        late(sender, lambda: clock.advance("6s"))
        with pytest.raises(countermand.PermitLapsed):
            await sender.send(kind.method, "ok", f"lapsed-{kind.__name__}", body=b"x")
        [action] = await on_record(run)
    assert (action.state, action.note) == ("FAILED", "not sent: PermitLapsed")
    assert target.of(f"lapsed-{kind.__name__}") == []


# -- httpx's own


async def test_a_task_that_is_cancelled_while_it_connects_has_sent_nothing(real: Sidecar) -> None:
    """What httpx tells of its steps is enough to know."""
    begun = asyncio.Event()

    async def trace(name: str, _: Any) -> None:
        if name == "connection.connect_tcp.started":
            begun.set()
            await asyncio.Event().wait()

    async with real.connect() as cm, cm.open_run(agent="clerk") as run:
        async with httpx.AsyncClient(transport=AsyncPermitTransport()) as client:
            with run.grant(scopes=["*"]):
                task = asyncio.create_task(client.post("http://127.0.0.1:9/", extensions={"trace": trace}))
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        [action] = await on_record(run)
    assert (action.state, action.note) == ("FAILED", "not sent: CancelledError")


@pytest.mark.parametrize("kind", [AsyncHttpx, AsyncHttpx2], ids=lambda kind: kind.name)
async def test_a_task_that_is_cancelled_while_it_settles_keeps_no_connection(
    kind: Any, real: Sidecar, target: Target
) -> None:
    """Nobody gets the answer, so nobody else closes it; a pool would be used up in the end."""
    cancels = [True]

    def settle(act: Any, answer: Answer) -> None:
        task = asyncio.current_task()
        assert task
        if cancels.pop():
            task.cancel()  # which arrives at its next await, where it is settled

    limits = kind.library.Limits(max_connections=1)
    transport = kind.library.AsyncHTTPTransport(limits=limits)
    async with sending(kind, target.url, real, transport=transport, settle=settle) as (sender, run):
        with pytest.raises(asyncio.CancelledError):
            await sender.send("POST", "ok", "cancelled")
        cancels.append(False)
        sender.client.timeout = kind.library.Timeout(20, pool=5)  # type: ignore[attr-defined]
        assert await sender.send("POST", "ok", "the next") == 200
        assert [one.state for one in await on_record(run)] == ["SUCCEEDED"] * 2


@pytest.mark.parametrize("kind", [Httpx, AsyncHttpx, Httpx2, AsyncHttpx2], ids=lambda kind: kind.name)
async def test_http2_makes_no_difference(kind: Any, slow: Sidecar, clock: ManualClock) -> None:
    """There, too, it is known where the first byte leaves, and what was not sent."""
    arrived: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            arrived.append(f"{scope['http_version']} {scope['path']}")
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    make = kind.library.AsyncHTTPTransport if "async" in kind.name else kind.library.HTTPTransport
    with serve_asgi(app, "hypercorn") as served:
        url, transport = f"http://127.0.0.1:{served.port}", make(http1=False, http2=True)
        async with sending(kind, url, slow, transport=transport) as (sender, run):
            assert await sender.send("POST", "ok", "h2") == 201
            sender.url = f"http://localhost:{served.port}"  # another connection
            late = late_async_httpx if "async" in kind.name else late_httpx
            late(sender, lambda: clock.advance("6s"))
            with pytest.raises(countermand.PermitLapsed):
                await sender.send("POST", "ok", "lapsed")
            states = [one.state for one in await on_record(run)]
    assert (states, arrived) == (["SUCCEEDED", "FAILED"], ["2 /ok/h2"])


def test_a_transport_that_tells_nothing_is_believed_only_where_it_cannot_have_sent(real: Sidecar) -> None:
    """Of one that raises anything it is not known how far it came."""
    raised: list[Exception] = [httpx.ConnectError("no route"), httpx.ReadError("lost")]

    def handler(request: httpx.Request) -> httpx.Response:
        raise raised.pop(0)

    with real.connect_sync() as cm, cm.open_run(agent="clerk") as run:
        client = httpx.Client(transport=PermitTransport(httpx.MockTransport(handler)))
        with client, run.grant(scopes=["*"]):
            for kind in (httpx.ConnectError, httpx.ReadError):
                with pytest.raises(kind):
                    client.post("http://api.example.com/")
        report = run.report()
    assert [one.note for one in report.not_done] == ["not sent: ConnectError"]
    assert [one.note for one in report.unknown] == ["left by ReadError"]


async def test_a_write_that_stalls_is_in_flight(real: Sidecar, target: Target) -> None:
    """Until the target answers it is so in the report of a cancel; then it is done after the stop."""
    async with sending(AsyncHttpx, target.url, real) as (sender, run):
        write = asyncio.create_task(sender.send("POST", "stall", "stalled"))
        while not target.of("stalled"):  # noqa: ASYNC110 - a thread of the target tells nobody
            await asyncio.sleep(0.01)
        assert [one.state for one in (await run.cancel()).in_flight] == ["PERMITTED"]
        target.release("stalled")
        assert await write == 200
        [done] = (await run.report()).done
    assert done.settled_after_cut
