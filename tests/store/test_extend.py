"""Extending: a grant lasts longer if time is all it lacks; what was stopped, by whatever, stays so."""

from dataclasses import replace

import pytest

from grant_service.core.budget import Budget
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason
from grant_service.core.fence import selector_of
from grant_service.core.scope import Scope
from grant_service.core.sweep import count
from tests.store.player import DAY, HOUR, SECOND, Player, done, ref, refused
from tests.store.rigs import START

FENCED, EXPIRED = ErrorReason.FENCED, ErrorReason.GRANT_EXPIRED


async def test_an_expired_grant_is_good_again_as_it_was(play: Player) -> None:
    """Only its end moves: its id, scopes, uses, budgets and root are what they were."""
    grant = await play.ready(
        scopes=(Scope("email.*", max_uses=2),), ttl_ms=SECOND, budgets=(Budget("usd", 5),)
    )
    done(await play.perform(grant, "1"))
    was = await play.read_grant()
    await play.rig.advance(SECOND)
    refused(await play.perform(grant, "2"), EXPIRED)
    extended = done(await play.extend(grant, 2 * SECOND))
    now = replace(was, expire_time=START + 3 * SECOND)
    assert (extended.grant, extended.replayed, extended.remaining) == (now, False, {"usd": 5})
    assert await play.read_grant() == now
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.data) == ("EXTENDED", {"grant": "grant", "expire": str(START + 3 * SECOND)})
    assert ref(extended) == grant
    done(await play.perform(grant, "2"))
    refused(await play.perform(grant, "3"), ErrorReason.USES_EXHAUSTED)
    await play.rig.advance(2 * SECOND)
    refused(await play.perform(grant, "4"), EXPIRED)


async def test_an_extension_never_takes_time_away(play: Player) -> None:
    """One that ends later already stays so, and nothing is written: asking again is asking once."""
    grant = await play.ready(ttl_ms=HOUR)
    before = await play.journal()
    assert done(await play.extend(grant, SECOND)).replayed
    assert done(await play.extend(grant, HOUR)).replayed
    assert (await play.read_grant()).expire_time == START + HOUR
    assert await play.journal() == before


async def test_a_grant_is_never_extended_past_its_run(play: Player) -> None:
    """Its run's deadline is the end of it; once that is over nothing is extended."""
    await play.open(ttl_ms=10 * SECOND)
    grant = await play.issue(ttl_ms=SECOND)
    assert done(await play.extend(grant, HOUR)).grant.expire_time == START + 10 * SECOND
    assert done(await play.extend(grant, DAY)).replayed
    await play.rig.advance(10 * SECOND)
    refused(await play.extend(grant), ErrorReason.RUN_DEADLINE)


async def test_what_was_handed_on_never_outlasts_what_it_comes_from(play: Player) -> None:
    """It ends with the first of its chain at the latest; one that has expired is extended before it."""
    above = await play.ready(ttl_ms=10 * SECOND)
    middle = await play.delegate(above, "middle", ttl_ms=5 * SECOND)
    child = await play.delegate(middle, "child", ttl_ms=SECOND)
    assert done(await play.extend(child, HOUR)).grant.expire_time == START + 5 * SECOND
    await play.rig.advance(5 * SECOND)
    assert refused(await play.extend(child), EXPIRED)["grant"] == "middle"
    done(await play.extend(middle, HOUR))
    assert done(await play.extend(child, HOUR)).grant.expire_time == START + 10 * SECOND
    await play.rig.advance(5 * SECOND)
    assert refused(await play.extend(child), EXPIRED)["grant"] == "grant"


@pytest.mark.parametrize("end", ["cancel", "finish", "cancel above", "epoch", "budget", "fence", "clock"])
async def test_what_is_over_for_another_reason_is_not_extended(play: Player, end: str) -> None:
    """Cancelled, finished, of another epoch, out of budget, fenced, by a clock nobody trusts: refused."""
    await play.open("root")
    await play.open(parent="root")
    above = await play.issue(ttl_ms=SECOND, budgets=(Budget("usd", 1),))
    grant = await play.delegate(above, "child", ttl_ms=SECOND)
    await play.rig.advance(SECOND - 1)
    match end:
        case "cancel":
            done(await play.cancel())
            reason = ErrorReason.REVOKED
        case "finish":
            done(await play.finish())
            reason = ErrorReason.RUN_FINISHED
        case "cancel above":
            done(await play.cancel("root"))
            reason = ErrorReason.REVOKED
        case "epoch":
            await play.rig.renew_epoch("another")
            reason = ErrorReason.STORE_EPOCH
        case "budget":
            refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
            reason = ErrorReason.GRANT_ENDED
        case "fence":
            done(await play.revoke("grant=grant"))
            reason = FENCED
        case _:
            await play.rig.set_time(START - CLOCK_TOLERANCE_MS - SECOND)
            reason = ErrorReason.CLOCK_UNSURE
    refused(await play.extend(grant), reason)
    assert (await play.read_grant("child")).expire_time == START + SECOND
    assert "EXTENDED" not in await play.kinds()


