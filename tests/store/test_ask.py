"""Ask: where its tool can tell, somebody finds out what became of an action that nobody settled in time."""

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.duty import ASK_MS, Duty, DutyKind, DutyState
from grant_service.core.errors import ErrorReason
from grant_service.core.grant import GrantRef
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import ASK, CALL_OFF, DAY, HOUR, SECOND, UNDO, Player, done, intent, refused, undoable
from tests.store.rigs import EPOCH, START

SUCCEEDED, FAILED, UNKNOWN = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN
MOOT = {"run": "run", "op": "op", "duty": ASK, "state": "MOOT"}


async def silent(play: Player) -> GrantRef:
    """An action that was permitted, and that nobody has settled though its permit is over."""
    grant = await play.ready()
    done(await play.perform(grant, undoable(probe="email.ask")))
    await play.rig.advance(5 * SECOND)
    return grant


@pytest.mark.parametrize("verb", ["commit", "perform"])
async def test_a_permit_comes_with_the_right_to_ask(play: Player, verb: str) -> None:
    """From its use-by on, of the function the tool named; the journal of the prepare names it, too."""
    grant = await play.ready()
    wanted = intent(probe="email.ask")
    if verb == "commit":
        done(await play.prepare(grant, wanted))
        assert await play.read_duty(kind=ASK) is None
        permit = done(await play.commit(grant))
    else:
        permit = done(await play.perform(grant, wanted))
    minted = Duty(
        *("run", "op", ASK, "email.ask", DutyState.OPEN, permit.fence, permit.fence, EPOCH),
        due=permit.use_by,
        until=START + HOUR,
    )
    assert await play.open_duties(ASK) == [minted]
    assert [one.data.get("probe") for one in await play.journal()][2:] == ["email.ask", None]
    told = {"run": "run", "op": "op", "duty": ASK, "rule": "it is not due yet"}
    await play.rig.set_time(permit.use_by - 1)
    assert refused(await play.claim(kind=ASK), ErrorReason.DUTY_NOT_DUE) == told
    await play.rig.advance(1)
    done(await play.claim(kind=ASK))


@pytest.mark.parametrize("verb", ["commit", "perform"])
@pytest.mark.parametrize("undo_ms", [0, 1, 5 * SECOND, 6 * SECOND])
async def test_there_is_time_to_ask_after_the_permit(play: Player, verb: str, undo_ms: int) -> None:
    """However short a time there is to undo the effect: while the permit could be used nobody was asked."""
    grant = await play.ready()
    wanted = intent(probe="email.ask")
    if verb == "commit":
        done(await play.prepare(grant, wanted, undo_ms=undo_ms))
        permit = done(await play.commit(grant))
    else:
        permit = done(await play.perform(grant, wanted, undo_ms=undo_ms))
    duty = await play.read_duty(kind=ASK)
    assert duty
    assert duty.until == permit.use_by + ASK_MS
    for at in (START, permit.use_by - 1):
        await play.rig.set_time(at)
        refused(await play.claim(kind=ASK), ErrorReason.DUTY_NOT_DUE)
    await play.rig.set_time(permit.use_by)
    done(await play.claim(kind=ASK))
    await play.rig.set_time(duty.until)
    assert refused(await play.claim(kind=ASK, lease="new"), ErrorReason.DUTY_OVER)["state"] == "FAILED"


async def test_nobody_is_asked_beyond_the_records(play: Player) -> None:
    """The time to ask ends with what the run left."""
    done(await play.store.open(verbs.Open("run", HOUR, keep_ms=SECOND)))
    grant = await play.issue(ttl_ms=DAY)
    await play.rig.advance(HOUR - 5 * SECOND)
    done(await play.perform(grant, intent(probe="email.ask"), undo_ms=SECOND))
    duty = await play.read_duty(kind=ASK)
    assert duty
    assert (duty.due, duty.until) == (START + HOUR, START + HOUR + SECOND)


