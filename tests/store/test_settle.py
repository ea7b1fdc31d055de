"""Settle and abandon: what a tool says afterwards is information, and never makes an action allowed."""

import pytest

from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason
from tests.store.player import HOUR, SECOND, Player, done, refused
from tests.store.rigs import START

SUCCEEDED, FAILED, UNKNOWN = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN


@pytest.mark.parametrize("outcome", [SUCCEEDED, FAILED, UNKNOWN])
async def test_an_outcome_is_on_record_with_its_receipt(play: Player, outcome: ActionState) -> None:
    """The journal holds the tool's own words and the vendor's id, letter by letter."""
    grant = await play.ready()
    await play.permit(grant)
    await play.rig.advance(SECOND)
    words = 'sent "now"\n\u00e4\U0001f600\\u0041 {}[]'
    settled = done(await play.settle(grant, outcome=outcome, receipt="<id@example.com>", note=words))
    assert (settled.op_id, settled.state, settled.after_cut, settled.replayed) == (
        "op",
        outcome,
        False,
        False,
    )
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq, entry.time) == ("SETTLED", settled.seq, START + SECOND)
    assert dict(entry.data) == {"op": "op", "outcome": outcome, "receipt": "<id@example.com>", "note": words}


async def test_settling_again_answers_the_same(play: Player) -> None:
    """A repeated outcome is a replay, even in other words: the first words stand."""
    grant = await play.ready()
    await play.permit(grant)
    first = done(await play.settle(grant, receipt="1"))
    again = done(await play.settle(grant, receipt="2"))
    assert again.replayed
    assert (again.seq, again.state) == (first.seq, SUCCEEDED)
    assert (await play.kinds()).count("SETTLED") == 1


