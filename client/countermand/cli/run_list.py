"""List runs."""

from typing import Annotated

import typer

from countermand import Run, RunState
from countermand.cli import options
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.output import page, say, show
from countermand.cli.rows import print_rows
from countermand.cli.verb import Panel, verb
from countermand.cli.words import ago, now, who

_STATES = [state for state in RunState if state is not RunState.UNSPECIFIED]


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.LOOK)(runs)


def runs(
    call: Call,
    state: Annotated[
        str | None,
        typer.Option(metavar="|".join(one.lower() for one in _STATES), help="Only runs in this state."),
    ] = None,
    subject: Annotated[str, typer.Option(metavar="USER", help="Only runs of this user.")] = "",
    agent: Annotated[str, typer.Option(metavar="NAME", help="Only runs of this agent.")] = "",
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Only runs of this tenant.")] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at the most.")] = 50,
    all_: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
) -> None:
    """List runs, the youngest first."""
    wanted = options.word(state, _STATES, "--state") if state else RunState.UNSPECIFIED
    found, more = _list(call, wanted, subject, agent, tenant, None if all_ else limit)
    lines = [document("run", **members(run)) for run in found]
    show(call.output, document("runs", runs=found, more=more), lambda _: _print_runs(found), lines)
    if more:
        say(f"There are more than these {len(found)}: raise --limit, or say --all.")


def _list(
    call: Call, state: str, subject: str, agent: str, tenant: str, limit: int | None
) -> tuple[list[Run], bool]:
    """Read pages until there are enough."""
    found: list[Run] = []
    token = ""
    with call.connect() as client:
        while True:
            size = 1000 if limit is None else min(1000, limit - len(found))
            answer = client.auditor.runs(
                state=state, subject=subject, agent=agent, tenant=tenant, page_size=size, page_token=token
            )
            found.extend(answer.runs)
            token = answer.next_page_token
            if not token or (limit is not None and len(found) >= limit):
                return found, bool(token)


def _print_runs(found: list[Run]) -> None:
    if not found:
        say("There are no such runs.")
        return
    header = ["run", "state", "age", "for", "agent", "tenant", "actions", "refused", "left", "ended", "below"]
    rows = [
        [
            run.run_id,
            run.state.lower(),
            ago(run.open_time, now()).removesuffix(" ago"),
            run.subject,
            run.agent,
            run.tenant,
            str(run.action_count),
            str(run.refusal_count or ""),
            _left(run),
            _ended(run),
            run.parent_run_id,
        ]
        for run in found
    ]
    print_rows(page(), header, rows)


def _left(run: Run) -> str:
    """What is left of its budgets: `tokens_out 120 of 2000`."""
    return ", ".join(f"{name} {one.remaining} of {one.limit}" for name, one in sorted(run.budgets.items()))


def _ended(run: Run) -> str:
    if run.end is None:
        return ""
    return f"{run.end.reason} by {who(run.end.actor)}" if run.end.seq else str(run.end.reason)
