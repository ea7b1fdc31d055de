"""The stop report for people: what a user would ask, in the order in which they would ask it.

Nothing is called stopped that may still happen, and nothing done that nobody confirmed.
"""

from typing import TYPE_CHECKING

from countermand import Durability, Fence, FenceState, Report
from countermand.cli.budgets import budget_lines
from countermand.cli.fence_page import print_fences
from countermand.cli.report_parts import paint, print_parts
from countermand.cli.report_words import counts, durability
from countermand.cli.words import clock_time, counted, how_it_ended, left, zone

if TYPE_CHECKING:
    from rich.console import Console


def print_report(console: "Console", report: Report) -> None:
    """Print headline, fences, parts, gaps and small print."""
    _headline(console, report)
    _fences(console, report)
    print_parts(console, report)
    _gaps(console, report)
    _small_print(console, report)


def verdict(report: Report) -> str:
    """Say in one or two sentences whether anything can still come of the run."""
    flying, unknown = len(report.in_flight), len(report.unknown)
    if report.run.end is None:
        stop = f"countermand cancel {report.run.run_id} --reason user_stop"
        if fences := fences_over(report):
            of_it = "What they stand over" if len(fences) > 1 else "What it stands over"
            return f"{of_it} is refused, the rest may go on. To stop all of it: {stop}"
        return f"It may go on acting. To stop it: {stop}"
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
        told.append("Nothing is in flight, nothing is unknown." if report.quiesced else _NOT_SURE)
    return " ".join(told)


_NOT_SURE = "Nothing is known to be in flight, but this report has gaps: something may still land."


def summary(report: Report) -> str:
    """Count the parts."""
    number = counts(report)
    told = [f"{number[part]} {name}" for part, name in _ALWAYS.items()]
    told += [f"{number[part]} {name}" for part, name in _IF_ANY.items() if number[part]]
    if report.late_attempt_count:
        told.append(f"{counted(report.late_attempt_count, 'late attempt')} refused")
    return ", ".join(told)


_ALWAYS = {
    "done": "done",
    "interrupted": "interrupted",
    "in_flight": "may still land",
    "unknown": "unknown",
}
_IF_ANY = {"not_done": "not done", "pending": "not decided yet"}


def undo_summary(report: Report) -> str:
    """Count what of it can be undone; '' where nothing has happened and nothing may have."""
    number = counts(report)
    named = {"undoable": "can be undone", "not_undoable": "cannot be undone", "nothing_to_undo": "only read"}
    told = [f"{number[name]} {words}" for name, words in named.items() if number[name]]
    return f"Of what happened or may have: {', '.join(told)}" if told else ""


def _headline(console: "Console", report: Report) -> None:
    end = report.run.end
    quiet = end is not None and report.quiesced and not report.unknown and report.complete
    fences = fences_over(report) if end is None else []
    if fences:
        told = f"{counted(len(fences), 'fence')} {'stands' if len(fences) == 1 else 'stand'} over it"
        paint(console, f"Run {report.run.run_id} is active, but {told}.", "bold")
    else:
        paint(console, how_it_ended(report.run, report.time), "bold")
    if end is not None and (end.note or end.tag):
        said = [f"“{end.note}”"] if end.note else []
        paint(console, " ".join([*said, *([f"[{end.tag}]"] if end.tag else [])]))
    paint(console, verdict(report), "green" if quiet else "yellow")
    if not report.complete:
        paint(console, "Something may be missing from this report: see its gaps at the end.", "yellow")
    paint(console, _of_whom(report), "dim")
    paint(console, summary(report))
    paint(console, undo_summary(report))
    for line in budget_lines(report.run.budgets):
        paint(console, line)


def told_fences(report: Report) -> list[Fence]:
    """Leave out what was over before the run began: it never did anything to it."""
    began = report.run.open_time
    return [
        one
        for one in report.fences
        if one.state is FenceState.STANDING or began is None or one.time is None or one.time >= began
    ]


def fences_over(report: Report) -> list[Fence]:
    """The fences that refuse something now."""
    return [one for one in told_fences(report) if one.state is FenceState.STANDING]


def _fences(console: "Console", report: Report) -> None:
    fences = told_fences(report)
    if not fences or report.time is None:
        return
    paint(console, f"\nFences over it ({len(fences)}): what was issued before is dead", "bold yellow")
    print_fences(console, fences, report.time)


def _of_whom(report: Report) -> str:
    run = report.run
    words = [("for", run.subject), ("agent", run.agent), ("tenant", run.tenant)]
    told = [f"{name} {value}" for name, value in words if value]
    if report.descendant_run_ids:
        told.append(f"with {counted(len(report.descendant_run_ids), 'run')} below it")
    return ", ".join(told)


def _gaps(console: "Console", report: Report) -> None:
    if report.complete and not report.gaps:
        return
    paint(console, "\nThis report has gaps: something may be missing from it", "bold yellow")
    for gap in report.gaps:
        paint(console, f"  - {gap}", "yellow")


def _small_print(console: "Console", report: Report) -> None:
    console.print()
    for line in report.small_print:
        paint(console, line, "dim")
    paint(
        console, durability(report.durability), "dim" if report.durability is Durability.SYNCED else "yellow"
    )
    paint(console, _as_known(report), "dim")


def _as_known(report: Report) -> str:
    cut = f"stopped at entry {report.cut_seq}" if report.cut_seq else "not stopped by an entry"
    quiet = "quiesced" if report.quiesced else "not quiesced"
    last = f"last entry {report.last_seq}, store epoch {report.store_epoch}"
    asked = f", when entry {report.at_seq} had just been written" if report.at_seq else ""
    return f"As known at {clock_time(report.time)} {zone(report.time)}{asked}: {cut}, {quiet}, {last}."