@pytest.mark.parametrize("first", [SUCCEEDED, FAILED])
@pytest.mark.parametrize("second", [SUCCEEDED, FAILED, UNKNOWN])
async def test_a_known_outcome_stands(play: Player, first: ActionState, second: ActionState) -> None:
    """What is known does not become unknown, nor its contrary."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant, outcome=first))
    if first is second:
        assert done(await play.settle(grant, outcome=second)).replayed
    else:
        details = refused(await play.settle(grant, outcome=second), ErrorReason.ALREADY_SETTLED)
        assert details["state"] == first


@pytest.mark.parametrize("second", [SUCCEEDED, FAILED])
async def test_an_unknown_outcome_can_become_known(play: Player, second: ActionState) -> None:
    """Unknown is a state one can leave, once."""
    grant = await play.ready()
    await play.permit(grant)
    first = done(await play.settle(grant, outcome=UNKNOWN))
    assert done(await play.settle(grant, outcome=UNKNOWN)).replayed
    known = done(await play.settle(grant, outcome=second))
    assert not known.replayed
    assert known.seq > first.seq
    refused(await play.settle(grant, outcome=UNKNOWN), ErrorReason.ALREADY_SETTLED)


async def test_what_was_never_permitted_is_not_settled(play: Player) -> None:
    """An outcome without a permit is refused and on record: somebody acted without asking."""
    grant = await play.ready()
    refused(await play.settle(grant, "nothing"), ErrorReason.ACTION_UNKNOWN)
    done(await play.prepare(grant))
    assert refused(await play.settle(grant), ErrorReason.NEVER_PERMITTED)["state"] == "PREPARED"
    done(await play.abandon(grant))
    assert refused(await play.settle(grant), ErrorReason.NEVER_PERMITTED)["state"] == "ABANDONED"
    assert (await play.kinds()).count("REFUSED") == 3
    refused(await play.commit(grant), ErrorReason.ACTION_ABANDONED)


async def test_a_late_settle_is_accepted_as_information(play: Player) -> None:
    """After the cut a permitted action can still be settled, and the answer says that it came late."""
    grant = await play.ready()
    await play.permit(grant)
    await play.cancel()
    settled = done(await play.settle(grant, receipt="1"))
    assert settled.after_cut
    assert settled.state is SUCCEEDED
    assert done(await play.settle(grant)).after_cut


async def test_a_late_settle_makes_nothing_allowed(play: Player) -> None:
    """What was refused stays refused: an outcome for it is refused too, and a commit still is."""
    grant = await play.ready()
    done(await play.prepare(grant, "prepared"))
    await play.permit(grant, "permitted")
    await play.cancel()
    refused(await play.commit(grant, "prepared"), ErrorReason.REVOKED)
    refused(await play.settle(grant, "prepared"), ErrorReason.NEVER_PERMITTED)
    done(await play.settle(grant, "permitted"))
    for op in ("prepared", "permitted"):
        refused(await play.commit(grant, op), ErrorReason.REVOKED)


async def test_settle_asks_neither_expiry_nor_deadline(play: Player) -> None:
    """The truth may come when the permit, the grant and the run are long over."""
    await play.open(ttl_ms=HOUR)
    grant = await play.issue()
    await play.permit(grant)
    await play.rig.advance(2 * HOUR)
    assert done(await play.settle(grant)).after_cut


@pytest.mark.parametrize("end", ["cancel", "finish", "cancel above", "epoch"])
async def test_a_settle_after_any_end_says_that_it_came_late(play: Player, end: str) -> None:
    """However the run was ended, the outcome counts as one after the cut."""
    await play.open("above")
    await play.open("run", parent="above")
    grant = await play.issue()
    await play.permit(grant, "a")
    assert not done(await play.settle(grant, "a")).after_cut
    await play.permit(grant, "b")
    match end:
        case "cancel":
            await play.cancel()
        case "finish":
            done(await play.finish())
        case "cancel above":
            await play.cancel("above")
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
    assert done(await play.settle(grant, "b")).after_cut


async def test_an_abandoned_action_is_on_record(play: Player) -> None:
    """The journal holds the tool's note; the action can never be committed."""
    grant = await play.ready()
    done(await play.prepare(grant))
    abandoned = done(await play.abandon(grant, note="no longer needed"))
    assert (abandoned.op_id, abandoned.replayed) == ("op", False)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq) == ("ABANDONED", abandoned.seq)
    assert dict(entry.data) == {"op": "op", "note": "no longer needed"}
    refused(await play.commit(grant), ErrorReason.ACTION_ABANDONED)


async def test_abandoning_again_answers_the_same(play: Player) -> None:
    """A repeated abandon is a replay."""
    grant = await play.ready()
    done(await play.prepare(grant))
    first = done(await play.abandon(grant))
    again = done(await play.abandon(grant, note="again"))
    assert (again.seq, again.replayed) == (first.seq, True)
    assert (await play.kinds()).count("ABANDONED") == 1


async def test_a_permitted_action_is_not_abandoned(play: Player) -> None:
    """Once told go, a tool reports an outcome; it cannot take the question back."""
    grant = await play.ready()
    refused(await play.abandon(grant), ErrorReason.ACTION_UNKNOWN)
    await play.permit(grant)
    refused(await play.abandon(grant), ErrorReason.ALREADY_PERMITTED)
    done(await play.settle(grant, outcome=FAILED))
    assert refused(await play.abandon(grant), ErrorReason.ALREADY_SETTLED)["state"] == FAILED


async def test_abandon_asks_neither_expiry_nor_cancel(play: Player) -> None:
    """Giving up is always possible, and gives nothing."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    for op in ("expired", "cancelled"):
        done(await play.prepare(grant, op))
    await play.rig.advance(HOUR)
    done(await play.abandon(grant, "expired"))
    await play.cancel()
    done(await play.abandon(grant, "cancelled"))


async def test_abandoning_refunds_nothing(play: Player) -> None:
    """An abandoned action still counts among the run's actions."""
    grant = await play.ready()
    done(await play.prepare(grant))
    done(await play.abandon(grant))
    assert (await play.read()).actions == 1
    refused(await play.prepare(grant, "next", max_actions=1), ErrorReason.RUN_FULL)
