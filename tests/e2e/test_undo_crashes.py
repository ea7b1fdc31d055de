"""The sidecar, or a compensator, is killed between any two steps of an undo: nothing twice, nothing lost.

What was really undone is known here from the sink, the outside world's own file. After each crash the report
calls nothing undone that is not in there, and in the end all of it is, each effect once, the last one first.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import undo_service_pb2 as undo_pb
from tests.e2e.crashing import TRACE
from tests.e2e.undoer import LEASE, STEPS, Undoer
from tests.support.caller import Caller, refused
from tests.support.proxy import Proxy, proxy_running
from tests.support.redis_server import redis_running
from tests.support.sidecar import ROOT, SidecarProcess, sidecar_running
from tests.support.sink import Sink
from tests.support.standby import Lives, lives_of_a_sidecar

DURABLE = "commit"

#: An attempt that a crash cuts short is one of these, and the wait after one that failed is short.
PATIENT = {"undo_attempts": 100, "undo_retry": 0.01}

UNDONE = action_pb.ACTION_STATE_UNDONE
HAPPENED = {UNDONE, action_pb.ACTION_STATE_SUCCEEDED, action_pb.ACTION_STATE_UNDO_PENDING}


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    """The outside world of one test."""
    return Sink(tmp_path / "sink")


def check(caller: Caller, run: str, sink: Sink) -> bool:
    """Hold a run's report against the sink; say whether all of it is undone that may be."""
    acted = set(sink.done)  # before the report: what it calls undone was done by then, or earlier
    done = {f"{run}/{one.op_id}/UNDO": one for one in caller.report(run).done}
    assert not sink.twice
    assert {one.state for one in done.values()} <= HAPPENED
    undone = {key for key, one in done.items() if one.state == UNDONE}
    assert undone <= set(sink.done), "called undone, and is not"
    assert {key for key in acted if key.startswith(f"{run}/")} <= done.keys(), "undone, and not in the report"
    return undone == {key for key, one in done.items() if one.undo.undoable}


def undo_all(caller: Caller, target: str, run: str, sink: Sink, *ops: str) -> None:
    """Let a compensator that nobody kills finish what is left: each effect once, the last one first."""
    undoer, end = Undoer(target, sink), time.monotonic() + 20
    try:
        while not check(caller, run, sink):
            assert time.monotonic() < end, f"forgotten: {caller.report(run).done}"
            if not undoer.work():
                time.sleep(0.02)
    finally:
        undoer.close()
    keys = [key for key in sink.done if key.startswith(f"{run}/")]
    assert keys == [f"{run}/{op}/UNDO" for op in reversed(ops)]
    kinds = caller.kinds(run)
    assert kinds.count("UNDONE") == len(ops)
    assert kinds.count("UNDO_ASKED") >= len(ops)


class Story:
    """A run whose last effect is being undone when the crash comes."""

    def __init__(self, caller: Caller, verb: str, run: str, op: str, sink: Sink) -> None:
        self.run, self.ops, self.verb, self.sink = run, ("first", op), verb, sink
        self.duty: undo_pb.Duty | None = None
        token = caller.did(run, "first")
        caller.undoable(token, op)
        outcome = "UNKNOWN" if verb == "resolve" else "SUCCEEDED"
        caller.settle(token, op, outcome=outcome)
        caller.cancel(run)
        if verb in ("claim", "complete", "fail"):
            caller.undo(run)
        if verb in ("complete", "fail"):
            self.duty = caller.claim(lease=LEASE)
            assert self.duty
            assert self.duty.op_id == op
        if verb == "complete":
            sink.act(self.duty.key)

    def call(self, caller: Caller, mark: str = "") -> object:
        """Say what is to be interrupted; `mark` is a word of it that is in no other call."""
        op = self.ops[-1]
        match self.verb:
            case "undo":
                return caller.undo(self.run, op, note=mark)
            case "withdraw":
                return caller.withdraw(self.run, op, note=mark)
            case "resolve":
                return caller.resolve(self.run, op)
            case "claim":
                return caller.claim(mark or "w-1", LEASE)
            case "complete":
                assert self.duty
                return caller.complete(self.duty, receipt=mark)
            case "fail":
                assert self.duty
                return caller.fail(self.duty, note=mark)
        raise AssertionError(self.verb)

    def check(self, caller: Caller, decided: bool) -> None:
        """The journal has it, or has nothing of it, and nothing is called undone that is not."""
        kind = KINDS[self.verb]
        found = [one.kind for one in caller.entries(self.run) if one.op_id == self.ops[-1]]
        assert (kind in found) is decided, found
        check(caller, self.run, self.sink)

    def end(self, caller: Caller, target: str) -> None:
        """Say again what got no answer; then have all undone, or all that may be."""
        if self.verb not in ("claim", "fail"):  # each of these is an attempt of its own
            self.call(caller)
            kinds = [one.kind for one in caller.entries(self.run) if one.op_id == self.ops[-1]]
            assert kinds.count(KINDS[self.verb]) == 1, kinds
        caller.undo(self.run)
        left = self.ops[:-1] if self.verb == "withdraw" else self.ops
        undo_all(caller, target, self.run, self.sink, *left)


