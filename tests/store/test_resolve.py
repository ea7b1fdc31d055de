"""Resolve: somebody who looked says what became of an action, once nobody can change it any more."""

from dataclasses import replace

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason
from grant_service.core.report import Report, ReportedAction
from grant_service.core.run import RECENT_MS
from grant_service.core.scope import PERMIT_MAY_BE_LOST, Reversibility, Scope
from tests.store.player import ASK, CALL_OFF, DAY, HOUR, SECOND, UNDO, Player, done, refused, undoable
from tests.store.rigs import START

SUCCEEDED, FAILED, UNKNOWN = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
async def test_an_unknown_outcome_becomes_known(play: Player, outcome: ActionState) -> None:
    """The journal holds who said so and how they knew, letter by letter."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant, outcome=UNKNOWN, receipt="q-1"))
    await play.rig.advance(SECOND)
    words = "the console \u00e4 'says' {so}\n"
    resolved = done(await play.resolve(outcome=outcome, actor="op-1", evidence=words))
    assert resolved == verbs.Resolved("op", 6, outcome, replayed=False)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq, entry.time) == ("RESOLVED", 6, START + SECOND)
    assert dict(entry.data) == {"op": "op", "outcome": outcome, "actor": "op-1", "evidence": words}
    action = await play.read_action()
    assert (action.state, action.settle_seq) == (outcome, 6)


async def test_nobody_can_know_while_the_permit_can_be_used(play: Player) -> None:
    """The refusal says how long that is; from the use-by on it can be resolved, at work or stopped."""
    grant = await play.ready()
    await play.permit(grant)
    before = await play.rig.dump()
    told = {"run": "run", "op": "op", "left_ms": "5000"}
    assert refused(await play.resolve(), ErrorReason.IN_FLIGHT) == told
    assert (await play.rig.dump()).differences(before) == []
    await play.rig.advance(5 * SECOND - 1)
    assert refused(await play.resolve(), ErrorReason.IN_FLIGHT)["left_ms"] == "1"
    await play.rig.advance(1)
    assert done(await play.resolve()).state is SUCCEEDED


async def test_what_its_tool_called_unknown_need_not_wait(play: Player) -> None:
    """Who had the permit has used it: nobody else will."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant, outcome=UNKNOWN))
    done(await play.resolve())


@pytest.mark.parametrize("first", ["settle", "resolve"])
@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED])
async def test_the_first_word_stands(play: Player, first: str, outcome: ActionState) -> None:
    """Whoever said it: the same again is a replay, the contrary is refused."""
    grant = await play.ready()
    await play.permit(grant)
    await play.rig.advance(5 * SECOND)
    if first == "settle":
        seq = done(await play.settle(grant, outcome=outcome)).seq
    else:
        seq = done(await play.resolve(outcome=outcome)).seq
    before = await play.rig.dump()
    again = done(await play.resolve(outcome=outcome, actor="other", evidence="other"))
    assert again == verbs.Resolved("op", seq, outcome, replayed=True)
    contrary = FAILED if outcome is SUCCEEDED else SUCCEEDED
    told = {"run": "run", "op": "op", "state": outcome}
    assert refused(await play.resolve(outcome=contrary), ErrorReason.ALREADY_SETTLED) == told
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize("by", ["a person", "a probe"])
@pytest.mark.parametrize("first", ["", "UNKNOWN"])
async def test_a_tool_that_agrees_afterwards_is_heard(play: Player, by: str, first: str) -> None:
    """Its receipt, arguments and job are what nobody else knew; said again it is a replay."""
    grant = await play.ready()
    done(await play.perform(grant, undoable(probe="email.ask")))
    await play.rig.advance(5 * SECOND)
    if first:
        done(await play.settle(grant, outcome=UNKNOWN))
    await resolved_by(play, by, SUCCEEDED)
    assert (await play.read_action()).resolved
    told = {
        "receipt": "r-1",
        "note": "n",
        "result_args": '{"id":1}',
        "handle": "h-1",
        "canceller": "job.stop",
    }
    await play.cancel()
    settled = done(await play.settle(grant, **told))
    line = (await play.journal())[-1]
    assert (line.kind, line.seq) == ("SETTLED", settled.seq)
    said = {"receipt": "r-1", "note": "n", "handle": "h-1", "canceller": "job.stop"}
    assert dict(line.data) == {"op": "op", "outcome": "SUCCEEDED"} | said
    assert (settled.state, settled.after_cut, settled.replayed) == (SUCCEEDED, True, False)
    action = await play.read_action()
    assert (action.state, action.resolved, action.settle_seq) == (SUCCEEDED, False, settled.seq)
    assert (action.result_args, action.handles) == ('{"id":1}', ("h-1",))
    before = await play.rig.dump()
    assert done(await play.settle(grant, **told)) == replace(settled, replayed=True)
    assert done(await play.resolve()).replayed
    assert (await play.rig.dump()).differences(before) == []
    done(await play.undo())
    for kind in (CALL_OFF, UNDO):
        done(await play.claim(kind=kind))
        done(await play.complete(kind=kind))


