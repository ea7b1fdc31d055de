"""Reports told one after the other: each is true, and no later one takes back what an earlier one said."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings

from grant_service.core import report as reporting
from grant_service.core import run as running
from grant_service.core.action import ActionState
from grant_service.core.compile import compile_report
from grant_service.core.errors import Refusal
from grant_service.core.fence import Fence
from grant_service.core.journal import Entry
from grant_service.core.report import PARTS, Report, ReportedAction
from grant_service.core.run import End, RunState
from grant_service.store.memory import MemoryStore
from tests.store.differential import Model
from tests.store.player import DAY
from tests.store.rigs import MemoryRig
from tests.store.sequences import Burst, NewEpoch, Step, Tell, Use, sequences

#: What each part may become in a later report. What never happened, and what is known, stays.
LATER = {
    "pending": set(PARTS),
    "in_flight": {"in_flight", "unknown", "done", "not_done"},
    "unknown": {"unknown", "done", "not_done"},
    "done": {"done"},
    "not_done": {"not_done"},
    "interrupted": {"interrupted"},
}
#: When facts may have been lost since, less is known than before: what had no permit may have had one.
WITHOUT_PERMIT = {"interrupted", "not_done", "unknown"}

C = TypeVar("C", Use, Tell)
Told = dict[tuple[str, str], ReportedAction]


def part(action: ReportedAction) -> str:
    """The one part of the report that lists this action."""
    (found,) = [name for name, states in PARTS.items() if action.state in states]
    return found


def told(report: Report) -> Told:
    """A report's actions by run and op_id; none is listed twice."""
    listed = {(action.run_id, action.op_id): action for action in report.actions}
    assert len(listed) == len(report.actions)
    return listed


def assert_more_certain(before: Report, after: Report, same_epoch: bool) -> None:
    """Nothing goes away, no fact changes, and what is settled stays where it is."""
    earlier, later = told(before), told(after)
    assert earlier.keys() <= later.keys()
    assert set(before.descendants) <= set(after.descendants)
    assert set(before.late_attempts) <= set(after.late_attempts)
    assert before.late_attempt_count <= after.late_attempt_count
    for key, was in earlier.items():
        now = later[key]
        allowed = LATER[part(was)]
        if not same_epoch and not was.fence and part(was) != "pending":
            allowed = WITHOUT_PERMIT
        assert part(now) in allowed, f"{key} was {was.state}, is {now.state}"
        assert not was.fence or (now.fence, now.use_by) == (was.fence, was.use_by)
        assert now.receipt or not was.receipt
        if was.settle_seq and was.settle_seq == now.settle_seq:
            assert (was.receipt, was.note, was.settle_time) == (now.receipt, now.note, now.settle_time)
            assert was.settled_after_cut == now.settled_after_cut or not same_epoch
    if before.end and same_epoch:
        assert after.end
        assert moment(after.end) <= moment(before.end)


def moment(end: End) -> tuple[float, int]:
    """When an end came, as far as anybody knows."""
    return (end.time or float("inf"), end.seq)


def assert_true(report: Report, store: MemoryStore) -> None:
    """What a report says of an action is what the journal says, read again in another way."""
    listed = told(report)
    for run in (report.run.run_id, *report.descendants):
        entries = store.state.entries.get(run, [])
        permitted = {entry.op_id for entry in entries if entry.kind == "PERMITTED"}
        outcomes = {entry.op_id: entry.data["outcome"] for entry in entries if entry.kind == "SETTLED"}
        prepared = {entry.op_id for entry in entries if entry.kind == "PREPARED"}
        assert {op for of, op in listed if of == run} == prepared
        for op in prepared:
            action = listed[run, op]
            assert (op in permitted) == (action.fence > 0)
            if action.fence or not report.may_lack:
                happened = part(action) in ("done", "in_flight", "unknown") or action.state == "FAILED"
                assert (op in permitted) == happened
            if op in outcomes:
                assert action.state == outcomes[op]
            elif op in permitted:
                lapsed = report.time >= action.use_by
                assert action.state == (ActionState.UNKNOWN if lapsed else ActionState.PERMITTED)
    if report.end:
        assert "pending" not in {part(action) for action in listed.values()}
    if not report.may_lack:
        for action in listed.values():
            assert part(action) != "pending" or not killers(action, store)
            stopped = has_ended(action, store, report.time) or killers(action, store)
            assert part(action) != "interrupted" or stopped


def has_ended(action: ReportedAction, store: MemoryStore, now: int) -> bool:
    """Whether its run, one above it, or a grant of its chain was ended."""
    runs = [store.state.runs[one] for one in store.state.runs[action.run_id].path]
    grant = store.state.grants[action.grant_id]
    links = [store.state.grants.get(one) for one in (*grant.chain, grant.grant_id)]
    return any(run.state != RunState.ACTIVE or now >= run.deadline for run in runs) or any(
        link and link.end_seq for link in links
    )


