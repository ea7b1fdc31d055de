"""The report of authority that was handed on, fenced and agreed to: each action in its part, for good."""

import pytest

from grant_service.core.action import ActionState
from grant_service.core.budget import Budget
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason
from grant_service.core.report import Report
from grant_service.core.scope import Reversibility, Scope
from tests.core.test_report import parts, report_on
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, refused
from tests.store.rigs import MemoryRig

CAREFUL = (Scope("*", approval_from=Reversibility.IRREVERSIBLE),)
MINUTE = 60 * SECOND


@pytest.fixture
async def play() -> Player:
    """Somebody to play on the model."""
    return Player(await MemoryRig.start())


async def state(play: Player, op: str = "op", run: str = "run") -> ActionState:
    """How the report tells one action."""
    (found,) = [one for one in (await report_on(play, run)).actions if one.op_id == op]
    return found.state


@pytest.mark.parametrize("verb", ["revoke", "freeze"])
@pytest.mark.parametrize("afterwards", ["nothing", "time", "lift", "abandon", "deny", "cancel", "finish"])
async def test_what_a_fence_interrupted_stays_interrupted(play: Player, verb: str, afterwards: str) -> None:
    """Prepared or waiting; whatever comes later, and when the fence is long over."""
    grant = await play.ready(scopes=CAREFUL)
    free = await play.issue(grant="free")
    done(await play.prepare(grant, "waits"))
    done(await play.prepare(free, "prepared", ttl_ms=MINUTE))
    done(await getattr(play, verb)("run=run", kill_ms=HOUR))
    assert parts(await report_on(play)) == {"interrupted": {"waits", "prepared"}}
    await play.rig.advance(SECOND)
    match afterwards:
        case "time":
            await play.rig.advance(DAY)
            done(await play.revoke("run=other", fence="tidies up"))
        case "lift" if verb == "freeze":
            done(await play.lift())
        case "abandon":
            done(await play.abandon(grant, "waits"))
            done(await play.abandon(free, "prepared"))
        case "deny":
            done(await play.deny("waits"))
        case "cancel":
            await play.cancel()
        case "finish":
            done(await play.finish())
    assert parts(await report_on(play)) == {"interrupted": {"waits", "prepared"}}


async def test_what_ended_before_the_fence_was_not_interrupted(play: Player) -> None:
    """Given up, denied, lapsed or waited for in vain: it fell by itself."""
    grant = await play.ready(scopes=CAREFUL)
    free = await play.issue(grant="free")
    for op in ("denied", "forgotten", "lapsed yes"):
        done(await play.prepare(grant, op, wait_ms=MINUTE))
    done(await play.deny("denied"))
    done(await play.approve("lapsed yes", ttl_ms=SECOND))
    done(await play.prepare(free, "abandoned"))
    done(await play.abandon(free, "abandoned"))
    done(await play.prepare(free, "expired", ttl_ms=SECOND))
    await play.rig.advance(MINUTE)
    before = parts(await report_on(play))
    done(await play.revoke("run=run"))
    assert (
        parts(await report_on(play))
        == before
        == {"not_done": {"denied", "forgotten", "lapsed yes", "abandoned", "expired"}}
    )


async def test_what_was_permitted_before_the_fence_is_in_flight_until_it_is_told(play: Player) -> None:
    """A fence recalls no permit: what may have happened is not called interrupted."""
    grant = await play.ready()
    await play.permit(grant, "flying")
    await play.permit(grant, "told")
    done(await play.revoke("run=run"))
    assert parts(await report_on(play)) == {"in_flight": {"flying", "told"}}
    done(await play.settle(grant, "told"))
    await play.rig.advance(MINUTE)
    assert parts(await report_on(play)) == {"unknown": {"flying"}, "done": {"told"}}


async def test_only_what_the_fence_names_is_interrupted(play: Player) -> None:
    """By grant and what hangs below it, by action, by run; what was issued after it goes on."""
    grant = await play.ready()
    child = await play.delegate(grant, "child")
    far = await play.delegate(child, "far", child="below")
    beside = await play.issue(grant="beside")
    for held, op in ((grant, "of grant"), (child, "of child"), (beside, "beside")):
        done(await play.prepare(held, op, ttl_ms=HOUR))
    done(await play.prepare(far, "far", ttl_ms=HOUR))
    done(await play.prepare(far, intent("far file", "file.delete"), ttl_ms=HOUR))
    done(await play.revoke("grant=child", action="email.*", fence="f-1"))
    report = await report_on(play)
    assert parts(report) == {
        "interrupted": {"of child", "far"},
        "pending": {"of grant", "beside", "far file"},
    }
    done(await play.revoke("run=below", fence="f-2"))
    assert await state(play, "far file") is ActionState.INTERRUPTED
    young = await play.issue(grant="young")
    done(await play.revoke("run=run", fence="f-3"))
    late = await play.issue(grant="late")
    done(await play.prepare(late, "after"))
    assert (await state(play, "after"), await state(play, "beside")) == ("PREPARED", "INTERRUPTED")
    refused(await play.prepare(young, "young"), ErrorReason.FENCED)


async def test_the_first_stop_counts(play: Player) -> None:
    """A fence, then the action's time, then a cancel: it was the fence. In another order it was not."""
    grant = await play.ready()
    done(await play.prepare(grant, "fenced first", ttl_ms=MINUTE))
    done(await play.revoke("grant=grant"))
    await play.rig.advance(HOUR)
    await play.cancel()
    assert await state(play, "fenced first") is ActionState.INTERRUPTED
    other = await play.ready("other", grant="other")
    done(await play.prepare(other, "lapsed first", ttl_ms=MINUTE))
    await play.rig.advance(MINUTE)
    done(await play.revoke("grant=other", fence="f-2"))
    assert await state(play, "lapsed first", "other") is ActionState.EXPIRED


