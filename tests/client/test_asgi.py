"""The request boundary held against a server that is played: what passes, what is kept, what stops what."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import countermand
from countermand.integrations._http.deadline import time_left
from countermand.integrations.asgi import RequestBoundary, run_for_request
from countermand.integrations.asgi.line import MOST_KEPT
from countermand.testing import Sidecar, sidecar

Message = dict[str, Any]
START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"all of it"}


class Server:
    """Serves one request, and plays its client: `say` is what comes in, `told` what went out."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.scope: Message = {"type": "http", "headers": list(headers)}
        self.told: list[Message] = []
        #: How often it was asked for the next message, and how many are waiting.
        self.asked = 0
        self.failure: BaseException | None = None
        self._coming: deque[Message] = deque()
        self._news = asyncio.Event()

    def say(self, *messages: Message) -> None:
        self._coming.extend(messages)
        self._news.set()

    def leave(self) -> None:
        """The client hangs up."""
        self.say({"type": "http.disconnect"})

    @property
    def waiting(self) -> int:
        """How many messages nobody has asked for."""
        return len(self._coming)

    async def receive(self) -> Message:
        self.asked += 1
        while not self._coming:
            if self.failure:
                raise self.failure
            self._news.clear()
            await self._news.wait()
        return self._coming.popleft()

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        self.told.append(message)

    async def serve(self, app: Callable[..., Awaitable[None]]) -> None:
        """Serve it, within the time of a test."""
        async with asyncio.timeout(5):
            await RequestBoundary(app)(self.scope, self.receive, self.send)


def part(body: bytes, more: bool = True) -> Message:
    """A part of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def turns(count: int = 20) -> None:
    """Let everything that can go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def real() -> Iterator[Sidecar]:
    """A real sidecar."""
    with sidecar() as running:
        yield running


async def ended(real: Sidecar, run_id: str) -> str:
    """Why a run ended."""
    async with real.connect() as cm:
        end = (await cm.auditor.report(run_id)).run.end
    return str(end.reason) if end else ""


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        (b"grpc-timeout", b"2H", 7200.0),
        (b"grpc-timeout", b"3M", 180.0),
        (b"grpc-timeout", b"4S", 4.0),
        (b"grpc-timeout", b"250m", 0.25),
        (b"grpc-timeout", b"500u", 0.0005),
        (b"grpc-timeout", b"99999999n", 0.099999999),
        (b"gRPC-Timeout", b"0S", 0.0),
        (b"request-timeout", b"2.5", 2.5),
        (b"Request-Timeout", b" 30 ", 30.0),
        (b"request-timeout", b"0", 0.0),
        (b"x-request-timeout", b"never read", None),
    ],
)
def test_deadlines_are_read(name: bytes, value: bytes, seconds: float | None) -> None:
    """In every unit."""
    read = time_left([(name, value)])
    assert read == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"S",
        b"1",
        b"1s",
        b"123456789S",
        b"-1S",
        b"+1S",
        b"1.5S",
        b"1 S",
        b"1S\n",
        b"1SS",
        b"\xd9\xa1S",
        b"infS",
    ],
)
def test_a_grpc_timeout_that_is_none_is_refused(value: bytes) -> None:
    """It is not taken for no deadline."""
    with pytest.raises(countermand.InvalidRequest, match=r"grpc-timeout must be at most 8 digits"):
        time_left([(b"grpc-timeout", value)])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"-1",
        b"nan",
        b"inf",
        b"1e9",
        b"0x1",
        b"2,5",
        b"1_0",
        b"5s",
        b".5",
        b"5.",
        b"123456789",
        b"\xd9\xa1",
        b"1\n",
    ],
)
def test_a_request_timeout_that_is_none_is_refused(value: bytes) -> None:
    """It is not taken for no deadline."""
    with pytest.raises(countermand.InvalidRequest, match="request-timeout must be a number of seconds"):
        time_left([(b"request-timeout", value)])


def test_of_several_deadlines_the_shortest_counts_and_each_must_be_one() -> None:
    """A proxy that adds its own shortens the time, and never lengthens it."""
    told = [(b"request-timeout", b"9"), (b"grpc-timeout", b"3S"), (b"request-timeout", b"5")]
    assert time_left(told) == 3.0
    with pytest.raises(countermand.InvalidRequest):
        time_left([*told, (b"request-timeout", b"x")])


