"""Cancel: once answered no commit is accepted, in the run or anywhere below it; nothing refuses it."""

import pytest

from grant_service.core.errors import ErrorReason
from grant_service.core.run import RunState, StopReason
from tests.store.player import HOUR, SECOND, Player, done, refused
from tests.store.rigs import START


async def test_cancel_beats_a_late_commit(play: Player) -> None:
    """A commit that begins after cancel returned is refused with who, why and when, and is on record."""
    grant = await play.ready()
    done(await play.prepare(grant))
    await play.rig.advance(SECOND)
    cut = await play.cancel(reason=StopReason.USER_STOP, actor="u-7", note="stop it", tag="t-1")
    await play.rig.advance(3 * SECOND)
    assert refused(await play.commit(grant), ErrorReason.REVOKED) == {
        "run": "run",
        "ended_run": "run",
        "grant": "grant",
        "op": "op",
        "action": "email.send",
        "resource": "mailto:team@example.com",
        "stop_reason": "USER_STOP",
        "actor": "u-7",
        "note": "stop it",
        "tag": "t-1",
        "ended_time": str(START + SECOND),
        "ended_ago_ms": "3000",
        "seq": str(cut.seq),
    }
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.op_id, entry.data["reason"]) == ("REFUSED", "op", "REVOKED")
    assert entry.seq > cut.seq


async def test_a_cancel_gives_the_cut(play: Player) -> None:
    """Its answer, the run's record and the journal entry have the same number and time."""
    await play.open()
    await play.rig.advance(SECOND)
    cut = await play.cancel(reason=StopReason.INCIDENT, actor="ops", note="leak", tag="i-3")
    assert (cut.run_id, cut.state, cut.known, cut.replayed) == ("run", RunState.CANCELLED, True, False)
    run = await play.read()
    assert (run.state, run.end_seq, run.end_time) == (RunState.CANCELLED, cut.seq, cut.time)
    assert (run.end_reason, run.end_actor, run.end_note, run.end_tag) == ("INCIDENT", "ops", "leak", "i-3")
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.seq, entry.time) == ("CANCELLED", cut.seq, cut.time)
    assert dict(entry.data) == {"reason": "INCIDENT", "actor": "ops", "note": "leak", "tag": "i-3"}


@pytest.mark.parametrize("verb", ["commit", "perform"])
async def test_a_commit_repeated_after_the_cut_is_refused_and_told_its_prior_decision(
    play: Player, verb: str
) -> None:
    """The permit given before is not given again: the tool must not act, and learns that it may have."""
    grant = await play.ready()
    await play.permit(grant)
    await play.cancel()
    answer = await (play.commit(grant) if verb == "commit" else play.perform(grant))
    assert refused(answer, ErrorReason.REVOKED)["prior_decision"] == "PERMITTED"
    entry = (await play.journal())[-1]
    assert (entry.data["verb"], entry.data["prior_decision"]) == (verb, "PERMITTED")


async def test_a_settled_action_keeps_its_prior_decision(play: Player) -> None:
    """After its outcome, too, a late commit learns that there was a permit."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant))
    await play.cancel()
    assert refused(await play.commit(grant), ErrorReason.REVOKED)["prior_decision"] == "PERMITTED"


async def test_a_refusal_invents_no_prior_decision(play: Player) -> None:
    """What was prepared, abandoned or never seen had no permit."""
    grant = await play.ready()
    done(await play.prepare(grant, "prepared"))
    done(await play.prepare(grant, "abandoned"))
    done(await play.abandon(grant, "abandoned"))
    await play.cancel()
    for op in ("prepared", "abandoned", "never"):
        for call in (play.commit(grant, op), play.perform(grant, op), play.prepare(grant, op)):
            assert "prior_decision" not in refused(await call, ErrorReason.REVOKED)


async def test_the_first_cancel_stands(play: Player) -> None:
    """A second cancel answers the first one's cut and changes nothing."""
    await play.open()
    first = await play.cancel(note="first")
    await play.rig.advance(SECOND)
    again = await play.cancel(reason=StopReason.INCIDENT, note="second")
    assert again.replayed
    assert (again.seq, again.time, again.state, again.known) == (first.seq, first.time, first.state, True)
    assert (await play.read()).end_note == "first"
    assert await play.kinds() == ["OPENED", "CANCELLED"]


async def test_cancelling_after_finish_answers_the_finish(play: Player) -> None:
    """A run that ended by itself stays finished; the cut is the finish."""
    grant = await play.ready()
    finished = done(await play.finish()).run
    cut = await play.cancel()
    assert (cut.state, cut.seq, cut.replayed) == (RunState.FINISHED, finished.end_seq, True)
    refused(await play.perform(grant), ErrorReason.RUN_FINISHED)


async def test_finishing_after_cancel_is_refused(play: Player) -> None:
    """A cancelled run did not finish, and its owner learns why."""
    await play.open()
    await play.cancel(note="stop it")
    details = refused(await play.finish(), ErrorReason.REVOKED)
    assert (details["run"], details["note"]) == ("run", "stop it")
    assert (await play.read()).state is RunState.CANCELLED
    assert await play.kinds() == ["OPENED", "CANCELLED"]


async def test_an_unknown_run_can_be_cancelled_and_then_never_opened(play: Player) -> None:
    """The stop may come before the start: it leaves a tombstone."""
    cut = await play.cancel("later", note="too soon")
    assert (cut.state, cut.known, cut.replayed, cut.seq) == (RunState.CANCELLED, False, False, 1)
    details = refused(await play.try_open("later"), ErrorReason.REVOKED)
    assert (details["run"], details["note"]) == ("later", "too soon")
    refused(await play.try_issue("later"), ErrorReason.REVOKED)
    refused(await play.finish("later"), ErrorReason.REVOKED)
    assert not (await play.read("later")).was_opened


