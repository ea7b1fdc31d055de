"""Duties of every kind: claimed by one compensator at a time, tried again later, and not for ever."""

import asyncio
from dataclasses import replace

import pytest

from grant_service.core import verbs
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.duty import ASK_MS, DutyKind, DutyState, retry_after
from grant_service.core.errors import ErrorReason, Refusal
from tests.store.player import ASK, CALL_OFF, DAY, HOUR, SECOND, UNDO, Player, done, refused, undoable
from tests.store.rigs import START

#: When the duty of `due` can be claimed for the first time.
BEGUN = START + 5 * SECOND

#: How a duty that was given up is told.
GIVEN_UP = {
    UNDO: ("UNDO_FAILED", {}),
    CALL_OFF: ("CALLED_OFF", {"outcome": "UNREACHABLE", "handle": "h-1"}),
    ASK: ("UNANSWERED", {}),
}

#: What a line about a duty says besides.
JOB = {UNDO: {}, CALL_OFF: {"handle": "h-1"}, ASK: {}}

every_kind = pytest.mark.parametrize("kind", list(DutyKind))


async def due(play: Player, kind: DutyKind, undo_ms: int = HOUR) -> None:
    """A duty of this kind that can be claimed now, of an action that was prepared 5 s ago."""
    grant = await play.ready()
    wanted = undoable(probe="email.ask" if kind is ASK else "")
    done(await play.perform(grant, wanted, undo_ms=undo_ms))
    if kind is not ASK:
        job = {"handle": "h-1", "canceller": "job.stop"} if kind is CALL_OFF else {}
        done(await play.settle(grant, **job))
    await play.cancel()
    if kind is UNDO:
        done(await play.undo())
    await play.rig.set_time(BEGUN)


def told(kind: DutyKind, **more: str) -> dict[str, str]:
    """What a refusal tells of the duty."""
    return {"run": "run", "op": "op", "duty": kind, **more}


@every_kind
async def test_a_claim_gives_a_duty_to_one_compensator(play: Player, kind: DutyKind) -> None:
    """For the length of its lease, and as an attempt that is on record."""
    await due(play, kind)
    (before,) = await play.open_duties(kind)
    claimed = done(await play.claim(kind=kind, worker="w \u00e4"))
    assert (claimed.left_ms, claimed.replayed) == (30 * SECOND, False)
    until = BEGUN + 30 * SECOND
    assert claimed.duty == replace(before, attempts=1, worker="w \u00e4", lease="lease", lease_until=until)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.time) == ("CLAIMED", BEGUN)
    assert dict(entry.data) == {"op": "op", "duty": kind, "worker": "w \u00e4", "attempt": "1"} | JOB[kind]
    assert await play.open_duties(kind) == [claimed.duty]
    assert await play.read_duty(kind=kind) == claimed.duty


@every_kind
async def test_claiming_again_answers_the_same(play: Player, kind: DutyKind) -> None:
    """A retry under the same lease is no second attempt, and lasts no longer."""
    await due(play, kind)
    first = done(await play.claim(kind=kind))
    before = await play.rig.dump()
    again = done(await play.claim(kind=kind, lease_ms=HOUR, worker="other"))
    assert again == verbs.Claimed(first.duty, 30 * SECOND, replayed=True)
    assert (await play.rig.dump()).differences(before) == []
    await play.rig.advance(30 * SECOND - 1)
    again = done(await play.claim(kind=kind))
    assert (again.left_ms, again.replayed) == (1, True)


