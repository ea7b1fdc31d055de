"""A scope that is bound to a run or a grant: what ends those ends it, from wherever."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

import countermand
import countermand.sync as blocking
from countermand._address import Role
from countermand.testing import Sidecar, sidecar
from tests.client.support import AsyncSoon, Soon
from tests.work import jobs


@pytest.fixture
def real() -> object:
    """A real sidecar."""
    with sidecar() as running:
        yield running


async def _forever(began: asyncio.Event) -> None:
    began.set()
    await asyncio.Event().wait()


async def test_a_cancel_from_elsewhere_stops_the_work(real: Sidecar) -> None:
    """The exception, the receipt and the report say the same: why, who, and what they had to say."""
    async with countermand.connect(real.home) as cm, countermand.connect(real.home) as other:
        began, cleaned = asyncio.Event(), list[str]()
        run = cm.open_run(agent="a")
        with pytest.raises(countermand.Stopped) as stopped:
            async with run, countermand.scope("agent", source=run) as scope:
                scope.defer(cleaned.append, "first")
                scope.defer(cleaned.append, "second")
                scope.spawn(_forever, began, name="think", kind="llm")
                await began.wait()
                await AsyncSoon.until(lambda: cm.connection.session(Role.ISSUER).is_ready)
                start = time.monotonic()
                await other.operator.cancel(run.run_id, reason="INCIDENT", note="enough", actor="ada")
                await asyncio.sleep(5)
        assert time.monotonic() - start < 2
        report = await other.auditor.report(run.run_id)
    stop = stopped.value.stop
    assert (stop.reason, stop.note, stop.actor, stop.run_id) == (
        "INCIDENT",
        "enough",
        "operator:ada",
        run.run_id,
    )
    assert cleaned == ["second", "first"]
    assert scope.receipt is not None
    assert (scope.receipt.stop, report.run.end.seq) == (stop, stop.seq)


def test_a_cancel_from_elsewhere_stops_threads_and_a_process(real: Sidecar, tmp_path: Path) -> None:
    """For code that blocks: its thread is told, its process killed, and the run's end says the same."""

    def listens(token: blocking.CancellationToken) -> None:
        token.wait()
        token.check()

    with blocking.connect(real.home) as cm, blocking.connect(real.home) as other:
        run = cm.open_run(agent="a")
        with (
            pytest.raises(blocking.Stopped) as stopped,
            run,
            blocking.scope("agent", source=run) as scope,
        ):
            thread = scope.spawn(listens)
            process = scope.offload(jobs.spin, str(tmp_path))
            pid = jobs.left(tmp_path, "worker")
            Soon.until(lambda: cm.connection.session(Role.ISSUER).is_ready)
            other.operator.cancel(run.run_id, reason="INCIDENT", actor="ada")
            assert thread.wait("10s")
            assert process.wait("10s")
        assert not jobs.is_alive(pid)
    assert (stopped.value.stop.reason, stopped.value.stop.run_id) == ("INCIDENT", run.run_id)
    assert scope.receipt is not None
    assert {node.name for node in scope.receipt.stopped} == {"listens", "spin"}


async def test_a_fence_over_the_grant_stops_who_works_under_it(real: Sidecar) -> None:
    """A tool in another process knows its grant alone."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a", tenant="acme") as run:
        grant = run.grant(scopes=["*"])
        with pytest.raises(countermand.FixTheCall, match="not issued"):
            async with countermand.scope(source=grant):
                pass
        await grant.token()
        with pytest.raises(countermand.Stopped) as stopped:
            async with countermand.scope(source=grant):
                await cm.operator.revoke(countermand.Selector(tenant="acme"), reason="INCIDENT", note="acme")
                await asyncio.sleep(5)
        assert (stopped.value.stop.reason, stopped.value.stop.note) == ("INCIDENT", "acme")


async def test_a_run_that_ended_before_stops_it_at_once(real: Sidecar) -> None:
    """Whoever comes too late is told so."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        await cm.operator.cancel("r-1", reason="USER_STOP")
        with pytest.raises(countermand.Stopped):
            async with countermand.scope(source=cm.use_token(token)):
                await asyncio.sleep(5)


