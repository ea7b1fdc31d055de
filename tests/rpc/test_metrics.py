"""Metrics: what was answered and stopped, over HTTP, in words of ours alone, and never before a decision."""

import asyncio
import contextlib
import itertools
import stat
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from countermand.v1 import action_service_pb2 as action_pb
from grant_service.app import open_store
from grant_service.core.errors import ErrorReason
from grant_service.core.run import StopReason
from grant_service.core.store import Durability, Store
from grant_service.http import server
from grant_service.rpc.listener import Unlistenable
from grant_service.rpc.roles import ALLOWED, Role
from grant_service.rpc.tally import BOUNDS, DONE, PERMITTED, VERBS, Tally, verb_of
from grant_service.settings import Settings
from tests.rpc.sessions import reason, session
from tests.rpc.support import Served, cancel, commit, intent, served, short_home, until
from tests.support.redis_server import redis_running

#: Every word that a label may have.
WORDS = {
    "verb": {*VERBS.values(), "read"},
    "answer": {PERMITTED, DONE, *ErrorReason},
    "reason": set(StopReason),
    "role": set(Role),
    "durability": set(Durability),
    "le": {*map(str, BOUNDS), "+Inf"},
}

Numbers = dict[tuple[str, ...], float]


@asynccontextmanager
async def metered(store: Store | None = None, **settings: Any) -> AsyncIterator[Served]:
    """A sidecar whose metrics are on a socket."""
    async with served(store, metrics_listen="socket", **settings) as sidecar:
        yield sidecar


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def each_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store | None]:
    """Every store in turn; what a stop was is in its answer, so each has to say it alike."""
    with ExitStack() as stack:
        url = request.param
        if url == "redis":
            url = stack.enter_context(redis_running(tmp_path / "redis")).url
        yield None if url == "memory" else await open_store(Settings(home=tmp_path, store=url))


