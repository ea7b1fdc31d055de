"""One clock that never goes back, and an epoch that ends everything before it."""

import pytest

from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason
from grant_service.core.run import RunState
from tests.store.player import HOUR, SECOND, Player, done, refused
from tests.store.rigs import START


async def test_time_never_goes_back(play: Player) -> None:
    """While the clock is behind what it has shown, the highest time shown stands in for it."""
    await play.open("a")
    await play.rig.advance(10 * SECOND)
    await play.open("b")
    await play.rig.advance(-4 * SECOND)
    assert (await play.open("c")).open_time == START + 10 * SECOND
    await play.rig.advance(5 * SECOND)
    assert (await play.open("d")).open_time == START + 11 * SECOND


async def test_what_has_expired_does_not_revive(play: Player) -> None:
    """A grant refused as expired stays expired after the clock is set back."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    done(await play.prepare(grant))
    await play.rig.advance(10 * SECOND)
    refused(await play.prepare(grant, "late"), ErrorReason.GRANT_EXPIRED)
    await play.rig.advance(-5 * SECOND)
    refused(await play.prepare(grant, "late"), ErrorReason.GRANT_EXPIRED)
    refused(await play.commit(grant), ErrorReason.PREPARE_EXPIRED)


@pytest.mark.parametrize("shown_by", ["replay", "settle", "cancel", "finish", "unknown grant", "standing"])
async def test_whatever_shows_a_time_fixes_it(play: Player, shown_by: str) -> None:
    """A call that changes nothing shows a time too, and so does a report: no later decision is earlier."""
    grant = await play.ready(ttl_ms=10 * SECOND)
    done(await play.perform(grant, "done"))
    done(await play.prepare(grant))
    await play.open("other")
    await play.cancel("ended")
    done(await play.finish("other"))
    await play.rig.advance(10 * SECOND)
    match shown_by:
        case "replay":
            refused(await play.perform(grant, "done"), ErrorReason.ALREADY_PERMITTED)
        case "settle":
            refused(await play.settle(grant), ErrorReason.NEVER_PERMITTED)
        case "cancel":
            assert (await play.cancel("ended")).replayed
        case "finish":
            assert done(await play.finish("other")).replayed
        case "unknown grant":
            refused(await play.try_issue("nobody"), ErrorReason.RUN_UNKNOWN)
        case "standing":
            assert (await play.store.standing()).now == START + 10 * SECOND
    await play.rig.advance(-5 * SECOND)
    refused(await play.commit(grant), ErrorReason.PREPARE_EXPIRED)
    assert (await play.store.standing()).now == START + 10 * SECOND


async def test_a_clock_far_behind_gives_no_authority(play: Player) -> None:
    """Up to the tolerance the store decides; one millisecond more and somebody has to look."""
    grant = await play.ready()
    done(await play.prepare(grant))
    done(await play.prepare(grant, "second"))
    await play.rig.advance(-CLOCK_TOLERANCE_MS)
    done(await play.commit(grant))
    await play.rig.advance(-1)
    wanted = {"behind_ms": str(CLOCK_TOLERANCE_MS + 1)}
    for call in (
        play.try_open("new"),
        play.try_open("run"),
        play.try_issue(grant="new"),
        play.try_issue(),
        play.prepare(grant, "new"),
        play.commit(grant, "second"),
        play.commit(grant),
        play.perform(grant, "new"),
    ):
        assert refused(await call, ErrorReason.CLOCK_UNSURE) == wanted
    assert "REFUSED" not in await play.kinds()


async def test_a_clock_far_behind_still_stops_and_records(play: Player) -> None:
    """Cancel, finish, settle and abandon need no sure clock: they give no authority."""
    grant = await play.ready()
    done(await play.perform(grant, "done"))
    done(await play.prepare(grant))
    await play.open("other")
    await play.rig.advance(-HOUR)
    done(await play.settle(grant, "done"))
    done(await play.abandon(grant))
    done(await play.finish("other"))
    assert (await play.cancel()).time == START


async def test_a_clock_set_right_decides_again(play: Player) -> None:
    """Nothing is broken by a clock that was wrong for a while."""
    grant = await play.ready()
    await play.rig.advance(-HOUR)
    refused(await play.perform(grant), ErrorReason.CLOCK_UNSURE)
    await play.rig.advance(HOUR)
    done(await play.perform(grant))


async def test_a_new_epoch_ends_everything_older(play: Player) -> None:
    """Runs, grants, prepared and permitted actions of an older epoch give no authority any more."""
    await play.open("a")
    await play.open("b", parent="a")
    grant = await play.issue("b")
    await play.permit(grant, "permitted")
    done(await play.prepare(grant))
    await play.rig.renew_epoch("epoch-2")
    details = refused(await play.commit(grant), ErrorReason.STORE_EPOCH)
    assert (details["run"], details["ended_run"]) == ("b", "a")
    late = refused(await play.commit(grant, "permitted"), ErrorReason.STORE_EPOCH)
    assert late["prior_decision"] == "PERMITTED"
    for call in (
        play.perform(grant, "new"),
        play.prepare(grant, "new"),
        play.try_issue("b", grant="new"),
        play.try_issue("b"),
        play.try_open("c", parent="b"),
        play.try_open("a"),
    ):
        refused(await call, ErrorReason.STORE_EPOCH)


async def test_no_epoch_resurrects_what_another_ended(play: Player) -> None:
    """What was given in one epoch is not good in the third because it was not in the second."""
    old = await play.ready("old", grant="g-old")
    await play.rig.renew_epoch("epoch-2")
    new = await play.ready("new", grant="g-new")
    done(await play.perform(new))
    refused(await play.perform(old), ErrorReason.STORE_EPOCH)
    await play.rig.renew_epoch("epoch-3")
    for grant in (old, new):
        refused(await play.perform(grant), ErrorReason.STORE_EPOCH)


async def test_a_cancel_outlives_the_epoch(play: Player) -> None:
    """A cancelled or finished run is told as such in every later epoch."""
    one = await play.ready("cancelled", grant="g1")
    two = await play.ready("finished", grant="g2")
    await play.cancel("cancelled")
    done(await play.finish("finished"))
    await play.rig.renew_epoch("epoch-2")
    refused(await play.perform(one), ErrorReason.REVOKED)
    refused(await play.perform(two), ErrorReason.RUN_FINISHED)
    assert (await play.read("cancelled")).state is RunState.CANCELLED


async def test_the_truth_is_told_across_epochs(play: Player) -> None:
    """Settling, abandoning, finishing and cancelling an older run still work: they give nothing."""
    grant = await play.ready()
    await play.permit(grant, "permitted")
    done(await play.prepare(grant))
    await play.open("other")
    await play.rig.renew_epoch("epoch-2")
    assert done(await play.settle(grant, "permitted")).after_cut
    done(await play.abandon(grant))
    done(await play.finish("other"))
    assert not (await play.cancel()).replayed


async def test_numbers_go_on_across_epochs(play: Player) -> None:
    """A fencing number is never given twice, whatever the epoch."""
    first = await play.permit(await play.ready("a", grant="ga"))
    await play.rig.renew_epoch("epoch-2")
    second = await play.permit(await play.ready("b", grant="gb"))
    assert second.fence > first.fence
    assert (await play.read("b")).epoch == (await play.store.standing()).epoch == "epoch-2"
