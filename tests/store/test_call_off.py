"""Call-off: what the outside world has only accepted is stopped there, once its run was stopped here."""

from dataclasses import replace
from typing import Any

import pytest

from grant_service.core.action import ActionState
from grant_service.core.budget import Budget, Exhaustion
from grant_service.core.duty import JOBS_AT_ONCE, NEVER, Duty, DutyState
from grant_service.core.errors import ErrorReason
from grant_service.core.grant import GrantRef
from tests.store.player import CALL_OFF, DAY, HOUR, SECOND, UNDO, Player, done, refused, undoable
from tests.store.redis_rigs import RedisRig, changed
from tests.store.rigs import EPOCH, START

SUCCEEDED, FAILED, UNKNOWN = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN
GOES_ON = {"run": "run", "op": "op", "duty": CALL_OFF, "rule": "its run was not stopped"}


async def accepted(
    play: Player, outcome: ActionState = SUCCEEDED, handle: str = "h-1", parent: str = ""
) -> GrantRef:
    """A run in which the outside world has accepted a job; it lasts an hour."""
    await play.open(parent=parent, ttl_ms=HOUR)
    grant = await play.issue()
    done(await play.perform(grant, undoable(), undo_ms=DAY))
    done(await play.settle(grant, outcome=outcome, handle=handle, canceller="job.stop"))
    return grant


async def test_a_handle_is_on_record_with_who_can_call_it_off(play: Player) -> None:
    """The outcome tells what the outside world calls the job; the duty is its own authority."""
    grant = await play.ready()
    permit = done(await play.perform(grant, undoable()))
    await play.rig.advance(SECOND)
    handle, args = "job/\u00e4 {1}", '{"id":"1"}'
    job = {"handle": handle, "canceller": "job.stop", "result_args": args}
    settled = done(await play.settle(grant, receipt="r-1", **job))
    entry = (await play.journal())[-1]
    outcome = {"op": "op", "outcome": "SUCCEEDED", "receipt": "r-1"}
    assert dict(entry.data) == outcome | {"handle": handle, "canceller": "job.stop"}
    action = await play.read_action()
    assert (action.handles, action.result_args) == ((handle,), args)
    minted = Duty(
        *("run", "op", CALL_OFF, "job.stop", DutyState.OPEN, settled.seq, permit.fence, EPOCH),
        due=NEVER,
        until=START + HOUR,
        handle=handle,
    )
    assert await play.read_duty(kind=CALL_OFF) == minted
    assert await play.open_duties(CALL_OFF) == [], "nobody has stopped its run"
    await play.cancel()
    await play.rig.advance(SECOND)
    assert await play.open_duties(CALL_OFF) == [replace(minted, due=START + 2 * SECOND)]


async def test_what_has_no_handle_cannot_be_called_off(play: Player) -> None:
    """Nothing is minted for it."""
    await play.effect(await play.ready())
    assert await play.read_duty(kind=CALL_OFF) is None
    await play.cancel()
    refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_UNKNOWN)


@pytest.mark.parametrize("state", ["at work", "finished", "finished above"])
async def test_what_goes_on_is_not_called_off(play: Player, state: str) -> None:
    """A run at work, or one that did its work, wants its jobs done: not even time makes that a failure."""
    await play.open("above")
    await accepted(play, parent="above")
    if state != "at work":
        done(await play.finish("run" if state == "finished" else "above"))
    for _ in range(2):
        before = await play.rig.dump()
        assert refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_NOT_DUE) == GOES_ON
        assert (await play.rig.dump()).differences(before) == []
        if state == "finished":
            await play.rig.advance(10 * HOUR)
            await play.store.standing()


@pytest.mark.parametrize("end", ["deadline", "epoch"])
async def test_what_a_finished_run_wanted_done_outlives_the_run_above(play: Player, end: str) -> None:
    """Nobody stopped anything: the run above only ran out of time, or the store began anew."""
    await play.open("above", ttl_ms=2 * HOUR)
    await accepted(play, parent="above")
    done(await play.finish())
    if end == "epoch":
        await play.rig.renew_epoch("epoch-2")
    else:
        await play.rig.advance(3 * HOUR)
    assert refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_NOT_DUE) == GOES_ON


