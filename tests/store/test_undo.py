"""Undo: asked for once a run has ended, done last effect first, by nobody once it was taken back."""

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.errors import ErrorReason
from grant_service.core.grant import GrantRef
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import ASK, DAY, HOUR, SECOND, UNDO, Player, done, intent, refused, undoable
from tests.store.rigs import EPOCH, START

READ_ONLY, REVERSIBLE, COMPENSABLE, IRREVERSIBLE = Reversibility
TAKEN_BACK = "the authority to undo it was taken back"


async def stopped(play: Player, *ops: str) -> GrantRef:
    """A run that was cancelled after these effects, one after the other."""
    grant = await play.ready()
    for op in ops or ("op",):
        await play.effect(grant, op)
    await play.cancel()
    return grant


async def claimed(play: Player, op: str = "op") -> None:
    """An undo that was asked for, and that somebody is at for half a minute."""
    done(await play.undo(op))
    done(await play.claim(op))


async def test_nothing_is_undone_while_its_run_is_at_work(play: Player) -> None:
    """What could still be built upon is not taken away; the refusal leaves no line."""
    await play.effect(await play.ready())
    before = await play.rig.dump()
    assert refused(await play.undo(), ErrorReason.RUN_ACTIVE) == {"run": "run"}
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize("end", ["cancel", "finish", "cancel above", "finish above", "deadline", "epoch"])
async def test_an_undo_can_be_asked_for_after_any_end(play: Player, end: str) -> None:
    """However the run came to its end, its effects may have to go."""
    await play.open("above", ttl_ms=HOUR)
    await play.open("run", parent="above", ttl_ms=HOUR)
    await play.effect(await play.issue())
    match end:
        case "cancel":
            await play.cancel()
        case "finish":
            done(await play.finish())
        case "cancel above":
            await play.cancel("above")
        case "finish above":
            done(await play.finish("above"))
        case "deadline":
            await play.rig.advance(HOUR - 1)
            refused(await play.undo(), ErrorReason.RUN_ACTIVE)
            await play.rig.advance(1)
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
    if end == "deadline":  # the effect's own time, which began with the run, is over, too
        refused(await play.undo(), ErrorReason.NOT_UNDOABLE)
    else:
        assert done(await play.undo()).state is DutyState.OPEN
        done(await play.claim())


async def test_an_undo_is_on_record_with_its_own_authority(play: Player) -> None:
    """Who asked, and why; what may be done, by which function, for which effect, until when."""
    grant = await stopped(play)
    await play.rig.advance(SECOND)
    asked = done(await play.undo(actor="op-1", note="wrong \u00e4 'list'"))
    assert asked == verbs.UndoAsked("op", 7, DutyState.OPEN, replayed=False)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq, entry.time) == ("UNDO_ASKED", 7, START + SECOND)
    assert dict(entry.data) == {"op": "op", "actor": "op-1", "note": "wrong \u00e4 'list'"}
    minted = Duty(
        *("run", "op", UNDO, "email.recall", DutyState.OPEN, 7, 4, EPOCH),
        due=START + SECOND,
        until=START + HOUR,
    )
    assert await play.open_duties() == [minted]
    assert await play.read_duty() == minted
    refused(await play.commit(grant), ErrorReason.REVOKED)


async def test_asking_again_changes_nothing(play: Player) -> None:
    """An undo that waits, is under way or is done is answered as it stands, in other words too."""
    await stopped(play)
    first = done(await play.undo())
    for _ in range(2):
        again = done(await play.undo(actor="other", note="again"))
        assert (again.seq, again.state, again.replayed) == (first.seq, DutyState.OPEN, True)
        done(await play.claim())
    completed = done(await play.complete())
    before = await play.rig.dump()
    again = done(await play.undo())
    assert (again.seq, again.state, again.replayed) == (completed.seq, DutyState.DONE, True)
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize(
    ("reversibility", "compensation", "rule"),
    [
        (READ_ONLY, "", "there is nothing to undo"),
        (IRREVERSIBLE, "email.recall", "it is irreversible"),
        (REVERSIBLE, "", "no compensation is registered"),
        (COMPENSABLE, "", "no compensation is registered"),
    ],
)
async def test_what_cannot_be_undone_is_refused_with_the_rule(
    play: Player, reversibility: Reversibility, compensation: str, rule: str
) -> None:
    """Neither its class nor a missing function can be asked away."""
    grant = await play.ready()
    await play.effect(grant, intent(reversibility=reversibility, compensation=compensation))
    await play.cancel()
    details = refused(await play.undo(), ErrorReason.NOT_UNDOABLE)
    assert details == {"run": "run", "op": "op", "rule": rule}
    assert await play.open_duties() == []


