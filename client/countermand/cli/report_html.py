"""The report as one page of HTML, for somebody who was not there: good enough to send to whom it concerns.

It needs nothing beside itself: no script, no font, no network. Times are in UTC, and say so.
"""

import hashlib
from base64 import b64encode
from datetime import UTC, datetime
from importlib import resources

from countermand import Report, RunState
from countermand.cli.html import Node, document, node, said
from countermand.cli.report_evidence import evidence, fences, not_known, small_print
from countermand.cli.report_page import fences_over, undo_summary
from countermand.cli.report_sections import expected, moment, sections
from countermand.cli.report_words import PARTS, WHY_STOPPED, counts
from countermand.cli.version import installed_version
from countermand.cli.words import by_itself, counted, who


def report_html(report: Report) -> str:
    """Write the page."""
    title = title_of(report)
    parts = [
        _lead(report),
        _glance(report),
        *sections(report),
        *fences(report),
        not_known(report),
        small_print(report),
        evidence(report),
    ]
    body = node(
        "body",
        node("header", node("p", "Stop report", class_="kind"), node("h1", title), _facts(report)),
        node("main", *parts),
        node("footer", node("p", f"Made with countermand {installed_version()} from the service's journal.")),
    )
    return document(node("html", _head(f"{title} (run {report.run.run_id})"), body, lang="en"))


def _head(title: str) -> Node:
    """What a browser has to know; it is forbidden to load or run anything, whatever a text may hold."""
    style = resources.files("countermand.cli").joinpath("report.css").read_text("utf-8")
    known = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{known}'; base-uri 'none'; form-action 'none'"
    return node(
        "head",
        node("meta", charset="utf-8"),
        Node("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("meta", name="referrer", content="no-referrer"),
        node("meta", name="robots", content="noindex"),
        node("meta", name="color-scheme", content="light dark"),
        node("title", title),
        node("style", style),
    )


def title_of(report: Report) -> str:
    """Say in plain words what the page tells."""
    if report.run.end is None:
        return "What the agent has done so far"
    if report.run.open_time is None:
        return "No such run was ever opened"
    if report.run.state is RunState.FINISHED:
        return "What the agent did"
    return "What the agent did before it was stopped"


def _facts(report: Report) -> Node:
    """Who was stopped, by whom, when and why."""
    run, end = report.run, report.run.end
    told: list[tuple[str, list[Node | str]]] = [
        ("Agent", [said(run.agent)]),
        ("On behalf of", [said(run.subject)]),
        ("Tenant", [said(run.tenant)]),
    ]
    if end is not None:
        verb = "Finished" if run.state is RunState.FINISHED else "Stopped"
        above = end.run_id not in ("", run.run_id)
        through = node("span", ", through run ", said(end.run_id), " above it") if above else ""
        by: list[Node | str] = (
            [said(who(end.actor)), through] if end.seq else ["nobody, ", by_itself(end), through]
        )
        told += [
            (f"{verb} by", by),
            (f"{verb} at", [moment(end.time)]),
            ("Why", [f"{WHY_STOPPED[end.reason]} ({end.reason})"] if end.seq else []),
            ("In their words", [node("q", said(end.note))] if end.note else []),
            ("Mark", [said(end.tag)]),
        ]
    told += [("Begun at", [moment(run.open_time)]), ("As known at", [moment(report.time)])]
    rows = [node("div", node("dt", name), node("dd", *value)) for name, value in told if any(value)]
    return node("dl", *rows, class_="facts")


def _lead(report: Report) -> Node:
    """Whether anything can still come of it, before any list."""
    quiet = report.run.end is not None and report.quiesced and not report.unknown and report.complete
    told = [node("p", one) for one in standing(report)]
    return node("section", node("h2", "How it stands"), *told, class_="calm" if quiet else "open")


def standing(report: Report) -> list[str]:
    """Say how it stands, a sentence each; a page is read later, so times are told, not lengths of time."""
    return [*_as_of(report), *_now(report), *_gaps_ahead(report)]


def _as_of(report: Report) -> list[str]:
    """Say as of which entry it was asked for, if it was."""
    told = f"This is what was known at journal entry {report.at_seq}; more may be known now."
    return [told] if report.at_seq else []


def _now(report: Report) -> list[str]:
    if report.run.end is None:
        told = ["Nothing has stopped the agent: it may go on acting, and what is listed here may change."]
        if over := fences_over(report):
            told.append(f"{counted(len(over), 'block')} over it, listed below: what they name is refused.")
        return told
    if report.run.open_time is None:
        return ["Nothing was stopped: no such run was ever opened here, and none can be any more."]
    told = ["Since then, nothing new has been allowed, and nothing can be."]
    flying, unknown = len(report.in_flight), len(report.unknown)
    if flying:
        until = max((one.use_by_time for one in report.in_flight if one.use_by_time), default=None)
        last = f" until {_text(until)}, and what was begun in time may land even later" if until else ""
        told.append(f"{counted(flying, 'action')} may still take effect: allowed before, good{last}.")
    if unknown:
        told.append(
            f"{counted(unknown, 'action')} may have happened: nobody has confirmed what became of it."
        )
    if not flying and not unknown and report.quiesced:
        told.append("Nothing is under way any more, and nothing is unknown.")
    elif not flying and not report.quiesced:
        told.append("Nothing is known to be under way, but it cannot be ruled out.")
    return told


def _gaps_ahead(report: Report) -> list[str]:
    return [] if report.complete else ["Something may be missing from this report: see “What is not known”."]


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _glance(report: Report) -> Node:
    """Count the parts; each number leads to its part."""
    number = counts(report)
    tiles = [
        node("li", node("a", node("strong", str(number[name])), f" {part.title}", href=f"#{name}"))
        for name, part in PARTS.items()
        if number[name] or name in expected(report)
    ]
    undo = undo_summary(report)
    line = node("p", f"{undo}.") if undo else ""
    return node("section", node("h2", "At a glance"), node("ul", *tiles, class_="counts"), line)