@pytest.mark.parametrize(("told", "longest"), [(b"5", 5), (b"50000", 60), (b"99999999", 60)])
async def test_a_deadline_only_shortens(real: Sidecar, told: bytes, longest: int) -> None:
    """The run's time is the shorter one of what the client says and what the handler allows."""
    server = Server((b"request-timeout", told))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, ttl="60s") as run:
            deadline, opened = run.opened.deadline_time, run.opened.open_time
            assert deadline is not None
            assert opened is not None
            assert (deadline - opened).total_seconds() == longest
            own = countermand.current_scope()
            assert own is not None
            assert longest - 2 < (own.remaining or 0) <= longest

    await server.serve(app)


async def test_a_deadline_that_is_over_opens_nothing(real: Sidecar) -> None:
    """gRPC sends a zero for that."""
    server = Server((b"grpc-timeout", b"0n"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            with pytest.raises(countermand.Stopped) as stopped:
                async with run_for_request(scope, cm, run_id="r-never"):
                    pytest.fail("it began")
            assert stopped.value.stop_reason == "DEADLINE"
            with pytest.raises(countermand.NotFound):
                await cm.auditor.report("r-never")

    await server.serve(app)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_no_request_passes_untouched(kind: str) -> None:
    """The application gets the server's own scope, receive and send."""
    server, got = Server(), list[Any]()
    server.scope = {"type": kind}

    async def app(*given: Any) -> None:
        got.extend(given)

    await server.serve(app)
    assert got[0] is server.scope
    assert got[0] == {"type": kind}
    assert got[1:] == [server.receive, server.send]


async def test_nothing_is_asked_for_before_somebody_wants_to_know(real: Sidecar) -> None:
    """A server says '100 Continue' when it is asked for the body: a handler that refuses need not have it."""
    server = Server()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await turns()
        assert server.asked == 0
        async with real.connect() as cm, run_for_request(scope, cm):
            await turns()
        assert server.asked == 1

    await server.serve(app)


async def test_who_leaves_stops_the_work_and_the_run(real: Sidecar) -> None:
    """The block raises why; outside of the application nothing is raised, and nothing is sent."""
    server, raised = Server(), list[countermand.Stopped]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            try:
                async with run_for_request(scope, cm) as run:
                    server.leave()
                    await asyncio.Event().wait()
            except countermand.Stopped as stopped:
                raised.append(stopped)
                assert await ended(real, run.run_id) == "CLIENT_DISCONNECTED"
                await send(START)
                await send(BODY)
                raise

    await server.serve(app)
    assert raised[0].stop.reason == "CLIENT_DISCONNECTED"
    assert raised[0].stop.note == "the client left before it had its answer"
    assert server.told == []


async def test_the_run_is_cancelled_at_once_and_once(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its work takes to end; and the application hears of the disconnect only after that."""
    server, seen, cancels = Server(), list[str](), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            cancel = type(cm.issuer).cancel

            async def counted(door: Any, run_id: str, **told: Any) -> Any:
                cancels.append(told["note"])
                answer = await cancel(door, run_id, **told)
                await asyncio.sleep(0.5)  # longer than the work takes to end
                return answer

            monkeypatch.setattr(type(cm.issuer), "cancel", counted)
            hearing = asyncio.ensure_future(receive())
            try:
                async with run_for_request(scope, cm) as run:
                    server.leave()
                    try:
                        await asyncio.Event().wait()
                    finally:
                        await asyncio.sleep(0.3)
                        seen.append(await ended(real, run.run_id))
                        seen.append(f"heard: {hearing.done()}")
            finally:
                assert await hearing == {"type": "http.disconnect"}
                monkeypatch.undo()

    await server.serve(app)
    assert seen == ["CLIENT_DISCONNECTED", "heard: False"]
    assert cancels == ["the client left before it had its answer"]


async def test_a_stop_from_elsewhere_stops_the_work_too(real: Sidecar) -> None:
    """The block raises it with its own reason, while the client is still there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm) as run:
            await cm.operator.cancel(run.run_id, reason="INCIDENT")
            await asyncio.Event().wait()

    with pytest.raises(countermand.Stopped) as stopped:
        await Server().serve(app)
    assert stopped.value.stop_reason == "INCIDENT"


async def test_a_cancel_that_fails_is_tried_again_and_told(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The work is stopped all the same."""
    server, tries = Server(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:

            async def fails(door: Any, run_id: str, **told: Any) -> Any:
                tries.append(told["reason"])
                raise countermand.Unavailable("no sidecar")

            monkeypatch.setattr(type(cm.issuer), "cancel", fails)
            async with run_for_request(scope, cm):
                server.leave()
                await asyncio.Event().wait()

    await server.serve(app)
    assert tries == ["CLIENT_DISCONNECTED"] * 2
    assert "could not be cancelled: no sidecar" in caplog.text


async def test_who_left_before_gets_no_run(real: Sidecar) -> None:
    """The handler that has read the disconnect itself opens nothing."""
    server = Server()
    server.leave()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "http.disconnect"}
        async with real.connect() as cm:
            with pytest.raises(countermand.Stopped):
                async with run_for_request(scope, cm, run_id="r-gone"):
                    pytest.fail("it began")
            with pytest.raises(countermand.NotFound):
                await cm.auditor.report("r-gone")

    await server.serve(app)


async def test_who_leaves_while_the_run_is_opened_stops_it(real: Sidecar) -> None:
    """No step of the block's is taken after its first await."""
    server = Server()
    server.leave()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id="r-soon"):
            await asyncio.sleep(3)
            pytest.fail("it went on")

    await server.serve(app)
    assert await ended(real, "r-soon") == "CLIENT_DISCONNECTED"


@pytest.mark.parametrize("trailers", [False, True])
async def test_who_leaves_with_the_whole_answer_stops_nothing(real: Sidecar, trailers: bool) -> None:
    """Work that goes on after the answer goes on, and the run finishes. Trailers are part of the answer."""
    server = Server()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id=f"r-all-{trailers}"):
            await send({**START, "trailers": trailers})
            await send({**BODY, "more_body": True})
            await send(BODY)
            if trailers:
                await send({"type": "http.response.trailers", "headers": []})
            server.leave()
            await turns(100)

    await server.serve(app)
    assert len(server.told) == 3 + trailers
    assert await ended(real, f"r-all-{trailers}") == "RUN_FINISHED"


@pytest.mark.parametrize("rest", ["body", "trailers"])
async def test_who_leaves_before_the_end_of_the_answer_stops_it(real: Sidecar, rest: str) -> None:
    """A part of the answer is not the answer."""
    server = Server()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id=f"r-part-{rest}"):
            await send({**START, "trailers": rest == "trailers"})
            await send({**BODY, "more_body": rest == "body"})
            server.leave()
            await asyncio.Event().wait()

    await server.serve(app)
    assert await ended(real, f"r-part-{rest}") == "CLIENT_DISCONNECTED"


