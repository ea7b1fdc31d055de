"""What a page about a run says of itself: what it cannot know, what it does not promise, what it rests on."""

from countermand import Durability, Fence, FenceKind, FenceState, Report
from countermand.cli.budgets import standing
from countermand.cli.documents import plain
from countermand.cli.html import Node, node, said, table
from countermand.cli.report_page import told_fences
from countermand.cli.report_sections import moment, section
from countermand.cli.report_words import WHY_STOPPED, durability
from countermand.cli.selectors import in_words
from countermand.cli.words import who

_DOES = {
    FenceKind.REVOKE: "took back what had been allowed before",
    FenceKind.FREEZE: "took back what had been allowed before, and refuses what comes later",
}
_STANDS = {
    FenceState.STANDING: "it stands",
    FenceState.LIFTED: "it was lifted; what it took back stays taken back",
    FenceState.EXPIRED: "its time is over; what it took back stays taken back",
}


def fences(report: Report) -> list[Node]:
    """The blocks over the run, if there were any."""
    told = told_fences(report)
    if not told:
        return []
    header = (
        "Block",
        "What it covers",
        "What it did",
        "Since",
        "Set by",
        "Why",
        "In their words",
        "Now",
        "Lifted",
    )
    rows = [_fence(one) for one in told]
    meaning = node(
        "p", "These were set over many runs at once, and this run was among them.", class_="meaning"
    )
    return [
        section("fences", f"Blocks over it ({len(told)})", meaning, table(header, rows, "Blocks over it"))
    ]


def _fence(one: Fence) -> list[Node | str]:
    by = node("span", said(who(one.lift_actor)), ", ", moment(one.lift_time)) if one.lift_actor else ""
    note = node("span", by, ": ", said(one.lift_note)) if by and one.lift_note else by
    ends = node("span", "it stands until ", moment(one.expire_time), " or until it is lifted")
    timed = one.state is FenceState.STANDING and one.expire_time
    return [
        said(one.fence_id),
        said(in_words(one.selector)),
        _DOES.get(one.kind, str(one.kind)),
        moment(one.time),
        said(who(one.actor)),
        f"{WHY_STOPPED[one.reason]} ({one.reason})",
        said(one.note),
        ends if timed else _STANDS.get(one.state, str(one.state)),
        note,
    ]


def not_known(report: Report) -> Node:
    """The gaps, or that none is known."""
    title = "What is not known"
    inside: list[Node | str] = []
    if report.complete and not report.gaps:
        inside.append(node("p", "No gap is known: the journal that this report is made from is complete."))
    else:
        inside.append(node("p", "This report has gaps: something may be missing from it.", class_="warning"))
        inside.append(node("ul", *(node("li", said(gap)) for gap in report.gaps)))
    if report.durability is not Durability.SYNCED:
        inside.append(node("p", durability(report.durability), class_="warning"))
    return section("gaps", title, *inside)


def small_print(report: Report) -> Node:
    """What no report promises."""
    lines = [node("li", said(line)) for line in report.small_print]
    return section("small_print", "What this report does not promise", node("ul", *lines))


def evidence(report: Report) -> Node:
    """What it rests on, for whoever checks it."""
    run = report.run
    told: list[tuple[str, Node | str]] = [
        ("Run", said(run.run_id)),
        ("Runs below it", said(", ".join(report.descendant_run_ids))),
        ("Runs above it", said(", ".join(run.ancestor_run_ids))),
        ("Labels", said(", ".join(f"{name}={value}" for name, value in sorted(run.labels.items())))),
        ("Budgets", said("; ".join(standing(name, one) for name, one in sorted(run.budgets.items())))),
        ("Stopped by journal entry", str(report.cut_seq) if report.cut_seq else "none"),
        ("Last journal entry", str(report.last_seq)),
        ("Report made as of entry", str(report.at_seq or "")),
        ("Report made at", moment(report.time)),
        ("Epoch of the store", said(report.store_epoch)),
        ("Durability", durability(report.durability)),
        (
            "Quiesced",
            "yes: no permit can be used any more" if report.quiesced else "no: something may still happen",
        ),
        ("Complete", "yes" if report.complete else "no: see what is not known"),
    ]
    rows = [node("div", node("dt", name), node("dd", value)) for name, value in told if value]
    later = (
        "Entries are numbered through the whole journal. A later report of this run only gets more certain."
    )
    return section(
        "evidence", "Evidence", node("dl", *rows, class_="facts"), *_heads(report), node("p", later)
    )


def _heads(report: Report) -> list[Node]:
    """The signed heads of the journals it was told from."""
    if not report.heads:
        return []
    header = ("Run", "Last entry", "Entries", "Hash of the journal's head", "Key", "Signed at", "Signature")
    rows = [
        [
            said(one.run_id),
            str(one.last_seq),
            str(one.entry_count),
            said(plain(one.hash)),
            said(one.key_id),
            moment(one.time),
            said(plain(one.signature)),
        ]
        for one in report.heads
    ]
    return [node("h3", "Signed heads of the journal"), table(header, rows, "Signed heads of the journal")]
