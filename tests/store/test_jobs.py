"""Jobs: everything an action has begun and the outside world has only accepted is on record."""

import pytest

from grant_service.core.action import ActionState
from grant_service.core.duty import MAX_JOBS, DutyState
from grant_service.core.errors import ErrorReason
from grant_service.core.grant import GrantRef
from grant_service.core.lifecycle.jobs import TOO_MANY
from grant_service.core.verbs import Release
from tests.store.player import CALL_OFF, DAY, HOUR, SECOND, Player, done, refused, undoable

SUCCEEDED, FAILED, UNKNOWN = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN
NOBODY = "its tool named nobody who could"
OTHER = "canceller must be job.stop, or left out"


async def permitted(play: Player) -> GrantRef:
    """An action that may go on now, of a run that lasts an hour."""
    await play.open(ttl_ms=HOUR)
    grant = await play.issue()
    done(await play.perform(grant, undoable(), undo_ms=DAY))
    return grant


def named(handle: str, canceller: str = "job.stop") -> dict[str, str]:
    """What a settle says of a job."""
    return {"handle": handle, "canceller": canceller}


@pytest.mark.parametrize("first", [UNKNOWN, SUCCEEDED])
@pytest.mark.parametrize("state", ["open", "under way", "done", "refused", "given up"])
async def test_a_second_job_leaves_the_first_as_it_is(play: Player, first: ActionState, state: str) -> None:
    """Each is called off by itself: neither what was begun nor what was reached is lost."""
    grant = await permitted(play)
    done(await play.settle(grant, outcome=first, **named("h-1")))
    await play.cancel()
    if state != "open":
        done(await play.claim(kind=CALL_OFF))
    match state:
        case "done" | "refused":
            done(await play.complete(kind=CALL_OFF, outcome=state.upper()))
        case "given up":
            done(await play.fail(kind=CALL_OFF, final=True))
    before = await play.read_duty(kind=CALL_OFF)
    settled = done(await play.settle(grant, **named("h-2", "job.end")))
    assert not settled.replayed
    assert await play.read_duty(kind=CALL_OFF) == before
    second = await play.read_duty(kind=CALL_OFF, job=1)
    assert second
    assert (second.name, second.handle, second.job, second.seq) == ("job.end", "h-2", 1, settled.seq)
    assert (second.state, second.attempts, second.lease) == (DutyState.OPEN, 0, "")
    assert (await play.read_action()).handles == ("h-1", "h-2")
    done(await play.claim(kind=CALL_OFF, job=1, lease="new"))
    if state == "under way":
        refused(await play.complete(kind=CALL_OFF, lease="new"), ErrorReason.LEASE_LOST)
        done(await play.complete(kind=CALL_OFF))
    done(await play.complete(kind=CALL_OFF, job=1, lease="new"))
    left = [one.handle for one in await play.open_duties(CALL_OFF)]
    assert left == (["h-1"] if state == "open" else [])


async def test_each_line_about_a_job_names_it(play: Player) -> None:
    """So that nobody takes what became of one for what became of another."""
    grant = await permitted(play)
    for number, outcome in enumerate([UNKNOWN, UNKNOWN, SUCCEEDED]):
        done(await play.settle(grant, outcome=outcome, **named(f"h-{number}")))
    await play.cancel()
    for number in (2, 0, 1):
        done(await play.claim(kind=CALL_OFF, job=number))
        done(await play.fail(kind=CALL_OFF, job=number))
    await play.rig.advance(2 * SECOND)
    for number in (0, 1, 2):
        done(await play.claim(kind=CALL_OFF, job=number))
        done(await play.renew(kind=CALL_OFF, job=number))
    done(await play.complete(kind=CALL_OFF, job=1))
    done(await play.fail(kind=CALL_OFF, job=0, final=True))
    done(await play.complete(kind=CALL_OFF, job=2, outcome="REFUSED"))
    about = ("CLAIMED", "TRIED", "CALLED_OFF")
    told = [(one.kind.value, one.data["handle"]) for one in await play.journal() if one.kind in about]
    assert told == [
        *[(kind, handle) for handle in ("h-2", "h-0", "h-1") for kind in ("CLAIMED", "TRIED")],
        *[("CLAIMED", handle) for handle in ("h-0", "h-1", "h-2")],
        *[("CALLED_OFF", handle) for handle in ("h-1", "h-0", "h-2")],
    ]


async def test_open_jobs_are_found_in_the_order_in_which_they_are_due(play: Player) -> None:
    """Of one action the first that was told comes first."""
    grant = await permitted(play)
    for number in range(MAX_JOBS):
        done(await play.settle(grant, outcome=UNKNOWN, **named(f"h-{number}")))
    await play.cancel()
    handles = [f"h-{number}" for number in range(MAX_JOBS)]
    assert [one.handle for one in await play.open_duties(CALL_OFF)] == handles
    assert [one.handle for one in await play.open_duties(CALL_OFF, limit=2)] == handles[:2]


