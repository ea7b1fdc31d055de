"""The report as of an entry: what was known when it had just been written, told at any later time."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from grant_service.core import as_of, verbs
from grant_service.core.action import ActionState, Intent
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import Fence, selector_of
from grant_service.core.grant import GrantRef
from grant_service.core.report import Report
from grant_service.core.run import Run, RunState, StopReason
from grant_service.core.scope import Reversibility, Scope
from grant_service.store.memory import MemoryStore
from tests.core.test_report_over_time import assert_more_certain, lasting, told
from tests.store.differential import Model
from tests.store.rigs import MemoryRig
from tests.store.sequences import NewEpoch, Step, remembered

SECOND = 1000


def known(report: Report) -> Any:
    """All that a report says of a run and its actions, without what has no history: budgets and tier."""
    run = replace(report.run, budgets=(), refusals=0, spendings=0, delegations=0)
    fences = indexed(report.fences)
    return (
        *(run, report.end, report.descendants, report.actions, report.late_attempts, fences),
        *(report.gaps, report.heads, report.cut_seq, report.quiesced, report.late_attempt_count),
    )


def indexed(fences: Iterable[Fence]) -> list[Fence]:
    """Fences as if commits still looked for all of them: that is no part of what a report tells."""
    return [replace(one, standing=True) for one in fences]


async def report_at(store: MemoryStore, run: str, seq: int = 0) -> Report:
    """Report, and do not be refused."""
    report = await compile_report(store, run, seq)
    assert isinstance(report, Report), report
    return report


async def tell_again(sequence: Iterable[Step]) -> int:
    """Tell reports along a sequence, and again at its end as of the entries they knew; answer how many."""
    rig = await MemoryRig.start()
    model = Model(rig)
    then: dict[tuple[str, int], Report] = {}
    for step in sequence:
        if isinstance(step, NewEpoch):
            continue
        before = rig.state.seq
        await model.play(lasting(step))
        if rig.state.seq > before:
            for run in list(rig.state.runs):
                then[run, rig.state.seq] = await report_at(rig.store, run)
    alike = 0
    for run in rig.state.runs:
        last: Report | None = None
        first = rig.state.runs[run].open_seq or rig.state.runs[run].end_seq
        for seq in range(first, rig.state.seq + 1):
            report = await report_at(rig.store, run, seq)
            assert report.at_seq == seq
            assert all(entry_head.last_seq <= seq for entry_head in report.heads)
            if last:
                assert_more_certain(last, report, same_epoch=True)
            last = report
            if (run, seq) in then:
                alike += compared(report, then[run, seq])
    return alike


def compared(report: Report, was: Report) -> bool:
    """Hold a report against the one of that time: the same if it was told at the same time, else later."""
    assert told(report).keys() == told(was).keys()
    if report.time == was.time:
        assert known(report) == known(was)
        return True
    assert report.time < was.time
    assert_more_certain(report, was, same_epoch=True)
    return False


@settings(max_examples=40, deadline=None)
@given(remembered())
def test_a_report_as_of_an_entry_is_the_report_of_that_time(sequence: list[Step]) -> None:
    """Whatever came later: ends, lifts, outcomes, children. And entry by entry it only gets more certain."""
    asyncio.run(tell_again(sequence))


def _forgets_nothing(view: as_of.AsOf, run: Run) -> Run:
    return replace(run, budgets=())


def _lifted_all_along(fence: Any, at_seq: int) -> Any:
    return fence


async def _reads_on(view: Any, run_id: str, after_seq: int, limit: int) -> Any:
    return await view._source.journal(run_id, after_seq, limit)


async def _all_fences(view: Any) -> Any:
    return await view._source.fences()


DEFECTS: dict[str, tuple[object, str, object]] = {
    "a later end is told": (as_of.AsOf, "_run", _forgets_nothing),
    "a later lift is told": (as_of, "_fence", _lifted_all_along),
    "later entries are told": (as_of.AsOf, "journal", _reads_on),
    "later fences are told": (as_of.AsOf, "fences", _all_fences),
}


@pytest.mark.parametrize(("where", "name", "wrong"), DEFECTS.values(), ids=DEFECTS.keys())
def test_a_report_that_knows_what_came_later_is_caught(
    where: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one of some sequences, the same in every run, shows each of these defects."""

    @settings(max_examples=400, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(remembered())
    def play(sequence: list[Step]) -> None:
        asyncio.run(tell_again(sequence))

    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(AssertionError):
        play()


class Clock:
    """Moved by hand."""

    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


GRANT = GrantRef("g-1", "r-1", (), "tool", "")


async def prepared(store: MemoryStore, op: str) -> None:
    """Prepare an action."""
    intent = Intent(op, "email.send", "", "00" * 32, Reversibility.IRREVERSIBLE)
    answer = await store.prepare(verbs.Prepare(GRANT, "tool", intent, 60 * SECOND, 100))
    assert not isinstance(answer, Refusal)


async def stopped() -> tuple[MemoryStore, Clock, int]:
    """A run with an action permitted and one prepared, cancelled; the store, its clock, the cut."""
    clock = Clock()
    store = MemoryStore(clock)
    await store.open(verbs.Open("r-1", 3600 * SECOND, 0))
    await store.issue(verbs.Issue("g-1", "r-1", "tool", (Scope("*"),), 600 * SECOND))
    await prepared(store, "o-1")
    await prepared(store, "o-2")
    await store.commit(verbs.Commit(GRANT, "tool", "o-1", "00" * 32, 5 * SECOND))
    clock.now += SECOND
    cancelled = await store.cancel(verbs.Cancel("r-1", StopReason.USER_STOP, "operator", "", ""))
    return store, clock, cancelled.seq


async def test_the_report_of_a_cut_is_the_one_the_cancel_was_answered_with() -> None:
    """Outcomes and attempts that came in since are not in it."""
    store, clock, cut = await stopped()
    answered = await report_at(store, "r-1")
    clock.now += 60 * SECOND
    await store.settle(verbs.Settle(GRANT, "tool", "o-1", ActionState.SUCCEEDED, "m-1"))
    await store.commit(verbs.Commit(GRANT, "tool", "o-2", "00" * 32, SECOND))
    later, again = await report_at(store, "r-1"), await report_at(store, "r-1", cut)
    assert known(again) == known(answered)
    assert again.time == answered.time < later.time
    assert [one.state for one in again.actions] == ["PERMITTED", "INTERRUPTED"]
    assert [one.state for one in later.actions] == ["SUCCEEDED", "INTERRUPTED"]
    assert (len(again.late_attempts), len(later.late_attempts)) == (0, 1)


async def test_before_its_cut_a_run_was_active() -> None:
    """Its end is taken back, and so is what followed from it."""
    store, clock, cut = await stopped()
    clock.now += 60 * SECOND
    before = await report_at(store, "r-1", cut - 1)
    assert before.end is None
    assert before.run.state is RunState.ACTIVE
    assert (before.run.end_seq, before.cut_seq, before.run.actions) == (0, 0, 2)
    assert [one.state for one in before.actions] == ["PERMITTED", "PREPARED"]
    assert before.gaps == ()


async def test_a_fence_that_was_lifted_since_stands_again() -> None:
    """And one that was set since is not told."""
    store, _, _ = await stopped()
    over = selector_of(["run=r-1"])
    why = (StopReason.INCIDENT, 900 * SECOND, "operator", "")
    frozen = await store.freeze(verbs.Freeze("f-1", over, *why))
    assert isinstance(frozen, verbs.Fenced)
    lifted = await store.lift(verbs.Lift("f-1", "operator", ""))
    assert isinstance(lifted, verbs.Lifted)
    assert (await report_at(store, "r-1", frozen.fence.seq - 1)).fences == ()
    assert (await report_at(store, "r-1", frozen.fence.seq)).fences == (frozen.fence,)
    assert indexed((await report_at(store, "r-1", lifted.fence.lift_seq)).fences) == indexed([lifted.fence])


async def test_a_number_that_nothing_can_be_told_of_is_refused() -> None:
    """Before the run's first entry, and after the last there is; the rule names both ends."""
    store, _, cut = await stopped()
    await store.open(verbs.Open("r-2", 3600 * SECOND, 0))
    for run, seq in (("r-1", cut + 2), ("r-2", cut), ("r-2", cut + 2)):
        refused = await compile_report(store, run, seq)
        assert isinstance(refused, Refusal)
        assert refused.reason is ErrorReason.INVALID_REQUEST
        first = 1 if run == "r-1" else cut + 1
        assert f"from {first}, the first of run {run}, to {cut + 1}, " in refused.details["rule"]
    assert isinstance(await compile_report(store, "r-1", cut + 1), Report)
    unknown = await compile_report(store, "r-9", 1)
    assert isinstance(unknown, Refusal)
    assert unknown.reason is ErrorReason.RUN_UNKNOWN


async def test_what_is_lost_is_a_gap_as_of_any_entry() -> None:
    """Whether a missing action was there by then is not known, so the gap is told."""
    store, _, cut = await stopped()
    entries = store.state.entries["r-1"]
    del entries[2]
    for seq in (2, cut):
        (gap,) = (await report_at(store, "r-1", seq)).gaps
        assert "is no longer kept, or was lost" in gap


async def test_a_cut_of_an_earlier_epoch_is_told_as_it_was() -> None:
    """A run that ended in its own epoch has lost nothing from before its end, whatever came since."""
    store, _, cut = await stopped()
    before = await report_at(store, "r-1", cut - 1)
    store.renew_epoch()
    assert known(await report_at(store, "r-1", cut - 1)) == known(before)
