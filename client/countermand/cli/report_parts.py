"""The parts of a report, a table each, in the order in which a user would ask for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from countermand import ActionState, LateAttempt, Report, ReportedAction
from countermand.cli.report_undo import call_off_in_words, resolved_in_words, undo_in_words
from countermand.cli.report_words import PARTS, STATES, WHY_LATE, repeated
from countermand.cli.rows import print_rows
from countermand.cli.words import clock_time, left

if TYPE_CHECKING:
    from rich.console import Console


def print_parts(console: "Console", report: Report) -> None:
    """Print every part that has something in it."""
    for part in (_done, _interrupted, _in_flight, _unknown, _not_done, _pending, _late_attempts):
        part(console, report)


def _done(console: "Console", report: Report) -> None:
    header = [
        *("what", "where", "confirmed at", "receipt", "undo", "called off", "resolved by"),
        *("note", "run", "op"),
    ]
    rows = [
        [
            one.action,
            one.resource,
            _settled(one, report),
            one.receipt,
            _undo(one, report),
            call_off_in_words(one),
            resolved_in_words(one),
            one.note,
            *_names(one, report),
        ]
        for one in report.done
    ]
    _part(console, "done", header, rows, "green")


def _interrupted(console: "Console", report: Report) -> None:
    header = ["what", "where", "intended at", "run", "op"]
    rows = [_intended(one, report) for one in report.interrupted]
    _part(console, "interrupted", header, rows, "green")


def _in_flight(console: "Console", report: Report) -> None:
    header = ["what", "where", "until", "left", "undo", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            clock_time(one.use_by_time, report.time),
            left(one.use_by_time, report.time),
            _undo(one, report),
            *_names(one, report),
        ]
        for one in report.in_flight
    ]
    why = "told to go, no outcome known yet" if report.run.end is None else ""
    _part(console, "in_flight", header, rows, "yellow", why)


def _unknown(console: "Console", report: Report) -> None:
    header = ["what", "where", "told to go at", "receipt", "undo", "called off", "note", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            clock_time(one.permit_time, report.time),
            one.receipt,
            _undo(one, report),
            call_off_in_words(one),
            one.note,
            *_names(one, report),
        ]
        for one in report.unknown
    ]
    _part(console, "unknown", header, rows, "yellow")


def _not_done(console: "Console", report: Report) -> None:
    header = ["what", "where", "how", "resolved by", "note", "run", "op"]
    rows = [
        [
            *(one.action, one.resource, "failed" if one.resolved_by else STATES[one.state]),
            *(resolved_in_words(one), one.note, *_names(one, report)),
        ]
        for one in report.not_done
    ]
    _part(console, "not_done", header, rows, "")


def _pending(console: "Console", report: Report) -> None:
    header = ["what", "where", "intended at", "waits for", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            clock_time(one.prepare_time, report.time),
            _waits(one),
            *_names(one, report),
        ]
        for one in report.pending
    ]
    _part(console, "pending", header, rows, "")


def _undo(one: ReportedAction, report: Report) -> str:
    return undo_in_words(one, clock_time(one.undo.end_time, report.time))


def _waits(one: ReportedAction) -> str:
    return "a person to agree" if one.state is ActionState.AWAITING_APPROVAL else ""


def _late_attempts(console: "Console", report: Report) -> None:
    header = ["what", "where", "attempt", "when", "why refused", "before the stop", "run", "op"]
    rows = [_late(attempts, report) for attempts in repeated(report.late_attempts)]
    _part(console, "late_attempts", header, rows, "green", count=len(report.late_attempts))
    unlisted = report.late_attempt_count - len(report.late_attempts)
    if unlisted > 0:
        paint(console, f"  and {unlisted} more, counted but not listed", "dim")


def _late(attempts: Sequence[LateAttempt], report: Report) -> list[str]:
    last = attempts[-1]
    times = f", {len(attempts)} times" if len(attempts) > 1 else ""
    permitted = "had its permit: may have happened" if last.prior_decision is ActionState.PERMITTED else ""
    when = clock_time(last.time, report.time)
    run = last.run_id if report.descendant_run_ids else ""
    why = WHY_LATE.get(last.reason, str(last.reason))
    return [last.action, last.resource, last.verb + times, when, why, permitted, run, last.op_id]


def _part(
    console: "Console",
    name: str,
    header: list[str],
    rows: list[list[str]],
    style: str,
    means: str = "",
    count: int = -1,
) -> None:
    if not rows:
        return
    part = PARTS[name]
    means = means or part.brief
    explained = f": {means}" if means else ""
    paint(
        console, f"\n{part.title} ({len(rows) if count < 0 else count}){explained}", f"bold {style}".strip()
    )
    print_rows(console, header, rows)


def paint(console: "Console", text: str, style: str = "", indent: int = 0) -> None:
    """Print one line of talk; what is folded on a terminal keeps its indent, in a pipe nothing is folded."""
    if text and indent and console.is_terminal:
        from rich.padding import Padding
        from rich.text import Text

        console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))
    elif text:
        console.print(" " * indent + text, style=style or None, soft_wrap=not console.is_terminal)


def _names(one: ReportedAction, report: Report) -> list[str]:
    """The run, where there are several, and the op id."""
    return [one.run_id if report.descendant_run_ids else "", one.op_id]


def _intended(one: ReportedAction, report: Report) -> list[str]:
    return [one.action, one.resource, clock_time(one.prepare_time, report.time), *_names(one, report)]


def _settled(one: ReportedAction, report: Report) -> str:
    told = clock_time(one.settle_time, report.time)
    return f"{told}, after the stop" if one.settled_after_cut else told