#: What each verb writes.
KINDS = {
    "undo": "UNDO_ASKED",
    "withdraw": "UNDO_WITHDRAWN",
    "resolve": "RESOLVED",
    "claim": "CLAIMED",
    "complete": "UNDONE",
    "fail": "TRIED",
}


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    """A sidecar on the embedded store that dies where it is told to, and comes back."""
    with lives_of_a_sidecar(("-m", "tests.e2e.crashing"), **PATIENT) as lives:
        yield lives


@contextmanager
def calling(sidecar: SidecarProcess) -> Iterator[Caller]:
    """Call one life of it."""
    with Caller(sidecar) as caller:
        yield caller


@pytest.mark.parametrize("verb", KINDS)
def test_a_sidecar_killed_anywhere_in_an_undo_forgets_nothing(lives: Lives, sink: Sink, verb: str) -> None:
    """Before each step of each decision on the embedded store: it was made whole, or not at all."""
    sidecar, target = lives.sidecar, lives.sidecar.target("compensator")
    before = len(sidecar.err)
    with calling(sidecar) as caller:
        traced = Story(caller, verb, f"r-{verb}-all", f"trace.{verb}.any", sink)
        traced.call(caller)
        (line,) = [one for one in sidecar.err[before:].splitlines() if one.startswith(TRACE)]
        traced.end(caller, target)
    steps = line.split()[1:]
    assert len(steps) >= 7, steps
    for step in range(len(steps)):
        with calling(sidecar) as caller:
            story = Story(caller, verb, f"r-{verb}-{step}", f"die.{verb}.{step}", sink)
            with refused("") as told:
                story.call(caller)
            assert told.code == "UNAVAILABLE"
        lives.wait_for_next()
        with calling(sidecar) as caller:
            story.check(caller, step > steps.index(DURABLE))
            story.end(caller, target)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The way to a Redis that syncs every write."""
    with redis_running(tmp_path_factory.mktemp("redis")) as server, proxy_running(server.socket) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def on_redis(proxy: Proxy) -> Iterator[Lives]:
    """A sidecar that knows no other way to Redis."""
    with lives_of_a_sidecar(store=proxy.url, **PATIENT) as lives:
        yield lives


@pytest.mark.parametrize("verb", [verb for verb in KINDS if verb != "resolve"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sidecar_killed_while_redis_decides_an_undo_forgets_nothing(
    proxy: Proxy, on_redis: Lives, sink: Sink, run: str, verb: str, when: str
) -> None:
    """Before Redis gets it, or when Redis has decided and nobody knows."""
    sidecar, mark = on_redis.sidecar, f"mark-{os.urandom(6).hex()}"
    with calling(sidecar) as caller:
        story = Story(caller, verb, run, "last", sink)
        proxy.trap(mark, when, on_redis.kill)
        with refused("") as told:
            story.call(caller, mark)
        assert told.code == "UNAVAILABLE"
        assert proxy.sprung.wait(5)
    on_redis.wait_for_next()
    with calling(sidecar) as caller:
        story.check(caller, when == "after")
        story.end(caller, sidecar.target("compensator"))


def compensator(target: str, sink: Sink, *rest: str) -> subprocess.Popen[bytes]:
    """Start a compensator in a process of its own."""
    command = [sys.executable, "-m", "tests.e2e.undoer", target, str(sink.path), *rest]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def plain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SidecarProcess]:
    """A sidecar that nobody kills, on each store."""
    if request.param == "sqlite":
        with sidecar_running(**PATIENT) as sidecar:
            yield sidecar
        return
    with (
        redis_running(tmp_path_factory.mktemp("redis")) as server,
        sidecar_running(store=server.url, **PATIENT) as sidecar,
    ):
        yield sidecar


@pytest.mark.parametrize("step", STEPS)
def test_a_compensator_killed_anywhere_does_nothing_twice_and_leaves_nothing_undone(
    plain: SidecarProcess, sink: Sink, run: str, step: str
) -> None:
    """The next one takes over when the lease is over, with the same key, and the outside world heeds it."""
    target = plain.target("compensator")
    with calling(plain) as caller:
        caller.did(run, "o-1", "o-2")
        caller.cancel(run)
        caller.undo(run)
        assert compensator(target, sink, step).wait(20) == -9
        last = f"{run}/o-2/UNDO"
        assert sink.done == ([last] if step in ("acted", "completed") else [])
        assert not check(caller, run, sink)
        undo_all(caller, target, run, sink, "o-1", "o-2")
        assert sink.asked_again == ([last] if step == "acted" else [])


def test_an_outside_world_that_heeds_no_key_is_found_out(
    plain: SidecarProcess, tmp_path: Path, run: str
) -> None:
    """The control of the tests above: killed between effect and report, it comes twice, and that shows."""
    careless, target = Sink(tmp_path / "sink", careless=True), plain.target("compensator")
    with calling(plain) as caller:
        caller.did(run, "o-1")
        caller.cancel(run)
        caller.undo(run)
        assert compensator(target, careless, "acted", "careless").wait(20) == -9
        with pytest.raises(AssertionError):
            undo_all(caller, target, run, careless, "o-1")
    assert careless.twice == [f"{run}/o-1/UNDO"]


def test_an_undo_that_is_only_said_is_found_out(plain: SidecarProcess, sink: Sink, run: str) -> None:
    """The control of what is held against the sink: a compensator that reports before it acts, and dies."""
    with calling(plain) as caller:
        caller.did(run, "o-1")
        caller.cancel(run)
        caller.undo(run)
        duty = caller.claim()
        assert duty
        caller.complete(duty)
        with pytest.raises(AssertionError, match="called undone, and is not"):
            check(caller, run, sink)


RUNS, EFFECTS, WORKERS = 12, 4, 3


def _begin(caller: Caller, name: str) -> list[str]:
    """Runs with effects, all of them to be undone."""
    runs = [f"{name}-{number}" for number in range(RUNS)]
    for run in runs:
        caller.did(run, *(f"o-{number}" for number in range(EFFECTS)))
        caller.cancel(run)
        caller.undo(run)
    return runs


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_sidecar_and_compensators_killed_at_random_undo_everything_once(sink: Sink) -> None:
    """Under way with several runs and compensators, whoever dies when; the order holds in each run."""
    dice = random.Random(11)
    with lives_of_a_sidecar(**PATIENT) as lives:
        target = lives.sidecar.target("compensator")
        with calling(lives.sidecar) as caller:
            runs = _begin(caller, "r")
        workers = [compensator(target, sink) for _ in range(WORKERS)]
        try:
            for kill in range(6):
                enough = dice.randrange(2, 6) + len(sink.done)
                _until(lambda least=enough: len(sink.done) >= min(least, RUNS * EFFECTS), 20)
                if kill % 2:
                    victim = dice.randrange(WORKERS)
                    workers[victim].kill()
                    workers[victim].wait()
                    workers[victim] = compensator(target, sink)
                else:
                    lives.kill()
                    lives.wait_for_next()
                with calling(lives.sidecar) as caller:
                    for run in runs:
                        check(caller, run, sink)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        with calling(lives.sidecar) as caller:
            for run in runs:
                undo_all(caller, target, run, sink, *(f"o-{number}" for number in range(EFFECTS)))
    assert len(sink.done) == RUNS * EFFECTS
