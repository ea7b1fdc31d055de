"""Prepare, commit, perform: one decision for each op_id, and only for what was prepared."""

import pytest

from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason
from grant_service.core.scope import Reversibility
from tests.store.player import HOUR, SECOND, Player, digest, done, intent, refused
from tests.store.rigs import START


async def test_a_prepared_action_is_on_record_and_nothing_more(play: Player) -> None:
    """Prepare answers until when it can be committed; no permit exists yet."""
    grant = await play.ready()
    prepared = done(await play.prepare(grant, ttl_ms=30 * SECOND))
    assert (prepared.op_id, prepared.seq, prepared.replayed) == ("op", 3, False)
    assert prepared.expire_time == START + 30 * SECOND
    assert await play.kinds() == ["OPENED", "ISSUED", "PREPARED"]
    assert (await play.read()).actions == 1


async def test_a_commit_answers_with_a_permit(play: Player) -> None:
    """The permit's fencing number is the number of its journal entry."""
    grant = await play.ready()
    await play.rig.advance(SECOND)
    permit = await play.permit(grant, use_ms=5 * SECOND)
    assert (permit.op_id, permit.replayed) == ("op", False)
    assert (permit.use_by, permit.left_ms) == (START + 6 * SECOND, 5 * SECOND)
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq, entry.op_id) == ("PERMITTED", permit.fence, "op")


async def test_fencing_numbers_grow(play: Player) -> None:
    """A later permit, of whatever run, has the higher number."""
    fences = []
    for run in ("a", "b"):
        grant = await play.ready(run, grant=f"g-{run}")
        for op in ("1", "2"):
            fences.append((await play.permit(grant, op)).fence)
            fences.append(done(await play.perform(grant, f"p{op}")).fence)
    assert fences == sorted(set(fences))


async def test_preparing_again_answers_the_same(play: Player) -> None:
    """A repeated prepare says so and does not prolong the time to commit."""
    grant = await play.ready()
    first = done(await play.prepare(grant))
    await play.rig.advance(SECOND)
    again = done(await play.prepare(grant))
    assert again.replayed
    assert (again.seq, again.expire_time) == (first.seq, first.expire_time)
    assert (await play.kinds()).count("PREPARED") == 1
    assert (await play.read()).actions == 1


async def test_committing_again_before_the_cut_answers_the_same_permit(play: Player) -> None:
    """Same op_id, same digest: the same permit, marked as replayed, with less time left."""
    grant = await play.ready()
    first = await play.permit(grant, use_ms=5 * SECOND)
    await play.rig.advance(2 * SECOND)
    again = done(await play.commit(grant, use_ms=60 * SECOND))
    assert again.replayed
    assert (again.fence, again.use_by, again.left_ms) == (first.fence, first.use_by, 3 * SECOND)
    assert (await play.kinds()).count("PERMITTED") == 1


async def test_a_permit_is_told_again_only_while_it_can_be_used(play: Player) -> None:
    """From its use-by on the answer is that there was one, so that nobody acts on it; the grant may go on."""
    grant = await play.ready(ttl_ms=8 * SECOND)
    done(await play.prepare(grant, "1"))
    done(await play.commit(grant, "1", use_ms=5 * SECOND))
    done(await play.perform(grant, "2", use_ms=60 * SECOND))
    for ms, kept in ((5 * SECOND - 1, ["1", "2"]), (1, ["2"]), (3 * SECOND - 1, ["2"]), (1, [])):
        await play.rig.advance(ms)
        for op, answer in (("1", await play.commit(grant, "1")), ("2", await play.perform(grant, "2"))):
            if op in kept:
                assert done(answer).replayed
            else:
                refused(answer, ErrorReason.ALREADY_PERMITTED)
    assert (await play.kinds()).count("PERMITTED") == 2


async def test_no_old_permit_comes_back_when_a_fence_is_no_longer_looked_for(play: Player) -> None:
    """A tool that was told of the fence, and asks on, never gets its permit again."""
    grant = await play.ready()
    done(await play.perform(grant))
    done(await play.revoke("run=run", kill_ms=HOUR))
    refused(await play.perform(grant), ErrorReason.FENCED)
    await play.rig.advance(HOUR)
    done(await play.revoke("run=elsewhere", fence="next"))
    refused(await play.perform(grant), ErrorReason.ALREADY_PERMITTED)
    refused(await play.perform(grant, "new"), ErrorReason.GRANT_EXPIRED)


async def test_perform_prepares_and_commits_in_one_step(play: Player) -> None:
    """Its two journal entries follow each other, its answer is the commit's."""
    grant = await play.ready()
    permit = done(await play.perform(grant))
    entries = (await play.journal())[-2:]
    assert [(entry.kind, entry.seq) for entry in entries] == [
        ("PREPARED", permit.fence - 1),
        ("PERMITTED", permit.fence),
    ]
    assert permit.use_by == START + 5 * SECOND
    assert (await play.read()).actions == 1


async def test_performing_again_answers_the_same_permit(play: Player) -> None:
    """A repeated perform acts once."""
    grant = await play.ready()
    first = done(await play.perform(grant))
    await play.rig.advance(SECOND)
    again = done(await play.perform(grant))
    assert again.replayed
    assert (again.fence, again.left_ms) == (first.fence, first.left_ms - SECOND)
    assert (await play.kinds()).count("PERMITTED") == 1


