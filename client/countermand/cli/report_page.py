"""The stop report for people: what a user would ask, in the order in which they would ask it.

Nothing is called stopped that may still happen, and nothing done that nobody confirmed.
"""

from typing import TYPE_CHECKING

from countermand import Durability, Fence, FenceState, Report
from countermand.cli.budgets import budget_lines
from countermand.cli.fence_page import print_fences
from countermand.cli.report_parts import paint, print_parts
from countermand.cli.words import clock_time, counted, how_it_ended, left

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
        if fences := _over(report):
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
    fences = _over(report) if end is None else []
    if fences:
        told = f"{counted(len(fences), 'fence')} {'stands' if len(fences) == 1 else 'stand'} over it"
        paint(console, f"Run {report.run.run_id} is active, but {told}.", "bold")
    else:
        paint(console, how_it_ended(report.run, report.time), "bold")
    if end is not None and (end.note or end.tag):
        said = [f"“{end.note}”"] if end.note else []
        paint(console, " ".join([*said, *([f"[{end.tag}]"] if end.tag else [])]))
    paint(console, verdict(report), "green" if quiet else "yellow")
    paint(console, _of_whom(report), "dim")
    paint(console, summary(report))
    for line in budget_lines(report.run.budgets):
        paint(console, line)


def _told_fences(report: Report) -> list[Fence]:
    """Leave out what was over before the run began: it never did anything to it."""
    began = report.run.open_time
    return [
        one
        for one in report.fences
        if one.state is FenceState.STANDING or began is None or one.time is None or one.time >= began
    ]


def _over(report: Report) -> list[Fence]:
    """The fences that refuse something now."""
    return [one for one in _told_fences(report) if one.state is FenceState.STANDING]


def _fences(console: "Console", report: Report) -> None:
    fences = _told_fences(report)
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
    if report.durability is not Durability.SYNCED:
        kept = "up to a second of it" if report.durability is Durability.EVERY_SECOND else "all of it"
        paint(console, f"The store is {report.durability}: a power cut may lose {kept}.", "yellow")
    for line in report.small_print:
        paint(console, line, "dim")
    paint(console, _as_known(report), "dim")


def _as_known(report: Report) -> str:
    cut = f"stopped at entry {report.cut_seq}, " if report.cut_seq else ""
    last = f"last entry {report.last_seq}, epoch {report.store_epoch}"
    asked = f", when entry {report.at_seq} had just been written" if report.at_seq else ""
    return f"As known at {clock_time(report.time)}{asked}: {cut}{last}."
