"""A process that is killed while it writes a file: what is on the disk then, and what is on record of it.

One process is made ready and forks; each child kills itself at another step, before the call or behind it.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import countermand
import countermand.sync
from countermand import _files
from countermand.testing import ManualClock, Sidecar

#: Each line of its output: the step, and how the child ended.
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
import countermand.sync as countermand
from countermand._sync.tool_door import Tool

home, token, folder, how = sys.argv[1:]
CALLS = [(os, "open"), (os, "fchmod"), (os, "fsync"), (os, "rename"), (os, "link"), (os, "unlink")]
CALLS += [(os, "close"), (Tool, "perform"), (Tool, "settle")]


def arm(step):
    # Kill this process at the step-th of these moments.
    left = [step]
    def moment():
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def around(call):
        def called(*told, **named):
            moment()
            answer = call(*told, **named)
            moment()
            return answer
        return called
    for place, name in CALLS:
        setattr(place, name, around(getattr(place, name)))


def write(path):
    if how == "in place":  # the control: what one writes without thinking
        with countermand.perform("file.write", resource=f"file:{os.path.realpath(path)}"):
            file = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.write(file, b"new" * 10)
            os.fsync(file)
            os.close(file)
    else:
        countermand.write_file(path, b"new" * 10, replace=how == "rename")


def child(step):
    with countermand.connect(home) as cm, cm.use_token(token):
        arm(step)
        write(Path(folder, f"file-{step}"))


for step in range(100):
    if how != "link":
        Path(folder, f"file-{step}").write_bytes(b"old" * 10)
    pid = os.fork()
    if pid == 0:
        child(step)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print(json.dumps([step, os.waitstatus_to_exitcode(status)]), flush=True)
    if status == 0:
        break
"""


def killed_everywhere(real: Sidecar, clock: ManualClock, folder: Path, how: str) -> list[tuple[str, str]]:
    """Kill a writer at every step; answer what is on the disk and, once its permit is over, on record."""
    with countermand.sync.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        token = run.grant(scopes=["*"]).token().reveal()
        told = [sys.executable, "-c", PROGRAM, str(real.home), token, str(folder), how]
        done = subprocess.run(told, capture_output=True, text=True, check=True, timeout=120)
        ended = [json.loads(line) for line in done.stdout.splitlines()]
        clock.advance("10s")
        report = run.report()
    assert [code for _, code in ended[:-1]] == [-9] * (len(ended) - 1), done.stderr
    assert ended[-1][1] == 0, done.stderr
    parts = (report.done, report.in_flight, report.unknown, report.not_done)
    states = {one.resource.rpartition("/")[2]: str(one.state) for part in parts for one in part}
    return [(content(folder / f"file-{step}"), states.get(f"file-{step}", "-")) for step, _ in ended]


def content(path: Path) -> str:
    """Say what a file holds."""
    if not path.exists():
        return "none"
    return {b"old" * 10: "old", b"new" * 10: "new"}.get(path.read_bytes(), "torn")


#: What may be together. A file that is there is on record, and what is done, is there.
TRUE = {
    *(("old", state) for state in ("-", "UNKNOWN", "FAILED")),
    *(("none", state) for state in ("-", "UNKNOWN", "FAILED")),
    *(("new", state) for state in ("UNKNOWN", "SUCCEEDED")),
}


def test_whenever_it_is_killed_a_file_is_whole_and_no_more_is_claimed(
    real: Sidecar, clock: ManualClock, tmp_path: Path
) -> None:
    """Either the old one or the new one, and never one that is done and is not there."""
    for how, before in (("rename", "old"), ("link", "none")):
        folder = tmp_path / how
        folder.mkdir()
        seen = killed_everywhere(real, clock, folder, how)
        assert set(seen) <= TRUE
        assert {(before, "-"), (before, "UNKNOWN"), ("new", "UNKNOWN"), ("new", "SUCCEEDED")} == set(seen)


def test_a_file_that_is_written_in_place_would_be_torn(
    real: Sidecar, clock: ManualClock, tmp_path: Path
) -> None:
    """The control: the same killing finds it."""
    assert ("torn", "UNKNOWN") in killed_everywhere(real, clock, tmp_path, "in place")


def test_what_the_killed_leave_behind_is_swept_by_the_next_process(real: Sidecar, tmp_path: Path) -> None:
    """And nothing of those that are alive, nor of anybody else."""
    left, of_the_living = (f".countermand-{letter * 32}.tmp" for letter in "ab")
    for name in (left, of_the_living, ".countermand-mine.tmp"):
        (tmp_path / name).touch()
    with (tmp_path / of_the_living).open() as alive, countermand.sync.connect(real.home) as cm:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with cm.open_run(agent="clerk") as run, run.grant(scopes=["*"]):
            countermand.sync.write_file(tmp_path / "next", b"")
    assert sorted(os.listdir(tmp_path)) == [of_the_living, ".countermand-mine.tmp", "next"]


async def test_a_task_that_is_cancelled_drops_the_file_when_the_disk_is_done_with_it(
    real: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that is closed under a thread that writes could be another file's by then."""
    complete, begun, go_on = _files.Staged.complete, threading.Event(), threading.Event()

    def slow(staged: _files.Staged, data: bytes) -> str:
        begun.set()
        assert go_on.wait(30)
        assert not staged.file.closed
        return complete(staged, data)

    monkeypatch.setattr(_files.Staged, "complete", slow)
    async with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            task = asyncio.create_task(countermand.write_file(tmp_path / "a", "new"))
            await asyncio.to_thread(begun.wait, 30)
            task.cancel()
            await asyncio.sleep(0.05)
            assert len(os.listdir(tmp_path)) == 1
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        report = await run.report()
    assert (report.done, report.unknown, os.listdir(tmp_path)) == ((), (), [])


def test_a_file_that_was_swept_before_it_was_locked_is_begun_anew(tmp_path: Path) -> None:
    """Who sweeps may come between the two; nothing is lost by it."""
    lock, names = fcntl.flock, list[str]()

    def late(file: int, how: int) -> None:
        if not names:
            names.extend(os.listdir(tmp_path))
            (tmp_path / names[0]).unlink()
        lock(file, how)

    _files.fcntl.flock = late
    try:
        _, staged = _files.stage(tmp_path / "a", None)
    finally:
        _files.fcntl.flock = lock
    staged.complete(b"new")
    staged.put(replace=True)
    staged.drop()
    assert (os.listdir(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"new")
