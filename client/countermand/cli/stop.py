"""Stop a run, and tell what became of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from countermand import Cancelled, CountermandError, Report, StopReason
from countermand.cli import failures, options, waiting
from countermand.cli.call import Call
from countermand.cli.documents import Document, document, members, plain
from countermand.cli.exit_codes import ExitCode
from countermand.cli.handout import Handout
from countermand.cli.output import say, show
from countermand.cli.report_page import print_report
from countermand.cli.report_words import ACTIONS, counts
from countermand.cli.verb import Panel, verb
from countermand.cli.words import ago, who

if TYPE_CHECKING:
    from countermand.sync import Client

#: How often a report is read again while waiting, in seconds.
_LOOK_EVERY = 0.25

Wait = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Wait until nothing is in flight, this long at the most, such as 5s."),
]
TellByCode = Annotated[
    bool, typer.Option("--exit-code", help=f"Exit with {ExitCode.NOT_QUIET} if something may still land.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.OPERATOR)(cancel)
    verb(app, Panel.OPERATOR)(report)


def cancel(
    call: Call,
    run: options.ActiveRunId,
    reason: options.Reason,
    handout: Handout,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="One line for people. Whoever is refused sees it.")
    ] = "",
    actor: options.Actor = None,
    tag: Annotated[str, typer.Option(metavar="TEXT", help="A mark for your own programs.")] = "",
    wait: Wait = None,
    exit_code: TellByCode = False,
) -> None:
    """Stop a run and all below it for good; print the stop report. After it no commit is accepted."""
    why = options.reason(reason)
    handout.check(call.output)
    patience = waiting.patience(wait)
    with call.connect() as client:
        cancelled = _cancel(call, client, run, why, actor, note, tag)
        _warn(cancelled, why)
        told = waiting.until_quiet(client, cancelled.report, patience)
    extra = {"replayed": cancelled.replayed, "known": cancelled.known}
    given = _show(call, told, extra, handout)
    if not cancelled.known:
        raise typer.Exit(ExitCode.NEVER_OPENED)
    if not given:  # it IS stopped: no code may say that it failed
        raise typer.Exit(ExitCode.NOT_QUIET)
    _tell_by_code(told, exit_code or wait is not None)


def _cancel(
    call: Call, client: "Client", run: str, why: StopReason, actor: str | None, note: str, tag: str
) -> Cancelled:
    """Cancel. A stop whose report could not be read is told apart from a stop that may not have happened."""
    name = options.login_name() if actor is None else actor
    try:
        return client.operator.cancel(run, reason=why, actor=name, note=note, tag=tag)
    except CountermandError as error:
        if "seq" not in error.metadata:
            raise
        say(f"Run {run} IS stopped; only its report could not be read. Ask again: countermand report {run}")
        failures.tell(call, error)
        raise typer.Exit(ExitCode.NOT_QUIET) from error


def _warn(cancelled: Cancelled, why: StopReason) -> None:
    """Say on standard error what must not be overlooked."""
    run, end = cancelled.report.run, cancelled.report.run.end
    if not cancelled.known:
        say(
            f"WARNING: no run {run.run_id} was ever opened here, so NOTHING WAS STOPPED by this. "
            "Its id is barred now. Check the id: countermand runs --state active"
        )
    elif cancelled.replayed and end is not None:
        say(
            f"Run {run.run_id} had ended before ({end.reason} by {who(end.actor)}"
            f"{f', {ago(end.time, cancelled.report.time)}' if end.time else ''}): "
            f"that stands, and {why} is not recorded."
        )


def report(
    call: Call,
    run: options.RunId,
    handout: Handout,
    at: Annotated[
        int,
        typer.Option(min=0, metavar="SEQ", help="What was known when this entry had just been written."),
    ] = 0,
    wait: Wait = None,
    exit_code: TellByCode = False,
) -> None:
    """Tell what became of every action of a run and of the runs below it."""
    handout.check(call.output)
    patience = waiting.patience(wait)
    if at and wait is not None:
        raise typer.BadParameter("--at tells of the past, where there is nothing to --wait for")
    with call.connect() as client:
        told = client.auditor.report(run, at_seq=at)
        if told.run.end is None and patience:
            say(f"Run {run} is active, so there is nothing to wait for.")
        else:
            told = waiting.until_quiet(client, told, patience)
    if not _show(call, told, {}, handout):
        raise typer.Exit(ExitCode.ASK_OPERATOR)
    _tell_by_code(told, exit_code or wait is not None)


def _tell_by_code(told: Report, asked: bool) -> None:
    if asked and not told.quiesced:
        raise typer.Exit(ExitCode.NOT_QUIET)


def _show(call: Call, told: Report, extra: Document, handout: Handout) -> bool:
    """Print the answer, and the page if one is asked for; False if that could not be written."""
    if handout.is_answer:
        return handout.give(told)
    whole = document("report", **members(told), counts=counts(told)) | ({"cancel": extra} if extra else {})
    show(call.output, whole, lambda console: print_report(console, told), _lines(told, whole))
    return handout.give(told)


def _lines(told: Report, whole: Document) -> list[Document]:
    """A head, then a line for each action and late attempt."""
    head = {name: value for name, value in whole.items() if name not in (*ACTIONS, "late_attempts")}
    lines = [head | {"schema": "countermand.report_head/v1"}]
    for part in ACTIONS:
        lines += [document("reported_action", part=part) | plain(one) for one in getattr(told, part)]
    return lines + [document("late_attempt") | plain(one) for one in told.late_attempts]