@pytest.mark.parametrize("what", ["prepared", "abandoned", "awaiting", "denied", "failed"])
async def test_what_did_not_happen_is_not_undone(play: Player, what: str) -> None:
    """There is nothing to take back."""
    demand = READ_ONLY if what in ("awaiting", "denied") else None
    grant = await play.ready(scopes=(Scope("*", approval_from=demand),))
    done(await play.prepare(grant, undoable()))
    match what:
        case "abandoned":
            done(await play.abandon(grant))
        case "denied":
            done(await play.deny())
        case "failed":
            done(await play.commit(grant))
            done(await play.settle(grant, outcome=ActionState.FAILED))
    await play.cancel()
    assert refused(await play.undo(), ErrorReason.NOT_UNDOABLE)["rule"] == "it did not happen"


async def test_nobody_undoes_what_nobody_prepared(play: Player) -> None:
    """Neither in a run that is there, nor in one that never was."""
    await stopped(play)
    for op, run in (("other", "run"), ("op", "nobody")):
        told = {"run": run, "op": op}
        assert refused(await play.undo(op, run), ErrorReason.ACTION_UNKNOWN) == told
        assert refused(await play.withdraw(op, run), ErrorReason.ACTION_UNKNOWN) == told


@pytest.mark.parametrize("undo_ms", [10 * SECOND, HOUR, 10 * DAY])
async def test_an_effect_can_be_undone_until_a_time_set_at_prepare(play: Player, undo_ms: int) -> None:
    """Counted from the prepare on, and never longer than the run's records are kept."""
    grant = await play.ready()
    until = START + min(undo_ms, 2 * DAY)
    assert done(await play.prepare(grant, undoable(), undo_ms=undo_ms)).undo_until == until
    assert (await play.read_action()).undo_until == until
    done(await play.commit(grant))
    done(await play.settle(grant))
    await play.cancel()
    if undo_ms > DAY:
        return
    await play.rig.set_time(until - 1)
    assert done(await play.undo()).replayed is False
    await play.rig.advance(1)
    assert done(await play.undo()).replayed is True


async def test_an_undo_comes_too_late(play: Player) -> None:
    """From that time on nobody has the right any more."""
    await stopped(play)
    await play.rig.advance(HOUR)
    rule = refused(await play.undo(), ErrorReason.NOT_UNDOABLE)["rule"]
    assert rule == "the time in which it could be undone is over"


async def test_an_undo_asks_for_a_sure_clock(play: Player) -> None:
    """It gives authority for a time, and so does a claim."""
    await stopped(play, "a", "b")
    done(await play.undo("b"))
    await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    behind = {"behind_ms": str(CLOCK_TOLERANCE_MS + 1)}
    assert refused(await play.undo("a"), ErrorReason.CLOCK_UNSURE) == behind
    assert refused(await play.claim("b"), ErrorReason.CLOCK_UNSURE) == behind
    await play.rig.advance(1)
    done(await play.undo("a"))
    done(await play.claim("b"))


@pytest.mark.parametrize("known", ["settled", "resolved", "never"])
async def test_what_may_have_happened_is_undone_once_it_is_known(play: Player, known: str) -> None:
    """It can be asked for while the effect is in flight; it is not to be done before the outcome is known."""
    grant = await play.ready()
    done(await play.perform(grant, undoable()))
    await play.cancel()
    done(await play.undo())
    told = {"run": "run", "op": "op", "duty": UNDO, "rule": "its outcome is not known yet"}
    assert refused(await play.claim(), ErrorReason.DUTY_NOT_DUE) == told
    if known == "settled":
        done(await play.settle(grant, outcome=ActionState.UNKNOWN))
        assert refused(await play.claim(), ErrorReason.DUTY_NOT_DUE) == told
        done(await play.settle(grant))
    await play.rig.advance(5 * SECOND)
    if known == "resolved":
        done(await play.resolve())
    if known == "never":
        assert refused(await play.claim(), ErrorReason.DUTY_NOT_DUE) == told
    else:
        done(await play.claim())


