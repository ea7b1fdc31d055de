"""Undo what a run did, and say what became of what nobody settled."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import ActionResolved, Outcome, UndoAsked
from countermand.cli import completion, confirming, options, undo_wait, waiting
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say, show, talk_page
from countermand.cli.undo_page import print_preview, print_undo
from countermand.cli.undo_state import Undoing, Verdict, asked_in, standing
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, counted

if TYPE_CHECKING:
    from countermand.sync import Client


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.UNDO)(undo)
    verb(app, Panel.UNDO)(resolve)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be undone, and how it is asked for."""

    action: Annotated[
        list[str] | None,
        typer.Option(metavar="OP", help="Only this action; repeatable. Default: all that can be undone."),
    ] = None
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="Why, in a line for people and the report."),
    ] = ""
    actor: options.Actor = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be undone, in which order, and what not.")
    ] = False
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Needed where there is no terminal.")
    ] = False
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Watch it until all is undone or given up, this long at the most, as 30s."
        ),
    ] = None


def undo(
    call: Call,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run that has ended.", autocompletion=completion.cancelled_runs),
    ],
    order: Order,
    status: Annotated[
        bool, typer.Option("--status", help="Only tell how far what was asked for is.")
    ] = False,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OP", help="Take back, for good, the authority to undo this action; repeatable."
        ),
    ] = None,
) -> None:
    """Undo what a run and the runs below it did, of each run the last effect first.

    The run must have ended. Compensators carry it out: see 'countermand compensate'. No cancel ends that.

    Example: countermand undo r-42 --reason 'wrong template' --dry-run
    """
    patience = waiting.patience(order.wait)
    if status and (withdraw or order.dry_run):
        raise typer.BadParameter("stands alone", param_hint="--status")
    if not status and not order.dry_run and not order.reason.strip():
        raise typer.BadParameter("say why, in a line for people", param_hint="--reason")
    with call.connect() as client:
        if withdraw:
            _withdraw(call, client, run, withdraw, order)
        elif status:
            _watch(call, client, run, patience, standing(client.auditor.report(run)))
        else:
            _undo(call, client, run, order, patience)


def _undo(call: Call, client: "Client", run: str, order: Order, patience: float) -> None:
    if order.dry_run or not order.yes:
        if not order.dry_run and not confirming.there_is_a_terminal():
            confirming.refuse(call.verb, "there is no terminal to ask on: try --dry-run, then add --yes")
        preview = client.operator.undo_run(run, op_ids=order.action or (), dry_run=True)
        if order.dry_run:
            _show_preview(call, run, preview)
            return
        print_preview(talk_page(), run, preview, would=False)
        _refuse_nothing(preview)
        effects = counted(len(preview.op_ids), "effect")
        confirming.ask(call.verb, f"Undo {effects} of run {run} now? [y/N] ")
    asked = client.operator.undo_run(run, op_ids=order.action or (), note=order.reason, actor=_actor(order))
    undoing = asked_in(client.auditor.report(run), asked)
    if not asked.op_ids:
        _show(call, run, undoing)
        _refuse_nothing(asked)
    say(f"Asked for {counted(len(asked.op_ids), 'undo')}. Compensators carry it out.")
    _watch(call, client, run, patience, undoing, named=bool(order.action))


def _refuse_nothing(asked: UndoAsked) -> None:
    if not asked.op_ids:
        what = "nothing of what it did can be undone" if asked.steps else "it did nothing that is known of"
        say(f"Nothing is undone: {what}.")
        raise typer.Exit(ExitCode.NOTHING_HIT)


def _show_preview(call: Call, run: str, preview: UndoAsked) -> None:
    whole = document("undo", run_id=run, dry_run=True, verdict=None, steps=preview.steps)
    show(call.output, whole, lambda console: print_preview(console, run, preview, would=True))
    _refuse_nothing(preview)


def _watch(
    call: Call, client: "Client", run: str, patience: float, undoing: Undoing, named: bool = False
) -> None:
    undoing = undo_wait.until_over(call, client, run, undoing, patience)
    _show(call, run, undoing)
    if named and undoing.refused:
        raise typer.Exit(ExitCode.NOT_UNDONE)
    if undoing.verdict is Verdict.NOT_UNDONE:
        raise typer.Exit(ExitCode.NOT_UNDONE)
    if undoing.verdict is Verdict.PENDING and (patience or not undoing.just_asked):
        raise typer.Exit(ExitCode.UNDO_PENDING)


def _show(call: Call, run: str, undoing: Undoing) -> None:
    steps = [one.told for one in undoing.steps]
    whole = document("undo", run_id=run, dry_run=False, verdict=undoing.verdict, steps=steps)
    lines = [document("undo_step", run_id=run) | one for one in whole["steps"]]
    show(call.output, whole, lambda console: print_undo(console, run, undoing), lines)


def _withdraw(call: Call, client: "Client", run: str, ops: list[str], order: Order) -> None:
    if order.dry_run or order.action:
        raise typer.BadParameter("goes with --reason alone", param_hint="--withdraw")
    taken = client.operator.withdraw_undo(run, ops, note=order.reason, actor=_actor(order))
    whole = document("undo_withdrawn", run_id=run, op_ids=ops, **members(taken))
    told = f"Nobody can undo {', '.join(ops)} of run {run} any more."
    if taken.busy_until_time is not None:
        until = clock_time(taken.busy_until_time)
        told += f" Somebody had begun, and may still be at it until {until}: the report will say so."
    show(call.output, whole, lambda console: console.print(told, soft_wrap=True))


def _actor(order: Order) -> str:
    return options.login_name() if order.actor is None else order.actor


def resolve(
    call: Call,
    run: options.RunId,
    op: options.OpId,
    evidence: Annotated[
        str, typer.Option(metavar="TEXT", help="How you know, in one line. It goes into the report.")
    ],
    succeeded: Annotated[bool, typer.Option("--succeeded", help="It happened.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="It certainly did not happen, and will not any more.")
    ] = False,
    actor: options.Actor = None,
) -> None:
    """Say what became of an action whose outcome nobody knows. The first word stands."""
    if succeeded + failed != 1:
        raise typer.BadParameter("say one of --succeeded and --failed")
    outcome = Outcome.SUCCEEDED if succeeded else Outcome.FAILED
    name = options.login_name() if actor is None else actor
    with call.connect() as client:
        resolved = client.operator.resolve(run, op, outcome, evidence=evidence, actor=name)
    whole = document("resolved", run_id=run, op_id=op, **members(resolved))
    show(call.output, whole, lambda console: console.print(_resolved(op, resolved), soft_wrap=True))


def _resolved(op: str, resolved: ActionResolved) -> str:
    before = ", as it was before: that stands" if resolved.replayed else ""
    return f"Action {op} is on record as {resolved.state}{before}."
