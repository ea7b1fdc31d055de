"""The log must not matter to anybody but its reader: not when it is stuck, full, closed, nor at the end."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from grant_service import log_sink
from grant_service.log_sink import Sink, writer
from tests.rpc.support import Caller, cancel, read_error
from tests.support.sidecar import ROOT, SidecarProcess, sidecar_running

#: Starts what comes after it with another standard error, as whoever starts a sidecar may.
_BECOME = "os.execv(sys.executable, [sys.executable, *{what!r}])"
_OPENED = "import os, sys; os.dup2(os.open({path!r}, os.O_WRONLY), 2); " + _BECOME
_CLOSED = "import os, sys; os.close(2); " + _BECOME

SIDECAR = ("-m", "grant_service")
#: The sidecar as it would be if it wrote each line at once: what the sink is for.
_DIRECT = """
import sys, structlog
from grant_service import __main__
configure = __main__.configure
def direct(level):
    configure(level)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
__main__.configure = direct
sys.exit(__main__.main())
"""
DIRECT = ("-c", _DIRECT)
#: The sidecar on a store that is in trouble while a file is there.
_TROUBLED = """
import dataclasses, os, sys
from grant_service import __main__
from grant_service.rpc import health
from grant_service.store.memory import MemoryStore
health._INTERVAL_S = 0.05
standing = MemoryStore.standing
async def troubled(self):
    return dataclasses.replace(await standing(self), trouble="so it is" if os.path.exists({path!r}) else "")
