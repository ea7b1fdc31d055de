"""Both compensators against a sidecar on a real Redis: they call off, undo, ask, and try again."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

import countermand
import countermand.sync
from tests.support.redis_server import RedisServer, redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running

State = countermand.ActionState


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for this module."""
    with redis_running(tmp_path_factory.mktemp("compensators")) as server:
        yield server


@pytest.fixture(scope="module")
def process(server: RedisServer) -> Iterator[SidecarProcess]:
    """A sidecar on it, that has failed attempts made again at once."""
    with sidecar_running(store=server.url, undo_retry=0.01) as process:
        yield process


class Functions:
    """A registry with one function of each kind, and what they were called with."""

    def __init__(self, run: str) -> None:
        self.registry, self.called = countermand.Registry(), list[str]()
        self.registry.canceller(f"{run}.stop")(self.stop)
        self.registry.compensation(f"{run}.undo")(self.undo)
        self.registry.probe(f"{run}.ask")(self.ask)

    def stop(self, duty: countermand.Duty) -> None:
        """Call the job off."""
        self.called.append(f"stop {duty.handle}")

    def undo(self, duty: countermand.Duty) -> str:
        """Undo it, at the second attempt."""
        self.called.append(f"undo {duty.op_id} {duty.args['n']}")
        if duty.attempt == 1:
            raise countermand.NotDone("the server is down")
        return f"c-{duty.op_id}"

    def ask(self, duty: countermand.Duty) -> countermand.Finding:
        """Find out that it did not happen."""
        self.called.append(f"ask {duty.op_id}")
        return countermand.Finding("FAILED", "the outbox refused it")


class AsyncFunctions(Functions):
    """The same, async."""

    async def stop(self, duty: countermand.Duty) -> None:  # type: ignore[override]
        """Call the job off."""
        super().stop(duty)

    async def undo(self, duty: countermand.Duty) -> str:  # type: ignore[override]
        """Undo it, at the second attempt."""
        return super().undo(duty)

    async def ask(self, duty: countermand.Duty) -> countermand.Finding:  # type: ignore[override]
        """Find out that it did not happen."""
        return super().ask(duty)


def declared(run: str) -> dict[str, Any]:
    """What an action of the run says of itself."""
    return {"reversibility": "COMPENSABLE", "compensation": f"{run}.undo", "probe": f"{run}.ask"}


def check(functions: Functions, told: countermand.Report) -> None:
    """Everything was called once, in its order, and is in the report."""
    assert functions.called[0] == "stop job-1"
    assert sorted(functions.called[1:]) == ["ask o-3", "undo o-1 1", "undo o-1 1", "undo o-2 2", "undo o-2 2"]
    assert [one for one in functions.called if one.startswith("undo")][:2] == ["undo o-2 2"] * 2
    done = {one.op_id: one for one in told.done}
    assert {op: (one.state, one.undo.receipt, one.undo.attempts) for op, one in done.items() if one.undo} == {
        "o-1": (State.UNDONE, "c-o-1", 2),
        "o-2": (State.UNDONE, "c-o-2", 2),
    }
    assert done["o-1"].call_off is not None
    assert done["o-1"].call_off.state == "ACKNOWLEDGED"
    (failed,) = told.not_done
    assert (failed.op_id, failed.state, failed.evidence) == ("o-3", State.FAILED, "the outbox refused it")


async def test_the_async_compensator_does_all_there_is_to_do(process: SidecarProcess) -> None:
    """Of a run that was cancelled, with jobs, effects and an unknown outcome, all in Redis."""
    run, functions = "r-async", AsyncFunctions("r-async")
    async with countermand.connect(process.home) as cm:
        async with cm.open_run(run_id=run) as opened:
            with opened.grant(scopes=["*"]):
                async with countermand.perform("a.b", op_id="o-1", **declared(run)) as act:
                    act.undo_with(n=1)
                    act.accepted(handle="job-1", canceller=f"{run}.stop")
                async with countermand.perform("a.b", op_id="o-2", **declared(run)) as act:
                    act.undo_with(n=2)
                with pytest.raises(RuntimeError):
                    async with countermand.perform("a.b", op_id="o-3", use_within="1s", **declared(run)):
                        raise RuntimeError("nobody knows")
            await opened.cancel()
        await cm.operator.undo_run(run)
        await _until_done(functions.registry, cm, run)
        check(functions, await cm.auditor.report(run))


async def _until_done(registry: countermand.Registry, cm: countermand.Client, run: str) -> None:
    ends_at = time.monotonic() + 20
    while not is_done(await cm.auditor.report(run)):
        assert time.monotonic() < ends_at
        await countermand.compensator(registry, client=cm, poll="10ms").run_until_idle()
        await asyncio.sleep(0.01)


def is_done(told: countermand.Report) -> bool:
    """Nothing is left to find out or to undo."""
    return not told.unknown and not told.in_flight and all(one.state == State.UNDONE for one in told.done)


def test_the_blocking_compensator_does_all_there_is_to_do(process: SidecarProcess) -> None:
    """The same with functions that block, and a client that does."""
    run, functions = "r-sync", Functions("r-sync")
    with countermand.sync.connect(process.home) as cm:
        with cm.open_run(run_id=run) as opened, opened.grant(scopes=["*"]):
            with countermand.sync.perform("a.b", op_id="o-1", **declared(run)) as act:
                act.undo_with(n=1)
                act.accepted(handle="job-1", canceller=f"{run}.stop")
            with countermand.sync.perform("a.b", op_id="o-2", **declared(run)) as act:
                act.undo_with(n=2)
            with pytest.raises(RuntimeError):
                with countermand.sync.perform("a.b", op_id="o-3", use_within="1s", **declared(run)):
                    raise RuntimeError("nobody knows")
            opened.cancel()
        cm.operator.undo_run(run)
        ends_at = time.monotonic() + 20
        while not is_done(cm.auditor.report(run)):
            assert time.monotonic() < ends_at
            countermand.sync.compensator(functions.registry, client=cm, poll="10ms").run_until_idle()
            time.sleep(0.01)
        check(functions, cm.auditor.report(run))