@pytest.mark.parametrize("how", ["settled", "resolved"])
async def test_what_did_not_happen_ends_all_its_jobs(play: Player, how: str) -> None:
    """Of none of them anything will come."""
    grant = await permitted(play)
    for number in range(MAX_JOBS):
        done(await play.settle(grant, outcome=UNKNOWN, **named(f"h-{number}")))
    await play.cancel()
    done(await play.settle(grant, outcome=FAILED)) if how == "settled" else done(
        await play.resolve(outcome=FAILED)
    )
    assert await play.open_duties(CALL_OFF) == []
    for number in range(MAX_JOBS):
        told = {"run": "run", "op": "op", "duty": CALL_OFF, "state": "MOOT"}
        assert refused(await play.claim(kind=CALL_OFF, job=number), ErrorReason.DUTY_OVER) == told


@pytest.mark.parametrize("outcome", [UNKNOWN, SUCCEEDED])
async def test_a_repeated_outcome_that_names_a_job_is_news(play: Player, outcome: ActionState) -> None:
    """What is known stands, and what may go on out there is not lost; the same again is a replay."""
    grant = await permitted(play)
    first = done(await play.settle(grant, outcome=outcome, receipt="1"))
    again = done(await play.settle(grant, outcome=outcome, receipt="1", **named("h-1")))
    assert (again.replayed, again.seq > first.seq) == (False, True)
    duty = await play.read_duty(kind=CALL_OFF)
    assert duty
    assert (duty.handle, duty.seq) == ("h-1", again.seq)
    before = await play.rig.dump()
    for more in ({}, named("h-1"), named("h-1", "other"), named("h-1", "")):
        replayed = done(await play.settle(grant, outcome=outcome, **more))
        assert (replayed.replayed, replayed.seq, replayed.why_not) == (True, again.seq, "")
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize("why_not", ["", OTHER])
@pytest.mark.parametrize("outcome", [UNKNOWN, SUCCEEDED, FAILED])
async def test_an_outcome_is_taken_though_nobody_can_call_the_job_off(
    play: Player, outcome: ActionState, why_not: str
) -> None:
    """The handle is on record with the reason, the answer says it, and no duty is made that nobody may do."""
    grant = await permitted(play)
    told = named("h-1", "") | {"why_not": why_not}
    settled = done(await play.settle(grant, outcome=outcome, receipt="r-1", **told))
    assert (settled.state, settled.why_not) == (outcome, why_not or NOBODY)
    line = dict((await play.journal())[-1].data)
    wanted = {"op": "op", "outcome": outcome, "receipt": "r-1", "handle": "h-1"}
    assert line == wanted | {"why_not": why_not or NOBODY}
    assert (await play.read_action()).handles == ("h-1",)
    before = await play.rig.dump()
    again = done(await play.settle(grant, outcome=outcome, receipt="r-1", **told))
    assert (again.replayed, again.why_not) == (True, why_not or NOBODY)
    assert (await play.rig.dump()).differences(before) == []
    assert await play.read_duty(kind=CALL_OFF) is None
    await play.cancel()
    refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_UNKNOWN)


@pytest.mark.parametrize("first", [UNKNOWN, SUCCEEDED])
async def test_who_can_call_a_job_off_can_be_told_later(play: Player, first: ActionState) -> None:
    """A tool that named nobody, or somebody else, is heard when it does; each job keeps its place."""
    grant = await permitted(play)
    done(await play.settle(grant, outcome=first, **named("h-1", "")))
    done(await play.settle(grant, outcome=first, **named("h-2")))
    settled = done(await play.settle(grant, **named("h-1")))
    assert (settled.replayed, settled.why_not) == (False, "")
    await play.cancel()
    for number in (0, 1):
        assert done(await play.claim(kind=CALL_OFF, job=number)).duty.handle == f"h-{number + 1}"
    assert (await play.read_action()).handles == ("h-1", "h-2")
    assert done(await play.settle(grant, **named("h-1"))).replayed


async def test_beyond_so_many_jobs_the_outcome_is_still_taken(play: Player) -> None:
    """One more is on record with the reason; a repeated outcome brings no more, and that is told."""
    grant = await permitted(play)
    for number in range(MAX_JOBS):
        done(await play.settle(grant, outcome=UNKNOWN, **named(f"h-{number}")))
    more = await play.settle(grant, outcome=UNKNOWN, **named("one more"))
    details = refused(more, ErrorReason.ALREADY_SETTLED)
    assert (details["state"], details["rule"]) == (UNKNOWN, TOO_MANY)
    assert (await play.kinds())[-1] == "REFUSED"
    settled = done(await play.settle(grant, **named("the last")))
    assert (settled.state, settled.replayed, settled.why_not) == (SUCCEEDED, False, TOO_MANY)
    line = dict((await play.journal())[-1].data)
    assert line == {"op": "op", "outcome": "SUCCEEDED", "handle": "the last", "why_not": TOO_MANY}
    before = await play.rig.dump()
    again = done(await play.settle(grant, **named("the last")))
    assert (again.replayed, again.why_not) == (True, TOO_MANY)
    assert (await play.rig.dump()).differences(before) == []
    await play.cancel()
    assert len(await play.open_duties(CALL_OFF)) == MAX_JOBS


async def test_all_jobs_are_let_go_of_with_their_run(play: Player) -> None:
    """What was archived leaves no duty behind."""
    grant = await permitted(play)
    for number in range(2):
        done(await play.settle(grant, outcome=UNKNOWN, **named(f"h-{number}")))
    done(await play.settle(grant, outcome=FAILED))
    await play.cancel()
    last = (await play.journal())[-1].seq
    assert await play.store.release(Release("run", last, ("grant",), ("op",)))
    assert (await play.rig.dump()).duties == {}