async def test_a_tombstone_is_a_tombstone_the_second_time_too(play: Player) -> None:
    """Cancelling it again answers the first cut, and still that nobody had opened it."""
    first = await play.cancel("later")
    again = await play.cancel("later")
    assert (again.seq, again.known, again.replayed) == (first.seq, False, True)


async def test_a_tombstone_outlives_everything(play: Player) -> None:
    """Neither time nor a new epoch makes a cancelled id free again."""
    await play.cancel("later")
    await play.rig.advance(1000 * HOUR)
    refused(await play.try_open("later"), ErrorReason.REVOKED)
    await play.rig.renew_epoch("epoch-2")
    refused(await play.try_open("later"), ErrorReason.REVOKED)


async def test_nothing_can_be_opened_below_a_tombstone(play: Player) -> None:
    """A parent nobody opened and somebody cancelled has no children."""
    await play.cancel("a")
    assert refused(await play.try_open("b", parent="a"), ErrorReason.REVOKED)["ended_run"] == "a"


async def test_a_cancel_reaches_every_descendant(play: Player) -> None:
    """Children and grandchildren are over at once, by the cut of the run above them."""
    grants = {}
    for parent, run in (("", "a"), ("a", "b"), ("b", "c"), ("a", "d")):
        await play.open(run, parent=parent)
        grants[run] = await play.issue(run, grant=f"g-{run}")
        await play.permit(grants[run], "before")
        done(await play.prepare(grants[run]))
    await play.cancel("a", note="all of it")
    for run, grant in grants.items():
        details = refused(await play.commit(grant), ErrorReason.REVOKED)
        assert (details["run"], details["ended_run"], details["note"]) == (run, "a", "all of it")
        assert refused(await play.commit(grant, "before"), ErrorReason.REVOKED)["prior_decision"]
        refused(await play.perform(grant, "new"), ErrorReason.REVOKED)


async def test_a_cancel_leaves_runs_beside_and_above_alone(play: Player) -> None:
    """Only what is below the cancelled run ends with it."""
    grants = {}
    for parent, run in (("", "a"), ("a", "b"), ("a", "c"), ("", "x")):
        await play.open(run, parent=parent)
        grants[run] = await play.issue(run, grant=f"g-{run}")
    await play.cancel("b")
    refused(await play.perform(grants["b"]), ErrorReason.REVOKED)
    for run in ("a", "c", "x"):
        done(await play.perform(grants[run]))


async def test_a_child_opened_after_the_cancel_is_refused(play: Player) -> None:
    """At every depth below the cancelled run."""
    await play.open("a")
    await play.open("b", parent="a")
    await play.cancel("a")
    for parent in ("a", "b"):
        details = refused(await play.try_open("new", parent=parent), ErrorReason.REVOKED)
        assert details["ended_run"] == "a"
    refused(await play.try_issue("b", grant="new"), ErrorReason.REVOKED)
    assert await play.store.runs(["new"]) == [None]


async def test_a_childs_own_end_does_not_hide_the_cancel_above(play: Player) -> None:
    """The path is asked from the root: the stop that reaches furthest is the one told."""
    await play.open("a")
    await play.open("b", parent="a")
    grant = await play.issue("b")
    done(await play.finish("b"))
    refused(await play.perform(grant), ErrorReason.RUN_FINISHED)
    await play.cancel("a")
    assert refused(await play.perform(grant), ErrorReason.REVOKED)["ended_run"] == "a"


async def test_a_descendant_can_still_be_cancelled_itself(play: Player) -> None:
    """A cancel below an ended run gets a cut of its own."""
    await play.open("a")
    await play.open("b", parent="a")
    above = await play.cancel("a")
    below = await play.cancel("b")
    assert (below.replayed, below.known) == (False, True)
    assert below.seq > above.seq


async def test_cancel_answers_no_when_nothing_else_would(play: Player) -> None:
    """Past its deadline, in an older epoch, by a clock nobody trusts: a run can still be cancelled."""
    for run in ("a", "b", "c"):
        await play.open(run, ttl_ms=HOUR)
    await play.rig.advance(2 * HOUR)
    assert not (await play.cancel("a")).replayed
    await play.rig.renew_epoch("epoch-2")
    assert not (await play.cancel("b")).replayed
    await play.rig.advance(-HOUR)
    cut = await play.cancel("c")
    assert (cut.replayed, cut.time) == (False, START + 2 * HOUR)


async def test_late_attempts_of_every_verb_are_on_record(play: Player) -> None:
    """Prepare, commit and perform after the cut each leave a line with the verb and the action."""
    grant = await play.ready()
    done(await play.prepare(grant))
    await play.cancel()
    refused(await play.prepare(grant, "p1"), ErrorReason.REVOKED)
    refused(await play.commit(grant), ErrorReason.REVOKED)
    refused(await play.perform(grant, "p2"), ErrorReason.REVOKED)
    late = [entry.data for entry in await play.journal() if entry.kind == "REFUSED"]
    assert [(data["verb"], data["op"], data["action"]) for data in late] == [
        ("prepare", "p1", "email.send"),
        ("commit", "op", "email.send"),
        ("perform", "p2", "email.send"),
    ]
    assert (await play.read()).refusals == 3
