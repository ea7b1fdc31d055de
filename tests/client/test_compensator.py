"""What differs between the two compensators: threads, tasks, and how each of them ends."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

import countermand
import countermand.sync
from countermand._address import Sockets
from countermand.testing import Sidecar, sidecar
from tests.client.support import Proxy, refuse

Progress = countermand.Progress


def have_effects(real: Sidecar, *op_ids: str) -> None:
    """Have effects in the run r-1, cancel it, and ask for them to be undone."""
    with real.connect_sync() as cm, cm.open_run(run_id="r-1", agent="mailer") as run:
        with run.grant(scopes=["*"]):
            for op_id in op_ids:
                with countermand.sync.perform(
                    "email.send", op_id=op_id, reversibility="REVERSIBLE", compensation="a.b"
                ):
                    pass
        run.cancel()
        cm.operator.undo_run("r-1")


def in_runs(real: Sidecar, count: int) -> None:
    """Have one effect in each of some runs: those can be undone side by side."""
    with real.connect_sync() as cm:
        for n in range(count):
            with cm.open_run(run_id=f"r-{n}") as run, run.grant(scopes=["*"]):
                with countermand.sync.perform(
                    "email.send", op_id="o-1", reversibility="REVERSIBLE", compensation="a.b"
                ):
                    pass
            cm.operator.undo_run(f"r-{n}")


def registry_of(function: Callable[[countermand.Duty], Any]) -> countermand.Registry:
    """A registry with one compensation."""
    registry = countermand.Registry()
    registry.compensation("a.b")(function)
    return registry


def state_of(real: Sidecar, run: str = "r-1") -> list[str]:
    """The states of what was done."""
    with real.connect_sync() as cm:
        return [str(one.state) for one in cm.auditor.report(run).done]


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - somebody else's thread makes it so
            await asyncio.sleep(0.01)


async def test_functions_of_both_kinds_run_side_by_side(real: Sidecar) -> None:
    """One that blocks gets a thread, so that the loop and the others go on."""
    await asyncio.to_thread(in_runs, real, 4)
    meet = threading.Barrier(4)

    def blocks(duty: countermand.Duty) -> None:
        meet.wait(10)

    async with real.connect() as cm:
        await countermand.compensator(registry_of(blocks), client=cm, workers=4).run_until_idle()
    assert [state_of(real, f"r-{n}") for n in range(4)] == [["UNDONE"]] * 4


async def test_no_more_are_at_work_than_there_are_workers(real: Sidecar) -> None:
    """A duty that nobody can begin is not claimed: another compensator may have a hand free."""
    await asyncio.to_thread(in_runs, real, 3)
    at_work: list[int] = []
    most = 0

    async def counts(duty: countermand.Duty) -> None:
        nonlocal most
        at_work.append(1)
        most = max(most, len(at_work))
        await asyncio.sleep(0.05)
        at_work.pop()

    async with real.connect() as cm:
        await countermand.compensator(registry_of(counts), client=cm, workers=2).run_until_idle()
    assert most == 2


async def test_a_lease_is_renewed_while_a_function_runs() -> None:
    """However long that takes; nobody else gets the duty."""
    with sidecar() as real:
        await asyncio.to_thread(have_effects, real, "o-1")
        steps: list[countermand.DutyStep] = []

        async def is_slow(duty: countermand.Duty) -> str:
            for _ in range(15):
                await asyncio.sleep(0.1)
                assert duty.is_held
                assert await other.compensator.claim(compensations=["a.b"]) is None
            return "c-1"

        async with real.connect() as cm, real.connect() as other:
            worker = countermand.compensator(
                registry_of(is_slow), client=cm, lease="500ms", on_step=steps.append
            )
            await worker.run_until_idle()
        assert [step.what for step in steps] == [Progress.BEGUN, Progress.DONE]


async def test_a_function_whose_lease_is_lost_is_cancelled_and_nothing_is_reported(
    proxy: Proxy, real: Sidecar
) -> None:
    """Somebody else is at it: two that write would be worse than one that is late."""
    await asyncio.to_thread(have_effects, real, "o-1")
    steps: list[countermand.DutyStep] = []
    proxy.plan("RenewDuty", refuse("LEASE_LOST", grpc.StatusCode.FAILED_PRECONDITION))

    async def never_ends(duty: countermand.Duty) -> None:
        await asyncio.sleep(60)

    async with countermand.Client(Sockets(proxy.home)) as cm:
        worker = countermand.compensator(
            registry_of(never_ends), client=cm, lease="300ms", on_step=steps.append
        )
        await worker.run_until_idle()
    assert [step.what for step in steps] == [Progress.BEGUN, Progress.LOST]
    assert not {"CompleteDuty", "FailDuty"} & set(proxy.calls)


async def test_a_function_in_a_thread_is_told_that_its_lease_is_lost(proxy: Proxy, real: Sidecar) -> None:
    """It cannot be stopped; it can look."""
    await asyncio.to_thread(have_effects, real, "o-1")
    steps: list[countermand.DutyStep] = []
    proxy.plan("RenewDuty", refuse("LEASE_LOST", grpc.StatusCode.FAILED_PRECONDITION))

    def looks(duty: countermand.Duty) -> None:
        ends_at = time.monotonic() + 10
        while duty.is_held and time.monotonic() < ends_at:
            time.sleep(0.01)
        assert time.monotonic() < ends_at

    async with countermand.Client(Sockets(proxy.home)) as cm:
        worker = countermand.compensator(registry_of(looks), client=cm, lease="300ms", on_step=steps.append)
        await worker.run_until_idle()
    assert [step.what for step in steps] == [Progress.BEGUN, Progress.LOST]
    assert "CompleteDuty" not in proxy.calls


async def test_a_stop_lets_come_to_its_end_what_is_under_way(real: Sidecar) -> None:
    """And begins nothing more."""
    await asyncio.to_thread(have_effects, real, "o-1", "o-2")
    begun = asyncio.Event()

    async def is_slow(duty: countermand.Duty) -> None:
        begun.set()
        await asyncio.sleep(0.2)

    async with real.connect() as cm:
        worker = countermand.compensator(registry_of(is_slow), client=cm)
        running = asyncio.create_task(worker.run())
        await begun.wait()
        worker.stop()
        await running
    assert state_of(real) == ["UNDO_PENDING", "UNDONE"]


async def test_a_cancelled_compensator_gives_back_what_it_can(real: Sidecar) -> None:
    """An async function is cancelled, and its duty is due again soon; one in a thread comes to its end."""
    await asyncio.to_thread(in_runs, real, 2)
    begun: list[str] = []
    go_on = threading.Event()

    async def waits(duty: countermand.Duty) -> None:
        begun.append(duty.run_id)
        if duty.run_id == "r-0":
            await asyncio.sleep(60)
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 10)

    def blocks(duty: countermand.Duty) -> Any:
        if duty.run_id == "r-0":
            return waits(duty)
        begun.append(duty.run_id)
        go_on.wait(10)
        return "c-1"

    async with real.connect() as cm:
        running = asyncio.create_task(countermand.compensator(registry_of(blocks), client=cm).run())
        await until(lambda: len(begun) == 2)
        running.cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        await cm.background.drain()
        [given_back] = (await cm.auditor.report("r-0")).done
    assert (given_back.state, given_back.undo.note) == ("UNDO_PENDING", "let go: the compensator ends")
    assert state_of(real, "r-1") == ["UNDONE"]


async def test_a_sidecar_that_is_away_is_waited_for(real: Sidecar) -> None:
    """One that is not there yet, and one that is restarted: the compensator needs no supervisor for that."""
    proxy = Proxy(real.home)
    home = proxy.home
    proxy.stop()
    done: list[str] = []
    await asyncio.to_thread(have_effects, real, "o-1")

    async with countermand.Client(Sockets(home), timeout=0.2) as cm:
        worker = countermand.compensator(
            registry_of(lambda duty: done.append(duty.op_id)), client=cm, poll="20ms"
        )
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.3)
        assert not running.done()
        back = Proxy(real.home, home)
        try:
            await until(lambda: state_of(real) == ["UNDONE"])
            worker.stop()
            await running
        finally:
            back.stop()
    assert done == ["o-1"]


async def test_a_compensator_that_runs_once_does_not_wait_for_a_sidecar(tmp_path: Any) -> None:
    """Whoever called it decides what comes next."""
    async with countermand.connect(tmp_path) as cm:
        with pytest.raises(countermand.NotRunning):
            await countermand.compensator(registry_of(print), client=cm).run_until_idle()


def test_the_blocking_compensator_refuses_async_functions(real: Sidecar) -> None:
    """Before it claims anything."""

    async def unsend(duty: countermand.Duty) -> None:
        raise AssertionError

    with (
        real.connect_sync() as cm,
        pytest.raises(countermand.FixTheCall, match="unsend is an async function"),
    ):
        countermand.sync.compensator(registry_of(unsend), client=cm).run_until_idle()


def test_the_blocking_compensator_is_stopped_from_another_thread(real: Sidecar) -> None:
    """It has as many threads as workers, and none of them is left behind."""
    in_runs(real, 3)
    meet = threading.Barrier(3)

    def blocks(duty: countermand.Duty) -> None:
        meet.wait(10)

    with real.connect_sync() as cm:
        worker = countermand.sync.compensator(registry_of(blocks), client=cm, workers=3, poll="20ms")
        running = threading.Thread(target=worker.run)
        running.start()
        ends_at = time.monotonic() + 10
        while [state_of(real, f"r-{n}") for n in range(3)] != [["UNDONE"]] * 3:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        worker.stop()
        running.join(10)
        assert not running.is_alive()
    assert not [one.name for one in threading.enumerate() if one.name.startswith("countermand-duty")]


def test_what_is_registered_without_a_registry_is_shared(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clients have the same; and a compensator without a client makes its own."""
    from countermand import _registry

    shared = countermand.Registry()
    monkeypatch.setattr(_registry, "shared", shared)
    monkeypatch.setenv("COUNTERMAND_HOME", str(real.home))
    shared.compensation("a.b")(lambda duty: None)
    have_effects(real, "o-1")
    countermand.sync.compensator().run_until_idle()
    assert state_of(real) == ["UNDONE"]
    assert countermand.compensation is countermand.sync.compensation
