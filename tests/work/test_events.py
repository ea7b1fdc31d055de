"""Events: what stops is told of with the stop itself, once, and a hook that fails stops nothing."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

import countermand
import countermand.sync
from countermand import CommitRefused, ScopeStopped, SessionChanged, WorkUnstopped
from countermand.integrations import prometheus

Event = ScopeStopped | WorkUnstopped | CommitRefused | SessionChanged


@pytest.fixture
def events() -> Iterator[list[Event]]:
    """All that is told."""
    told: list[Event] = []
    take_back = countermand.on_event(told.append)
    yield told
    take_back()


async def test_everything_carries_the_one_stop(events: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    """Exception, receipt, token, log record and event: the same object, not an equal one."""
    caplog.set_level(logging.INFO, "countermand")
    stop = countermand.Stop(countermand.StopReason.INCIDENT, "wrong list", "ann", "t-9")
    with pytest.raises(countermand.Stopped) as caught:
        async with countermand.scope("agent") as scope:
            scope.spawn(asyncio.sleep, 60)
            scope.token.cancel(stop)
            await asyncio.sleep(60)

    (event,) = events
    assert isinstance(event, ScopeStopped)
    (record,) = caplog.records
    carried = [caught.value.stop, scope.token.stop, event.stop, event.receipt.stop, record.__dict__["stop"]]
    assert all(one is stop for one in carried)
    assert record.__dict__["receipt"] is event.receipt


def test_a_blocking_scope_tells_the_same(events: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    """With threads, and from another thread."""
    caplog.set_level(logging.INFO, "countermand")
    stop = countermand.Stop(countermand.StopReason.POLICY, "no more")
    with pytest.raises(countermand.Stopped) as caught, countermand.sync.scope("agent") as scope:
        scope.spawn(lambda token: token.wait())
        threading.Thread(target=scope.cancel, args=(stop,)).start()

    (event,) = events
    assert isinstance(event, ScopeStopped)
    assert caught.value.stop is event.stop is caplog.records[0].__dict__["stop"] is stop


async def test_work_that_does_not_stop_is_told_of_once(events: list[Event]) -> None:
    """However many grace periods it outlasts; the scope above tells of itself, and not of that."""
    cancellations: list[int] = []

    async def stubborn() -> None:
        while len(cancellations) < 4:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancellations.append(1)

    async with countermand.scope("agent") as above:
        above.spawn(_with_scope, stubborn)
        await asyncio.sleep(0.01)
        await above.cancel()

    unstopped = [one for one in events if isinstance(one, WorkUnstopped)]
    assert [one.work.path for one in unstopped if one.work.path.endswith("/stubborn")] == [
        "agent/_with_scope/sub/stubborn"
    ]
    assert sorted(one.receipt.scope for one in events if isinstance(one, ScopeStopped)) == [
        "agent",
        "agent/_with_scope/sub",
    ]


async def _with_scope(fn: object) -> None:
    async with countermand.scope("sub", grace="20ms") as scope:
        scope.spawn(fn, name="stubborn")  # type: ignore[arg-type]


def test_a_thread_that_does_not_stop_is_told_of_once(events: list[Event]) -> None:
    """Though the scope it is in and the one above both name it."""
    go_on = threading.Event()
    with pytest.raises(countermand.Stopped), countermand.sync.scope("agent", grace="20ms") as above:
        with countermand.sync.scope("sub") as scope:
            scope.spawn(lambda _: go_on.wait(30), name="stubborn")
            above.cancel()
            scope.cancel()
            go_on.set()

    unstopped = [one.work.path for one in events if isinstance(one, WorkUnstopped)]
    assert unstopped == ["agent/sub/stubborn"]


async def test_a_hook_that_fails_is_logged_and_stops_nothing(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    """The others are told, the scope ends as ever; what was taken back is told nothing."""

    def bad(_: object) -> None:
        raise ValueError("a defect")

    heard: list[object] = []
    countermand.on_event(heard.append)()
    take_back = countermand.on_event(bad)
    try:
        async with countermand.scope("agent") as scope:
            receipt = await scope.cancel()
    finally:
        take_back()
        take_back()

    assert [one.receipt for one in events if isinstance(one, ScopeStopped)] == [receipt]
    assert heard == []
    assert "a hook that was told of ScopeStopped failed" in caplog.text


async def test_what_is_told_is_counted_until_that_is_taken_back() -> None:
    """A stop by reason and cause, work that did not stop; not a stop that came too late to be one."""
    registry = CollectorRegistry()
    end = prometheus.count(registry)
    with pytest.raises(countermand.Stopped):
        async with countermand.scope("agent", grace="10ms") as scope, scope.shield():
            scope.cancel("POLICY", note="canary")
            await asyncio.sleep(0.05)
    async with countermand.scope("later") as scope:
        pass
    await scope.cancel("INCIDENT")

    told = generate_latest(registry).decode()
    assert 'countermand_scope_stops_total{cause="ASKED",reason="POLICY"} 1.0' in told
    assert "countermand_work_unstopped_total 1.0" in told, "the shielded block, named again and again"
    assert "INCIDENT" not in told
    assert "canary" not in told
    end()
    assert list(registry.collect()) == []
