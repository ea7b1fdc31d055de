"""A Redis that goes away while the sidecar serves: refused at once, and nothing that was answered is lost."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.caller import Caller, refused
from tests.support.messages import listed
from tests.support.redis_server import RedisServer
from tests.support.sidecar import SidecarProcess, sidecar_running

#: Nobody waits long for a store that is not there; one that is silent is given 2 s.
QUICK, SILENCE = 1.0, 2.0


@pytest.fixture
def sidecar(redis_server: RedisServer) -> Iterator[SidecarProcess]:
    """A sidecar on a Redis of the test's own."""
    with sidecar_running(store=redis_server.url) as running:
        yield running


@pytest.fixture
def caller(sidecar: SidecarProcess) -> Iterator[Caller]:
    """Somebody to call it."""
    with Caller(sidecar) as calling:
        yield calling


def test_while_redis_is_away_nothing_is_permitted(
    redis_server: RedisServer, sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """No doubt means no: at once, for every verb, with the same advice; and health says it."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    redis_server.kill()
    start = time.monotonic()
    for verb in (caller.commit, caller.perform, caller.prepare, caller.settle):
        with refused("STORE_UNAVAILABLE") as told:
            verb(token, "op-1")
        assert told.code == "UNAVAILABLE"
        assert told.message.endswith("do not act; ask again with the same op_id")
    for verb in (caller.cancel, caller.report, caller.open, caller.issue):
        with refused("STORE_UNAVAILABLE"):
            verb(run)
    assert time.monotonic() - start < QUICK
    sidecar.wait_health("NOT_SERVING", "store")
    sidecar.wait_health("NOT_SERVING")


def test_a_redis_that_comes_back_ends_what_came_before_and_keeps_its_story(
    redis_server: RedisServer, sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """A restart may have lost a cancel, so older grants end; what was answered is told, with the doubt."""
    token = caller.begin(run)
    fence = caller.perform(token, "op-1").fence
    caller.settle(token, "op-1", receipt="msg-1")
    caller.perform(token, "op-2")
    caller.prepare(token, "op-3")
    caller.open(f"c-{run}")
    caller.cancel(f"c-{run}")
    redis_server.restart()
    sidecar.wait_health("SERVING")

    with refused("STORE_EPOCH") as told:
        caller.commit(token, "op-3")
    assert f"run {run} belongs to an earlier epoch of the store" in told.message
    assert told.message.endswith("do not act; open a new run")
    report = caller.report(run)
    assert listed(report, "done")["op-1"].fence == fence
    assert listed(report, "done")["op-1"].receipt == "msg-1"
    assert set(listed(report, "in_flight", "unknown")) == {"op-2", "op-3"}
    assert not listed(report, "unknown")["op-3"].fence, "no permit is on record, but one may have been lost"
    assert not report.complete
    assert not report.quiesced
    assert any("what happened just before the change may be missing here" in gap for gap in report.gaps)
    assert [late.op_id for late in report.late_attempts] == ["op-3"]
    with refused("REVOKED"):
        caller.open(f"c-{run}")
    assert not caller.cancel(run).replayed, "it can still be cancelled, and then says so"
    caller.settle(token, "op-2")
    assert set(listed(caller.report(run), "done")) == {"op-1", "op-2"}
    assert caller.perform(caller.begin(f"n-{run}"), "op-1").fence > fence, "new runs work, numbers go on"


def test_a_redis_that_comes_back_empty_knows_no_grant(
    redis_server: RedisServer, sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """What is not there is not allowed: lost data refuse by themselves."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    redis_server.kill()
    redis_server.wipe()
    redis_server.start()
    sidecar.wait_health("SERVING")
    for verb in (caller.commit, caller.perform, caller.prepare, caller.settle):
        with refused("GRANT_UNKNOWN") as told:
            verb(token, "op-1")
        assert "the store has no grant" in told.message
        assert told.message.endswith("do not act; issue a new grant")
    with refused("RUN_UNKNOWN"):
        caller.issue(run)
    with refused("RUN_UNKNOWN"):
        caller.report(run)
    assert not caller.cancel(run).known, "whoever stops it all the same leaves a tombstone"
    assert caller.perform(caller.begin(f"n-{run}"), "op-1").fence


LOST = {
    "everything": "GRANT_UNKNOWN",
    "run": "RUN_UNKNOWN",
    "grant": "GRANT_UNKNOWN",
    "action": "ACTION_UNKNOWN",
    "journal": "INTERNAL",
}


def test_records_that_vanish_from_a_running_redis_refuse(
    redis_server: RedisServer, sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """Evicted, flushed or deleted by hand: no missing record is read as a yes."""
    for lost, reason in LOST.items():
        one = f"{lost}-{run}"
        token = caller.begin(one)
        caller.prepare(token, "op-1")
        with redis_server.client() as client:
            keys = client.keys("*" if lost == "everything" else f"*:{lost}:*")
            assert keys
            client.delete(*keys)
        with refused(reason) as told:
            caller.commit(token, "op-1")
        assert "do not act" in told.message or reason.endswith("_UNKNOWN"), told.message
    incident = told.details["incident"]
    assert told.message == f"the sidecar failed: do not act; see its log (incident {incident})"
    # The log says what the caller is not told.
    sidecar.wait_said(incident, "failed", f"journal:{one} is gone")
    assert caller.perform(caller.begin(f"n-{run}"), "op-1").fence


def test_a_redis_that_freezes_is_not_waited_for_and_decides_once(
    redis_server: RedisServer, sidecar: SidecarProcess, caller: Caller, run: str
) -> None:
    """A call whose answer is late may have been decided: who asks again with the same op_id is told which."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with refused("STORE_UNAVAILABLE", "TIMED_OUT") as told:
            caller.commit(token, "op-1", within=60)
        assert told.message.endswith("do not act; ask again with the same op_id")
        assert time.monotonic() - start < SILENCE + QUICK
        sidecar.wait_health("NOT_SERVING")
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    sidecar.wait_health("SERVING")
    permit = caller.commit(token, "op-1", within=60)
    assert permit.replayed, "the frozen server had taken the call and decided it when it thawed"
    assert caller.kinds(run).count("PERMITTED") == 1
    assert listed(caller.report(run), "in_flight")["op-1"].fence == permit.fence


def test_a_full_redis_refuses_work_and_lets_a_cancel_through(
    redis_server: RedisServer, caller: Caller, run: str
) -> None:
    """Memory at its limit: prepare is refused with the remedy; stopping and telling still work."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    caller.prepare(token, "op-2")
    with redis_server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        with refused("STORE_FULL") as told:
            caller.prepare(token, "op-3")
        assert "the store has no room left (Redis has reached its maxmemory)" in told.message
        caller.settle(token, "op-1")
        report = caller.cancel(run).report
        assert set(listed(report, "done")) == {"op-1"}
        assert set(listed(report, "interrupted")) == {"op-2"}
        client.config_set("maxmemory", 0)
    assert caller.perform(caller.begin(f"n-{run}"), "op-1").fence