@pytest.mark.parametrize("by", ["a person", "a probe"])
async def test_a_tool_that_agrees_that_nothing_happened_leaves_nothing_to_do(play: Player, by: str) -> None:
    """Also where it names a job: it says that this will not do anything."""
    grant = await play.ready()
    done(await play.perform(grant, undoable(probe="email.ask")))
    await play.rig.advance(5 * SECOND)
    await resolved_by(play, by, FAILED)
    await play.cancel()
    assert not done(await play.settle(grant, outcome=FAILED, handle="h-1", canceller="job.stop")).replayed
    assert await play.open_duties(CALL_OFF) == []
    refused(await play.claim(kind=CALL_OFF), ErrorReason.DUTY_OVER)


@pytest.mark.parametrize("by", ["a person", "a probe"])
@pytest.mark.parametrize("known", [SUCCEEDED, FAILED])
async def test_a_tool_that_does_not_agree_comes_too_late(play: Player, by: str, known: ActionState) -> None:
    """What is known stands; the attempt to change it is on record, and changes nothing else."""
    grant = await play.ready()
    done(await play.perform(grant, undoable(probe="email.ask")))
    await play.rig.advance(5 * SECOND)
    await resolved_by(play, by, known)
    before = await play.read_action()
    for outcome in {SUCCEEDED, FAILED, UNKNOWN} - {known}:
        told = await play.settle(grant, outcome=outcome, handle="h-1", canceller="job.stop")
        assert refused(told, ErrorReason.ALREADY_SETTLED)["state"] == known
    assert (await play.kinds())[-2:] == ["REFUSED", "REFUSED"]
    assert await play.read_action() == before
    assert await play.open_duties(CALL_OFF) == []


async def resolved_by(play: Player, who: str, outcome: ActionState) -> None:
    """Somebody else than the tool says what became of it."""
    if who == "a person":
        done(await play.resolve(outcome=outcome))
    else:
        done(await play.claim(kind=ASK))
        done(await play.complete(kind=ASK, outcome=outcome))


@pytest.mark.parametrize("what", ["PREPARED", "ABANDONED", "AWAITING_APPROVAL", "DENIED"])
async def test_what_was_never_permitted_is_not_resolved(play: Player, what: str) -> None:
    """Nothing became of it, whatever somebody saw."""
    demand = Reversibility.READ_ONLY if what in ("AWAITING_APPROVAL", "DENIED") else None
    grant = await play.ready(scopes=(Scope("*", approval_from=demand),))
    done(await play.prepare(grant))
    if what == "ABANDONED":
        done(await play.abandon(grant))
    if what == "DENIED":
        done(await play.deny())
    await play.rig.advance(DAY)
    told = {"run": "run", "op": "op", "state": what}
    assert refused(await play.resolve(), ErrorReason.NEVER_PERMITTED) == told


async def test_nobody_resolves_what_nobody_prepared(play: Player) -> None:
    """Neither in a run that is there, nor in one that never was."""
    await play.open()
    for run in ("run", "nobody"):
        told = {"run": run, "op": "op"}
        assert refused(await play.resolve(run=run), ErrorReason.ACTION_UNKNOWN) == told