async def test_who_leaves_after_the_run_stops_nothing(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has finished by then, and nobody even tries."""
    server, cancels = Server(), list[str]()

    async def counted(run: countermand.ActiveRun, **told: Any) -> None:
        cancels.append(run.run_id)

    monkeypatch.setattr(countermand.ActiveRun, "cancel", counted)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            async with run_for_request(scope, cm, run_id="r-done"):
                pass
            server.leave()
            await turns()
            await send(START)

    await server.serve(app)
    assert (server.told, cancels) == ([], [])
    assert await ended(real, "r-done") == "RUN_FINISHED"


async def test_the_body_is_kept_for_whoever_reads_it(real: Sidecar) -> None:
    """In order, and the disconnect after it; also if a reader gave up in between."""
    server, read = Server(), list[Message]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        impatient = asyncio.ensure_future(receive())
        await turns()
        impatient.cancel()
        async with real.connect() as cm, run_for_request(scope, cm):
            waiting = asyncio.ensure_future(receive())
            await turns()
            server.say(part(b"1"), part(b"2"))
            await turns()
            read.append(waiting.result())
            server.say(part(b"3", more=False))
            while len(read) < 3:
                read.append(await receive())
        server.leave()
        read.append(await receive())
        read.append(await receive())

    await server.serve(app)
    gone = {"type": "http.disconnect"}
    assert read == [part(b"1"), part(b"2"), part(b"3", more=False), gone, gone]


async def test_a_long_body_is_not_read_ahead_without_end(real: Sidecar) -> None:
    """A client cannot fill the memory with what nobody reads; once it is read, watching goes on."""
    server = Server()
    piece = b"x" * (MOST_KEPT // 4)
    server.say(*[part(piece)] * 20)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id="r-long"):
            await turns(100)
            assert 14 <= server.waiting <= 16
            for _ in range(20):
                assert await receive() == part(piece)
            server.leave()
            await asyncio.Event().wait()

    await server.serve(app)
    assert await ended(real, "r-long") == "CLIENT_DISCONNECTED"


async def test_a_stop_waits_for_a_message_that_is_being_sent(real: Sidecar) -> None:
    """So it strikes in the generator of a body, and that cleans up."""
    server, seen = Server(), list[str]()

    async def body(scope: Any, cm: countermand.Client) -> Any:
        async with run_for_request(scope, cm):
            own = countermand.current_scope()
            assert own
            own.defer(seen.append, "cleaned up")
            try:
                yield b"x"
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("stopped")
                raise

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            async for one in body(scope, cm):
                await send({**BODY, "body": one, "more_body": True})

    swift = server.send

    async def slow(message: Message) -> None:
        server.leave()
        await asyncio.sleep(0.1)
        await swift(message)

    server.send = slow  # type: ignore[method-assign]
    await server.serve(app)
    assert seen == ["stopped", "cleaned up"]


@pytest.mark.parametrize("is_left", [False, True])
async def test_a_body_that_is_closed_early_cleans_up(real: Sidecar, is_left: bool) -> None:
    """By whoever takes it, in any task, with its client there or not."""
    server, seen = Server(), list[str]()

    async def body(scope: Any, cm: countermand.Client) -> Any:
        async with run_for_request(scope, cm, run_id=f"r-closed-{is_left}"):
            own = countermand.current_scope()
            assert own
            own.defer(seen.append, "cleaned up")
            own.spawn(asyncio.Event().wait)
            yield b"x"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm:
            parts = body(scope, cm)
            await asyncio.create_task(anext(parts))
            if is_left:
                server.leave()
                await turns()
            await asyncio.create_task(parts.aclose())
            assert seen == ["cleaned up"]

    await server.serve(app)
    assert await ended(real, f"r-closed-{is_left}") == "CLIENT_DISCONNECTED"


async def test_a_body_that_is_thrown_away_is_ended_with_its_request(
    real: Sidecar, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody closes it, and the collector may take its time: its clean-up does not wait for that."""
    server, seen, kept = Server(), list[str](), list[Any]()

    async def body(scope: Any, cm: countermand.Client) -> Any:
        async with run_for_request(scope, cm, run_id="r-thrown"):
            own = countermand.current_scope()
            assert own
            own.defer(seen.append, "cleaned up")
            own.spawn(asyncio.Event().wait)
            yield b"x"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(body(scope, cm))
        await asyncio.create_task(anext(kept[0]))
        server.leave()
        await turns()

    async with real.connect() as cm:
        await server.serve(app)
        assert seen == ["cleaned up"]
        await kept[0].aclose()
    assert seen == ["cleaned up"]
    assert await ended(real, "r-thrown") == "CLIENT_DISCONNECTED"
    assert caplog.records == []


@pytest.mark.parametrize("where", ["receive", "send"])
async def test_a_connection_that_fails_is_a_client_that_left(real: Sidecar, where: str) -> None:
    """A server may raise instead of telling; who cannot be watched is not worked for."""
    server = Server()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id=f"r-{where}"):
            await turns()
            server.failure = OSError("broken pipe")
            if where == "send":
                await send(START)
            else:
                server._news.set()
            await asyncio.Event().wait()

    await server.serve(app)
    assert await ended(real, f"r-{where}") == "CLIENT_DISCONNECTED"


