"""Nothing is left of a scope: no task, thread, process, descriptor or memory."""

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
import tracemalloc
import weakref
from pathlib import Path

import pytest

import countermand
import countermand.sync
from countermand import Stopped
from countermand.work import interrupts, token
from tests.work import jobs
from tests.work.support import USER, a_turn, forever

SCOPES = 10_000


def _held() -> dict[str, object]:
    """Count what a process can leave behind."""
    pid = os.getpid()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "children": sorted(child for child in children if jobs.is_alive(int(child))),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "shields": len(interrupts._shields),
    }


async def _one(number: int, above: countermand.WorkScope) -> None:
    """Open a scope with work of every kind that is cheap, and stop it; each time in another way."""
    with contextlib.suppress(Stopped, ValueError):
        async with countermand.scope("agent", timeout="60s") as scope:
            scope.defer(int)
            scope.token.on_cancel(lambda _: None)
            scope.spawn(forever)
            async with scope.shield():
                pass
            if number % 4 == 0:
                await scope.cancel(USER)
            elif number % 4 == 1:
                async with countermand.scope("sub") as sub:
                    sub.spawn(forever)
                    scope.cancel(USER)
                    await forever()
            elif number % 4 == 2:
                raise ValueError
            else:
                scope.detach(scope.spawn(a_turn, 0), to=above)
                scope.cancel(USER)
                await forever()
            if number % 500 == 0:
                raise ValueError


async def test_ten_thousand_scopes_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """There are no more objects after the last than after the second thousand, nor bytes after that."""
    caplog.set_level(logging.CRITICAL, "countermand")  # what is captured is kept, with its exceptions
    begun = time.process_time()
    objects = []
    async with countermand.scope("app") as above:
        before = _held()
        for number in range(SCOPES):
            if number == 1000:
                tracemalloc.start()  # it is slow, so for one thousand only
            await _one(number, above)
            if number in (1999, SCOPES - 1):
                await a_turn()
                gc.collect()
                objects.append(len(gc.get_objects()))
            if number == 1999:
                grown = tracemalloc.get_traced_memory()[0]
                tracemalloc.stop()
        assert _held() == before
    assert grown < 64 * 1024
    assert objects[1] - objects[0] < 100
    assert time.process_time() - begun < 10


async def test_threads_and_processes_leave_nothing() -> None:
    """Stopped, finished and never begun."""
    before = _held()
    for _ in range(100):
        async with countermand.scope() as scope:
            scope.run_in_thread(lambda token: token.wait())
            await scope.run_in_thread(lambda _: None)
            scope.run_in_thread(lambda token: token.wait())
            await scope.cancel(USER)
    for _ in range(3):
        async with countermand.scope() as scope:
            await scope.offload(jobs.add, 1, 1)
            scope.offload(jobs.big, 10)
            await scope.cancel(USER)
    await _settled(before)


async def test_blocking_scopes_leave_nothing() -> None:
    """Two thousand of them, each with a thread that is stopped and a timer that is not needed."""
    before = _held()

    def agent() -> None:
        for _ in range(2000):
            with countermand.sync.scope(timeout="60s") as scope:
                scope.spawn(lambda token: token.wait())
                scope.cancel(USER)

    await asyncio.to_thread(agent)
    gc.collect()
    await asyncio.get_running_loop().shutdown_default_executor()
    await _settled(before)


async def _settled(before: dict[str, object]) -> None:
    """A thread is gone a moment after it has answered."""
    end = time.monotonic() + 5
    while _held() != before and time.monotonic() < end:  # noqa: ASYNC110 - a thread tells nobody
        await asyncio.sleep(0.005)
    assert _held() == before


async def test_a_leak_would_be_seen() -> None:
    """Negative control: a task, a thread and a descriptor that are left change what is counted."""
    before = _held()
    gate = threading.Event()
    task = asyncio.create_task(forever())
    thread = threading.Thread(target=gate.wait)
    thread.start()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    after = _held()
    os.close(descriptor)
    assert {name for name in before if before[name] != after[name]} == {"tasks", "threads", "descriptors"}
    gate.set()
    thread.join()
    task.cancel()


async def test_a_scope_is_freed_when_nobody_holds_it() -> None:
    """Neither the context of the task nor the scope above does."""

    async def run() -> "weakref.ref[countermand.WorkScope]":
        async with countermand.scope(), countermand.scope() as scope:
            scope.spawn(a_turn)
            await scope.cancel(USER)
        return weakref.ref(scope)

    ref = await run()
    gc.collect()
    assert ref() is None


async def test_a_scope_that_lives_long_does_not_grow() -> None:
    """Of ten thousand pieces of work it keeps a hundred names, and of ten thousand threads no token."""
    async with countermand.scope() as scope:
        for _ in range(100):
            for work in [scope.background(a_turn, 0) for _ in range(100)]:
                await work
        owner = scope._owner
        assert len(owner.works) == 0
        assert owner.finished()[1] == 10_000
        for _ in range(50):
            await scope.run_in_thread(token.CancellationToken.check)
        assert len(owner.token._followers) == 0
