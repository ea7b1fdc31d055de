"""Nothing is left of a scope: no task, thread, process, descriptor or memory."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
import weakref

import countermand
import countermand.sync
from countermand.work import token
from tests.build.support import run
from tests.work import jobs
from tests.work.support import USER, a_turn, forever
from tests.work.ten_thousand import held


def test_ten_thousand_scopes_leave_nothing() -> None:
    """No task, thread, process or descriptor; no more objects, and no more bytes."""
    told = json.loads(run(sys.executable, "-m", "tests.work.ten_thousand").stdout)
    assert told["left"] == {}
    assert told["bytes"] < 64 * 1024
    assert told["objects"] < 100
    assert told["cpu"] < 10


async def test_threads_and_processes_leave_nothing() -> None:
    """Stopped, finished and never begun."""
    before = held()
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
    before = held()

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
    """A thread is gone a moment after it has answered; what other tests left may go meanwhile, too."""
    end = time.monotonic() + 5
    while more := _more(before):
        assert time.monotonic() < end, more
        await asyncio.sleep(0.005)


def _more(before: dict[str, object]) -> dict[str, object]:
    after = held()
    return {
        name: after[name]
        for name, count in before.items()
        if (after[name] > count if isinstance(count, int) else set(after[name]) - set(count))  # type: ignore[operator, call-overload]
    }


async def test_a_leak_would_be_seen() -> None:
    """Negative control: a task, a thread and a descriptor that are left change what is counted."""
    before = held()
    gate = threading.Event()
    task = asyncio.create_task(forever())
    thread = threading.Thread(target=gate.wait)
    thread.start()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    after = held()
    os.close(descriptor)
    assert {"tasks", "threads", "descriptors"} <= {name for name in before if before[name] != after[name]}
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
