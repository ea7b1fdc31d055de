"""The report: every action in the one part where it belongs, and what is not known is called unknown."""

import pytest

from grant_service.core.action import ActionState
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.journal import MAX_REFUSALS_KEPT
from grant_service.core.report import PARTS, Report, tell
from grant_service.core.run import RunState, StopReason
from grant_service.core.scope import Reversibility
from tests.store.player import HOUR, SECOND, Player, done, intent, refused
from tests.store.rigs import START, MemoryRig


@pytest.fixture
async def play() -> Player:
    """Somebody to play on the model."""
    return Player(await MemoryRig.start())


async def report_on(play: Player, run: str = "run") -> Report:
    """Tell a run's report now."""
    report = await compile_report(play.store, run)
    assert isinstance(report, Report)
    return report


def parts(report: Report) -> dict[str, set[str]]:
    """The op_ids in each part that lists any."""
    listed = {name: {action.op_id for action in report.in_state(*states)} for name, states in PARTS.items()}
    return {name: ops for name, ops in listed.items() if ops}


def test_every_state_has_one_part() -> None:
    """No action can fall out of the report, and none is listed twice."""
    states = [state for some in PARTS.values() for state in some]
    assert sorted(states) == sorted(ActionState)


async def test_a_stop_sorts_every_action(play: Player) -> None:
    """Done, interrupted, in flight, unknown, not done: each as the journal has it at the cut."""
    grant = await play.ready()
    for op in ("done", "failed", "unknown", "lapsed", "flying"):
        if op == "flying":
            await play.rig.advance(4 * SECOND)
        await play.permit(grant, op)
    done(await play.settle(grant, "done", receipt="<1@example.com>"))
    done(await play.settle(grant, "failed", ActionState.FAILED))
    done(await play.settle(grant, "unknown", ActionState.UNKNOWN))
    done(await play.prepare(grant, "prepared"))
    done(await play.prepare(grant, "abandoned"))
    done(await play.abandon(grant, "abandoned"))
    done(await play.prepare(grant, "expired", ttl_ms=1))
    await play.rig.advance(SECOND)
    assert parts(await report_on(play))["pending"] == {"prepared"}
    await play.cancel()
    report = await report_on(play)
    assert parts(report) == {
        "done": {"done"},
        "interrupted": {"prepared"},
        "in_flight": {"flying"},
        "unknown": {"unknown", "lapsed"},
        "not_done": {"failed", "abandoned", "expired"},
    }
    assert not report.quiesced
    (action,) = report.in_state(ActionState.SUCCEEDED)
    assert (action.receipt, action.settled_after_cut) == ("<1@example.com>", False)
    (flying,) = report.in_state(ActionState.PERMITTED)
    assert (flying.use_by, flying.fence > 0) == (START + 9 * SECOND, True)


async def test_a_permit_that_lapses_is_unknown_until_somebody_tells(play: Player) -> None:
    """From use-by on nobody may start the effect, and nobody knows whether it happened."""
    grant = await play.ready()
    await play.permit(grant, use_ms=5 * SECOND)
    await play.cancel()
    await play.rig.advance(5 * SECOND - 1)
    assert parts(await report_on(play)) == {"in_flight": {"op"}}
    await play.rig.advance(1)
    report = await report_on(play)
    assert parts(report) == {"unknown": {"op"}}
    assert report.quiesced
    done(await play.settle(grant))
    (action,) = (await report_on(play)).in_state(ActionState.SUCCEEDED)
    assert (action.settled_after_cut, action.settle_time) == (True, START + 5 * SECOND)


async def test_what_was_interrupted_stays_interrupted(play: Player) -> None:
    """Neither time nor a tool that gives up afterwards changes why the action did not happen."""
    grant = await play.ready()
    done(await play.prepare(grant, ttl_ms=10 * SECOND))
    await play.cancel()
    assert parts(await report_on(play)) == {"interrupted": {"op"}}
    await play.rig.advance(HOUR)
    done(await play.abandon(grant))
    assert parts(await report_on(play)) == {"interrupted": {"op"}}


async def test_what_a_fence_interrupted_stays_interrupted(play: Player) -> None:
    """The same, when it was a revoke that stopped it; what was given up before the revoke was given up."""
    grant = await play.ready()
    done(await play.prepare(grant, "before"))
    done(await play.prepare(grant, "after"))
    done(await play.abandon(grant, "before"))
    done(await play.revoke())
    stopped = {"not_done": {"before"}, "interrupted": {"after"}}
    assert parts(await report_on(play)) == stopped
    done(await play.abandon(grant, "after"))
    await play.rig.advance(HOUR)
    assert parts(await report_on(play)) == stopped


