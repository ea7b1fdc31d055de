"""The scope of code that blocks: it owns threads and processes, and keeps the same promises."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import countermand as for_loops
import countermand.sync as countermand
from countermand.sync import CancellationToken, Stop, StopCause, Stopped, WorkState
from tests.work import jobs
from tests.work.support import USER, names


def waits(token: CancellationToken) -> str:
    """Wait for the stop, and obey."""
    token.wait()
    token.check()
    return "never"


def fails(_: CancellationToken) -> None:
    raise ValueError("boom")


def test_a_block_ends_when_its_work_has() -> None:
    """And work answers its result."""
    done: list[str] = []

    def work(token: CancellationToken, text: str) -> str:
        token.wait("20ms")
        done.append(text)
        return text * 2

    with countermand.scope() as scope:
        one = scope.spawn(work, "a")
    assert done == ["a"]
    assert one.result() == "aa"
    assert scope.state is WorkState.DONE


def test_a_stop_reaches_every_thread_and_is_told_in_a_receipt() -> None:
    """Counted and named as on an event loop; a second cancel answers the same."""
    release = threading.Event()

    def deaf(_: CancellationToken) -> None:
        release.wait()

    def finishes(token: CancellationToken) -> str:
        token.wait()
        return "whole"

    with countermand.scope("agent", grace="50ms") as scope:
        scope.spawn(lambda _: None, name="first").result()
        scope.spawn(waits)
        scope.spawn(deaf, kind="tool")
        scope.spawn(finishes)
        receipt = scope.cancel(USER)
        assert scope.cancel("INCIDENT") is receipt is scope.receipt
        release.set()

    assert names(receipt.stopped) == ["waits"]
    assert names(receipt.finished_anyway) == ["finishes"]
    assert [(node.path, node.kind, node.state) for node in receipt.not_stopped] == [
        ("agent/deaf", "tool", "STOPPING")
    ]
    assert names(receipt.finished_first) == ["first"]
    assert receipt.stop is scope.token.stop is USER


def test_the_first_failure_stops_what_is_beside_it() -> None:
    """With a typed reason; the block raises it, and what fails in the background stops nothing."""
    with pytest.raises(ValueError, match="boom"), countermand.scope() as scope:
        work = scope.spawn(waits)
        scope.spawn(fails)
        work.wait()
    with pytest.raises(Stopped) as stopped:
        work.result()
    assert stopped.value.stop.cause is StopCause.FAILURE

    with countermand.scope() as scope:
        scope.background(fails)
    assert [str(one) for one in scope.failures] == ["work fails: ValueError: boom"]
    assert scope.receipt is None


def test_a_failing_block_stops_its_work() -> None:
    """And raises what left it."""
    with pytest.raises(KeyError), countermand.scope() as scope:
        work = scope.spawn(waits)
        raise KeyError
    assert work.is_over
    assert scope.token.stop is not None


def test_a_block_that_was_stopped_from_elsewhere_says_so() -> None:
    """At its end, or where it looks."""
    with pytest.raises(Stopped) as stopped, countermand.scope() as scope:
        threading.Thread(target=scope.cancel, args=(USER,)).start()
        scope.token.wait()
    assert stopped.value.stop is USER
    with pytest.raises(Stopped) as stopped, countermand.scope(timeout="10ms") as scope:
        scope.spawn(waits).wait()
        scope.check()
    assert (stopped.value.stop.reason, stopped.value.stop.cause) == ("DEADLINE", StopCause.TIMEOUT)


def test_a_thread_that_would_not_stop_is_named_though_nobody_asked(caplog: pytest.LogCaptureFixture) -> None:
    """While the block waits for it."""

    def deaf(_: CancellationToken) -> None:
        time.sleep(0.1)

    with pytest.raises(Stopped), countermand.scope("agent", timeout="10ms", grace="20ms") as scope:
        scope.spawn(deaf, kind="tool")
    assert scope.receipt is not None
    assert names(scope.receipt.not_stopped) == ["deaf"]
    assert "agent/deaf (tool) did not stop in 0.02s" in caplog.text


def test_to_cancel_its_token_is_to_stop_it() -> None:
    """Whoever was handed the token may do so."""
    with pytest.raises(Stopped), countermand.scope() as scope:
        scope.spawn(waits)
        scope.token.cancel(USER)
    assert scope.receipt is not None
    assert names(scope.receipt.stopped) == ["waits"]


def test_nothing_is_started_once_it_was_stopped() -> None:
    """Dead on arrival; nor in a scope that is closed or not open."""
    with countermand.scope() as scope:
        scope.cancel(USER)
        with pytest.raises(Stopped):
            scope.spawn(waits)
        with pytest.raises(Stopped), countermand.scope():
            pass
    with countermand.scope() as other:
        pass
    with pytest.raises(countermand.FixTheCall, match="not open"):
        other.spawn(waits)
    assert other.cancel(USER).late
    with pytest.raises(countermand.FixTheCall, match="not open"):
        countermand.scope().cancel(USER)


def test_scopes_within_are_stopped_with_it_and_never_stop_it() -> None:
    """Their threads are in its receipt."""

    def sub_agent(_: CancellationToken) -> None:
        with countermand.scope("sub") as sub:
            sub.spawn(waits, name="tool")
            ready.set()

    ready = threading.Event()
    with countermand.scope("agent") as scope:
        scope.spawn(sub_agent)
        ready.wait()
        assert "  sub (scope) RUNNING" in str(scope.tree())
        receipt = scope.cancel(USER)
    assert names(receipt.stopped) == ["sub_agent", "tool"]

    with countermand.scope("agent") as scope:
        with pytest.raises(Stopped), countermand.scope("sub") as sub:
            threading.Thread(target=sub.cancel).start()
            sub.token.wait()
        assert countermand.current_scope() is scope
        assert not scope.token.is_cancelled
    assert countermand.current_scope() is None


def test_work_that_cancels_its_own_scope_does_not_wait_for_itself() -> None:
    """It is told like the others."""

    def stops_all(token: CancellationToken) -> None:
        receipts.append(scope.cancel(USER))
        token.check()

    receipts: list[countermand.StopReceipt] = []
    begun = time.monotonic()
    with pytest.raises(Stopped), countermand.scope(grace="60s") as scope:
        scope.spawn(waits)
        scope.spawn(stops_all)
    assert time.monotonic() - begun < 10
    assert names(receipts[0].stopped) == ["waits"]
    assert names(receipts[0].not_stopped) == ["stops_all"]


def test_processes_are_killed(tmp_path: Path) -> None:
    """As by the other scope."""
    with countermand.scope() as scope:
        assert scope.offload(jobs.add, 2, 40).result() == 42
        scope.offload(jobs.spin, str(tmp_path))
        pid = jobs.left(tmp_path, "worker")
        receipt = scope.cancel(USER)
    assert names(receipt.stopped) == ["spin"]
    assert not jobs.is_alive(pid)


def test_clean_up_runs_backwards_each_once_whatever_fails() -> None:
    """In a thread it can be left behind, else its time is only measured."""
    done: list[object] = []
    release = threading.Event()

    with pytest.raises(Stopped) as stopped, countermand.scope() as scope:
        scope.defer(done.append, "first")
        scope.defer(release.wait, limit="10ms", in_thread=True)
        scope.defer(time.sleep, 0.02, limit="10ms")
        scope.defer(done.append, "last", in_thread=True)
        scope._tell(USER)
    release.set()
    assert done == ["last", "first"]
    assert [type(one.error) for one in scope.failures] == [TimeoutError, TimeoutError]
    assert "clean-up sleep" in stopped.value.__notes__[0]
    with pytest.raises(OSError, match="cannot close"), countermand.scope() as scope:
        scope.defer(_cannot_close)
    with pytest.raises(countermand.FixTheCall, match="is closed"):
        scope.defer(done.append, "late")


def _cannot_close() -> None:
    raise OSError("cannot close")


def test_limits_only_shorten() -> None:
    """As by the other scope."""
    with countermand.scope(timeout="10s"), countermand.scope(timeout="1h") as within:
        assert within.remaining is not None
        assert within.remaining <= 10
        within.limit("5s")
        within.limit("7s")
        assert within.remaining <= 5


def test_a_source_stops_it() -> None:
    """And is let go of in the end."""

    class Source:
        callbacks: list[object] = []  # noqa: RUF012 - one test

        def watch(self, callback, /):  # type: ignore[no-untyped-def]
            self.callbacks.append(callback)
            return lambda: self.callbacks.remove(callback)

    source = Source()
    with pytest.raises(Stopped) as stopped, countermand.scope(source=source) as scope:
        source.callbacks[0](USER)  # type: ignore[operator]
        scope.check()
    assert stopped.value.stop is USER
    assert source.callbacks == []


async def test_it_is_stopped_with_a_scope_of_a_loop_around_it() -> None:
    """A thread of that opened it."""

    def agent(_: CancellationToken) -> None:
        with countermand.scope("below") as below:
            below.spawn(waits)
            ready.set()

    ready = threading.Event()
    async with for_loops.scope() as scope:
        work = scope.run_in_thread(agent)
        await asyncio.to_thread(ready.wait)
        await scope.cancel(USER)
    with pytest.raises(Stopped) as stopped:
        await work
    assert stopped.value.stop is USER


def test_a_loop_in_its_thread_is_stopped_with_it() -> None:
    """And what a thread of that loop opens, too."""
    stops: list[Stop | None] = []

    def innermost(_: CancellationToken) -> None:
        with countermand.scope("innermost") as within:
            ready.set()
            within.token.wait()
            stops.append(within.token.stop)

    async def agent() -> None:
        async with for_loops.scope("loop") as loop:
            loop.run_in_thread(innermost)

    ready = threading.Event()
    with countermand.scope() as scope:
        scope.spawn(lambda _: asyncio.run(agent()), name="loop")
        ready.wait()
        receipt = scope.cancel(USER)
    assert stops == [USER]
    assert names(receipt.stopped) == ["loop"]


def _stopped_one() -> list[str]:
    with countermand.scope() as scope:
        scope.spawn(waits)
        return names(scope.cancel(USER).stopped)


def test_a_thread_that_ends_at_once_is_in_the_receipt() -> None:
    """Who is at work is counted before anybody is told."""
    assert [_stopped_one() for _ in range(50)] == [["waits"]] * 50


def test_told_before_it_is_counted_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: with the order reversed the thread is gone before it can be counted."""
    tell = countermand.WorkScope._tell

    def announce_first(self: countermand.WorkScope, stop: Stop) -> None:
        self.token._scope = None
        self.token.cancel(stop)
        time.sleep(0.05)
        tell(self, stop)

    monkeypatch.setattr(countermand.WorkScope, "_tell", announce_first)
    assert _stopped_one() == []