async def test_an_endless_body_lets_others_have_a_turn(real: Sidecar) -> None:
    """Also one that never waits for anything but its client."""
    server = Server()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with real.connect() as cm, run_for_request(scope, cm, run_id="r-endless"):
            await send(START)
            server.leave()
            while True:
                await send({**BODY, "more_body": True})

    await server.serve(app)
    assert await ended(real, "r-endless") == "CLIENT_DISCONNECTED"


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ExceptionGroup("two", [ValueError(), countermand.Stopped()])]
)
async def test_other_errors_are_still_raised(error: Exception) -> None:
    """Only what tells of a stop ends at the boundary, and only once the client has left."""
    server = Server()
    server.leave()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise error

    with pytest.raises(type(error)):
        await server.serve(app)


async def test_what_was_raised_because_of_a_stop_ends_too() -> None:
    """Starlette raises a RuntimeError from it if the answer had begun."""
    server = Server()
    server.leave()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise RuntimeError("the response has started") from countermand.Stopped()

    await server.serve(app)


async def test_a_stop_is_raised_while_the_client_is_there() -> None:
    """It gets an answer, if only the server's for an error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise countermand.Stopped()

    with pytest.raises(countermand.Stopped):
        await Server().serve(app)


async def test_an_answered_request_gets_no_run(real: Sidecar) -> None:
    """Nobody waits for it, so nobody can leave."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        async with real.connect() as cm:
            with pytest.raises(countermand.FixTheCall, match=r"open a run with cm\.open_run"):
                async with run_for_request(scope, cm):
                    pytest.fail("it began")

    await Server().serve(app)


async def test_without_the_boundary_it_says_what_to_do(real: Sidecar) -> None:
    """It does not open a run that nobody watches."""
    async with real.connect() as cm:
        with pytest.raises(countermand.FixTheCall, match=r"app\.add_middleware\(RequestBoundary\)"):
            async with run_for_request({"type": "http", "headers": []}, cm):
                pytest.fail("it began")
