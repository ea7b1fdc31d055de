"""The parts of a report as sections of a page: each with what it means, and a row for each action."""

from collections.abc import Sequence
from datetime import UTC, datetime

from countermand import ActionState, LateAttempt, Report, ReportedAction
from countermand.cli.documents import moment as rfc3339
from countermand.cli.html import Node, node, said, table
from countermand.cli.report_undo import call_off_in_words, resolved_in_words, undo_in_words
from countermand.cli.report_words import ACTIONS, PARTS, STATES, WHY_LATE, repeated

_HEADER = (
    "What",
    "On what",
    "When",
    "State",
    "Receipt",
    "Can it be undone?",
    "Note of the tool",
    "Run",
    "Action id",
)
_LATE_HEADER = (
    "What",
    "On what",
    "When",
    "Attempt",
    "Why refused",
    "Before the stop",
    "Run",
    "Action id",
)
_ASKED = {"prepare": "asked to plan it", "commit": "asked to go ahead", "perform": "asked to do it at once"}


def sections(report: Report) -> list[Node]:
    """All parts; those that a report of such a run is looked at for are there even if they are empty."""
    told = [_actions(name, report) for name in ACTIONS if getattr(report, name) or name in expected(report)]
    return [*told, _late_attempts(report)]


def expected(report: Report) -> tuple[str, ...]:
    """The parts that are told even if they are empty."""
    active = report.run.end is None
    return (
        "done",
        *(() if active else ("interrupted",)),
        "in_flight",
        "unknown",
        *(("pending",) if active else ()),
        "late_attempts",
    )


def section(name: str, title: str, *inside: Node | str) -> Node:
    """Make a section that can be led to."""
    return node("section", node("h2", title), *inside, id=name)


def moment(time: datetime | None) -> Node | str:
    """Tell a time in UTC; '' if there is none."""
    if time is None:
        return ""
    return node("time", time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=rfc3339(time))


def _actions(name: str, report: Report) -> Node:
    part, actions = PARTS[name], getattr(report, name)
    if not actions:
        return section(name, f"{part.title} (0)", node("p", "None."))
    rows = [_row(one, name, report) for one in actions]
    meaning = node("p", part.meaning, class_="meaning")
    return section(name, f"{part.title} ({len(actions)})", meaning, table(_HEADER, rows, part.title))


def _row(one: ReportedAction, name: str, report: Report) -> list[Node | str]:
    happened = name in ("done", "in_flight", "unknown")
    return [
        said(one.action) or "(not told)",
        said(one.resource),
        node("ul", *_times(one), class_="times"),
        said(f"{_RESOLVED[one.state]} {resolved_in_words(one)}") if _is_resolved(one) else STATES[one.state],
        said(one.receipt),
        said("; ".join(filter(None, [undo_in_words(one), call_off_in_words(one)]))) if happened else "",
        said(one.note),
        said(one.run_id) if report.descendant_run_ids else "",
        said(one.op_id),
    ]


#: What a state means where somebody else than the tool has said it.
_RESOLVED = {ActionState.SUCCEEDED: "done, says", ActionState.FAILED: "did not happen, says"}


def _is_resolved(one: ReportedAction) -> bool:
    return bool(one.resolved_by) and one.state in _RESOLVED


def _times(one: ReportedAction) -> list[Node]:
    """The life of an action, as far as it went."""
    until = one.use_by_time if one.state is ActionState.PERMITTED else None
    told = (
        ("planned", one.prepare_time, ""),
        ("allowed", one.permit_time, ""),
        ("good until", until, ""),
        ("reported", one.settle_time, " (after the stop)" if one.settled_after_cut else ""),
    )
    return [node("li", f"{what} ", moment(when), late) for what, when, late in told if when]


def _late_attempts(report: Report) -> Node:
    name, part, number = "late_attempts", PARTS["late_attempts"], report.late_attempt_count
    if not number:
        return section(name, f"{part.title} (0)", node("p", "None."))
    rows = [_late(attempts, report) for attempts in repeated(report.late_attempts)]
    unlisted = number - len(report.late_attempts)
    return section(
        name,
        f"{part.title} ({number})",
        node("p", part.meaning, class_="meaning"),
        table(_LATE_HEADER, rows, part.title) if rows else "",
        node("p", f"And {unlisted} more, counted but not listed.") if unlisted > 0 else "",
    )


def _late(attempts: Sequence[LateAttempt], report: Report) -> list[Node | str]:
    first, last = attempts[0], attempts[-1]
    again = len(attempts) > 1
    asked = _ASKED.get(last.verb, last.verb) + (f", {len(attempts)} times" if again else "")
    permitted = last.prior_decision is ActionState.PERMITTED
    return [
        said(last.action) or "(not told)",
        said(last.resource),
        node("span", moment(first.time), " to ", moment(last.time)) if again else moment(last.time),
        said(asked),
        WHY_LATE.get(last.reason, str(last.reason)),
        "it had been allowed: it may have happened" if permitted else "",
        said(last.run_id) if report.descendant_run_ids else "",
        said(last.op_id),
    ]