@every_kind
async def test_nobody_else_gets_it_while_a_lease_lasts(play: Player, kind: DutyKind) -> None:
    """Who has it and for how long is told; then it goes to whoever asks, and the first one has lost it."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    await play.rig.advance(30 * SECOND - 1)
    details = refused(await play.claim(kind=kind, lease="new"), ErrorReason.DUTY_TAKEN)
    assert details == told(kind, worker="worker", left_ms="1")
    await play.rig.advance(1)
    taken = done(await play.claim(kind=kind, lease="new", worker="w-2"))
    assert (taken.duty.attempts, taken.duty.worker, taken.replayed) == (2, "w-2", False)
    for answer in (await play.renew(kind=kind), await play.fail(kind=kind), await play.complete(kind=kind)):
        assert refused(answer, ErrorReason.LEASE_LOST) == told(kind, worker="w-2")
    assert refused(await play.claim(kind=kind), ErrorReason.DUTY_TAKEN)["worker"] == "w-2"
    assert (await play.kinds())[-2:] == ["CLAIMED", "CLAIMED"]
    done(await play.complete(kind=kind, lease="new"))


@every_kind
async def test_of_many_at_once_one_gets_it(play: Player, kind: DutyKind) -> None:
    """However many ask in the same moment."""
    await due(play, kind)
    answers = await asyncio.gather(*(play.claim(kind=kind, lease=f"lease-{n}") for n in range(20)))
    assert sum(not isinstance(one, Refusal) for one in answers) == 1
    assert (await play.kinds()).count("CLAIMED") == 1


@every_kind
async def test_a_lease_can_be_renewed(play: Player, kind: DutyKind) -> None:
    """From now on; late, too, as long as nobody else has claimed the duty."""
    await due(play, kind)
    claimed = done(await play.claim(kind=kind))
    await play.rig.advance(20 * SECOND)
    renewed = done(await play.renew(kind=kind, lease_ms=40 * SECOND))
    kept = replace(claimed.duty, lease_until=BEGUN + 60 * SECOND)
    assert renewed == verbs.Claimed(kept, 40 * SECOND, replayed=False)
    await play.rig.set_time(BEGUN + 60 * SECOND - 1)
    refused(await play.claim(kind=kind, lease="new"), ErrorReason.DUTY_TAKEN)
    await play.rig.advance(10 * SECOND)
    assert done(await play.renew(kind=kind)).left_ms == 30 * SECOND
    refused(await play.claim(kind=kind, lease="new"), ErrorReason.DUTY_TAKEN)
    assert (await play.kinds()).count("CLAIMED") == 1


@every_kind
async def test_a_lease_is_never_longer_than_the_duty(play: Player, kind: DutyKind) -> None:
    """Whoever has it may not go on beyond the time that was set when the action was prepared."""
    await due(play, kind, undo_ms=15 * SECOND)
    until = BEGUN + ASK_MS if kind is ASK else START + 15 * SECOND
    await play.rig.set_time(until - 10 * SECOND)
    assert done(await play.claim(kind=kind)).left_ms == 10 * SECOND
    await play.rig.advance(6 * SECOND)
    renewed = done(await play.renew(kind=kind))
    assert (renewed.left_ms, renewed.duty.lease_until) == (4 * SECOND, until)
    assert done(await play.claim(kind=kind)).left_ms == 4 * SECOND
    await play.rig.advance(4 * SECOND)
    assert refused(await play.renew(kind=kind), ErrorReason.DUTY_OVER) == told(kind, state="FAILED")
    assert await _last(play) == _given_up(kind, "its time is over", "worker")
    assert done(await play.complete(kind=kind)).replayed is False


@every_kind
async def test_a_duty_is_not_claimed_when_its_time_is_over(play: Player, kind: DutyKind) -> None:
    """The first who asks then closes it, for everybody to see."""
    await due(play, kind)
    await play.rig.set_time(START + HOUR)
    assert refused(await play.claim(kind=kind), ErrorReason.DUTY_OVER) == told(kind, state="FAILED")
    assert await _last(play) == _given_up(kind, "its time is over")
    assert await play.open_duties(kind) == []
    before = await play.rig.dump()
    assert refused(await play.claim(kind=kind), ErrorReason.DUTY_OVER) == told(kind, state="FAILED")
    assert (await play.rig.dump()).differences(before) == []


@every_kind
async def test_a_failed_attempt_is_tried_again_later(play: Player, kind: DutyKind) -> None:
    """Twice as long after each failure; to anybody then, and to nobody before."""
    await due(play, kind)
    now = BEGUN
    for attempt, wait in enumerate([2, 4, 8, 16, 32, 64, 128, 128, 128], 1):
        lease = f"lease-{attempt}"
        assert done(await play.claim(kind=kind, lease=lease, max_attempts=99)).duty.attempts == attempt
        failed = done(await play.fail(kind=kind, lease=lease, max_attempts=99, note="gone"))
        now += wait * SECOND
        assert (failed.state, failed.due) == (DutyState.OPEN, now)
        data = {"op": "op", "duty": kind, "worker": "worker", "note": "gone", "due": str(now)}
        assert await _last(play) == ("TRIED", data | JOB[kind])
        (duty,) = await play.open_duties(kind)
        assert (duty.due, duty.worker, duty.lease, duty.lease_until) == (now, "", "", 0)
        await play.rig.set_time(now - 1)
        early = await play.claim(kind=kind, lease="new", max_attempts=99)
        assert refused(early, ErrorReason.DUTY_NOT_DUE) == told(kind, rule="it is not due yet")
        await play.rig.advance(1)


@pytest.mark.parametrize(
    ("attempts", "waits"), [(0, 1), (1, 1), (2, 2), (3, 4), (7, 64), (8, 64), (10**6, 64)]
)
def test_the_wait_doubles_up_to_a_bound(attempts: int, waits: int) -> None:
    """After very many failures it is still a number that a clock can show."""
    assert retry_after(attempts, 500) == 500 * waits


@every_kind
async def test_who_failed_has_let_go(play: Player, kind: DutyKind) -> None:
    """Nothing else can be said under that lease."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    done(await play.fail(kind=kind))
    for answer in (await play.renew(kind=kind), await play.complete(kind=kind)):
        assert refused(answer, ErrorReason.LEASE_LOST) == told(kind)