def killers(action: ReportedAction, store: MemoryStore) -> list[Fence]:
    """The fences that killed an action's grant for what it is, by the records and not by the journal."""
    grant, run = store.state.grants[action.grant_id], store.state.runs[action.run_id]
    links = (*grant.chain, grant.grant_id)
    marks = frozenset([*run.marks, *(f"grant={link}" for link in links)])
    known = store.state.fences.values()
    return [one for one in known if grant.root_seq < one.seq and one.selector.names(marks, action.action)]


def lasting(step: Step) -> Step:
    """The step with fences that are looked for as long as a grant can live, as the service sets all of them.

    One that is forgotten sooner would kill what is then permitted all the same.
    """
    match step:
        case Burst(calls):
            return Burst(tuple(_lasting(call) for call in calls))
        case Tell():
            return _lasting(step)
    return step


def _lasting(call: C) -> C:
    if isinstance(call, Tell) and call.verb in ("revoke", "freeze"):
        return replace(call, args=(replace(call.args[0], kill_ms=2 * DAY),))
    return call


async def tell_along(sequence: Iterable[Step]) -> int:
    """Play a sequence and tell every run's report after every step; answer how many reports were compared."""
    rig = await MemoryRig.start()
    model, before, epoch_of = Model(rig), {}, {}
    epoch = compared = 0
    for step in sequence:
        await model.play(lasting(step))
        epoch += isinstance(step, NewEpoch)
        for run in list(rig.state.runs):
            report = await compile_report(rig.store, run)
            assert not isinstance(report, Refusal)
            assert report == await compile_report(rig.store, run), "told twice, told alike"
            assert_true(report, rig.store)
            if run in before:
                assert_more_certain(before[run], report, epoch_of[run] == epoch == 0)
                compared += 1
            before[run], epoch_of[run] = report, epoch
    return compared


@settings(max_examples=150, deadline=None)
@given(sequences())
def test_a_later_report_only_becomes_more_certain(sequence: list[Step]) -> None:
    """Whatever happens between two reports, the later one takes nothing back, and both are true."""
    asyncio.run(tell_along(sequence))


def _lapses_after_the_stop(
    action: ReportedAction, end: End | None, now: int, lack: bool, killed: int | None
) -> ReportedAction:
    moved = replace(action, state=ActionState.EXPIRED)
    lapsed = action.state == "PREPARED" and now >= action.expire_time
    return moved if lapsed else RIGHT_AS_OF(action, end, now, lack, killed)


def _permits_never_lapse(
    action: ReportedAction, end: End | None, now: int, lack: bool, killed: int | None
) -> ReportedAction:
    before_use_by = min(now, action.use_by - 1) if action.use_by else now
    return RIGHT_AS_OF(action, end, before_use_by, lack, killed)


def _forgets_late_outcomes(
    action: ReportedAction, entry: Entry, end: End | None, *rest: Any
) -> ReportedAction:
    late = entry.kind == "SETTLED" and end and end.is_before(entry.seq, entry.time)
    return action if late else RIGHT_MOVED(action, entry, end, *rest)


def _as_if_no_fence_killed(
    action: ReportedAction, end: End | None, now: int, lack: bool, killed: int | None
) -> ReportedAction:
    return RIGHT_AS_OF(action, end, now, lack, None)


def _lets_the_dead_give_up(killers: Any, action: ReportedAction) -> Fence | None:
    found = RIGHT_KILLER(killers, action)
    return replace(found, seq=10**9) if found else None


RIGHT_AS_OF, RIGHT_MOVED = reporting._as_of, reporting._moved
RIGHT_KILLER = reporting._Killers.of

DEFECTS: dict[str, tuple[object, str, object]] = {
    "what was interrupted lapses later": (reporting, "_as_of", _lapses_after_the_stop),
    "a permit never lapses": (reporting, "_as_of", _permits_never_lapse),
    "a late outcome is not told": (reporting, "_moved", _forgets_late_outcomes),
    "what was interrupted is given up later": (End, "is_before", lambda end, seq, time: False),
    "a fence interrupts nothing": (reporting, "_as_of", _as_if_no_fence_killed),
    "what a fence interrupted is given up later": (reporting._Killers, "of", _lets_the_dead_give_up),
    "the last end of a path counts": (running, "_moment", lambda end: (-end.time, -end.seq)),
    "ends of one millisecond are not ordered": (running, "_moment", lambda end: end.time or float("inf")),
}


@pytest.mark.parametrize(("where", "name", "wrong"), DEFECTS.values(), ids=DEFECTS.keys())
def test_a_report_that_is_wrong_or_takes_something_back_is_caught(
    where: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one of some sequences, the same in every run, shows each of these defects."""

    @settings(max_examples=1500, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(sequences())
    def play(sequence: list[Step]) -> None:
        asyncio.run(tell_along(sequence))

    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(AssertionError):
        play()