def test_no_thread_escapes_a_race_of_start_and_stop() -> None:
    """Whatever is started is told, or refused."""
    for _ in range(100):
        started: list[countermand.Work[str]] = []
        with countermand.scope(grace="20s") as scope:

            def keep_starting(scope: countermand.WorkScope = scope, into: list = started) -> None:  # type: ignore[type-arg]
                try:
                    while True:
                        into.append(scope.spawn(waits))
                except Stopped:
                    return

            thread = threading.Thread(target=keep_starting)
            thread.start()
            receipt = scope.cancel(USER)
            thread.join()
        assert receipt.not_stopped == ()
        assert all(work.is_over for work in started)


def test_a_thread_that_has_ended_is_not_said_to_go_on() -> None:
    """Though the block is woken before the thread has told everybody."""
    with pytest.raises(Stopped), countermand.scope() as scope:
        work = scope.spawn(waits)
        tell = work._over.set
        work._over.set = lambda: (time.sleep(0.05), tell())[1]  # type: ignore[method-assign]
        scope.token.cancel(USER)
    assert scope.receipt is not None
    assert scope.receipt.not_stopped == ()
    assert names(scope.receipt.stopped) == ["waits"]


class Opens:
    """A lock that lets somebody in each time it is let go of by the thread that made it."""

    def __init__(self, lock: Any, let_in: Callable[[], None]) -> None:
        self._lock, self._let_in, self._thread = lock, let_in, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)
        if threading.get_ident() == self._thread:
            let_in = threading.Thread(target=self._let_in)
            let_in.start()
            let_in.join()


def test_nothing_is_started_while_the_block_closes() -> None:
    """A thread that nobody owns may come between any two steps: the scope has its work, or refuses it."""
    started: list[countermand.Work[str]] = []
    refused: list[countermand.FixTheCall] = []

    def start() -> None:
        try:
            started.append(scope.spawn(waits))
        except countermand.FixTheCall as error:
            refused.append(error)

    with countermand.scope() as scope:
        scope._changed = Opens(scope._changed, start)  # type: ignore[assignment]
    assert refused
    assert all(work.is_over for work in started)


CTRL_C = """
import signal, countermand.sync as countermand
signal.signal(signal.SIGINT, signal.default_int_handler)

def work(token):
    token.wait()
    print("told:", token.reason, flush=True)

with countermand.scope("agent") as scope:
    scope.defer(print, "clean")
    scope.spawn(work)
    print("ready", flush=True)
"""


def test_ctrl_c_stops_the_work_and_cleans_up() -> None:
    """In a real program, by a real signal."""
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            assert program.stdout.readline() == "ready\n"
            time.sleep(0.1)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=20)
        finally:
            program.kill()
    assert out == "told: USER_STOP\nclean\n", err
    assert program.returncode == -signal.SIGINT
