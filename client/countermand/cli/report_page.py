"""The stop report for people: what a user would ask, in the order in which they would ask it.

Nothing is called stopped that may still happen, and nothing done that nobody confirmed.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from countermand import (
    ActionState,
    Durability,
    ErrorReason,
    LateAttempt,
    Report,
    ReportedAction,
    Reversibility,
)
from countermand.cli.rows import print_rows
from countermand.cli.words import clock_time, counted, how_it_ended, left

if TYPE_CHECKING:
    from rich.console import Console


def print_report(console: "Console", report: Report) -> None:
    """Print headline, parts, gaps and small print."""
    _headline(console, report)
    _done(console, report)
    _interrupted(console, report)
    _in_flight(console, report)
    _unknown(console, report)
    _not_done(console, report)
    _pending(console, report)
    _late_attempts(console, report)
    _gaps(console, report)
    _small_print(console, report)


def verdict(report: Report) -> str:
    """Say in one or two sentences whether anything can still come of the run."""
    flying, unknown = len(report.in_flight), len(report.unknown)
    if report.run.end is None:
        return f"It may go on acting. To stop it: countermand cancel {report.run.run_id} --reason user_stop"
    if report.run.open_time is None:
        return "Nothing was stopped: no such run was ever opened here, and none can be any more."
    told = ["No new commit is accepted."]
    if flying:
        longest = max((one.use_by_time for one in report.in_flight if one.use_by_time), default=None)
        for_how_long = left(longest, report.time)
        told.append(
            f"{counted(flying, 'action')} may still land: permits can be used for {for_how_long} more."
        )
    if unknown:
        told.append(f"{counted(unknown, 'action')} may have happened: nobody has said yet.")
    if not flying and not unknown:
        told.append("Nothing is in flight, nothing is unknown.")
    return " ".join(told)


def summary(report: Report) -> str:
    """Count the parts."""
    counts = [
        (len(report.done), "done"),
        (len(report.interrupted), "interrupted"),
        (len(report.in_flight), "may still land"),
        (len(report.unknown), "unknown"),
        (len(report.not_done), "not done"),
        (len(report.pending), "not decided yet"),
    ]
    told = [
        f"{number} {name}" for number, name in counts if number or name not in ("not done", "not decided yet")
    ]
    if report.late_attempt_count:
        told.append(f"{counted(report.late_attempt_count, 'late attempt')} refused")
    return ", ".join(told)


def _headline(console: "Console", report: Report) -> None:
    end = report.run.end
    quiet = end is not None and report.quiesced and not report.unknown
    _print(console, how_it_ended(report.run, report.time), "bold")
    if end is not None and (end.note or end.tag):
        said = [f"“{end.note}”"] if end.note else []
        _print(console, " ".join([*said, *([f"[{end.tag}]"] if end.tag else [])]))
    _print(console, verdict(report), "green" if quiet else "yellow")
    _print(console, _of_whom(report), "dim")
    _print(console, summary(report))


def _of_whom(report: Report) -> str:
    run = report.run
    words = [("for", run.subject), ("agent", run.agent), ("tenant", run.tenant)]
    told = [f"{name} {value}" for name, value in words if value]
    if report.descendant_run_ids:
        told.append(f"with {counted(len(report.descendant_run_ids), 'run')} below it")
    return ", ".join(told)


def _done(console: "Console", report: Report) -> None:
    header = ["what", "where", "confirmed at", "receipt", "undo", "note", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            _settled(one, report),
            one.receipt,
            _undo(one),
            one.note,
            *_names(one, report),
        ]
        for one in report.done
    ]
    _part(console, "Done", "", header, rows, "green")


def _interrupted(console: "Console", report: Report) -> None:
    header = ["what", "where", "intended at", "run", "op"]
    rows = [_intended(one, report) for one in report.interrupted]
    _part(console, "Interrupted", "did not happen, and cannot any more", header, rows, "green")


def _in_flight(console: "Console", report: Report) -> None:
    header = ["what", "where", "until", "left", "undo", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            clock_time(one.use_by_time, report.time),
            left(one.use_by_time, report.time),
            _undo(one),
            *_names(one, report),
        ]
        for one in report.in_flight
    ]
    why = "told to go before the stop; what was begun in time may land even later"
    if report.run.end is None:
        why = "told to go, no outcome known yet"
    _part(console, "May still land", why, header, rows, "yellow")


def _unknown(console: "Console", report: Report) -> None:
    header = ["what", "where", "told to go at", "receipt", "undo", "note", "run", "op"]
    rows = [
        [
            one.action,
            one.resource,
            clock_time(one.permit_time, report.time),
            one.receipt,
            _undo(one),
            one.note,
            *_names(one, report),
        ]
        for one in report.unknown
    ]
    _part(console, "Unknown", "may have happened; look at the target", header, rows, "yellow")


def _not_done(console: "Console", report: Report) -> None:
    header = ["what", "where", "how", "note", "run", "op"]
    rows = [
        [one.action, one.resource, _HOW_NOT.get(one.state, str(one.state)), one.note, *_names(one, report)]
        for one in report.not_done
    ]
    _part(console, "Not done", "for another reason than the stop", header, rows, "")


_HOW_NOT = {
    ActionState.FAILED: "failed, says the tool",
    ActionState.ABANDONED: "given up by the tool",
    ActionState.EXPIRED: "not committed in time",
}


def _pending(console: "Console", report: Report) -> None:
    header = ["what", "where", "intended at", "run", "op"]
    rows = [_intended(one, report) for one in report.pending]
    _part(console, "Not decided yet", "prepared; a cancel now would interrupt them", header, rows, "")


def _late_attempts(console: "Console", report: Report) -> None:
    header = ["what", "where", "attempt", "when", "why refused", "before the stop", "run", "op"]
    rows = [_late(attempts, report) for attempts in _repeated(report.late_attempts)]
    _part(console, "Late attempts", "all refused", header, rows, "green", len(report.late_attempts))
    unlisted = report.late_attempt_count - len(report.late_attempts)
    if unlisted > 0:
        _print(console, f"  and {unlisted} more, counted but not listed", "dim")


def _repeated(attempts: Iterable[LateAttempt]) -> list[list[LateAttempt]]:
    """Put the attempts of a tool that kept asking into one row."""
    groups: dict[tuple[str, ...], list[LateAttempt]] = {}
    for one in attempts:
        groups.setdefault((one.run_id, one.op_id, one.verb, one.action, one.reason), []).append(one)
    return list(groups.values())


def _late(attempts: Sequence[LateAttempt], report: Report) -> list[str]:
    last = attempts[-1]
    times = f", {len(attempts)} times" if len(attempts) > 1 else ""
    permitted = "had its permit: may have happened" if last.prior_decision is ActionState.PERMITTED else ""
    when = clock_time(last.time, report.time)
    run = last.run_id if report.descendant_run_ids else ""
    why = _WHY_LATE.get(last.reason, str(last.reason))
    return [last.action, last.resource, last.verb + times, when, why, permitted, run, last.op_id]


_WHY_LATE = {
    ErrorReason.REVOKED: "the run was stopped",
    ErrorReason.RUN_FINISHED: "the run had finished",
    ErrorReason.RUN_DEADLINE: "its deadline had passed",
    ErrorReason.STORE_EPOCH: "the store may have lost facts",
}


def _gaps(console: "Console", report: Report) -> None:
    if report.complete and not report.gaps:
        return
    _print(console, "\nThis report has gaps: something may be missing from it", "bold yellow")
    for gap in report.gaps:
        _print(console, f"  - {gap}", "yellow")


def _small_print(console: "Console", report: Report) -> None:
    console.print()
    if report.durability is not Durability.SYNCED:
        kept = "up to a second of it" if report.durability is Durability.EVERY_SECOND else "all of it"
        _print(console, f"The store is {report.durability}: a power cut may lose {kept}.", "yellow")
    for line in report.small_print:
        _print(console, line, "dim")
    _print(console, _as_known(report), "dim")


def _as_known(report: Report) -> str:
    cut = f"stopped at entry {report.cut_seq}, " if report.cut_seq else ""
    last = f"last entry {report.last_seq}, epoch {report.store_epoch}"
    return f"As known at {clock_time(report.time)}: {cut}{last}."


def _part(
    console: "Console",
    title: str,
    means: str,
    header: list[str],
    rows: list[list[str]],
    style: str,
    count: int = -1,
) -> None:
    if not rows:
        return
    explained = f": {means}" if means else ""
    _print(console, f"\n{title} ({len(rows) if count < 0 else count}){explained}", f"bold {style}".strip())
    print_rows(console, header, rows)


def _print(console: "Console", text: str, style: str = "") -> None:
    if text:
        console.print(text, style=style or None, soft_wrap=not console.is_terminal)


def _names(one: ReportedAction, report: Report) -> list[str]:
    """The run, where there are several, and the op id."""
    return [one.run_id if report.descendant_run_ids else "", one.op_id]


def _intended(one: ReportedAction, report: Report) -> list[str]:
    return [one.action, one.resource, clock_time(one.prepare_time, report.time), *_names(one, report)]


def _settled(one: ReportedAction, report: Report) -> str:
    told = clock_time(one.settle_time, report.time)
    return f"{told}, after the stop" if one.settled_after_cut else told


def _undo(one: ReportedAction) -> str:
    undo = one.undo
    if undo.undoable:
        trace = ", a trace remains" if undo.reversibility is Reversibility.COMPENSABLE else ""
        return f"yes: {undo.how}{trace}"
    return f"no: {undo.why_not}" if undo.why_not else "no"