async def test_what_nobody_had_to_call_off_is_not_told_as_unreachable(play: Player) -> None:
    """Its run finished, and the time in which the job could be called off went by: nobody has failed."""
    await accepted(play)
    done(await play.finish())
    await play.rig.advance(2 * DAY)
    assert refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_NOT_DUE) == GOES_ON
    assert "CALLED_OFF" not in await play.kinds()


@pytest.mark.parametrize(
    "stop",
    ["cancel", "cancel above", "cancel the root", "cancel above after it finished", "deadline", "epoch"],
)
async def test_a_stop_makes_it_due(play: Player, stop: str) -> None:
    """The run's own, or that of any run above it, also when its own work was done by then."""
    await play.open("root")
    await play.open("above", parent="root")
    await accepted(play, parent="above")
    refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_NOT_DUE)
    match stop:
        case "cancel":
            await play.cancel()
        case "cancel above":
            await play.cancel("above")
        case "cancel the root":
            await play.cancel("root")
        case "cancel above after it finished":
            done(await play.finish())
            await play.cancel("above")
        case "deadline":
            await play.rig.advance(HOUR - 1)
            refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_NOT_DUE)
            await play.rig.advance(1)
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
    done(await play.claim(kind=CALL_OFF))
    assert done(await play.complete(kind=CALL_OFF)).state is DutyState.DONE


async def test_a_cancel_reaches_the_jobs_of_every_run_below(play: Player) -> None:
    """Children and grandchildren, and not the runs beside them."""
    for parent, run in (("", "top"), ("top", "a"), ("a", "b"), ("top", "x")):
        await play.open(run, parent=parent)
        grant = await play.issue(run, grant=f"g-{run}")
        done(await play.perform(grant, undoable()))
        done(await play.settle(grant, handle="h", canceller="job.stop"))
    await play.cancel("a")
    for run in ("a", "b"):
        done(await play.claim(kind=CALL_OFF, run=run))
    for run in ("top", "x"):
        refused(await play.claim(kind=CALL_OFF, run=run), ErrorReason.DUTY_NOT_DUE)


async def test_a_job_that_is_told_of_after_the_stop_is_called_off_at_once(play: Player) -> None:
    """A late outcome is information, and here something can still be done with it."""
    grant = await play.ready()
    done(await play.perform(grant, undoable()))
    await play.cancel()
    assert done(await play.settle(grant, handle="h-1", canceller="job.stop")).after_cut
    done(await play.claim(kind=CALL_OFF))


async def test_the_outside_world_may_refuse(play: Player) -> None:
    """That is an answer: it is on record, and nobody asks again."""
    await accepted(play)
    await play.cancel()
    done(await play.claim(kind=CALL_OFF))
    completed = done(await play.complete(kind=CALL_OFF, outcome="REFUSED", note="too late"))
    assert completed.state is DutyState.REFUSED
    entry = (await play.journal())[-1]
    told = {"op": "op", "worker": "worker", "note": "too late", "outcome": "REFUSED", "handle": "h-1"}
    assert (entry.kind, dict(entry.data)) == ("CALLED_OFF", told)
    again = done(await play.complete(kind=CALL_OFF))
    assert (again.state, again.seq, again.replayed) == (DutyState.REFUSED, completed.seq, True)
    refused(await play.claim(kind=CALL_OFF, lease="new"), ErrorReason.DUTY_OVER)
    assert await play.open_duties(CALL_OFF) == []


@pytest.mark.parametrize("how", ["settled at once", "settled later", "resolved"])
async def test_what_did_not_happen_need_not_be_called_off(play: Player, how: str) -> None:
    """Once that is known there is nothing to stop."""
    grant = await accepted(play, FAILED if how == "settled at once" else UNKNOWN)
    await play.cancel()
    if how == "settled later":
        done(await play.settle(grant, outcome=FAILED))
    if how == "resolved":
        done(await play.resolve(outcome=FAILED))
    told = {"run": "run", "op": "op", "duty": CALL_OFF, "state": "MOOT"}
    assert refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_OVER) == told
    assert await play.open_duties(CALL_OFF) == []