@pytest.mark.parametrize("since", ["nothing", "claimed by another", "done by another", "given up by time"])
@every_kind
async def test_that_it_failed_may_be_said_again(play: Player, kind: DutyKind, since: str) -> None:
    """Whoever did not hear the answer is answered the same, whatever became of the duty since."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    failed = done(await play.fail(kind=kind, note="gone"))
    assert failed == verbs.Failed("op", failed.seq, DutyState.OPEN, BEGUN + 2 * SECOND, replayed=False)
    await play.rig.set_time(failed.due)
    if since in ("claimed by another", "done by another"):
        done(await play.claim(kind=kind, lease="new"))
    if since == "done by another":
        done(await play.complete(kind=kind, lease="new"))
    if since == "given up by time":
        await play.rig.advance(HOUR)
        refused(await play.claim(kind=kind, lease="new"), ErrorReason.DUTY_OVER)
    await play.store.standing()
    before = await play.rig.dump()
    again = await play.fail(kind=kind, note="other", final=True, retry_ms=1)
    assert done(again) == replace(failed, replayed=True)
    assert (await play.rig.dump()).differences(before) == []


@every_kind
async def test_only_the_last_failure_can_be_said_again(play: Player, kind: DutyKind) -> None:
    """Once somebody else has failed, too, whoever failed before has lost it; a new claim begins anew."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    done(await play.fail(kind=kind, retry_ms=1))
    await play.rig.advance(1)
    done(await play.claim(kind=kind, lease="new"))
    second = done(await play.fail(kind=kind, lease="new", retry_ms=1))
    assert refused(await play.fail(kind=kind), ErrorReason.LEASE_LOST) == told(kind)
    assert done(await play.fail(kind=kind, lease="new")) == replace(second, replayed=True)
    await play.rig.set_time(second.due)
    done(await play.claim(kind=kind, lease="new"))
    third = done(await play.fail(kind=kind, lease="new", max_attempts=9))
    assert (third.replayed, third.seq) == (False, (await play.journal())[-1].seq)


@pytest.mark.parametrize("since", ["nothing", "asked for again"])
async def test_that_it_was_given_up_may_be_said_again(play: Player, since: str) -> None:
    """The last failure, too; it is not taken for a failure of what somebody has asked for since."""
    await due(play, UNDO)
    done(await play.claim())
    failed = done(await play.fail(final=True))
    if since == "asked for again":
        assert done(await play.undo()).replayed is False
    before = await play.rig.dump()
    assert done(await play.fail(final=True)) == replace(failed, replayed=True)
    assert (await play.rig.dump()).differences(before) == []
    if since == "asked for again":
        assert done(await play.claim(lease="new")).duty.attempts == 1