async def test_what_lapsed_before_the_stop_was_not_interrupted(play: Player) -> None:
    """An action that nobody committed in time fell by itself."""
    grant = await play.ready()
    done(await play.prepare(grant, ttl_ms=SECOND))
    await play.rig.advance(SECOND)
    await play.cancel()
    assert parts(await report_on(play)) == {"not_done": {"op"}}


async def test_late_attempts_are_listed_and_others_are_not(play: Player) -> None:
    """After the stop each try of prepare, commit and perform is listed; a refusal before it is not."""
    grant = await play.ready()
    await play.permit(grant, "permitted")
    done(await play.prepare(grant, "prepared"))
    refused(await play.commit(grant, "early"), ErrorReason.ACTION_UNKNOWN)
    cut = await play.cancel()
    for op in ("permitted", "prepared"):
        refused(await play.commit(grant, op), ErrorReason.REVOKED)
    refused(await play.perform(grant, "new"), ErrorReason.REVOKED)
    refused(await play.settle(grant, "prepared"), ErrorReason.NEVER_PERMITTED)
    report = await report_on(play)
    tried = [(late.verb, late.op_id, late.was_permitted) for late in report.late_attempts]
    assert tried == [("commit", "permitted", True), ("commit", "prepared", False), ("perform", "new", False)]
    assert all(late.seq > cut.seq and late.reason == "REVOKED" for late in report.late_attempts)
    assert report.late_attempt_count == 3


async def test_late_attempts_are_counted_where_they_are_no_longer_listed(play: Player) -> None:
    """Beyond the limit of lines the number is still told."""
    grant = await play.ready()
    await play.cancel()
    for _ in range(MAX_REFUSALS_KEPT + 5):
        refused(await play.commit(grant), ErrorReason.REVOKED)
    report = await report_on(play)
    assert (len(report.late_attempts), report.late_attempt_count) == (
        MAX_REFUSALS_KEPT,
        MAX_REFUSALS_KEPT + 5,
    )
    assert any("1005 refused calls" in gap for gap in report.gaps)


async def test_refusals_before_the_stop_are_not_counted_as_late(play: Player) -> None:
    """Where nobody kept the lines nobody claims that they were attempts after the stop."""
    grant = await play.ready()
    for _ in range(MAX_REFUSALS_KEPT + 5):
        refused(await play.commit(grant), ErrorReason.ACTION_UNKNOWN)
    await play.cancel()
    report = await report_on(play)
    assert (report.late_attempts, report.late_attempt_count) == ((), 0)
    assert any("1005 refused calls" in gap for gap in report.gaps)


async def test_a_report_covers_everything_below(play: Player) -> None:
    """Children and grandchildren are in it with their actions; runs above and beside are not."""
    for parent, run in (("", "top"), ("top", "a"), ("a", "b"), ("b", "c"), ("top", "x")):
        await play.open(run, parent=parent)
        grant = await play.issue(run, grant=f"g-{run}")
        await play.permit(grant, f"op-{run}")
    await play.cancel("a")
    report = await report_on(play, "a")
    assert set(report.descendants) == {"b", "c"}
    assert parts(report) == {"in_flight": {"op-a", "op-b", "op-c"}}
    assert {action.run_id for action in report.actions} == {"a", "b", "c"}


async def test_a_run_ended_from_above_says_through_whom(play: Player) -> None:
    """Its own record is still active; its report tells the cut of the run above."""
    await play.open("a")
    await play.open("b", parent="a")
    cut = await play.cancel("a", StopReason.INCIDENT, note="leak")
    report = await report_on(play, "b")
    assert report.run.state is RunState.ACTIVE
    assert report.end
    assert (report.end.run_id, report.end.reason, report.end.seq) == ("a", "INCIDENT", cut.seq)
    assert report.cut_seq == cut.seq


@pytest.mark.parametrize("first", ["own", "above", "deadline"])
async def test_the_first_end_is_the_one_that_counts(play: Player, first: str) -> None:
    """A later end, of the run or above it, does not change when and by what the run was cut off."""
    await play.open("a")
    await play.open("b", parent="a", ttl_ms=HOUR)
    if first == "deadline":
        await play.rig.advance(HOUR)
    else:
        await play.cancel("b" if first == "own" else "a")
    before = (await report_on(play, "b")).end
    await play.rig.advance(0 if first == "deadline" else HOUR)
    await play.cancel("a")
    await play.cancel("b")
    assert (await report_on(play, "b")).end == before