async def test_waiting_too_long_is_a_no(play: Player) -> None:
    """To the millisecond, as the call is told; and so is a yes that nobody used."""
    grant = await play.ready(scopes=CAREFUL)
    for op in ("forgotten", "agreed"):
        done(await play.prepare(grant, op, wait_ms=MINUTE))
    done(await play.approve("agreed", ttl_ms=SECOND))
    assert parts(await report_on(play)) == {"pending": {"forgotten", "agreed"}}
    assert await state(play, "forgotten") is ActionState.AWAITING_APPROVAL
    await play.rig.advance(SECOND - 1)
    assert await state(play, "agreed") is ActionState.PREPARED
    await play.rig.advance(1)
    assert await state(play, "agreed") is ActionState.DENIED
    refused(await play.commit(grant, "agreed"), ErrorReason.DENIED)
    await play.rig.advance(MINUTE - SECOND - 1)
    assert await state(play, "forgotten") is ActionState.AWAITING_APPROVAL
    await play.rig.advance(1)
    assert parts(await report_on(play)) == {"not_done": {"forgotten", "agreed"}}
    refused(await play.commit(grant, "forgotten"), ErrorReason.DENIED)
    await play.cancel()
    assert parts(await report_on(play)) == {"not_done": {"forgotten", "agreed"}}


async def test_a_denial_is_told_with_its_note_and_a_used_yes_is_not_one(play: Player) -> None:
    """What was agreed to and happened is done."""
    grant = await play.ready(scopes=CAREFUL)
    for op in ("no", "yes", "taken back"):
        done(await play.prepare(grant, op))
    done(await play.deny("no", note="not today"))
    for op in ("yes", "taken back"):
        done(await play.approve(op))
    done(await play.deny("taken back"))
    done(await play.commit(grant, "yes"))
    done(await play.settle(grant, "yes"))
    report = await report_on(play)
    assert parts(report) == {"done": {"yes"}, "not_done": {"no", "taken back"}}
    (no,) = [one for one in report.actions if one.op_id == "no"]
    assert (no.state, no.note) == (ActionState.DENIED, "not today")


async def test_fences_are_listed_by_number_and_each_once(play: Player) -> None:
    """Those that named a run of the report, or a grant in it, while it was there, or that block it still."""
    done(await play.revoke("run=run", fence="over before"))
    done(await play.freeze("agent=x", fence="blocks still"))
    await play.open(agent="x")
    await play.open("below", parent="run")
    await play.open("other", agent="y")
    done(await play.freeze("run=run", fence="both"))
    done(await play.lift("both"))
    done(await play.lift("blocks still"))
    grant = await play.issue()
    await play.delegate(grant, "far", child="far")
    await play.issue("other", grant="foreign")
    done(await play.revoke("run=below", fence="a child"))
    done(await play.revoke("grant=grant", fence="a grant"))
    done(await play.revoke("grant=foreign", fence="another grant"))
    done(await play.revoke("run=other", fence="another run"))
    done(await play.revoke(action="email.*", fence="an action"))

    async def listed(run: str) -> list[str]:
        return [one.fence_id for one in (await report_on(play, run)).fences]

    assert await listed("run") == ["both", "a child", "a grant", "an action"]
    assert await listed("below") == ["both", "a child", "an action"]
    assert await listed("far") == ["a grant", "an action"]
    assert await listed("other") == ["another grant", "another run", "an action"]


async def test_attempts_that_a_fence_refused_are_late(play: Player) -> None:
    """So are those under a grant that its budget ended; a delegation or a spending is no attempt to act."""
    grant = await play.ready(budgets=(Budget("usd", 1),))
    other = await play.issue(grant="other")
    await play.permit(other, "flying")
    refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
    refused(await play.perform(grant, "ended"), ErrorReason.GRANT_ENDED)
    done(await play.revoke("grant=other"))
    for op in ("flying", "never"):
        refused(await play.commit(other, op), ErrorReason.FENCED)
    refused(await play.spend(other, 1), ErrorReason.FENCED)
    refused(await play.try_delegate(other), ErrorReason.FENCED)
    report = await report_on(play)
    late = [(one.verb, one.op_id, one.reason.value, one.was_permitted) for one in report.late_attempts]
    assert late == [
        ("perform", "ended", "GRANT_ENDED", False),
        ("commit", "flying", "FENCED", True),
        ("commit", "never", "FENCED", False),
    ]
    assert report.late_attempt_count == 3


async def test_a_fenced_run_is_not_quiet_by_that(play: Player) -> None:
    """It has no end: new grants may be issued after a revoke."""
    await play.ready()
    done(await play.revoke("run=run"))
    report = await compile_report(play.store, "run")
    assert isinstance(report, Report)
    assert (report.end, report.quiesced) == (None, False)


async def test_what_the_end_of_a_grant_interrupted_stays_interrupted(play: Player) -> None:
    """A budget that ran out ended the grant: what was prepared under it, or below it, can never happen."""
    await play.open()
    grant = await play.issue(budgets=(Budget("usd", 1),))
    below = await play.delegate(grant)
    done(await play.prepare(grant, "own"))
    done(await play.prepare(below, "below"))
    refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
    for _ in range(2):
        assert [await state(play, op) for op in ("own", "below")] == [ActionState.INTERRUPTED] * 2
        await play.rig.advance(DAY)
