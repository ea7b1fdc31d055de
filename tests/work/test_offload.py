"""Work in a process: killed, not asked; nothing of it is left, whoever dies."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import countermand
from countermand import Stopped, WorkState
from countermand.work import offload
from tests.work import jobs
from tests.work.support import USER, names


async def test_results_and_exceptions_come_back() -> None:
    """With the place in the worker's code where it was raised; big ones, too."""
    async with countermand.scope() as scope:
        assert await scope.offload(jobs.add, 2, 40) == 42
        assert len(await scope.offload(jobs.big, 3_000_000)) == 3_000_000

    with pytest.raises(ValueError, match="boom") as raised:
        async with countermand.scope() as scope:
            scope.offload(jobs.fails, "boom")
    assert "jobs.py" in raised.value.__notes__[0]
    assert "in fails" in raised.value.__notes__[0]


async def test_a_loop_that_never_looks_up_is_killed(tmp_path: Path) -> None:
    """At once, and the receipt counts it as stopped."""
    async with countermand.scope(grace="20s") as scope:
        work = scope.offload(jobs.spin, str(tmp_path))
        pid = await asyncio.to_thread(jobs.left, tmp_path, "worker")
        start = time.monotonic()
        receipt = await scope.cancel(USER)
        assert time.monotonic() - start < 5

    assert names(receipt.stopped) == ["spin"]
    assert work.state is WorkState.STOPPED
    assert not jobs.is_alive(pid)
    with pytest.raises(Stopped) as stopped:
        await work
    assert stopped.value.stop is USER


async def test_what_the_worker_started_is_killed_with_it(tmp_path: Path) -> None:
    """It is in its process group."""
    async with countermand.scope() as scope:
        scope.offload(jobs.spin_with_a_child, str(tmp_path))
        child = await asyncio.to_thread(jobs.left, tmp_path, "child")
        await asyncio.to_thread(jobs.left, tmp_path, "worker")
        await scope.cancel(USER)
    assert await asyncio.to_thread(jobs.is_gone, child)


async def test_what_a_worker_leaves_running_is_killed_at_its_end(tmp_path: Path) -> None:
    """A scope never closes with live children: not with their children, either."""
    async with countermand.scope() as scope:
        assert await scope.offload(jobs.leaves_a_child, str(tmp_path)) == "done"
    assert await asyncio.to_thread(jobs.is_gone, jobs.left(tmp_path, "child"))


async def test_a_worker_that_is_asked_only_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the kill the loop goes on past the grace period, and is named."""
    kill = offload._Worker.kill
    monkeypatch.setattr(offload._Worker, "kill", lambda self: None)
    async with countermand.scope(grace="50ms") as scope:
        scope.offload(jobs.spin, str(tmp_path))
        pid = await asyncio.to_thread(jobs.left, tmp_path, "worker")
        receipt = await scope.cancel(USER)
        assert jobs.is_alive(pid)
        monkeypatch.setattr(offload._Worker, "kill", kill)
        os.killpg(pid, signal.SIGKILL)
    assert names(receipt.not_stopped) == ["spin"]


PARENT = """
import asyncio, sys, countermand
from tests.work import jobs

async def main():
    async with countermand.scope() as scope:
        scope.offload(getattr(jobs, sys.argv[1]), sys.argv[2])

asyncio.run(main())
"""


@pytest.mark.parametrize("job", ["spin_with_a_child", "spin_in_c"])
def test_no_orphan_is_left_when_the_parent_is_killed(tmp_path: Path, job: str) -> None:
    """Not even a loop in C, which lets no thread of its own notice."""
    with subprocess.Popen([sys.executable, "-c", PARENT, job, str(tmp_path)]) as parent:
        try:
            pids = [jobs.left(tmp_path, "worker")]
            pids += [jobs.left(tmp_path, "child")] if job == "spin_with_a_child" else []
        finally:
            parent.kill()
    try:
        assert all(jobs.is_gone(pid) for pid in pids)
    finally:
        for pid in filter(jobs.is_alive, pids):
            os.kill(pid, signal.SIGKILL)


async def test_what_cannot_be_sent_is_refused_with_the_way_out() -> None:
    """Before anything is started."""
    async with countermand.scope() as scope:
        with pytest.raises(countermand.FixTheCall, match="from the top of a module"):
            scope.offload(lambda: 1)
        with pytest.raises(countermand.FixTheCall, match="from the top of a module"):
            scope.offload(jobs.add, asyncio.current_task())
        assert scope.tree().children[1:] == ()


async def test_a_result_that_cannot_be_sent_back_is_a_fault_of_the_call() -> None:
    """An exception that cannot be is told as text."""
    with pytest.raises(countermand.FixTheCall, match="answers_a_lock has a result that cannot be sent"):
        async with countermand.scope() as scope:
            scope.offload(jobs.answers_a_lock)
    with pytest.raises(RuntimeError, match="Unreadable: a"):
        async with countermand.scope() as scope:
            scope.offload(jobs.fails_unreadably)


async def test_a_worker_that_dies_is_no_stop() -> None:
    """Killed by somebody else, it is a failure, which says how it ended."""
    with pytest.raises(countermand.WorkerDied, match=r"kills_itself ended without an answer: .*SIGKILL"):
        async with countermand.scope() as scope:
            scope.offload(jobs.kills_itself)
    with pytest.raises(countermand.WorkerDied, match="ended itself with code 3"):
        async with countermand.scope() as scope:
            scope.offload(jobs.exits)


async def test_a_worker_has_nothing_of_grpc_and_a_group_of_its_own() -> None:
    """It is a new program and not a copy of this one."""
    async with countermand.scope() as scope:
        loaded = await scope.offload(jobs.modules)
        group, pid = await scope.offload(jobs.group)
    assert not [name for name in loaded if name.partition(".")[0] in ("grpc", "countermand", "asyncio")]
    assert group == pid != os.getpgid(0)


async def test_it_is_never_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers of os.fork do not run: what starts the worker is no copy of this process."""
    forks: list[int] = []
    os.register_at_fork(before=lambda: forks.append(1))
    async with countermand.scope() as scope:
        assert await scope.offload(jobs.add, 1, 1) == 2
    assert forks == []


PROGRAM = """
import asyncio, countermand

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return Point(point.x * 2)

async def main():
    async with countermand.scope() as scope:
        print((await scope.offload(double, Point(21))).x)

{guard}asyncio.run(main())
"""


def test_functions_of_the_program_itself_can_be_offloaded(tmp_path: Path) -> None:
    """It is imported in the worker, and must not start there."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(guard="if __name__ == '__main__':\n    "))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr

    program.write_text(PROGRAM.format(guard=""))
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "start the program below 'if __name__ == \"__main__\":'" in done.stderr


async def test_no_descriptor_is_left() -> None:
    """Neither after an end nor after a kill."""
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with countermand.scope() as scope:
            work = scope.offload(jobs.add, 1, 1)
            await work
            scope.offload(jobs.add, 1, 1)
            await scope.cancel(USER)
    assert set(os.listdir("/proc/self/fd")) == before
