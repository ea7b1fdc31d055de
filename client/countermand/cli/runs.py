"""Runs: open one, end one."""

from typing import Annotated

import typer

from countermand import Run
from countermand.cli import completion, options
from countermand.cli.budgets import budget_lines
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.options import Note, Quiet
from countermand.cli.output import say, show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.OWNER)(open_)
    verb(app, Panel.OWNER)(finish)


def open_(
    call: Call,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Its id. Default: a new one, printed.")
    ] = None,
    parent: Annotated[
        str, typer.Option(metavar="RUN", help="The run above it.", autocompletion=completion.active_runs)
    ] = "",
    subject: Annotated[str, typer.Option(metavar="USER", help="On whose behalf it runs.")] = "",
    agent: Annotated[str, typer.Option(metavar="NAME", help="Which agent runs.")] = "",
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose data it works on.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A mark; repeatable.")] = None,
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="How long it may run, such as 1h.")] = None,
    budget: options.Budgets = None,
    quiet: Quiet = False,
) -> None:
    """Open a run: one agent run, the unit of cancel."""
    marks, budgets = options.labels(label or ()), options.budgets(budget or ())
    with call.connect() as client:
        opened = client.issuer.open(
            run_id=run,
            parent_run_id=parent,
            subject=subject,
            agent=agent,
            tenant=tenant,
            labels=marks,
            ttl=ttl,
            budgets=budgets,
        )
    if quiet:
        print(opened.run.run_id)
        return
    if opened.replayed:
        say(f"Run {opened.run.run_id} had been opened before, just like this.")
    show(
        call.output, document("opened", **members(opened)), lambda console: console.print(_opened(opened.run))
    )


def _opened(run: Run) -> str:
    until = f" It may run until {clock_time(run.deadline_time, run.open_time)}." if run.deadline_time else ""
    return "\n".join(
        [f"Run {run.run_id} is open.{until}", *(f"  {one}" for one in budget_lines(run.budgets))]
    )


def finish(call: Call, run: options.ActiveRunId, note: Note = "") -> None:
    """End a run that did its work. Its grants end with it, and so do the runs below it."""
    with call.connect() as client:
        finished = client.issuer.finish(run, note=note)
    told = f"Run {run} had been finished before." if finished.replayed else f"Run {run} is finished."
    show(call.output, document("finished", **members(finished)), lambda console: console.print(told))
