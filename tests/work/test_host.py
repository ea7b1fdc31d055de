"""The task that holds a scope open: whose cancellation is whose, and what ends programs."""

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest

import countermand
from countermand import StopCause, Stopped
from countermand.work.host import Host
from tests.work.support import USER, a_turn, forever


async def _cancelled_from_outside(main: "asyncio.Task[None]") -> None:
    with pytest.raises(asyncio.CancelledError):
        await main
    assert main.cancelled()


async def test_a_cancellation_of_the_task_from_outside_is_not_ours() -> None:
    """It stops the work, for a typed reason, and goes on as it was."""
    scopes = []

    async def main() -> None:
        async with countermand.scope() as scope:
            scopes.append(scope)
            scope.spawn(forever)
            await forever()

    task = asyncio.create_task(main())
    await a_turn()
    task.cancel()
    await _cancelled_from_outside(task)

    stop = scopes[0].token.stop
    assert stop is not None
    assert (stop.cause, stop.reason) == (StopCause.OUTSIDE, "CLIENT_DISCONNECTED")


@pytest.mark.parametrize("ours_first", [True, False])
async def test_both_at_once_are_told_apart(ours_first: bool) -> None:
    """The scope's own is taken back, the one from outside goes on: in whichever order they come."""

    async def main() -> None:
        async with countermand.scope() as scope:
            scopes.append(scope)
            await forever()

    scopes: list[countermand.WorkScope] = []
    task = asyncio.create_task(main())
    await a_turn()
    for ours in (ours_first, not ours_first):
        scopes[0].cancel(USER) if ours else task.cancel()
    await _cancelled_from_outside(task)
    assert task.cancelling() == 1


async def test_one_that_comes_while_work_is_awaited_stops_it() -> None:
    """And the block waits for the work all the same, however often it is cancelled."""
    release = asyncio.Event()

    async def slow_to_stop() -> None:
        try:
            await forever()
        finally:
            await release.wait()

    async def main() -> None:
        async with countermand.scope(grace="60s") as scope:
            works.append(scope.spawn(slow_to_stop))

    works: list[countermand.Work[None]] = []
    task = asyncio.create_task(main())
    await a_turn()
    for _ in range(3):
        task.cancel()
        await a_turn()
        assert not task.done()
    release.set()
    await _cancelled_from_outside(task)
    assert task.cancelling() == 3
    assert works[0].task.cancelled()


@pytest.mark.parametrize("ours_too", [True, False])
async def test_one_that_has_not_arrived_when_the_body_ends_is_not_lost(ours_too: bool) -> None:
    """It was sent while the body did its last step, which waits for nothing."""

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with countermand.scope() as scope:
            scope.spawn(forever)
            if ours_too:
                scope.cancel(USER)
            task.cancel()

    await _cancelled_from_outside(asyncio.create_task(main()))


async def test_one_that_comes_after_ours_while_work_is_awaited() -> None:
    """The block was interrupted by the scope, and the task by somebody else later."""
    release = asyncio.Event()

    async def slow_to_stop() -> None:
        try:
            await forever()
        finally:
            await release.wait()

    async def main() -> None:
        async with countermand.scope(grace="60s") as scope:
            scopes.append(scope)
            scope.spawn(slow_to_stop)
            await forever()

    scopes: list[countermand.WorkScope] = []
    task = asyncio.create_task(main())
    await a_turn()
    scopes[0].cancel(USER)
    await a_turn()
    task.cancel()
    await a_turn()
    release.set()
    await _cancelled_from_outside(task)


async def test_without_the_count_a_cancellation_from_outside_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a host that takes every cancellation for its own swallows it."""
    monkeypatch.setattr(Host, "is_from_outside", lambda self, error: False)

    async def main() -> None:
        async with countermand.scope() as scope:
            scopes.append(scope)
            await forever()

    scopes: list[countermand.WorkScope] = []
    task = asyncio.create_task(main())
    await a_turn()
    scopes[0].cancel(USER)
    task.cancel()
    with pytest.raises(Stopped):
        await task


@pytest.mark.parametrize("by_token", [True, False])
async def test_a_signal_handler_wakes_the_loop(by_token: bool) -> None:
    """Python calls it in the midst of the loop's sleep, and then lets that sleep on."""
    main = threading.main_thread().ident
    assert main is not None
    striking = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGUSR1))
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with pytest.raises(Stopped):
            async with countermand.scope() as scope:
                stop = scope.token.cancel if by_token else scope.cancel
                signal.signal(signal.SIGUSR1, lambda *_: stop(USER))
                striking.start()
                began = time.monotonic()
                await asyncio.sleep(3)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 2.5


async def test_a_timeout_around_a_scope_is_still_a_timeout() -> None:
    """What asyncio.timeout cancels is not taken for a stop of ours, and the other way round."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), countermand.scope() as scope:
            scope.spawn(forever)
    with pytest.raises(Stopped):
        async with asyncio.timeout(60), countermand.scope(timeout="10ms") as scope:
            scope.spawn(forever)


async def test_a_task_group_around_a_scope_works() -> None:
    """And within one."""

    async def agent() -> None:
        async with countermand.scope() as scope, asyncio.TaskGroup() as group:
            group.create_task(forever())
            scope.cancel(USER)
            await forever()

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            group.create_task(agent())
            group.create_task(forever())
    (error,) = raised.value.exceptions
    assert isinstance(error, Stopped)


async def test_a_scope_in_a_task_that_is_being_cancelled_works() -> None:
    """In a `finally` block, say: what was cancelled before it was opened is not its business."""
    done = []

    async def main() -> None:
        try:
            await forever()
        finally:
            async with countermand.scope() as scope:
                await scope.spawn(a_turn)
                done.append("worked")
            with pytest.raises(Stopped):
                async with countermand.scope() as scope:
                    scope.cancel(USER)
                    await forever()
            done.append("stopped")

    task = asyncio.create_task(main())
    await a_turn()
    task.cancel()
    await _cancelled_from_outside(task)
    assert done == ["worked", "stopped"]


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_goes_through(ends: type[BaseException]) -> None:
    """Raised in work, it stops the rest, lets it clean up, and leaves the block."""
    seen = []

    async def ends_all() -> None:
        await a_turn()
        raise ends

    async def main() -> None:
        try:
            async with countermand.scope() as scope:
                scope.defer(seen.append, "clean")
                scope.spawn(forever)
                scope.spawn(ends_all)
                await forever()
        except BaseException as error:
            seen.append(type(error))
            raise

    with pytest.raises(ends):
        asyncio.run(main())
    assert seen == ["clean", ends]


CTRL_C = """
import asyncio, countermand, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored below a shell's background job

async def work():
    try:
        await asyncio.Event().wait()
    finally:
        print("work stopped", flush=True)

async def main():
    async with countermand.scope("agent") as scope:
        scope.defer(print, "clean")
        scope.spawn(work)
        await asyncio.sleep(0.01)
        print("ready", flush=True)

asyncio.run(main())
"""


def test_ctrl_c_stops_the_work_and_cleans_up() -> None:
    """In a real program, by a real signal."""
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "ready\n"
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=30)
        finally:
            program.kill()

    assert out == "work stopped\nclean\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert program.returncode == -signal.SIGINT