@pytest.mark.parametrize("end", ["", "cancel", "finish", "deadline", "epoch", "clock"])
async def test_what_is_known_is_always_taken(play: Player, end: str) -> None:
    """It is information: no end of the run refuses it, nor a clock that went back."""
    grant = await play.ready()
    await play.permit(grant)
    await play.rig.advance(5 * SECOND)
    match end:
        case "cancel":
            await play.cancel()
        case "finish":
            done(await play.finish())
        case "deadline":
            await play.rig.advance(DAY)
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
        case "clock":
            await play.store.standing()
            await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    assert done(await play.resolve()).state is SUCCEEDED


async def reported(play: Player, op: str = "op") -> ReportedAction:
    """The action as a report tells of it."""
    report = await compile_report(play.store, "run")
    assert isinstance(report, Report)
    return next(one for one in report.actions if one.op_id == op)


#: After these the store may lack the permit of an action: an epoch ended while its run was active.
LOST = ("epoch", "epoch epoch", "epoch cancel", "epoch finish", "epoch cancel-above", "deadline epoch")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "events",
    [*LOST, "cancel epoch", "finish epoch", "cancel-above epoch", "cancel", "deadline", "cancel-above"],
)
async def test_whatever_a_report_calls_unknown_can_be_resolved(
    play: Player, events: str, waits: bool
) -> None:
    """And nothing else: where a permit may be lost with its line, both say that nobody knows."""
    await play.open("above")
    await play.open(parent="above", ttl_ms=HOUR)
    grant = await play.issue(scopes=(Scope("*", approval_from=Reversibility.READ_ONLY if waits else None),))
    done(await play.prepare(grant, undoable()))
    for number, event in enumerate(events.split(), 2):
        match event:
            case "epoch":
                await play.rig.renew_epoch(f"epoch-{number}")
            case "cancel":
                await play.cancel()
            case "cancel-above":
                await play.cancel("above")
            case "finish":
                done(await play.finish())
            case "deadline":
                await play.rig.advance(HOUR)
    await play.rig.set_time(START + RECENT_MS + 2 * HOUR)
    unknown = (await reported(play)).state is UNKNOWN
    assert unknown == (events in LOST)
    answer = await play.resolve()
    if unknown:
        assert done(answer).state is SUCCEEDED
    else:
        refused(answer, ErrorReason.NEVER_PERMITTED)
    assert (await reported(play)).state is not UNKNOWN


async def test_a_permit_that_may_be_lost_may_still_be_used(play: Player) -> None:
    """From its last moment to be committed on for as long as any grant lasts, nobody can know."""
    done(await play.prepare(await play.ready(), undoable()))
    await play.rig.renew_epoch("epoch-2")
    await play.rig.set_time(START + 60 * SECOND + RECENT_MS - 1)
    await play.store.standing()
    before = await play.rig.dump()
    told = {"run": "run", "op": "op", "left_ms": "1"}
    assert refused(await play.resolve(), ErrorReason.IN_FLIGHT) == told
    assert (await play.rig.dump()).differences(before) == []
    await play.rig.advance(1)
    resolved = done(await play.resolve(outcome=FAILED))
    assert done(await play.resolve(outcome=FAILED)) == replace(resolved, replayed=True)


async def test_what_is_found_to_have_happened_is_undone_before_what_is_on_record(play: Player) -> None:
    """What the store lost was the last that was written. Until it is resolved nobody can undo it."""
    grant = await play.ready()
    done(await play.prepare(grant, undoable("lost")))
    await play.effect(grant, "kept")
    await play.rig.renew_epoch("epoch-2")
    await play.rig.advance(60 * SECOND + RECENT_MS)
    rule = {"run": "run", "op": "lost", "rule": PERMIT_MAY_BE_LOST}
    assert refused(await play.undo("lost"), ErrorReason.NOT_UNDOABLE) == rule
    now = (await play.store.standing()).now
    assert (await reported(play, "lost")).why_not_undoable(now) == PERMIT_MAY_BE_LOST
    resolved = done(await play.resolve("lost"))
    assert (await play.read_action("lost")).fence == resolved.seq
    assert (await reported(play, "lost")).why_not_undoable(now) == ""
    for op in ("kept", "lost"):
        done(await play.undo(op))
    refused(await play.claim("kept"), ErrorReason.DUTY_NOT_DUE)
    done(await play.claim("lost"))
    done(await play.complete("lost"))
    done(await play.claim("kept"))