@pytest.mark.parametrize("outcome", [SUCCEEDED, UNKNOWN])
async def test_what_may_go_on_out_there_is_called_off(play: Player, outcome: ActionState) -> None:
    """Accepted is not landed, and unknown is not nothing."""
    await accepted(play, outcome)
    await play.cancel()
    done(await play.claim(kind=CALL_OFF))


@pytest.mark.parametrize("state", ["open", "under way", "done", "refused", "given up"])
async def test_the_same_job_is_called_off_once(play: Player, state: str) -> None:
    """A tool that names it again, with an outcome it knows by now, changes nothing about it."""
    grant = await accepted(play, UNKNOWN)
    await play.cancel()
    if state != "open":
        done(await play.claim(kind=CALL_OFF))
    match state:
        case "done" | "refused":
            done(await play.complete(kind=CALL_OFF, outcome=state.upper()))
        case "given up":
            done(await play.fail(kind=CALL_OFF, final=True))
    before = await play.read_duty(kind=CALL_OFF)
    done(await play.settle(grant, handle="h-1", canceller="job.stop"))
    assert await play.read_duty(kind=CALL_OFF) == before
    if state == "under way":
        done(await play.complete(kind=CALL_OFF))


async def test_an_outcome_without_a_handle_keeps_what_was_known(play: Player) -> None:
    """The job is still known by the name it had; what completes the compensation is, too."""
    grant = await play.ready()
    done(await play.perform(grant, undoable()))
    job = {"handle": "h-1", "canceller": "job.stop", "result_args": '{"id":1}'}
    done(await play.settle(grant, outcome=UNKNOWN, **job))
    done(await play.settle(grant))
    action = await play.read_action()
    assert (action.handles, action.result_args) == (("h-1",), '{"id":1}')
    await play.cancel()
    assert len(await play.open_duties(CALL_OFF)) == 1


async def test_calling_off_and_undoing_are_two_duties(play: Player) -> None:
    """Each has its own lease and its own end."""
    await accepted(play)
    await play.cancel()
    done(await play.undo())
    done(await play.claim(kind=CALL_OFF, lease="one"))
    done(await play.claim(kind=UNDO, lease="two"))
    refused(await play.complete(kind=CALL_OFF, lease="two"), ErrorReason.LEASE_LOST)
    done(await play.complete(kind=UNDO, lease="two"))
    done(await play.complete(kind=CALL_OFF, lease="one"))


async def test_taking_back_the_undo_leaves_the_call_off(play: Player) -> None:
    """Nobody meant that what is still going on out there should go on."""
    await accepted(play)
    done(await play.withdraw())
    await play.cancel()
    done(await play.claim(kind=CALL_OFF))


async def with_job(play: Player, run: str, parent: str = "", **more: Any) -> None:
    """A run in which the outside world has accepted a job."""
    await play.open(run, parent=parent, **more)
    grant = await play.issue(run, grant=f"g-{run}")
    done(await play.perform(grant, undoable()))
    done(await play.settle(grant, handle="h", canceller="job.stop"))


async def found(play: Player, limit: int = 99) -> list[str]:
    """The runs whose jobs a compensator finds."""
    return sorted(one.run_id for one in await play.open_duties(CALL_OFF, limit))


async def test_only_jobs_of_stopped_runs_are_found(play: Player) -> None:
    """Those at work, and those that finished, are not even looked at; a cancel reaches all that is below."""
    await with_job(play, "top")
    for run, parent in (("a", "top"), ("b", "a"), ("a-b", "top"), ("a.b", "top"), ("x", "")):
        await with_job(play, run, parent)
    assert await found(play) == []
    await play.cancel("a")
    assert await found(play) == ["a", "b"]
    done(await play.finish("a.b"))
    done(await play.finish("x"))
    assert await found(play) == ["a", "b"]
    await play.cancel("top")
    assert await found(play) == ["a", "a-b", "a.b", "b", "top"]