async def test_without_a_probe_nobody_is_asked(play: Player) -> None:
    """There is nobody who could tell."""
    await play.permit(await play.ready())
    assert await play.read_duty(kind=ASK) is None
    refused(await play.claim(kind=ASK), ErrorReason.DUTY_UNKNOWN)


async def test_a_person_who_agrees_makes_nothing_to_ask_about(play: Player) -> None:
    """Only a permit does."""
    grant = await play.ready(scopes=(Scope("*", approval_from=Reversibility.READ_ONLY),))
    done(await play.prepare(grant, intent(probe="email.ask")))
    done(await play.approve())
    assert await play.read_duty(kind=ASK) is None
    done(await play.commit(grant))
    assert await play.read_duty(kind=ASK)


async def test_a_repeated_permit_is_no_second_question(play: Player) -> None:
    """The replay leaves the duty as it is."""
    grant = await play.ready()
    done(await play.prepare(grant, intent(probe="email.ask")))
    done(await play.commit(grant))
    before = await play.rig.dump()
    assert done(await play.commit(grant)).replayed
    assert done(await play.perform(grant, intent(probe="email.ask"))).replayed
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
async def test_what_was_settled_is_not_asked_about(play: Player, outcome: ActionState) -> None:
    """Its tool has told."""
    grant = await silent(play)
    done(await play.settle(grant, outcome=outcome))
    assert await play.open_duties(ASK) == []
    assert refused(await play.claim(kind=ASK), ErrorReason.DUTY_OVER) == MOOT


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED"])
async def test_an_unknown_outcome_is_asked_about(play: Player, outcome: str) -> None:
    """Also where its tool said so; the answer is the outcome, and the journal holds who found out and how."""
    grant = await silent(play)
    done(await play.settle(grant, outcome=UNKNOWN))
    done(await play.claim(kind=ASK))
    completed = done(await play.complete(kind=ASK, outcome=outcome, note="message 17 is in the outbox"))
    assert completed.state is DutyState.DONE
    entry = (await play.journal())[-1]
    told = {"op": "op", "outcome": outcome, "actor": "worker", "evidence": "message 17 is in the outbox"}
    assert (entry.kind, entry.seq, dict(entry.data)) == ("RESOLVED", completed.seq, told)
    action = await play.read_action()
    assert (action.state, action.settle_seq) == (outcome, completed.seq)
    assert done(await play.resolve(outcome=ActionState(outcome))).replayed
    assert not done(await play.settle(grant, outcome=ActionState(outcome))).replayed  # its own first word


@pytest.mark.parametrize("verb", ["claim", "renew", "fail", "complete"])
@pytest.mark.parametrize("by", ["settle", "resolve"])
async def test_a_question_left_open_is_closed_by_whoever_comes_first(
    play: Player, by: str, verb: str
) -> None:
    """The step that put the outcome on record may have broken off before; nobody is asked for nothing."""
    grant = await silent(play)
    done(await play.claim(kind=ASK))
    done(await play.settle(grant)) if by == "settle" else done(await play.resolve())
    before = await play.rig.dump()
    moot = await play.read_duty(kind=ASK)
    assert moot
    await play.rig.leave_open(moot)
    assert len(await play.open_duties(ASK)) == 1
    assert refused(await getattr(play, verb)(kind=ASK), ErrorReason.DUTY_OVER) == MOOT
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize("kind", [UNDO, CALL_OFF])
async def test_what_did_not_happen_and_was_left_open_is_closed(play: Player, kind: DutyKind) -> None:
    """A later effect that did not happen keeps nobody from undoing an earlier one."""
    grant = await play.ready()
    for op in ("first", "op"):
        done(await play.perform(grant, undoable(op)))
        outcome = UNKNOWN if op == "op" else SUCCEEDED
        done(await play.settle(grant, op, outcome=outcome, handle=f"h-{op}", canceller="job.stop"))
    await play.cancel()
    done(await play.undo("first"))
    done(await play.undo())
    done(await play.settle(grant, outcome=FAILED))
    moot = await play.read_duty(kind=kind)
    assert moot
    await play.rig.leave_open(moot)
    told = {"run": "run", "op": "op", "duty": kind, "state": "MOOT"}
    assert refused(await play.claim(kind=kind), ErrorReason.DUTY_OVER) == told
    assert [one.op_id for one in await play.open_duties(kind)] == ["first"]
    done(await play.claim("first", kind=kind))