@pytest.mark.parametrize("last", ["final", "attempts"])
@every_kind
async def test_a_duty_that_cannot_be_done_stays_visible(play: Player, kind: DutyKind, last: str) -> None:
    """After the last attempt, or one that no other can better, nobody tries again; an operator sees it."""
    await due(play, kind)
    attempts = 1 if last == "final" else 2
    for attempt in range(1, attempts + 1):
        done(await play.claim(kind=kind, lease=f"lease-{attempt}"))
        end = {"final": True, "max_attempts": 9} if last == "final" else {"max_attempts": 2}
        failed = done(await play.fail(kind=kind, lease=f"lease-{attempt}", note="no such id", **end))
        await play.rig.advance(2 * SECOND)
    assert (failed.state, failed.due) == (DutyState.FAILED, 0)
    assert await _last(play) == _given_up(kind, "no such id", "worker")
    assert failed.seq == (await play.journal())[-1].seq
    assert await play.open_duties(kind) == []
    held = {"kind": kind, "lease": f"lease-{attempts}"}
    for answer in (await play.renew(**held), await play.claim(kind=kind, lease="new")):
        assert refused(answer, ErrorReason.DUTY_OVER) == told(kind, state="FAILED")
    assert done(await play.fail(**held)) == replace(failed, replayed=True)


@every_kind
async def test_whoever_had_it_last_may_say_that_it_is_done_after_all(play: Player, kind: DutyKind) -> None:
    """It is information, and makes the report more certain, however late it comes."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    done(await play.fail(kind=kind, final=True))
    await play.rig.advance(2 * HOUR)
    refused(await play.complete(kind=kind, lease="other"), ErrorReason.LEASE_LOST)
    assert done(await play.complete(kind=kind)).state is DutyState.DONE
    duty = await play.read_duty(kind=kind)
    assert duty
    assert (duty.state, duty.seq) == (DutyState.DONE, (await play.journal())[-1].seq)


@every_kind
async def test_a_compensator_that_vanishes_uses_up_its_attempt(play: Player, kind: DutyKind) -> None:
    """When none is left the next who asks closes the duty; the last one may still come back."""
    await due(play, kind)
    for attempt in range(1, 4):
        assert done(await play.claim(kind=kind, lease=f"lease-{attempt}")).duty.attempts == attempt
        await play.rig.advance(30 * SECOND)
    assert refused(await play.claim(kind=kind, lease="new"), ErrorReason.DUTY_OVER) == told(
        kind, state="FAILED"
    )
    assert await _last(play) == _given_up(kind, "the last attempt was never heard of again", "worker")
    refused(await play.complete(kind=kind, lease="lease-2"), ErrorReason.LEASE_LOST)
    done(await play.complete(kind=kind, lease="lease-3"))


@every_kind
async def test_what_is_done_is_on_record_once(play: Player, kind: DutyKind) -> None:
    """With the outside world's own id; said again it is a replay; nothing else can be done about it."""
    await due(play, kind)
    done(await play.claim(kind=kind))
    completed = done(await play.complete(kind=kind, receipt="r-1", note="sent \u00e4"))
    assert completed == verbs.Completed("op", completed.seq, DutyState.DONE, replayed=False)
    expected = {
        UNDO: ("UNDONE", {"worker": "worker", "receipt": "r-1", "note": "sent \u00e4"}),
        CALL_OFF: (
            "CALLED_OFF",
            {"worker": "worker", "receipt": "r-1", "note": "sent \u00e4", "outcome": "ACKNOWLEDGED"},
        ),
        ASK: ("RESOLVED", {"outcome": "SUCCEEDED", "actor": "worker", "evidence": "sent \u00e4"}),
    }
    kind_of_line, data = expected[kind]
    assert await _last(play) == (kind_of_line, {"op": "op", **data, **JOB[kind]})
    await play.rig.advance(DAY)
    await play.store.standing()
    before = await play.rig.dump()
    again = done(await play.complete(kind=kind, receipt="r-2"))
    assert again == replace(completed, replayed=True)
    for answer in (await play.renew(kind=kind), await play.fail(kind=kind), await play.claim(kind=kind)):
        assert refused(answer, ErrorReason.DUTY_OVER) == told(kind, state="DONE")
    refused(await play.complete(kind=kind, lease="other"), ErrorReason.LEASE_LOST)
    assert (await play.rig.dump()).differences(before) == []
    assert await play.open_duties(kind) == []