async def test_perform_and_commit_tell_each_others_permit(play: Player) -> None:
    """One op_id has one decision, by whichever verb it is asked for."""
    grant = await play.ready()
    performed = done(await play.perform(grant, "a"))
    assert done(await play.commit(grant, "a")).fence == performed.fence
    done(await play.prepare(grant, "b"))
    first = done(await play.perform(grant, "b"))
    assert not first.replayed
    assert done(await play.commit(grant, "b")).fence == first.fence


async def test_a_commit_without_prepare_is_refused(play: Player) -> None:
    """The attempt is on record."""
    grant = await play.ready()
    details = refused(await play.commit(grant), ErrorReason.ACTION_UNKNOWN)
    assert details == {"run": "run", "grant": "grant", "op": "op"}
    entry = (await play.journal())[-1]
    assert (entry.kind, dict(entry.data)) == (
        "REFUSED",
        {"verb": "commit", "reason": "ACTION_UNKNOWN", "op": "op", "grant": "grant"},
    )


async def test_changed_arguments_are_refused(play: Player) -> None:
    """What is committed must be what was prepared, before the permit and after it."""
    grant = await play.ready()
    done(await play.prepare(grant))
    details = refused(await play.commit(grant, arguments="changed"), ErrorReason.DIGEST_MISMATCH)
    assert (details["op"], details["action"], details["resource"]) == (
        "op",
        "email.send",
        "mailto:team@example.com",
    )
    done(await play.commit(grant))
    refused(await play.commit(grant, arguments="changed"), ErrorReason.DIGEST_MISMATCH)


@pytest.mark.parametrize(
    "other",
    [
        {"action": "email.draft"},
        {"resource": "mailto:a@example.com"},
        {"resource": ""},
        {"arguments": "changed"},
        {"reversibility": Reversibility.READ_ONLY},
        {"compensation": "email.recall"},
    ],
)
async def test_an_op_id_names_one_effect_for_ever(play: Player, other: dict[str, str]) -> None:
    """The same op_id with anything else in it is a conflict: prepared, permitted or settled."""
    grant = await play.ready()
    done(await play.prepare(grant))
    for step in (play.commit(grant), play.settle(grant), None):
        for call in (play.prepare, play.perform):
            details = refused(await call(grant, intent(**other)), ErrorReason.OP_ID_CONFLICT)  # type: ignore[arg-type]
            assert details["op"] == "op"
        if step:
            done(await step)


async def test_a_prepared_action_expires(play: Player) -> None:
    """The last millisecond counts, the expiry does not; a repeated prepare does not revive it."""
    grant = await play.ready()
    for op in ("a", "b"):
        done(await play.prepare(grant, op, ttl_ms=SECOND))
    await play.rig.advance(SECOND - 1)
    done(await play.commit(grant, "a"))
    await play.rig.advance(1)
    for call in (play.commit(grant, "b"), play.prepare(grant, "b"), play.perform(grant, "b")):
        refused(await call, ErrorReason.PREPARE_EXPIRED)


async def test_a_permitted_action_is_not_prepared_again(play: Player) -> None:
    """Its effect may have happened."""
    grant = await play.ready()
    await play.permit(grant)
    refused(await play.prepare(grant), ErrorReason.ALREADY_PERMITTED)


@pytest.mark.parametrize("outcome", [ActionState.SUCCEEDED, ActionState.FAILED, ActionState.UNKNOWN])
async def test_a_settled_action_gets_no_permit(play: Player, outcome: ActionState) -> None:
    """Whatever became of it, it is not done a second time under the same op_id."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant, outcome=outcome))
    for call in (play.prepare(grant), play.commit(grant), play.perform(grant)):
        assert refused(await call, ErrorReason.ALREADY_SETTLED)["state"] == outcome


async def test_an_abandoned_action_gets_no_permit(play: Player) -> None:
    """Who changed his mind prepares anew, under a new op_id."""
    grant = await play.ready()
    done(await play.prepare(grant))
    done(await play.abandon(grant))
    for call in (play.prepare(grant), play.commit(grant), play.perform(grant)):
        refused(await call, ErrorReason.ACTION_ABANDONED)


async def test_what_an_action_says_of_itself_is_on_record(play: Player) -> None:
    """The journal holds the action, its resource, digest, class and compensation as the tool gave them."""
    grant = await play.ready()
    wanted = intent(
        arguments="x",
        reversibility=Reversibility.COMPENSABLE,
        compensation="email.recall",
        compensation_args='{"id":"1"}',
        probe="email.ask",
    )
    prepared = done(await play.prepare(grant, wanted, ttl_ms=SECOND))
    assert prepared.undo_until == START + HOUR
    assert (await play.read_action()).intent == wanted
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.time, entry.op_id) == ("PREPARED", START, "op")
    assert dict(entry.data) == {
        "op": "op",
        "grant": "grant",
        "action": "email.send",
        "resource": "mailto:team@example.com",
        "digest": digest("x"),
        "reversibility": "COMPENSABLE",
        "compensation": "email.recall",
        "probe": "email.ask",
        "undo_until": str(START + HOUR),
        "expire": str(START + SECOND),
    }
