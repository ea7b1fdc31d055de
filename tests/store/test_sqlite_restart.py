"""What SQLite acknowledged is there when the process is gone: the same epoch, numbers and highest time."""

from pathlib import Path

from grant_service.core.duty import DutyKind
from grant_service.core.errors import ErrorReason
from tests.store.player import SECOND, Player, done, refused, undoable
from tests.store.rigs import EPOCH, START, SqliteRig


async def reopened(rig: SqliteRig) -> Player:
    """Close the store, and open it again as the next process does."""
    await rig.close()
    await rig.open()
    return Player(rig)


async def test_everything_decided_is_there_after_a_restart(tmp_path: Path) -> None:
    """The whole state is the same, a replay is recognised, and a grant goes on."""
    rig = await SqliteRig.start(tmp_path)
    play = Player(rig)
    grant = await play.ready()
    permit = await play.permit(grant, "before")
    done(await play.prepare(grant, "prepared"))
    await play.cancel("other")
    before = await rig.dump()
    play = await reopened(rig)
    assert (await rig.dump()).differences(before) == []
    assert done(await play.commit(grant, "before")).fence == permit.fence
    assert done(await play.commit(grant, "prepared")).fence > permit.fence
    refused(await play.try_open("other"), ErrorReason.REVOKED)
    assert (await rig.store.standing()).epoch == EPOCH
    await rig.close()


async def test_duties_survive_a_restart(tmp_path: Path) -> None:
    """Whoever holds one still does; who asks again gets a replay; what is next is still found."""
    rig = await SqliteRig.start(tmp_path)
    play = Player(rig)
    grant = await play.ready()
    for op in ("first", "last"):
        await play.effect(grant, op, handle="h-1", canceller="job.stop", result_args='{"id":1}')
    done(await play.perform(grant, undoable("silent", probe="email.ask")))
    await play.cancel()
    for op in ("first", "last"):
        done(await play.undo(op))
    done(await play.withdraw("silent"))
    claimed = done(await play.claim("last"))
    open_before = [await play.open_duties(kind) for kind in DutyKind]
    before = await rig.dump()
    play = await reopened(rig)
    assert (await rig.dump()).differences(before) == []
    assert [await play.open_duties(kind) for kind in DutyKind] == open_before
    assert [len(some) for some in open_before] == [1, 2, 1]
    assert done(await play.claim("last")).duty == claimed.duty
    refused(await play.claim("last", lease="other"), ErrorReason.DUTY_TAKEN)
    assert done(await play.undo("first")).replayed
    refused(await play.claim("first"), ErrorReason.DUTY_NOT_DUE)
    done(await play.complete("last"))
    done(await play.claim("first"))
    assert (await play.read_action("first")).result_args == '{"id":1}'
    await rig.close()


async def test_time_does_not_go_back_over_a_restart(tmp_path: Path) -> None:
    """What had expired before the process ended has expired after it, though the clock was set back."""
    rig = await SqliteRig.start(tmp_path)
    play = Player(rig)
    grant = await play.ready(ttl_ms=10 * SECOND)
    await rig.advance(10 * SECOND)
    refused(await play.prepare(grant), ErrorReason.GRANT_EXPIRED)
    await rig.advance(-5 * SECOND)
    play = await reopened(rig)
    refused(await play.prepare(grant), ErrorReason.GRANT_EXPIRED)
    assert (await rig.store.standing()).now == START + 10 * SECOND
    await rig.close()
