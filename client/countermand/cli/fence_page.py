"""Fences for people: what one hits, how it stands, and the list of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from countermand import Fence, FenceKind, FenceState, Hit
from countermand.cli.report_parts import paint
from countermand.cli.rows import print_rows
from countermand.cli.selectors import in_words
from countermand.cli.words import ago, clock_time, counted, left, who

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

#: What each kind does, as people say it.
DEEDS = {FenceKind.REVOKE: "revoked", FenceKind.FREEZE: "frozen"}


def print_dry_run(console: "Console", kind: FenceKind, what: str, hit: Hit) -> None:
    """Say what a fence would hit, and that nothing has happened."""
    paint(console, f"DRY RUN: nothing is stopped. This is what a {kind.lower()} of {what} would hit.", "bold")
    print_hit(console, hit, "would")


def print_set(console: "Console", fence: Fence, hit: Hit, *, replayed: bool) -> None:
    """Say that the fence stands, what that means, and what it hit."""
    by = f"by {who(fence.actor)}: {fence.reason}"
    before = " already" if replayed else ""
    since = clock_time(fence.time, hit.time) + (f", {ago(fence.time, hit.time)}" if replayed else "")
    deed = DEEDS.get(fence.kind, "fenced").capitalize()
    paint(console, f"{deed}{before}: {in_words(fence.selector)}, since {since}, {by}.", "bold")
    paint(console, f"“{fence.note}”" if fence.note else "")
    paint(console, meaning(fence, hit.time), "green")
    print_hit(console, hit, "")


def meaning(fence: Fence, now: "datetime | None") -> str:
    """Say what a fence does to what was issued before it and to what comes after."""
    before = f"Nothing issued before entry {fence.seq} can act on it any more."
    if fence.state is FenceState.LIFTED:
        return f"{before} It was lifted {ago(fence.lift_time, now)}: what is issued now can act."
    if fence.state is FenceState.EXPIRED:
        return f"{before} Its time is over: what is issued now can act."
    if fence.kind is FenceKind.REVOKE:
        return f"{before} What is issued from now on can."
    if fence.expire_time:
        ends = f"for {left(fence.expire_time, now)}, until {clock_time(fence.expire_time, now)}"
    else:
        ends = "until it is lifted"
    doing = f" do {fence.selector.action}" if fence.selector.action else ""
    return f"{before} Nothing issued later can{doing}, {ends}: countermand lift {fence.fence_id} --note WHY"


def print_hit(console: "Console", hit: Hit, would: str) -> None:
    """Count what is hit, by tenant and action, and show some of the runs."""
    paint(console, in_sentences(hit, would), "yellow" if hit.in_flight_count or not hit.complete else "")
    _rows(console, hit)
    _samples(console, hit)
    if not hit.complete:
        told = "Not every run could be looked at in time: all numbers are lower bounds."
        paint(console, f"\n{told}", "bold yellow")


def in_sentences(hit: Hit, would: str = "") -> str:
    """Count what is hit: `would` is the word for what has not happened yet."""
    least = "" if hit.complete else "at least "
    if not hit.run_count:
        return (
            f"It {'would hit' if would else 'hits'} {'nothing' if hit.complete else 'nothing found so far'}."
        )
    runs, grants = counted(hit.run_count, "run"), counted(hit.grant_count, "live grant")
    told = [f"It {'would hit' if would else 'hits'} {least}{runs} with {grants}."]
    if hit.prepared_count:
        cannot = "could not happen any more" if would else "cannot happen any more"
        told.append(f"{counted(hit.prepared_count, 'prepared action')} {cannot}.")
    if hit.in_flight_count:
        told.append(f"{counted(hit.in_flight_count, 'action')} in flight may still land.")
    else:
        told.append("Nothing is in flight.")
    return " ".join(told)


def _rows(console: "Console", hit: Hit) -> None:
    if not hit.rows:
        return
    paint(console, "\nActions, by tenant", "bold")
    header = ["tenant", "action", "prepared", "in flight"]
    rows = [
        [one.tenant or "(none)", one.action, _number(one.prepared_count), _number(one.in_flight_count)]
        for one in hit.rows
    ]
    print_rows(console, header, rows)


def _samples(console: "Console", hit: Hit) -> None:
    if not hit.samples:
        return
    shown = len(hit.samples)
    some = (
        f"{shown} of {hit.run_count}, those with most in flight first"
        if shown < hit.run_count
        else str(shown)
    )
    paint(console, f"\nRuns ({some})", "bold")
    header = ["run", "for", "agent", "tenant", "grants", "prepared", "in flight"]
    rows = [
        [
            one.run_id,
            one.subject,
            one.agent,
            one.tenant,
            _number(one.grant_count),
            _number(one.prepared_count),
            _number(one.in_flight_count),
        ]
        for one in hit.samples
    ]
    print_rows(console, header, rows, keep=1)


def _number(count: int) -> str:
    return str(count) if count else "-"


def print_fences(console: "Console", fences: Sequence[Fence], now: "datetime") -> None:
    """List fences: a block each on a terminal, where rows would be folded beyond reading, else rows."""
    if console.is_terminal:
        for one in fences:
            _block(console, one, now)
        return
    header = ["fence", "does", "over", "since", "until", "by", "why", "note", "lifted"]
    rows = [
        [
            one.fence_id,
            _does(one),
            in_words(one.selector),
            f"{clock_time(one.time, now)}, {ago(one.time, now)}",
            _until(one, now),
            who(one.actor),
            str(one.reason),
            one.note,
            _lifted(one, now),
        ]
        for one in fences
    ]
    print_rows(console, header, rows, keep=3)


def _block(console: "Console", fence: Fence, now: "datetime") -> None:
    style = "bold" if fence.state is FenceState.STANDING else "dim"
    paint(console, f"{fence.fence_id}  {_does(fence)} of {in_words(fence.selector)}", style, indent=2)
    note = f" “{fence.note}”" if fence.note else ""
    since = f"since {clock_time(fence.time, now)}, {ago(fence.time, now)}"
    paint(console, f"{since}, by {who(fence.actor)}: {fence.reason}{note}", indent=4)
    if fence.state is FenceState.LIFTED:
        paint(console, f"lifted {_lifted(fence, now)}", indent=4)
    elif fence.state is FenceState.STANDING and fence.kind is FenceKind.FREEZE:
        ends = f"until {clock_time(fence.expire_time, now)}, or" if fence.expire_time else "until"
        paint(console, f"{ends} it is lifted: countermand lift {fence.fence_id} --note WHY", indent=4)


def _does(fence: Fence) -> str:
    doing = str(fence.kind.lower())
    return doing if fence.state is FenceState.STANDING else f"{doing} ({fence.state.lower()})"


def _until(fence: Fence, now: "datetime") -> str:
    if fence.kind is FenceKind.REVOKE or fence.state is not FenceState.STANDING:
        return ""
    return clock_time(fence.expire_time, now) if fence.expire_time else "lifted"


def _lifted(fence: Fence, now: "datetime") -> str:
    if fence.state is not FenceState.LIFTED:
        return ""
    return f"{clock_time(fence.lift_time, now)} by {who(fence.lift_actor)}: {fence.lift_note}"
