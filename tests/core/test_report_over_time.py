"""Reports told one after the other: each is true, and no later one takes back what an earlier one said."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from grant_service.core import report as reporting
from grant_service.core import run as running
from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.compile import compile_report
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.errors import Refusal
from grant_service.core.fence import Fence
from grant_service.core.journal import Entry
from grant_service.core.report import PARTS, CallingOff, Report, ReportedAction
from grant_service.core.run import End, RunState, StopReason
from grant_service.store.memory import MemoryStore
from tests.store.differential import Model
from tests.store.player import DAY, HOUR
from tests.store.rigs import MemoryRig
from tests.store.sequences import (
    STORIES,
    Burst,
    NewEpoch,
    Step,
    Tell,
    Use,
    beginning,
    remembered,
    sequences_about,
)

#: Sequences in which runs and grants end while they are used, again and again.
ENDS = sequences_about("stop") | sequences_about("cut")

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

#: What an effect that happened may become. Undone stays undone; what was given up may be asked for again, be
#: done after all, or be left as it is for good; only what nobody asked for, or was taken back, is just there.
UNDO_LATER = {
    ActionState.SUCCEEDED: {"SUCCEEDED", "UNDO_PENDING", "UNDONE", "UNDO_FAILED"},
    ActionState.UNDO_PENDING: {"UNDO_PENDING", "UNDONE", "UNDO_FAILED", "SUCCEEDED"},
    ActionState.UNDO_FAILED: {"UNDO_FAILED", "UNDO_PENDING", "UNDONE", "SUCCEEDED"},
    ActionState.UNDONE: {"UNDONE"},
}
#: The same of what the outside world said about one job. Who could not be reached may answer after all, and a
#: tool may name who can call it off after all.
CALL_OFF_LATER = {
    "IMPOSSIBLE": {"IMPOSSIBLE", "", "ACKNOWLEDGED", "REFUSED", "UNREACHABLE"},
    "": {"", "ACKNOWLEDGED", "REFUSED", "UNREACHABLE"},
    "UNREACHABLE": {"UNREACHABLE", "ACKNOWLEDGED", "REFUSED"},
    "ACKNOWLEDGED": {"ACKNOWLEDGED"},
    "REFUSED": {"REFUSED"},
}

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
            kept = (was.receipt or now.receipt, was.note or now.note, was.settle_time)
            assert kept == (now.receipt, now.note, now.settle_time)
            assert was.settled_after_cut == now.settled_after_cut or not same_epoch
        assert_more_certain_of_undo(was, now)
    if before.end and same_epoch:
        assert after.end
        assert moment(after.end) <= moment(before.end)


def assert_more_certain_of_undo(was: ReportedAction, now: ReportedAction) -> None:
    """What was undone, resolved or called off stays so, and nobody forgets who did it or what they got."""
    if was.state in UNDO_LATER:
        assert now.state in UNDO_LATER[was.state], f"{was.op_id} was {was.state}, is {now.state}"
    if now.state is ActionState.SUCCEEDED and was.state in (
        ActionState.UNDO_PENDING,
        ActionState.UNDO_FAILED,
    ):
        assert now.undo
        assert now.undo.state is DutyState.WITHDRAWN
    if was.state is ActionState.UNDONE:
        assert now.undo == was.undo
    if was.resolved_by or was.evidence:
        assert (now.resolved_by, now.evidence, now.settle_seq) == (
            *(was.resolved_by, was.evidence),
            was.settle_seq,
        )
    if was.undo and was.undo.state is DutyState.WITHDRAWN:
        assert now.undo
        assert now.undo.state in (DutyState.WITHDRAWN, DutyState.DONE)
    assert [one.handle for one in was.call_offs] == [one.handle for one in now.call_offs][
        : len(was.call_offs)
    ]
    for job, later in zip(was.call_offs, now.call_offs, strict=False):
        assert later.outcome in CALL_OFF_LATER[job.outcome]
        assert later.attempts >= job.attempts


def moment(end: End) -> tuple[float, int]:
    """When an end came, as far as anybody knows."""
    return (end.time or float("inf"), end.seq)


def assert_true(report: Report, store: MemoryStore) -> None:
    """What a report says of an action is what the journal says, read again in another way."""
    listed = told(report)
    for run in (report.run.run_id, *report.descendants):
        entries = store.state.entries.get(run, [])
        permitted = {entry.op_id for entry in entries if entry.kind == "PERMITTED"}
        told_of = ("SETTLED", "RESOLVED")
        outcomes = {entry.op_id: entry.data["outcome"] for entry in entries if entry.kind in told_of}
        prepared = {entry.op_id for entry in entries if entry.kind == "PREPARED"}
        assert {op for of, op in listed if of == run} == prepared
        for op in prepared:
            action = listed[run, op]
            assert (op in permitted) == (action.fence > 0)
            if action.fence or not report.may_lack:
                happened = part(action) in ("done", "in_flight", "unknown") or action.state == "FAILED"
                assert (op in permitted) == happened
            assert_undo_is_true(action, [entry for entry in entries if entry.op_id == op], store)
            if op in outcomes:
                happened = action.state in PARTS["done"] and outcomes[op] == "SUCCEEDED"
                assert happened or action.state == outcomes[op]
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


def assert_undo_is_true(action: ReportedAction, entries: Sequence[Entry], store: MemoryStore) -> None:
    """What is told of an undo or a call-off is what the journal says, and how the store's duties stand."""
    said = [entry.kind.value for entry in entries]
    assert (action.state == "UNDONE") == ("UNDONE" in said)
    over = store.state.now >= action.undo_until  # whether or not anybody claimed it and was told so
    assert action.state != "UNDO_FAILED" or "UNDO_FAILED" in said or over
    assert action.state != "UNDO_PENDING" or "UNDO_ASKED" in said
    assert bool(action.resolved_by or action.evidence) <= ("RESOLVED" in said)
    undo = store.state.duty(action.run_id, action.op_id, DutyKind.UNDO)
    assert (action.undo is None) == (undo is None)
    if action.undo and undo:
        assert action.undo.state is undo.state
        assert action.undo.attempts == undo.attempts
    assert bool(action.why_not_undoable) or action.compensation
    if undo and undo.state is DutyState.WITHDRAWN:
        assert action.why_not_undoable
    if action.state in PARTS["not_done"] and action.fence:
        assert action.why_not_undoable
    jobs = [
        one for (run, op, _), one in store.state.duties.items() if (run, op) == (action.run_id, action.op_id)
    ]
    by_handle = {one.handle: one for one in jobs if one.kind is DutyKind.CALL_OFF}
    named = [entry.data["handle"] for entry in entries if entry.kind == "SETTLED" and "handle" in entry.data]
    assert [one.handle for one in action.call_offs] == list(dict.fromkeys(named))
    for told in action.call_offs:
        assert_job_is_true(told, by_handle.pop(told.handle, None), entries)
    assert not by_handle, "it is not told of all that is to be called off"


