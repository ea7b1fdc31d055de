"""What SQLite acknowledged is there when the process is gone: the same epoch, numbers and highest time."""

from pathlib import Path

from grant_service.core.errors import ErrorReason
from tests.store.player import SECOND, Player, done, refused
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