@pytest.mark.parametrize("how", ["settle", "resolve", "ask"])
async def test_an_undo_of_what_did_not_happen_after_all_is_moot(play: Player, how: str) -> None:
    """Once that is known nobody claims it, and nobody can ask for it again."""
    grant = await play.ready()
    done(await play.perform(grant, undoable(probe="email.ask")))
    await play.cancel()
    done(await play.undo())
    await play.rig.advance(5 * SECOND)
    match how:
        case "settle":
            done(await play.settle(grant, outcome=ActionState.FAILED))
        case "resolve":
            done(await play.resolve(outcome=ActionState.FAILED))
        case "ask":
            done(await play.claim(kind=ASK))
            done(await play.complete(kind=ASK, outcome="FAILED"))
    assert await play.open_duties() == []
    told = {"run": "run", "op": "op", "duty": UNDO, "state": DutyState.MOOT}
    assert refused(await play.claim(), ErrorReason.DUTY_OVER) == told
    assert refused(await play.undo(), ErrorReason.NOT_UNDOABLE)["rule"] == "it did not happen"


async def test_the_last_effect_is_undone_first(play: Player) -> None:
    """By the order of the permits, whatever the order of asking; one at a time."""
    await stopped(play, "a", "b", "c")
    for op in ("b", "a", "c"):
        done(await play.undo(op))
    blocked = {"run": "run", "duty": UNDO, "rule": "a later effect is undone first"}
    for op, others in (("c", "ab"), ("b", "a"), ("a", "")):
        assert [one.op_id for one in await play.open_duties()] == [op]
        for other in others:
            assert refused(await play.claim(other), ErrorReason.DUTY_NOT_DUE) == {**blocked, "op": other}
        done(await play.claim(op, lease=f"lease-{op}"))
        for other in others:
            refused(await play.claim(other), ErrorReason.DUTY_NOT_DUE)
        done(await play.complete(op, lease=f"lease-{op}"))
    assert await play.open_duties() == []
    assert (await play.kinds())[-6:] == ["CLAIMED", "UNDONE"] * 3


@pytest.mark.parametrize(
    ("later", "blocks"),
    [
        ("nobody asked for", False),
        ("open", True),
        ("under way", True),
        ("failed once", True),
        ("given up", False),
        ("withdrawn", False),
        ("withdrawn while under way", False),
        ("done", False),
        ("unknown", True),
        ("in flight", True),
        ("did not happen", False),
        ("of an earlier epoch", True),
    ],
)
async def test_a_later_effect_blocks_while_it_is_to_be_undone(play: Player, later: str, blocks: bool) -> None:
    """It does as long as its undo is open; one that was given up or taken back does not."""
    grant = await play.ready()
    await play.effect(grant, "first")
    done(await play.perform(grant, undoable("later")))
    if later == "unknown":
        done(await play.settle(grant, "later", ActionState.UNKNOWN))
    elif later not in ("in flight", "did not happen"):
        done(await play.settle(grant, "later"))
    await play.cancel()
    if later != "nobody asked for":
        done(await play.undo("later"))
    if later in ("under way", "failed once", "given up", "done", "withdrawn while under way"):
        done(await play.claim("later"))
    match later:
        case "failed once":
            done(await play.fail("later"))
        case "given up":
            done(await play.fail("later", final=True))
        case "withdrawn" | "withdrawn while under way":
            done(await play.withdraw("later"))
        case "done":
            done(await play.complete("later"))
        case "did not happen":
            done(await play.settle(grant, "later", ActionState.FAILED))
        case "of an earlier epoch":
            await play.rig.renew_epoch("epoch-2")
    done(await play.undo("first"))
    if blocks:
        rule = refused(await play.claim("first"), ErrorReason.DUTY_NOT_DUE)["rule"]
        assert rule == "a later effect is undone first"
    else:
        done(await play.claim("first"))