async def ask(path: Path, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[str, str]:
    """Ask over HTTP: the status line, and the body."""
    async with connected(path, request) as reader:
        answer = (await asyncio.wait_for(reader.read(), 20)).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n" in head
    return head.splitlines()[0], body


@asynccontextmanager
async def connected(path: Path, said: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which this was said."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(said)
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def page(sidecar: Served) -> str:
    """The metrics as they are served."""
    status, body = await ask(sidecar.home / "run" / "metrics.sock")
    assert status == "HTTP/1.1 200 OK"
    return body


async def numbers(sidecar: Served) -> Numbers:
    """Every number, by its name and its labels' values in the order of the labels' names."""
    read = {}
    for family in text_string_to_metric_families(await page(sidecar)):
        for one in family.samples:
            read[(one.name, *(one.labels[name] for name in sorted(one.labels)))] = one.value
    return read


async def test_what_was_answered_is_counted_by_verb_and_reason() -> None:
    """Alone or in a session: a permit, a late attempt, a call that says nothing, a role that may not."""
    async with metered() as sidecar:
        token = await sidecar.grant()
        await sidecar.permit(token, "o-1")
        async with session(sidecar.tool) as opened:
            perform = action_pb.PerformActionRequest(grant_token=token, intent=intent("o-2"))
            await opened.ask({"perform": perform})
            await sidecar.cancel()
            late = await opened.refused(commit=action_pb.CommitActionRequest(**commit(token, "o-1")))
            assert reason(late) == "REVOKED"
            assert (await numbers(sidecar))["countermand_sessions", "tool"] == 1
        await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-3"))
        await sidecar.tool.refused("CommitAction")
        await sidecar.tool.refused("CancelRun", **cancel())
        await sidecar.auditor("GetReport", run_id="r-1")

        told = await numbers(sidecar)

        counted = {key[1:]: count for key, count in told.items() if key[0] == "countermand_decisions_total"}
        assert counted == {  # by answer and verb
            ("DONE", "open"): 1,
            ("DONE", "issue"): 1,
            ("DONE", "prepare"): 1,
            ("PERMITTED", "commit"): 1,
            ("PERMITTED", "perform"): 1,
            ("DONE", "cancel"): 1,
            ("REVOKED", "commit"): 1,
            ("REVOKED", "perform"): 1,
            ("TOKEN_MISSING", "commit"): 1,
            ("ROLE_NOT_ALLOWED", "cancel"): 1,
            ("DONE", "read"): 1,
        }
        assert told["countermand_decision_seconds_count", "commit"] == 3
        assert told["countermand_decision_seconds_count", "cancel"] == 1, "a role is refused at once"
        assert told["countermand_decision_seconds_bucket", "+Inf", "commit"] == 3
        assert told["countermand_decision_seconds_sum", "commit"] > 0
        assert [
            told["countermand_late_attempts_total", verb] for verb in ("commit", "perform", "prepare")
        ] == [
            1,
            1,
            0,
        ]


async def test_a_stop_is_counted_once_and_logged_with_its_reason(
    logs: list[dict[str, Any]], each_store: Store | None
) -> None:
    """Runs that are cancelled or finish, fences, and what a budget ends; said again it is no second stop."""
    async with metered(each_store) as sidecar:
        token = await sidecar.grant("r-1", budgets=[{"name": "usd", "limit": 1}])
        await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1", costs={"usd": 1}))
        await sidecar.tool("CommitAction", **commit(token, "o-1"))
        await sidecar.tool.refused("SpendBudget", grant_token=token, op_id="s-1", budget="usd", amount=2)
        said = {"actor": "ann", "note": "wrong list", "tag": "t-9"}
        for _ in range(2):
            await sidecar.cancel("r-1", **said)
            await sidecar.fence("Freeze", "f-1", agent="a")
        await sidecar.fence("Revoke", "f-2", agent="a")
        await sidecar.operator("RevokeGrants", reason=6, selector={"agent": "a"}, validate_only=True)
        await sidecar.issuer("OpenRun", run_id="r-2")
        for _ in range(2):
            await sidecar.issuer("FinishRun", run_id="r-2", note="done")

        told = await numbers(sidecar)

        counted = {key[1]: count for key, count in told.items() if key[0] == "countermand_stops_total"}
        stopped = {"BUDGET": 1, "USER_STOP": 1, "INCIDENT": 2, "RUN_FINISHED": 1}
        assert counted == dict.fromkeys(StopReason, 0) | stopped
        lines = [
            one for one in logs if one["event"] in ("exhausted", "cancelled", "frozen", "revoked", "finished")
        ]
        assert [(one["event"], one["reason"]) for one in lines] == [
            ("exhausted", "BUDGET"),
            ("cancelled", "USER_STOP"),
            ("frozen", "INCIDENT"),
            ("revoked", "INCIDENT"),
            ("finished", "RUN_FINISHED"),
        ]
        assert {name: lines[1][name] for name in ("run", "actor", "note", "tag")} == {
            "run": "r-1",
            "actor": "operator:ann",
            "note": "wrong list",
            "tag": "t-9",
        }


async def test_whoever_is_told_of_a_stop_is_counted() -> None:
    """A watch is there until it is told, and then in the count of those told."""
    async with metered() as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            await opened.watch(token)
            await until(lambda: _has(sidecar, ("countermand_watches",), 1))
            await sidecar.cancel()
            await until(lambda: _has(sidecar, ("countermand_stops_told_total", "REVOKED"), 1))
            assert (await numbers(sidecar))["countermand_watches",] == 0


async def _has(sidecar: Served, key: tuple[str, ...], value: float) -> bool:
    return (await numbers(sidecar)).get(key) == value


async def test_nothing_that_a_caller_said_is_told() -> None:
    """A canary in every id, name, label, note, tag and text is nowhere; every label is a word of a list."""
    canary = "canary"
    async with metered() as sidecar:
        names = dict.fromkeys(("subject", "agent", "tenant"), canary)
        await sidecar.issuer("OpenRun", run_id=canary, labels={canary: canary}, **names)
        await sidecar.issuer.refused("OpenRun", run_id=canary, agent="other")
        scope = {"action": f"{canary}.send"}
        token = await sidecar.grant_for(
            canary, scope, request_id=canary, budgets=[{"name": canary, "limit": 9}]
        )
        told = intent(canary, f"{canary}.send", f"{canary}:x", summary=canary, compensation=canary)
        await sidecar.tool("PrepareAction", grant_token=token, intent=told)
        await sidecar.tool("CommitAction", **commit(token, canary))
        said = {"actor": canary, "note": canary}
        await sidecar.fence("Freeze", canary, agent=canary, subject=canary)
        await sidecar.cancel(canary, tag=canary, **said)
        await sidecar.cancel(f"{canary}-2", tag=canary, **said)
        await sidecar.tool.refused("PrepareAction", grant_token=token, intent=told | {"op_id": f"{canary}-3"})
        await sidecar.tool.refused("PrepareAction", grant_token=canary)

        text = await page(sidecar)

        assert canary not in text
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        assert len(samples) > 50
        for one in samples:
            for name, value in one.labels.items():
                assert value in WORDS[name], one


async def test_no_caller_can_make_more_series() -> None:
    """A hundred runs that nobody knows make as many series as one: their ids are not kept."""
    async with metered() as sidecar:
        await sidecar.operator.refused("GetReport", run_id="r-0")
        before = len(await numbers(sidecar))
        for number in range(1, 100):
            await sidecar.operator.refused("GetReport", run_id=f"r-{number}")
        assert len(await numbers(sidecar)) == before


def test_every_call_has_a_verb() -> None:
    """What has none of its own only reads."""
    reads = {rpc for rpc in ALLOWED if verb_of(rpc) == "read"}
    assert {rpc.partition(".")[0] for rpc in reads} == {"JournalService"}
    assert VERBS.keys() == ALLOWED.keys() - reads
    assert not {PERMITTED, DONE} & set(ErrorReason)


async def test_the_store_is_told_of() -> None:
    """Whether it is well, what it survives, and that its epoch has changed."""
    async with metered() as sidecar:
        health = sidecar.sidecar._health
        told = await numbers(sidecar)
        assert told["countermand_store_up",] == 1
        assert told["countermand_store_durability", "VOLATILE"] == 1
        assert told["countermand_store_epochs_total",] == 1
        sidecar.store.renew_epoch()
        await health.look()
        assert (await numbers(sidecar))["countermand_store_epochs_total",] == 2


REFUSED = [
    (b"GET / HTTP/1.1\r\n\r\n", "404"),
    (b"GET /metricsx HTTP/1.1\r\n\r\n", "404"),
    (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
    (b"HEAD /metrics HTTP/1.1\r\n\r\n", "405"),
    (b"GET /metrics\r\n\r\n", "400"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
    (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "400"),
    (b"GET /metrics HTTP/1.1\r\nX: ".ljust(4097, b"x"), "431"),
]


async def test_anything_but_one_question_is_refused() -> None:
    """Another path, another method, what is no HTTP, a head that does not end."""
    async with metered() as sidecar:
        path = sidecar.home / "run" / "metrics.sock"
        for request, status in REFUSED:
            assert (await ask(path, request))[0].split()[1] == status, request
        assert (await ask(path, b"GET /metrics?name=x HTTP/1.0\r\n\r\n"))[0] == "HTTP/1.1 200 OK"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await sidecar.sidecar.stop()
        assert not path.exists()


async def test_nothing_is_served_unless_it_is_asked_for() -> None:
    """No socket, no address."""
    async with served() as sidecar:
        assert not (sidecar.home / "run" / "metrics.sock").exists()
        assert sidecar.sidecar.metrics_address == ""


async def test_a_page_that_cannot_be_written_is_an_error_and_no_more(logs: list[dict[str, Any]]) -> None:
    """The trace is in the log, the answer is 500, and the next one is served."""
    pages = [b"again", b"", b"fine"]

    def write() -> bytes:
        if not (written := pages.pop()):
            raise ValueError("a defect")
        return written

    async with listening(lambda: write) as path:
        assert [await ask(path) for _ in range(3)] == [
            ("HTTP/1.1 200 OK", "fine"),
            ("HTTP/1.1 500 Internal Server Error", "500 Internal Server Error\n"),
            ("HTTP/1.1 200 OK", "again"),
        ]
    assert [one["event"] for one in logs] == ["metrics"]


@asynccontextmanager
async def listening(page: server.Page) -> AsyncIterator[Path]:
    """The listener alone."""
    with short_home() as home:
        bound, _ = server.bind("socket", home)
        work = asyncio.create_task(server.Served(bound, page).work())
        try:
            yield home / "metrics.sock"
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


HALF, WHOLE = b"GET /metrics HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("places", [4, 1000])
async def test_who_is_slow_loses_the_place_to_who_comes(places: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many say half a question, so many are kept, and whoever says a whole one is answered.

    With a thousand places nobody loses one: the test sees the difference.
    """
    monkeypatch.setattr(server, "_MOST", places)
    monkeypatch.setattr(server, "_PAUSE", 0.001)
    monkeypatch.setattr(server, "_PATIENCE", 60)
    async with listening(lambda: lambda: b"page") as path, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(path, HALF)) for _ in range(12)]
        assert (await ask(path))[1] == "page"
        ends = [asyncio.ensure_future(reader.read()) for reader in slow]
        if places < len(slow):
            await until(lambda: _lost(ends, 1 + len(slow) - places))
        await asyncio.wait(ends, timeout=0.2)
        assert sum(end.done() for end in ends) == max(0, 1 + len(slow) - places)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _lost(ends: Sequence[asyncio.Future[bytes]], count: int) -> bool:
    return sum(end.done() for end in ends) >= count


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who does not read the answer: a connection has its time, and no more."""
    monkeypatch.setattr(server, "_PATIENCE", 0.1)
    async with listening(lambda: lambda: bytes(20_000_000)) as path:
        async with connected(path, HALF) as reader:
            assert await asyncio.wait_for(reader.read(), 20) == b""
        async with connected(path, WHOLE) as reader:
            await asyncio.sleep(0.3)  # what was not read by then is not kept for anybody
            assert len(await asyncio.wait_for(reader.read(), 20)) < 20_000_000


@pytest.mark.parametrize("pause", [0.2, 0.0])
async def test_only_so_many_are_answered_in_a_second(pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast somebody asks, the pause between two is kept; without one it is not."""
    monkeypatch.setattr(server, "_PAUSE", pause)
    async with listening(lambda: lambda: b"page") as path:
        began = time.monotonic()
        for _ in range(5):
            assert (await ask(path))[1] == "page"
        took = time.monotonic() - began
    assert (took >= 4 * 0.2 * 0.9) == (pause > 0)


async def test_a_port_that_is_taken_is_said_at_the_start() -> None:
    """One line, with what to do; a loopback port is served like the socket."""
    with short_home() as home:
        taken, _ = server.bind("127.0.0.1:0", home)
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unlistenable, match="choose another port for COUNTERMAND_METRICS_LISTEN"):
            server.bind(where, home)
        taken.close()
    async with served(metrics_listen=where) as sidecar:
        assert sidecar.sidecar.metrics_address == f"http://{where}/metrics"
        answer = await asyncio.to_thread(urllib.request.urlopen, f"http://{where}/metrics", timeout=20)
        with answer:
            assert "countermand_store_up 1.0" in answer.read().decode()


def test_every_time_falls_into_one_bucket() -> None:
    """On a bound it counts as within it, as the format has it."""
    tally = Tally()
    times = (0.0, *BOUNDS, BOUNDS[-1] + 1)
    for seconds in times:
        tally.yes("commit", seconds)
    spread = tally.seconds["commit"]
    assert spread.buckets == [2, *itertools.repeat(1, len(BOUNDS) - 1), 1]
    assert spread.total == sum(times)