async def test_an_active_run_has_a_report_without_an_end(play: Player) -> None:
    """What is prepared is pending, and nothing is quiet."""
    grant = await play.ready()
    done(await play.prepare(grant))
    report = await report_on(play)
    assert (report.end, report.cut_seq, report.quiesced, report.gaps) == (None, 0, False, ())
    assert parts(report) == {"pending": {"op"}}


async def test_a_tombstone_has_an_empty_report(play: Player) -> None:
    """Nothing was done in a run that never was."""
    cut = await play.cancel("later")
    report = await report_on(play, "later")
    assert (report.actions, report.gaps, report.cut_seq, report.quiesced) == ((), (), cut.seq, True)


async def test_nobody_reports_on_an_unknown_run(play: Player) -> None:
    """It is refused as unknown."""
    assert await compile_report(play.store, "nobody") == Refusal(ErrorReason.RUN_UNKNOWN, {"run": "nobody"})


async def test_lost_facts_are_called_gaps(play: Player) -> None:
    """A record or a journal that is gone, or another epoch, is said, never passed over."""
    await play.open("a")
    await play.open("b", parent="a")
    grant = await play.issue("a")
    await play.permit(grant)
    assert (await report_on(play, "a")).gaps == ()
    state = play.rig.state  # type: ignore[attr-defined]
    kept = state.entries["a"]
    state.entries["a"] = [entry for entry in kept if entry.op_id == ""]
    assert any("0 of 1 actions" in gap for gap in (await report_on(play, "a")).gaps)
    state.entries["a"] = kept
    child = state.runs.pop("b")
    assert any("run b" in gap for gap in (await report_on(play, "a")).gaps)
    state.runs["b"] = child
    await play.rig.renew_epoch("epoch-2")
    gaps = (await report_on(play, "a")).gaps
    assert len([gap for gap in gaps if "epoch-1" in gap and "epoch-2" in gap]) == 2


@pytest.mark.parametrize(
    ("reversibility", "compensation", "why"),
    [
        (Reversibility.READ_ONLY, "", "nothing to undo"),
        (Reversibility.IRREVERSIBLE, "email.recall", "irreversible"),
        (Reversibility.COMPENSABLE, "", "no compensation"),
        (Reversibility.REVERSIBLE, "", "no compensation"),
        (Reversibility.COMPENSABLE, "email.recall", ""),
        (Reversibility.REVERSIBLE, "email.recall", ""),
    ],
)
async def test_a_report_says_what_can_be_undone(
    play: Player, reversibility: Reversibility, compensation: str, why: str
) -> None:
    """An action can be undone if its class allows it and somebody registered how."""
    grant = await play.ready()
    wanted = intent(reversibility=reversibility, compensation=compensation)
    done(await play.perform(grant, wanted))
    done(await play.settle(grant))
    (action,) = (await report_on(play)).actions
    assert bool(action.why_not_undoable(action.undo_until - 1)) == bool(why)
    assert why in action.why_not_undoable(action.undo_until - 1)
    assert action.why_not_undoable(action.undo_until)


async def test_a_story_is_a_pure_fold(play: Player) -> None:
    """The same lines, end and time tell the same story, and the lines are left as they were."""
    grant = await play.ready()
    await play.permit(grant)
    await play.cancel()
    refused(await play.commit(grant), ErrorReason.REVOKED)
    entries, end = await play.journal(), (await report_on(play)).end
    before = repr(entries)
    stories = [tell(some, end, START + 1) for some in (entries, tuple(entries), iter(entries))]
    assert stories[0] == stories[1] == stories[2]
    assert repr(entries) == before


async def test_an_outcome_told_twice_keeps_what_it_knew(play: Player) -> None:
    """A receipt given with an unknown outcome is not lost when the outcome becomes known."""
    grant = await play.ready()
    await play.permit(grant)
    done(await play.settle(grant, outcome=ActionState.UNKNOWN, receipt="q-17", note="timed out"))
    done(await play.settle(grant, outcome=ActionState.SUCCEEDED, note="found it"))
    (action,) = (await report_on(play)).actions
    assert (action.state, action.receipt, action.note) == ("SUCCEEDED", "q-17", "found it")