async def test_a_deadline_makes_jobs_due_unless_their_run_has_finished(play: Player) -> None:
    """Also where that comes to light late."""
    await with_job(play, "short", ttl_ms=SECOND)
    await with_job(play, "done", ttl_ms=SECOND)
    await with_job(play, "late", ttl_ms=SECOND)
    await with_job(play, "long")
    done(await play.finish("done"))
    await play.rig.advance(SECOND - 1)
    assert await found(play) == []
    await play.rig.advance(1)
    assert await found(play) == ["late", "short"]
    done(await play.finish("late"))
    assert refused(await play.claim(kind=CALL_OFF, run="late"), ErrorReason.DUTY_NOT_DUE)
    assert await found(play) == ["short"]
    await play.rig.advance(HOUR)
    assert await found(play) == ["short"]


async def test_a_cancel_above_finds_what_a_finished_run_had_let_go(play: Player) -> None:
    """What was due by a deadline, and then finished after all, is due again by a cancel."""
    await play.open("above")
    await with_job(play, "late", "above", ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    assert await found(play) == ["late"]
    done(await play.finish("late"))
    refused(await play.claim(kind=CALL_OFF, run="late"), ErrorReason.DUTY_NOT_DUE)
    assert await found(play) == []
    await play.cancel("above")
    assert await found(play) == ["late"]


async def test_a_new_epoch_makes_due_what_was_at_work(play: Player) -> None:
    """And nothing that finished, or that began since."""
    await with_job(play, "old")
    await with_job(play, "done")
    done(await play.finish("done"))
    assert await found(play) == []
    await play.rig.renew_epoch("epoch-2")
    await with_job(play, "new")
    assert await found(play) == ["old"]
    await play.cancel("new")
    assert await found(play) == ["new", "old"]


async def test_what_began_before_the_first_look_of_an_epoch_is_looked_at_again(play: Player) -> None:
    """That look goes everywhere; a run at work that it meets is still noted by its deadline."""
    await with_job(play, "old")
    await play.rig.renew_epoch("epoch-2")
    await with_job(play, "new", ttl_ms=SECOND)
    assert await found(play) == ["old"]
    await play.rig.advance(SECOND)
    assert await found(play) == ["new", "old"]


@pytest.mark.parametrize("rig", ["redis", "fakeredis"], indirect=True)
async def test_without_its_note_it_would_be_forgotten(play: Player, rig: RedisRig) -> None:
    """The control of the test above: no story looks at a run before the first look of its epoch."""
    script = changed(rig.scripts["call_off"], "if at_work then\n", "if false then\n")
    await rig.use_scripts(dict(rig.scripts) | {"call_off": script})
    await with_job(play, "old")
    await play.rig.renew_epoch("epoch-2")
    await with_job(play, "new", ttl_ms=SECOND)
    assert await found(play) == ["old"]
    await play.rig.advance(SECOND)
    assert await found(play) == ["old"]


async def test_a_budget_that_ends_a_run_makes_its_jobs_due(play: Player) -> None:
    """A spending, too, stops what is below."""
    await play.open("above", budgets=(Budget("usd", 5, Exhaustion.CANCEL),))
    await with_job(play, "below", "above")
    grant = await play.issue("below", grant="g-2")
    refused(await play.spend(grant, 6), ErrorReason.BUDGET_EXHAUSTED)
    assert await found(play) == ["below"]


async def test_more_jobs_than_are_looked_at_at_once_are_found_in_turn(play: Player) -> None:
    """However many a run began: what is left is met by the next look."""
    grant = await play.ready()
    ops = [f"o-{n:03}" for n in range(JOBS_AT_ONCE + 5)]
    for op in ops:
        done(await play.perform(grant, undoable(op)))
        done(await play.settle(grant, op, handle="h", canceller="job.stop"))
    await play.cancel()
    assert len(await play.open_duties(CALL_OFF, 9999)) == JOBS_AT_ONCE
    assert [one.op_id for one in await play.open_duties(CALL_OFF, 9999)] == ops


async def test_a_job_made_due_and_named_anew_waits_for_its_own_stop(play: Player) -> None:
    """Another job after a deadline is due at once; of a run that finished since it is not."""
    await with_job(play, "run", ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    assert await found(play) == ["run"]
    assert await found(play) == ["run"]
    done(await play.claim(kind=CALL_OFF))
    done(await play.fail(kind=CALL_OFF, retry_ms=1))
    done(await play.finish())
    refused(await play.claim(kind=CALL_OFF, lease="new"), ErrorReason.DUTY_NOT_DUE)
    assert await found(play) == []