async def test_a_grant_a_fence_killed_long_ago_is_not_brought_back(play: Player) -> None:
    """Also when no commit looks for that fence any more: it was tidied, as all it killed had expired."""
    grant = await play.ready(ttl_ms=SECOND)
    child = await play.delegate(grant, ttl_ms=SECOND)
    done(await play.revoke("run=run", fence="old", kill_ms=SECOND))
    await play.rig.advance(SECOND)
    done(await play.revoke("run=elsewhere", fence="new"))
    old, new = await play.store.fences()
    assert (old.standing, new.standing) == (False, True)
    for one in (grant, child):
        assert refused(await play.extend(one), FENCED)["fence"] == "old"
    after = await play.issue(grant="after", ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    done(await play.extend(after))
    done(await play.perform(after))


async def test_a_freeze_that_was_lifted_has_killed_all_the_same(play: Player) -> None:
    """What it killed stays dead; what was issued after it is extended once it is lifted, and not before."""
    grant = await play.ready(ttl_ms=SECOND)
    done(await play.freeze("run=run", kill_ms=SECOND))
    refused(await play.extend(grant), FENCED)
    done(await play.lift())
    after = await play.issue(grant="after", ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    refused(await play.extend(grant), FENCED)
    done(await play.extend(after))


async def test_a_grant_is_not_extended_where_a_fence_killed_some_of_its_actions(play: Player) -> None:
    """Commits would stop looking for that fence, and those actions come back. Other grants may."""
    some = {"wide": "*", "email": "email.*", "one": "email.send", "sms": "sms.*"}
    await play.open()
    grants = {name: await play.issue(grant=name, scopes=(Scope(what),)) for name, what in some.items()}
    done(await play.revoke(action="email.send"))
    done(await play.extend(grants["sms"], 2 * HOUR))
    for name in ("wide", "email", "one"):
        assert refused(await play.extend(grants[name]), FENCED)["selector"] == "action=email.send"


async def test_a_later_fence_kills_what_was_extended_until_it_ends(play: Player) -> None:
    """It stands as long as a grant extended just before it could last: it is not tidied before."""
    grant = await play.ready(ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    done(await play.extend(grant, 10 * SECOND))
    done(await play.revoke("run=run", fence="first", kill_ms=10 * SECOND))
    await play.rig.advance(10 * SECOND - 1)
    done(await play.revoke("run=elsewhere", fence="second"))
    assert refused(await play.perform(grant), FENCED)["fence"] == "first"


async def test_nobody_extends_what_is_for_others(play: Player) -> None:
    """A token whose run, path or chain is not the record's points to nothing; a peer has its own."""
    grant = await play.ready()
    await play.open("other")
    for wrong in (replace(grant, run_id="other"), replace(grant, chain=("g",)), replace(grant, grant_id="x")):
        refused(await play.extend(wrong), ErrorReason.GRANT_UNKNOWN)
    refused(await play.extend(grant, peer="thief"), ErrorReason.WRONG_AUDIENCE)


async def test_a_refused_extension_is_on_record(play: Player) -> None:
    """An attempt is evidence."""
    grant = await play.ready()
    done(await play.cancel())
    refused(await play.extend(grant), ErrorReason.REVOKED)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.data) == ("REFUSED", {"verb": "extend", "reason": "REVOKED", "grant": "grant"})


async def test_a_repeated_issue_finds_the_grant_as_long_as_it_lasts_now(play: Player) -> None:
    """What counts as the same request is what was asked, and that has not changed."""
    grant = await play.ready(ttl_ms=SECOND)
    done(await play.extend(grant, HOUR))
    again = done(await play.try_issue(ttl_ms=SECOND))
    assert (again.replayed, again.grant.expire_time) == (True, START + HOUR)


async def test_a_sweep_counts_what_was_extended(play: Player) -> None:
    """A grant whose first end is over is hit, if it was extended."""
    grant = await play.ready(ttl_ms=SECOND)
    await play.rig.advance(SECOND)
    assert (await count(play.store, selector_of(["run=run"]), 0, 5)).grant_count == 0
    done(await play.extend(grant))
    assert (await count(play.store, selector_of(["run=run"]), 0, 5)).grant_count == 1


async def test_a_lost_permit_of_an_extended_grant_is_waited_for(play: Player) -> None:
    """What may have been permitted in its last moment, under a grant that was extended, may land."""
    grant = await play.ready(ttl_ms=15 * 60 * SECOND)
    done(await play.prepare(grant, ttl_ms=15 * 60 * SECOND))
    await play.rig.advance(15 * 60 * SECOND - 1)
    done(await play.extend(grant, 15 * 60 * SECOND))
    await play.rig.renew_epoch("another")
    await play.rig.advance(60 * SECOND)
    left = refused(await play.resolve(), ErrorReason.IN_FLIGHT)["left_ms"]
    assert int(left) == 14 * 60 * SECOND + 1