def assert_job_is_true(told: CallingOff, duty: Duty | None, entries: Sequence[Entry]) -> None:
    """What is told of calling off one job is what the journal says, and how its duty stands."""
    if duty is None:
        assert (told.outcome, told.canceller) == ("IMPOSSIBLE", "")
        assert told.note
        return
    outcomes = {"DONE": "ACKNOWLEDGED", "REFUSED": "REFUSED", "FAILED": "UNREACHABLE"}
    called_off = [
        entry.data["outcome"]
        for entry in entries
        if entry.kind == "CALLED_OFF" and entry.data["handle"] == told.handle
    ]
    expected = outcomes.get(duty.state, "")
    assert told.outcome == expected or duty.state is DutyState.MOOT
    assert not expected or expected in called_off
    assert told.attempts == duty.attempts
    assert told.canceller == duty.name


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


def _joined(parts: tuple[list[Step], list[list[Step]]]) -> list[Step]:
    return [*parts[0], *(step for story in parts[1] for step in story)]


#: Sequences about nothing but effects that are undone, called off and asked about.
cleaning_up = st.tuples(beginning, st.lists(STORIES["duty"] | STORIES["jobs"], max_size=3)).map(_joined)


@settings(max_examples=100, deadline=None)
@given(cleaning_up)
def test_a_report_of_cleaning_up_only_becomes_more_certain(sequence: list[Step]) -> None:
    """Whatever is undone, called off, resolved or taken back between two reports, too."""
    asyncio.run(tell_along(sequence))


@settings(max_examples=150, deadline=None)
@given(remembered() | ENDS)
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


def _undone_when_asked(action: ReportedAction, entry: Entry) -> ReportedAction:
    told = RIGHT_CLEANED(action, entry)
    asked = entry.kind == "CLAIMED" and told.undo
    return replace(told, undo=replace(told.undo, state=DutyState.DONE)) if asked and told.undo else told