@pytest.mark.parametrize("choice", ["keep", "stop"])
async def test_a_lost_session_stops_only_who_asked_for_that(
    real: Sidecar, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one nobody is told of a stop; commits are decided all the same."""
    monkeypatch.setattr("countermand._session._FIRST_PAUSE", 0.5)
    async with countermand.connect(real.home, on_disconnect=choice) as cm:  # type: ignore[arg-type]
        await cm.issuer.open(run_id="r-1", agent="a")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        session = cm.connection.session(Role.TOOL)
        grant = cm.use_token(token)
        notes: list[str] = []
        try:
            async with countermand.scope(source=grant):
                await AsyncSoon.until(lambda: session.is_ready)
                session._stream.cancel()
                await AsyncSoon.until(lambda: not session.is_ready)
                await asyncio.sleep(0.05)
                with grant:
                    async with countermand.perform("email.send"):
                        pass
        except countermand.Stopped as stopped:
            notes.append(stopped.stop.note)
    assert ["on_disconnect" in note for note in notes] == ([True] if choice == "stop" else [])


def test_who_waits_to_hear_is_told_that_nobody_tells(real: Sidecar, caplog: pytest.LogCaptureFixture) -> None:
    """By an event, and in the log: the session went, and is back. That its client was closed is no news."""
    caplog.set_level(logging.INFO, "countermand")
    told: list[tuple[str, bool]] = []

    def hears(event: object) -> None:
        if isinstance(event, countermand.SessionChanged):
            told.append((event.role, event.is_there))

    end = countermand.on_event(hears)
    try:
        asyncio.run(_loses_its_session(real, told))
        _loses_its_session_blocking(real, told)
    finally:
        end()
    assert told == [("tool", True), ("tool", False), ("tool", True)] * 2
    assert caplog.text.count("no stop is told") == 2


async def _loses_its_session(real: Sidecar, told: list[tuple[str, bool]]) -> None:
    async with countermand.connect(real.home) as cm:
        session = cm.connection.session(Role.TOOL)
        await AsyncSoon.until(lambda: session.want() and len(told) == 1)
        session._stream.cancel()
        await AsyncSoon.until(lambda: len(told) == 2)
        await AsyncSoon.until(lambda: session.want() and len(told) == 3)


def _loses_its_session_blocking(real: Sidecar, told: list[tuple[str, bool]]) -> None:
    with blocking.connect(real.home) as cm:
        session = cm.connection.session(Role.TOOL)
        Soon.until(lambda: session.want() and len(told) == 4)
        session._stream.cancel()
        Soon.until(lambda: len(told) == 5)
        Soon.until(lambda: session.want() and len(told) == 6)


async def test_a_scope_that_ended_listens_no_more(real: Sidecar) -> None:
    """Neither here nor at the sidecar anything is kept of it."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="a") as run:
        session = cm.connection.session(Role.ISSUER)
        for _ in range(50):
            async with countermand.scope(source=run):
                await asyncio.sleep(0)
        await AsyncSoon.until(lambda: bool(session._desk) and not session._desk._waiting)
        assert not session._watches
        assert session._desk is not None
        assert not session._desk.watched


@pytest.mark.parametrize("at_once", [False, True], ids=["commit", "perform"])
async def test_a_stop_cuts_no_effect_in_half(real: Sidecar, at_once: bool) -> None:
    """Between permit and settling it is shielded: it ends, is on record, and then the stop comes."""
    steps: list[str] = []
    inside = asyncio.Event()

    async def effect() -> None:
        steps.append("begun")
        inside.set()
        await asyncio.sleep(0.1)
        steps.append("done")

    async def tool(grant: countermand.CurrentGrant) -> None:
        with grant:
            if at_once:
                async with countermand.perform("email.send"):
                    await effect()
            else:
                async with countermand.action("email.send") as act, act.commit():
                    await effect()
            await asyncio.sleep(5)
            steps.append("went on")

    async with countermand.connect(real.home) as cm, cm.open_run(agent="a") as run:
        grant = run.grant(scopes=["*"])
        await grant.token()
        async with countermand.scope("tools") as scope:
            work = scope.spawn(tool, grant)
            await inside.wait()
            receipt = await scope.cancel("USER_STOP")
        report = await run.report()
    assert steps == ["begun", "done"]
    assert work.state == "STOPPED"
    assert not receipt.not_stopped
    assert [one.state for one in report.done] == ["SUCCEEDED"]