MemoryStore.standing = troubled
sys.exit(__main__.main())
"""

#: More lines than a pipe (64 KiB) and the sink take together.
FLOOD = 3500


def onto(path: Path | str, what: tuple[str, ...] = SIDECAR) -> tuple[str, str]:
    """A program whose standard error is this file."""
    return "-c", _OPENED.format(path=str(path), what=what)


@contextmanager
def unread(directory: Path) -> Iterator[tuple[Path, int]]:
    """A pipe somebody holds open and nobody reads, and the end at which one could."""
    path = directory / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield path, end
    finally:
        os.close(end)


def read(end: int, until: bytes | None = None) -> bytes:
    """Read a pipe until this was said, or until its other end is closed."""
    os.set_blocking(end, True)
    said = b""
    while (until is None or until not in said) and (more := os.read(end, 1 << 20)):
        said += more
    return said


async def flood(sidecar: SidecarProcess, count: int, timeout: float = 2) -> int:
    """Make so many calls that are refused; answer how many were in time, each of them."""
    caller = Caller(sidecar.target("tool"))
    refused = 0

    async def some() -> None:
        nonlocal refused
        for _ in range(count // 50):
            try:
                await caller("OpenRun", run_id="r-1", timeout=timeout)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                    return
                refused += 1

    await asyncio.gather(*(some() for _ in range(50)))
    await caller.channel.close()
    return refused


async def cancelled_after(sidecar: SidecarProcess) -> float:
    """How long a cancel takes, in seconds, or infinity if it is not answered."""
    caller = Caller(sidecar.target("operator"), [("grpc.use_local_subchannel_pool", 1)])
    start = time.monotonic()
    try:
        await caller("CancelRun", timeout=1, **cancel("r-1"))
    except grpc.aio.AioRpcError:
        return float("inf")
    finally:
        await caller.channel.close()
    return time.monotonic() - start


async def test_a_pipe_nobody_reads_stops_nothing_and_the_gap_is_told(tmp_path: Path) -> None:
    """Refusals and a cancel: all as ever. Whoever reads at last sees how much is missing, and where."""
    with unread(tmp_path) as (path, end), sidecar_running(program=onto(path), store="memory") as sidecar:
        assert await flood(sidecar, FLOOD) == FLOOD
        assert await cancelled_after(sidecar) < 1
        said = await asyncio.wait_for(asyncio.to_thread(read, end, b"log lines dropped"), 5)
        assert await asyncio.to_thread(sidecar.terminate) == 0
        events = [json.loads(line) for line in (said + read(end)).splitlines()]
    told = sum(event["event"] in ("refused", "cancelled") for event in events)
    assert [event["event"] for event in events[-2:]] == ["log lines dropped", "stopped"]
    gap = events[-2]
    assert (gap["level"], gap["count"]) == ("warning", FLOOD + 1 - told)
    assert 0 < gap["count"] < FLOOD
    assert sorted(events, key=lambda event: str(event["timestamp"])) == events


async def test_a_pipe_nobody_ever_reads_does_not_delay_the_end(tmp_path: Path) -> None:
    """The lines that are left get a second, no more; the exit code is that of a good end."""
    with unread(tmp_path) as (path, _), sidecar_running(program=onto(path), store="memory") as sidecar:
        assert await flood(sidecar, 600) == 600
        start = time.monotonic()
        assert await asyncio.to_thread(sidecar.terminate) == 0
        assert time.monotonic() - start < 4


async def test_written_directly_the_same_pipe_stops_everything(tmp_path: Path) -> None:
    """The negative control: without the sink neither refusal nor cancel nor SIGTERM gets through."""
    program = onto(tmp_path / "pipe", DIRECT)
    with unread(tmp_path), sidecar_running(program=program, store="memory") as sidecar:
        assert await flood(sidecar, 600, timeout=0.8) < 600
        assert await cancelled_after(sidecar) == float("inf")
        os.kill(sidecar.pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(sidecar.wait, 0.5)


async def test_a_full_disk_under_the_log_is_nobodys_trouble(tmp_path: Path) -> None:
    """Callers get their refusals with the reason, health follows the store, and the end is a good one."""
    trouble = tmp_path / "trouble"
    program = onto("/dev/full", ("-c", _TROUBLED.format(path=str(trouble))))
    with sidecar_running(program=program, store="memory") as sidecar:
        caller = Caller(sidecar.target("tool"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller("OpenRun", run_id="r-1", timeout=2)
        await caller.channel.close()
        assert read_error(caught.value).reason == "ROLE_NOT_ALLOWED"
        for wanted in ("NOT_SERVING", "SERVING"):
            trouble.touch() if wanted == "NOT_SERVING" else trouble.unlink()
            await asyncio.to_thread(sidecar.wait_health, wanted, "store")
        assert await asyncio.to_thread(sidecar.terminate) == 0


async def test_without_a_standard_error_the_sidecar_works_and_keeps_its_number_free() -> None:
    """Or the next file would get number 2, and what a library in C has to say."""
    program = ("-c", _CLOSED.format(what=SIDECAR))
    with sidecar_running(program=program, store="memory") as sidecar:
        assert await flood(sidecar, 50) == 50
        assert os.readlink(f"/proc/{sidecar.pid}/fd/2") == os.devnull
        assert await asyncio.to_thread(sidecar.terminate) == 0
    assert "refused" not in sidecar.out


def test_the_last_lines_of_a_process_are_not_lost() -> None:
    """More than a pipe takes at once, of a process that ends at once; its reader is a little late."""
    log = "from grant_service.log import configure; import structlog; configure('info')\n"
    log += "for n in range(1500): structlog.get_logger().info('told', n=n)"
    with subprocess.Popen([sys.executable, "-c", log], cwd=ROOT, stderr=subprocess.PIPE) as process:
        assert process.stderr
        first = process.stderr.read(1)
        time.sleep(0.2)
        said = first + process.stderr.read()
    assert process.returncode == 0
    assert [json.loads(line)["n"] for line in said.splitlines()] == list(range(1500))


class Stream:
    """Takes what it is told to, and fails or hangs otherwise."""

    def __init__(self) -> None:
        self.written = b""
        self.free, self.failing = threading.Event(), False

    def write(self, line: bytes) -> int:
        """Write at most ten bytes."""
        self.free.wait(10)
        if self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written += line[:10]
        return len(line[:10])


@pytest.fixture
def stream() -> Iterator[Stream]:
    """A stream that hangs; it lets go at the end."""
    one = Stream()
    yield one
    one.failing = False
    one.free.set()


def lines(stream: Stream) -> list[str]:
    """What was written."""
    return stream.written.decode().splitlines()


def test_lines_wait_for_a_stream_that_fails_and_none_is_torn(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full for a while costs nothing, not even half a line."""
    monkeypatch.setattr(log_sink, "_AGAIN_S", 0.01)
    stream.failing = True
    stream.free.set()
    sink = Sink(stream.write, str)
    told = [f"{n} of the lines that wait" for n in range(100)]
    for line in told:
        sink.put(line)
    assert not sink.flush(0.05)
    stream.failing = False
    assert sink.flush(5)
    assert lines(stream) == told


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(stream: Stream) -> None:
    """However much is logged while the stream is stuck; and no call waits for it."""
    sink = Sink(stream.write, lambda count: f"dropped {count}")
    start = time.monotonic()
    for n in range(50_000):
        sink.put(f"{n:060}")
    assert time.monotonic() - start < 5
    assert sum(map(sys.getsizeof, sink._lines)) <= log_sink._LIMIT
    assert not sink.flush(0.01)
    stream.free.set()
    assert sink.flush(10)
    sink.put("after")
    assert sink.flush(5)
    *kept, dropped, after = lines(stream)
    assert kept == [f"{n:060}" for n in range(len(kept))]
    assert (dropped, after) == (f"dropped {50_000 - len(kept)}", "after")


def test_a_line_too_long_for_any_queue_is_counted_too(stream: Stream) -> None:
    """It is the one thing that is dropped while all is well."""
    stream.free.set()
    sink = Sink(stream.write, lambda count: f"dropped {count}")
    sink.put("x" * log_sink._LIMIT)
    assert sink.flush(5)
    assert lines(stream) == ["dropped 1"]


def test_logging_inside_logging_does_not_lock_up(stream: Stream) -> None:
    """As a finalizer does that runs while a line is taken, in the same thread."""
    stream.free.set()
    sink = Sink(stream.write, lambda count: sink.put("inside") or f"dropped {count}")
    sink.put("x" * log_sink._LIMIT)
    assert sink.flush(5)
    assert sorted(lines(stream)) == ["dropped 1", "inside"]


@pytest.mark.parametrize("closed", ["at once", "later"])
def test_a_closed_stream_raises_nothing(closed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also not if another file gets the number it had."""
    monkeypatch.setattr(log_sink, "_AGAIN_S", 0.01)
    stream = (tmp_path / "log").open("w")
    if closed == "at once":
        stream.close()
    write = writer(stream)
    stream.close()
    with (tmp_path / "other").open("w"):
        sink = Sink(write, str)
        sink.put("a line with a surrogate \udc80")
        assert sink.flush(0.2) == (closed == "later")
    assert (tmp_path / "other").read_text() == ""