async def test_runs_are_undone_side_by_side(play: Player) -> None:
    """The order is one of a run's own effects; of each run the next one is offered, by the run's id."""
    for run in ("b", "a-b", "a"):
        await play.open(run)
        grant = await play.issue(run, grant=f"g-{run}")
        for op in ("one", "two"):
            await play.effect(grant, op)
        await play.cancel(run)
        for op in ("one", "two"):
            done(await play.undo(op, run))
    offered = [(one.run_id, one.op_id) for one in await play.open_duties()]
    assert offered == [("a", "two"), ("a-b", "two"), ("b", "two")]
    assert [one.run_id for one in await play.open_duties(limit=2)] == ["a", "a-b"]
    assert await play.open_duties(DutyKind.CALL_OFF) == []
    for run in ("b", "a"):
        done(await play.claim("two", run=run))
        done(await play.complete("two", run=run))
    offered = [(one.run_id, one.op_id) for one in await play.open_duties()]
    assert offered == [("a", "one"), ("a-b", "two"), ("b", "one")]


async def test_an_undo_that_was_given_up_is_tried_afresh(play: Player) -> None:
    """Somebody asks again: it has all its attempts, and nobody has to wait for whoever gave up."""
    await stopped(play)
    for attempt in range(1, 3):
        asked = done(await play.undo())
        assert (asked.replayed, asked.state) == (False, DutyState.OPEN)
        duty = done(await play.claim(lease=f"lease-{attempt}")).duty
        assert duty.attempts == 1
        assert done(await play.fail(lease=f"lease-{attempt}", final=True)).state is DutyState.FAILED
    assert (await play.kinds()).count("UNDO_ASKED") == 2


async def test_whoever_held_a_given_up_undo_may_finish_it_after_all(play: Player) -> None:
    """Asked for again, it is still theirs to report until somebody else has claimed it."""
    await stopped(play)
    await claimed(play)
    done(await play.fail(final=True))
    done(await play.undo())
    assert done(await play.complete()).state is DutyState.DONE
    refused(await play.claim(lease="other"), ErrorReason.DUTY_OVER)


async def test_an_undo_is_taken_back_before_anybody_asked(play: Player) -> None:
    """While the run is still at work, too: from then on nobody may undo it."""
    grant = await play.ready()
    permit = await play.effect(grant)
    taken = done(await play.withdraw(actor="op-1", note="keep it"))
    assert taken == verbs.Withdrawn("op", 6, 0, replayed=False)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq) == ("UNDO_WITHDRAWN", 6)
    assert dict(entry.data) == {"op": "op", "actor": "op-1", "note": "keep it"}
    duty = await play.read_duty()
    assert duty
    assert (duty.state, duty.fence, duty.seq) == (DutyState.WITHDRAWN, permit.fence, 6)
    await play.cancel()
    assert refused(await play.undo(), ErrorReason.NOT_UNDOABLE)["rule"] == TAKEN_BACK
    assert refused(await play.claim(), ErrorReason.DUTY_OVER)["state"] == DutyState.WITHDRAWN
    assert await play.open_duties() == []


async def test_taking_back_again_answers_the_same(play: Player) -> None:
    """The first words stand."""
    await stopped(play)
    done(await play.undo())
    first = done(await play.withdraw())
    again = done(await play.withdraw(note="again"))
    assert (again.seq, again.replayed) == (first.seq, True)
    assert (await play.kinds()).count("UNDO_WITHDRAWN") == 1