def _forgets_what_was_undone(action: ReportedAction, entry: Entry) -> ReportedAction:
    return action if entry.kind == "UNDONE" else RIGHT_CLEANED(action, entry)


def _forgets_what_was_taken_back(action: ReportedAction, entry: Entry) -> ReportedAction:
    return action if entry.kind == "UNDO_WITHDRAWN" else RIGHT_CLEANED(action, entry)


def _acknowledged_when_tried(action: ReportedAction, entry: Entry) -> ReportedAction:
    told = RIGHT_CLEANED(action, entry)
    tried = entry.data.get("duty") == "CALL_OFF"
    done = tuple(replace(one, outcome="ACKNOWLEDGED") for one in told.call_offs)
    return replace(told, call_offs=done) if tried else told


def _told_of_another_job(action: ReportedAction, entry: Entry) -> ReportedAction:
    unnamed = {name: value for name, value in entry.data.items() if name != "handle"}
    return RIGHT_CLEANED(action, replace(entry, data=unnamed))


def _only_the_last_job(action: ReportedAction, entry: Entry, end: End | None, *rest: Any) -> ReportedAction:
    told = RIGHT_MOVED(action, entry, end, *rest)
    return replace(told, call_offs=told.call_offs[-1:])


def _the_last_word_stands(
    action: ReportedAction, entry: Entry, end: End | None, *rest: Any
) -> ReportedAction:
    before = replace(action, state=ActionState.PERMITTED) if entry.kind == "SETTLED" else action
    return RIGHT_MOVED(before, entry, end, *rest)


def _resolved_without_a_name(
    action: ReportedAction, entry: Entry, end: End | None, *rest: Any
) -> ReportedAction:
    return action if entry.kind == "RESOLVED" else RIGHT_MOVED(action, entry, end, *rest)


RIGHT_CLEANED = reporting._cleaned
RIGHT_AS_OF, RIGHT_MOVED = reporting._as_of, reporting._moved
RIGHT_KILLER = reporting._Killers.of

#: A run ends, and one above it in the same millisecond: random sequences are rarely like that.
TWO_ENDS: list[Step] = [
    *[Tell("open", (verbs.Open(run, HOUR, HOUR, parent),)) for run, parent in (("a", ""), ("b", "a"))],
    *[Tell("cancel", (verbs.Cancel(run, StopReason.INCIDENT),)) for run in ("b", "a")],
]

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


UNDO_DEFECTS: dict[str, tuple[object, str, object]] = {
    "what is claimed is undone": (reporting, "_cleaned", _undone_when_asked),
    "what is undone is not told": (reporting, "_cleaned", _forgets_what_was_undone),
    "what was taken back is not told": (reporting, "_cleaned", _forgets_what_was_taken_back),
    "a call-off is acknowledged when it is tried": (reporting, "_cleaned", _acknowledged_when_tried),
    "a resolved outcome is not told": (reporting, "_moved", _resolved_without_a_name),
    "what became of one job is told of another": (reporting, "_cleaned", _told_of_another_job),
    "of several jobs the last is told": (reporting, "_moved", _only_the_last_job),
    "the last word stands": (reporting, "_moved", _the_last_word_stands),
}


@pytest.mark.parametrize(("where", "name", "wrong"), UNDO_DEFECTS.values(), ids=UNDO_DEFECTS.keys())
def test_a_report_that_is_wrong_about_cleaning_up_is_caught(
    where: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the same for what is undone, called off and resolved."""

    @settings(max_examples=500, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(cleaning_up)
    def play(sequence: list[Step]) -> None:
        asyncio.run(tell_along(sequence))

    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(AssertionError):
        play()


@pytest.mark.parametrize(("where", "name", "wrong"), DEFECTS.values(), ids=DEFECTS.keys())
def test_a_report_that_is_wrong_or_takes_something_back_is_caught(
    where: object, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: one of some sequences, the same in every run, shows each of these defects."""

    @settings(
        max_examples=500,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,  # one is enough: without this twice as many are played
    )
    @given(ENDS)
    def play(sequence: list[Step]) -> None:
        for one in (TWO_ENDS, sequence):
            asyncio.run(tell_along(one))

    monkeypatch.setattr(where, name, wrong)
    with pytest.raises(AssertionError):
        play()