async def test_it_is_asked_about_whether_the_run_goes_on_or_not(play: Player) -> None:
    """What one does not know one wants to know in any case."""
    await silent(play)
    done(await play.claim(kind=ASK))
    done(await play.fail(kind=ASK, retry_ms=1))
    await play.cancel()
    await play.rig.advance(SECOND)
    done(await play.claim(kind=ASK, lease="new"))


@pytest.mark.parametrize("state", ["under way", "given up"])
@pytest.mark.parametrize("by", ["settle", "resolve"])
@pytest.mark.parametrize("said", [SUCCEEDED, FAILED])
async def test_a_late_answer_changes_no_known_outcome(
    play: Player, state: str, by: str, said: ActionState
) -> None:
    """Whoever was asked is not the first to tell any more: what is known stays as it is."""
    grant = await silent(play)
    done(await play.claim(kind=ASK))
    if state == "given up":
        done(await play.fail(kind=ASK, final=True))
    if by == "settle":
        done(await play.settle(grant, outcome=said))
    else:
        done(await play.resolve(outcome=said))
    before = await play.rig.dump()
    for outcome in ("SUCCEEDED", "FAILED"):
        assert refused(await play.complete(kind=ASK, outcome=outcome), ErrorReason.DUTY_OVER) == MOOT
    assert (await play.rig.dump()).differences(before) == []
    assert (await play.read_action()).state is said


@pytest.mark.parametrize("state", ["nobody was asked", "nobody knew", "its time is over"])
async def test_an_answer_nobody_gave_leaves_it_unknown(play: Player, state: str) -> None:
    """It says nothing about the effect; a person can still resolve it."""
    await silent(play)
    if state == "nobody knew":
        done(await play.claim(kind=ASK))
        done(await play.fail(kind=ASK, final=True, note="no such call"))
        assert (await play.kinds())[-1] == "UNANSWERED"
    if state == "its time is over":
        await play.rig.advance(HOUR)
        refused(await play.claim(kind=ASK), ErrorReason.DUTY_OVER)
        assert (await play.kinds())[-1] == "UNANSWERED"
    assert (await play.read_action()).state is ActionState.PERMITTED
    assert done(await play.resolve()).state is SUCCEEDED


async def test_an_answer_that_nothing_happened_closes_everything_else(play: Player) -> None:
    """There is nothing to undo and nothing to call off."""
    grant = await silent(play)
    done(await play.settle(grant, outcome=UNKNOWN, handle="h-1", canceller="job.stop"))
    await play.cancel()
    done(await play.undo())
    done(await play.claim(kind=ASK))
    done(await play.complete(kind=ASK, outcome="FAILED"))
    for kind in (UNDO, CALL_OFF):
        assert refused(await play.claim(kind=kind), ErrorReason.DUTY_OVER)["state"] == "MOOT"


async def test_an_answer_that_it_happened_lets_it_be_undone(play: Player) -> None:
    """Known is enough; who found out does not matter."""
    await silent(play)
    await play.cancel()
    done(await play.undo())
    refused(await play.claim(), ErrorReason.DUTY_NOT_DUE)
    done(await play.claim(kind=ASK))
    done(await play.complete(kind=ASK))
    done(await play.claim())
    assert done(await play.complete()).state is DutyState.DONE


async def test_an_epoch_ends_no_question(play: Player) -> None:
    """Finding out is harmless, and more is unknown than before."""
    await silent(play)
    await play.rig.renew_epoch("epoch-2")
    done(await play.claim(kind=ASK))
    done(await play.complete(kind=ASK))
