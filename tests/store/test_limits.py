"""Uses, run size, refusals: what is limited stays within its limit."""

import pytest

from grant_service.core.errors import ErrorReason
from grant_service.core.journal import MAX_REFUSALS_KEPT
from grant_service.core.scope import Scope
from tests.store.player import SECOND, Player, done, intent, refused


async def test_uses_are_taken_by_commits_and_run_out(play: Player) -> None:
    """A scope with two uses permits two; preparing takes none."""
    grant = await play.ready(scopes=(Scope("*", max_uses=2),))
    for op in ("a", "b", "c"):
        done(await play.prepare(grant, op))
    done(await play.commit(grant, "a"))
    done(await play.commit(grant, "b"))
    details = refused(await play.commit(grant, "c"), ErrorReason.USES_EXHAUSTED)
    assert (details["grant"], details["op"]) == ("grant", "c")
    refused(await play.prepare(grant, "d"), ErrorReason.USES_EXHAUSTED)
    refused(await play.perform(grant, "d"), ErrorReason.USES_EXHAUSTED)


async def test_a_replayed_commit_takes_no_second_use(play: Player) -> None:
    """One effect is one use, however often it is asked for, also when none are left."""
    grant = await play.ready(scopes=(Scope("*", max_uses=1),))
    first = done(await play.perform(grant))
    for _ in range(3):
        assert done(await play.commit(grant)).fence == first.fence
        assert done(await play.perform(grant)).fence == first.fence


async def test_an_outcome_gives_no_use_back(play: Player) -> None:
    """A failed or abandoned action refunds nothing after its permit."""
    grant = await play.ready(scopes=(Scope("*", max_uses=1),))
    await play.permit(grant)
    done(await play.settle(grant))
    refused(await play.prepare(grant, "next"), ErrorReason.USES_EXHAUSTED)


async def test_each_scope_counts_its_own_uses(play: Player) -> None:
    """An action takes from the first scope that allows it, and from the next once that is used up."""
    narrow, wide = Scope("email.send", max_uses=1), Scope("email.*", max_uses=1)
    grant = await play.ready(scopes=(narrow, wide))
    done(await play.perform(grant, "a"))
    done(await play.perform(grant, "b"))
    refused(await play.perform(grant, "c"), ErrorReason.USES_EXHAUSTED)
    issued = done(await play.try_issue(scopes=(narrow, wide)))
    assert issued.grant.used == (1, 1)


async def test_an_action_stays_with_the_scope_it_was_prepared_under(play: Player) -> None:
    """If that scope is used up by then, the commit is refused though another has uses left."""
    grant = await play.ready(scopes=(Scope("*", max_uses=1), Scope("*", max_uses=1)))
    for op in ("a", "b"):
        done(await play.prepare(grant, op))
    done(await play.commit(grant, "a"))
    refused(await play.commit(grant, "b"), ErrorReason.USES_EXHAUSTED)
    done(await play.perform(grant, "c"))


async def test_a_run_has_room_for_so_many_actions(play: Player) -> None:
    """The limit counts what was prepared, in whatever state; what is on record can still be committed."""
    grant = await play.ready()
    done(await play.prepare(grant, "a", max_actions=2))
    done(await play.perform(grant, "b", max_actions=2))
    details = refused(await play.prepare(grant, "c", max_actions=2), ErrorReason.RUN_FULL)
    assert details["limit"] == "2"
    refused(await play.perform(grant, "c", max_actions=2), ErrorReason.RUN_FULL)
    done(await play.commit(grant, "a"))
    assert done(await play.prepare(grant, "b2", max_actions=3)).op_id == "b2"


@pytest.mark.parametrize("repeat", ["prepare", "perform"])
async def test_a_full_run_still_answers_replays(play: Player, repeat: str) -> None:
    """A repeated call needs no new room."""
    grant = await play.ready()
    call = play.prepare if repeat == "prepare" else play.perform
    done(await call(grant, max_actions=1))
    assert done(await call(grant, max_actions=1)).replayed


async def test_refusals_are_kept_up_to_a_limit_and_counted_beyond(play: Player) -> None:
    """A tool that keeps asking cannot fill the store, and nothing is lost but the lines."""
    grant = await play.ready()
    for _ in range(MAX_REFUSALS_KEPT + 3):
        refused(await play.commit(grant), ErrorReason.ACTION_UNKNOWN)
    assert (await play.kinds()).count("REFUSED") == MAX_REFUSALS_KEPT
    assert (await play.read()).refusals == MAX_REFUSALS_KEPT + 3
    before = await play.rig.last_seq()
    refused(await play.commit(grant), ErrorReason.ACTION_UNKNOWN)
    assert await play.rig.last_seq() == before
    done(await play.perform(grant))
    await play.cancel()
    assert (await play.kinds())[-3:] == ["PREPARED", "PERMITTED", "CANCELLED"]


async def test_refused_calls_take_nothing(play: Player) -> None:
    """A refusal changes nothing but the count of refusals and the journal."""
    grant = await play.ready(scopes=(Scope("email.send", max_uses=5),))
    done(await play.prepare(grant))
    before = await play.rig.dump()
    await play.rig.advance(SECOND)
    refused(await play.commit(grant, arguments="changed"), ErrorReason.DIGEST_MISMATCH)
    refused(await play.prepare(grant, intent("x", action="sms.send")), ErrorReason.OUT_OF_SCOPE)
    refused(await play.perform(grant, intent("y"), max_actions=1), ErrorReason.RUN_FULL)
    refused(await play.commit(grant, "z"), ErrorReason.ACTION_UNKNOWN)
    refused(await play.settle(grant), ErrorReason.NEVER_PERMITTED)
    after = await play.rig.dump()
    assert (after.grants, after.actions) == (before.grants, before.actions)
    assert after.runs["run"] == {**before.runs["run"], "refusals": "5"}
    assert [kind for _, _, kind, _ in after.entries["run"]] == ["OPENED", "ISSUED", "PREPARED"] + [
        "REFUSED"
    ] * 5
