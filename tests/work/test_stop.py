"""One reason object, wherever a stop is told of."""

import asyncio
import dataclasses
import logging
import pickle
from datetime import UTC, datetime

import pytest

import countermand
from countermand import End, Stop, StopCause, Stopped, StopReason
from countermand._leaving import reason_of, says_ended
from countermand.work.causes import because_of
from tests.work.support import USER, forever

REVOKED = countermand.Revoked(
    "run r-2 was cancelled",
    reason=countermand.ErrorReason.REVOKED,
    metadata={
        "run": "r-2", "ended_run": "r-1", "stop_reason": "INCIDENT", "actor": "ops", "note": "leak",
        "seq": "7", "ended_time": "1000",
    },
)  # fmt: skip


async def test_the_same_reason_object_goes_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    """Exception, receipt, token, callback and log record carry what was given to cancel: not a copy of it."""
    told: list[Stop] = []
    caplog.set_level(logging.INFO, "countermand")
    with pytest.raises(Stopped) as stopped:
        async with countermand.scope("agent") as scope:
            work = scope.spawn(forever)
            scope.token.on_cancel(told.append)
            scope.cancel(USER)
            await forever()

    assert scope.receipt is not None
    with pytest.raises(Stopped) as of_work:
        await work
    carried = [stopped.value.stop, scope.receipt.stop, scope.token.stop, of_work.value.stop, *told]
    carried += [record.stop for record in caplog.records if hasattr(record, "stop")]
    assert len(carried) == 6
    assert all(one is USER for one in carried)


async def test_a_scope_within_is_told_the_same_reason_object() -> None:
    """However deep it is."""
    stops: list[Stop | None] = []

    async def deep(depth: int) -> None:
        async with countermand.scope(f"s{depth}") as scope:
            try:
                await (deep(depth - 1) if depth else forever())
            finally:
                stops.append(scope.token.stop)

    async with countermand.scope("agent") as scope:
        scope.spawn(deep, 3)
        await asyncio.sleep(0)
        await scope.cancel(USER)

    assert len(stops) == 4
    assert all(one is USER for one in stops)


def test_a_stop_never_changes() -> None:
    """It is frozen, and a word that is no reason is refused."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        USER.note = "x"  # type: ignore[misc]
    with pytest.raises(countermand.InvalidRequest, match=r"must be one of .*USER_STOP"):
        Stop("NO_REASON")  # type: ignore[arg-type]
    assert Stop("BUDGET").reason is StopReason.BUDGET  # type: ignore[arg-type]


def test_a_runs_end_is_a_stop() -> None:
    """With everything it says."""
    end = End(StopReason.INCIDENT, "ops", "leak", "inc-4", datetime(2026, 1, 1, tzinfo=UTC), 9, "r-1")
    stop = Stop.of_end(end)

    assert {name: getattr(stop, name) for name in ("reason", "actor", "note", "tag", "seq", "run_id")} == {
        "reason": "INCIDENT", "actor": "ops", "note": "leak", "tag": "inc-4", "seq": 9, "run_id": "r-1",
    }  # fmt: skip
    assert (stop.time, stop.cause) == (end.time, StopCause.RUN_ENDED)


def test_a_refusal_is_a_stop() -> None:
    """A tool that is refused with `Revoked` stops its scope for the reason of the cancel."""
    stop = because_of(REVOKED)

    assert (stop.reason, stop.actor, stop.note, stop.run_id, stop.seq) == (
        *("INCIDENT", "ops", "leak", "r-1"),
        7,
    )
    assert stop.time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_a_stopped_block_ends_its_run_for_the_same_reason() -> None:
    """A run that is left by `Stopped` is cancelled with that reason, unless it is what had ended."""
    local, told = Stopped(Stop(StopReason.BUDGET)), Stopped(Stop.of_refusal(REVOKED))

    assert reason_of(local) is StopReason.BUDGET
    assert not says_ended(local, {"r-1"})
    assert says_ended(told, {"r-1"})


def test_a_stop_of_which_only_the_words_arrived_keeps_them() -> None:
    """The results of some queues are no more than that. It claims no reason that it does not know."""
    told = str(Stopped(USER))
    arrived = Stopped(*Stopped(USER).args)
    assert str(arrived) == told
    assert arrived.stop_reason is StopReason.UNSPECIFIED


def test_stopped_survives_a_process_boundary() -> None:
    """Its stop comes along."""
    copied = pickle.loads(pickle.dumps(Stopped(USER)))  # noqa: S301 - our own

    assert copied.stop == USER
    assert (copied.stop_reason, copied.actor, copied.note) == ("USER_STOP", "ann", "enough")
    assert str(copied) == "stopped (USER_STOP by ann: enough): do not act"


@pytest.mark.parametrize(
    ("error", "reason", "cause"),
    [
        (ValueError("x"), "CLIENT_DISCONNECTED", "FAILURE"),
        (KeyboardInterrupt(), "USER_STOP", "OUTSIDE"),
        (asyncio.CancelledError(), "CLIENT_DISCONNECTED", "OUTSIDE"),
        (countermand.BudgetExhausted("x"), "BUDGET", "FAILURE"),
        (Stopped(USER), "USER_STOP", "ASKED"),
    ],
)
def test_every_failure_is_a_typed_stop(error: BaseException, reason: str, cause: str) -> None:
    """The reasons are those for which a run would be cancelled."""
    stop = because_of(error)

    assert (stop.reason, stop.cause) == (reason, cause)