@every_kind
async def test_nobody_finishes_what_they_did_not_claim(play: Player, kind: DutyKind) -> None:
    """A duty that nobody holds is nobody's to renew, complete or fail."""
    await due(play, kind)
    await play.store.standing()
    before = await play.rig.dump()
    for answer in (await play.renew(kind=kind), await play.fail(kind=kind), await play.complete(kind=kind)):
        assert refused(answer, ErrorReason.LEASE_LOST) == told(kind)
    assert (await play.rig.dump()).differences(before) == []


@every_kind
async def test_there_is_no_such_duty(play: Player, kind: DutyKind) -> None:
    """Of an action that has none of this kind, of one nobody prepared, in a run that never was."""
    await play.effect(await play.ready())
    await play.cancel()
    for op, run in (("op", "run"), ("other", "run"), ("op", "nobody")):
        at = {"op": op, "run": run, "kind": kind}
        for answer in (
            await play.claim(**at),
            await play.renew(**at),
            await play.complete(**at),
            await play.fail(**at),
        ):
            assert refused(answer, ErrorReason.DUTY_UNKNOWN) == {"run": run, "op": op, "duty": kind}


@every_kind
async def test_only_giving_a_duty_asks_for_a_sure_clock(play: Player, kind: DutyKind) -> None:
    """What was done, or could not be, is information."""
    await due(play, kind)
    await play.store.standing()
    await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    refused(await play.claim(kind=kind), ErrorReason.CLOCK_UNSURE)
    await play.rig.set_time(BEGUN)
    done(await play.claim(kind=kind))
    await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    done(await play.renew(kind=kind))
    done(await play.complete(kind=kind))


@every_kind
async def test_time_that_goes_back_gives_nobody_a_lease_again(play: Player, kind: DutyKind) -> None:
    """A lease that is over stays over, within what a clock may be corrected by."""
    await due(play, kind)
    done(await play.claim(kind=kind, lease_ms=SECOND))
    await play.rig.advance(SECOND)
    await play.store.standing()
    await play.rig.advance(-CLOCK_TOLERANCE_MS)
    assert done(await play.claim(kind=kind, lease="new")).duty.attempts == 2


@pytest.mark.parametrize("kind", [CALL_OFF, ASK])
async def test_what_is_due_first_is_offered_first(play: Player, kind: DutyKind) -> None:
    """Then by run and by action, as their ids are ordered, however these are put together."""
    for run in ("b", "a.b", "a-b", "a"):
        await play.open(run)
        grant = await play.issue(run, grant=f"g-{run}")
        for op in ("o", "o-1", "n") if run == "a" else ("o",):
            done(await play.perform(grant, undoable(op, probe="email.ask")))
            if kind is CALL_OFF:
                done(await play.settle(grant, op, handle="h", canceller="job.stop"))
        await play.cancel(run)
    await play.rig.set_time(BEGUN)
    offered = [(one.run_id, one.op_id) for one in await play.open_duties(kind)]
    expected = [("a", "n"), ("a", "o"), ("a", "o-1"), ("a-b", "o"), ("a.b", "o"), ("b", "o")]
    assert offered == expected
    assert [(one.run_id, one.op_id) for one in await play.open_duties(kind, 4)] == expected[:4]
    done(await play.claim("n", kind, run="a"))
    done(await play.fail("n", kind, run="a", retry_ms=1))
    done(await play.claim("o", kind, run="a-b"))
    done(await play.complete("o", kind, run="a-b"))
    offered = [(one.run_id, one.op_id) for one in await play.open_duties(kind)]
    assert offered == [*expected[1:3], *expected[4:], ("a", "n")]


async def _last(play: Player) -> tuple[str, dict[str, str]]:
    entry = (await play.journal())[-1]
    return entry.kind.value, dict(entry.data)


def _given_up(kind: DutyKind, note: str, worker: str = "") -> tuple[str, dict[str, str]]:
    name, more = GIVEN_UP[kind]
    by = {"worker": worker} if worker else {}
    return name, {"op": "op", "note": note, **by, **more}