async def test_who_is_at_it_may_still_say_that_it_is_done(play: Player) -> None:
    """Taken back while somebody was at it: until when that may be is told; what they did is information."""
    await stopped(play)
    await claimed(play)
    taken = done(await play.withdraw())
    assert taken.lease_until == START + 30 * SECOND
    for answer in (await play.renew(), await play.fail(), await play.claim(), await play.claim(lease="x")):
        assert refused(answer, ErrorReason.DUTY_OVER)["state"] == DutyState.WITHDRAWN
    await play.rig.advance(HOUR)
    completed = done(await play.complete(receipt="r-1"))
    assert (completed.state, completed.replayed) == (DutyState.DONE, False)
    assert (await play.kinds())[-2:] == ["UNDO_WITHDRAWN", "UNDONE"]
    details = refused(await play.withdraw(), ErrorReason.DUTY_OVER)
    assert details == {"run": "run", "op": "op", "duty": UNDO, "state": DutyState.DONE}
    assert done(await play.undo()).state is DutyState.DONE


async def test_nobody_else_can_finish_what_was_taken_back(play: Player) -> None:
    """A lease that was never given, or is another's, says nothing."""
    await stopped(play)
    await claimed(play)
    done(await play.withdraw())
    assert refused(await play.complete(lease="other"), ErrorReason.LEASE_LOST)["worker"] == "worker"


async def test_what_was_given_up_can_be_taken_back(play: Player) -> None:
    """An operator's last word on an undo that does not work."""
    await stopped(play)
    await claimed(play)
    done(await play.fail(final=True))
    done(await play.withdraw())
    assert refused(await play.undo(), ErrorReason.NOT_UNDOABLE)["rule"] == TAKEN_BACK


async def test_there_is_nothing_to_take_back_without_a_compensation(play: Player) -> None:
    """Nobody has the authority that is asked about."""
    await play.effect(await play.ready(), intent(reversibility=REVERSIBLE))
    rule = refused(await play.withdraw(), ErrorReason.NOT_UNDOABLE)["rule"]
    assert rule == "no compensation is registered"


async def test_taking_back_needs_no_clock(play: Player) -> None:
    """It takes authority away, and so always works."""
    await stopped(play)
    done(await play.undo())
    await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    done(await play.withdraw())


async def test_an_undo_of_an_earlier_epoch_is_asked_for_again(play: Player) -> None:
    """A store that may have lost facts may have lost that it was done, or that it must not be."""
    await stopped(play)
    done(await play.undo())
    await play.rig.renew_epoch("epoch-2")
    rule = "the store may have lost facts since: ask for the undo again"
    assert refused(await play.claim(), ErrorReason.DUTY_NOT_DUE)["rule"] == rule
    again = done(await play.undo())
    assert (again.replayed, again.state) == (False, DutyState.OPEN)
    assert done(await play.claim()).duty.epoch == "epoch-2"
    assert done(await play.undo()).replayed


async def test_who_is_at_it_over_an_epoch_keeps_it(play: Player) -> None:
    """Asked for again in the new one, it is not given to a second compensator at the same time."""
    await stopped(play)
    await claimed(play)
    await play.rig.renew_epoch("epoch-2")
    done(await play.undo())
    assert refused(await play.claim(lease="other"), ErrorReason.DUTY_TAKEN)["worker"] == "worker"
    done(await play.renew())
    assert done(await play.complete()).state is DutyState.DONE


@pytest.mark.parametrize("stop", ["cancel again", "cancel above", "revoke", "freeze"])
async def test_no_stop_ends_an_undo(play: Player, stop: str) -> None:
    """The right to clean up outlives every revocation of what made the mess."""
    await play.open("above")
    await play.open("run", parent="above")
    await play.effect(await play.issue())
    done(await play.finish())
    done(await play.undo())
    match stop:
        case "cancel again":
            await play.cancel()
        case "cancel above":
            await play.cancel("above")
        case "revoke":
            done(await play.revoke())
        case "freeze":
            done(await play.freeze())
    done(await play.claim())
    done(await play.renew())
    assert done(await play.complete()).state is DutyState.DONE


async def test_an_undo_is_no_more_than_the_undo_of_one_effect(play: Player) -> None:
    """A lease names one duty: with it nothing else can be renewed, completed or failed."""
    await stopped(play, "a", "b")
    done(await play.undo("a"))
    done(await play.undo("b"))
    done(await play.claim("b"))
    told = {"run": "run", "op": "a", "duty": UNDO}
    for answer in (await play.renew("a"), await play.complete("a"), await play.fail("a")):
        assert refused(answer, ErrorReason.LEASE_LOST) == told
