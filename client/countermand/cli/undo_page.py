"""An undo for people: what would be done and what not, and how far each of it is."""

from typing import TYPE_CHECKING

from countermand import ActionState, UndoAsked, UndoStep
from countermand.cli.report_parts import paint
from countermand.cli.rows import print_rows
from countermand.cli.undo_state import Step, Undoing, Verdict
from countermand.cli.words import clock_time, counted

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

#: What cannot be told yet: such an effect is undone once it is known that there is one.
_NOT_KNOWN = (ActionState.PERMITTED, ActionState.UNKNOWN)


def print_preview(console: "Console", run: str, asked: UndoAsked, *, would: bool) -> None:
    """Say what would be undone, in order, and what not and why."""
    if would:
        paint(console, f"DRY RUN: nothing is undone. This is what an undo of run {run} would do.", "bold")
    due = [one for one in asked.steps if not one.why_not]
    if due:
        paint(console, f"To be undone, in this order ({len(due)})", "bold")
        header = ["what", "where", "by", "but", "run", "op"]
        print_rows(
            console,
            header,
            [[*_what(one), one.how, _but(one), _below(one.run_id, run), one.op_id] for one in due],
        )
    rest = [one for one in asked.steps if one.why_not]
    if rest:
        paint(console, f"\nNot to be undone ({len(rest)})", "bold yellow")
        header = ["what", "where", "why not", "run", "op"]
        print_rows(
            console, header, [[*_what(one), one.why_not, _below(one.run_id, run), one.op_id] for one in rest]
        )
    if not asked.steps:
        paint(console, "It did nothing that is known of.")


def _what(step: UndoStep) -> list[str]:
    return [step.action, step.resource]


def _below(run_id: str, run: str) -> str:
    """The run of an effect, if that is one below."""
    return "" if run_id == run else run_id


def _but(step: UndoStep) -> str:
    if step.state in _NOT_KNOWN:
        return "once it is known that it happened"
    if step.state is ActionState.UNDONE:
        return "it is undone already"
    return "asked for before" if step.replayed else ""


def print_undo(console: "Console", run: str, undoing: Undoing) -> None:
    """Say how far each effect is, and the whole."""
    paint(console, headline(run, undoing), _STYLES[undoing.verdict])
    if undoing.steps:
        header = ["what", "where", "how it stands", "by", "run", "op"]
        print_rows(console, header, rows(run, undoing))


_STYLES = {Verdict.UNDONE: "bold green", Verdict.PENDING: "bold yellow", Verdict.NOT_UNDONE: "bold red"}


def headline(run: str, undoing: Undoing) -> str:
    """Count what is undone, what is not yet, and what will not be."""
    asked = [one for one in undoing.steps if not one.why_not]
    if not asked:
        return f"Nothing of run {run} is to be undone."
    counts = {verdict: sum(one.verdict is verdict for one in asked) for verdict in Verdict}
    told = [f"{counts[Verdict.UNDONE]} of {counted(len(asked), 'effect')} of run {run} undone"]
    if pending := counts[Verdict.PENDING]:
        told.append(f"{pending} still to be")
    if failed := counts[Verdict.NOT_UNDONE]:
        told.append(f"{failed} NOT undone, a person has to look")
    if undoing.refused:
        told.append(f"{len(undoing.refused)} cannot be")
    return f"{', '.join(told)}."


def rows(run: str, undoing: Undoing) -> list[list[str]]:
    """A row for each effect."""
    return [
        [
            one.effect.action,
            one.effect.resource,
            stands(one, undoing.time),
            one.effect.undo.worker.partition(":")[2],
            _below(one.effect.run_id, run),
            one.effect.op_id,
        ]
        for one in undoing.steps
    ]


def stands(step: Step, now: "datetime | None") -> str:
    """Say how it stands with one effect."""
    effect, undo = step.effect, step.effect.undo
    note = f": {undo.note}" if undo.note else ""
    if step.why_not or undo.why_not:
        return f"not undone: {step.why_not or undo.why_not}"
    if effect.state is ActionState.UNDONE:
        receipt = f", receipt {undo.receipt}" if undo.receipt else ""
        return f"undone at {clock_time(undo.end_time, now)}{receipt}"
    if effect.state is ActionState.UNDO_FAILED:
        return f"NOT UNDONE, given up after {counted(undo.attempts, 'attempt')}{note}"
    if effect.state in _NOT_KNOWN:
        return "waits: nobody knows yet whether it happened"
    if effect.state is ActionState.FAILED:
        return "it did not happen, so there is nothing to undo"
    if undo.attempts:
        return f"being undone, {counted(undo.attempts, 'attempt')} so far{note}"
    return "to be undone"
