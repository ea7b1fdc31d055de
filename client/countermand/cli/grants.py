"""Grants: issue one, and keep its token where later commands find it."""

from pathlib import Path
from typing import Annotated

import typer

from countermand import ChildRun, Delegated, Extended, Grant, Issued
from countermand.cli import options, tokens
from countermand.cli.budgets import amounts, budget_lines
from countermand.cli.call import Call
from countermand.cli.documents import document, plain
from countermand.cli.options import GrantFrom, Quiet
from countermand.cli.output import say, show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, left, now

_SCOPE = "ACTION [RESOURCE] [uses=N] [ceiling=CLASS] [approval=CLASS]"

#: What it means that nothing was changed.
_REPLAYED = {
    Issued: "had been issued before, just like this",
    Delegated: "had been issued before, just like this",
    Extended: "lasts that long already, or as long as it may",
}

Scopes = Annotated[
    list[str],
    typer.Option(
        metavar=f"'{_SCOPE}'",
        help="What it allows, such as 'email.send mailto:*@example.com uses=3 ceiling=compensable', or "
        "'payment.* approval=irreversible' to let a person agree to each that cannot be undone; repeatable.",
    ),
]
NewGrant = Annotated[
    str | None, typer.Option("--grant", metavar="ID", help="Its id. Default: a new one, printed.")
]
Ttl = Annotated[str | None, typer.Option(metavar="TIME", help="How long it lasts, such as 60s.")]
PrintToken = Annotated[
    bool,
    typer.Option("--print-token", help="Print the token instead of keeping it in a file. It is a secret."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.OWNER)(issue)
    verb(app, Panel.OWNER)(delegate)
    verb(app, Panel.OWNER)(extend)


def issue(
    call: Call,
    run: options.ActiveRunId,
    scope: Scopes,
    grant: NewGrant = None,
    ttl: Ttl = None,
    audience: Annotated[str, typer.Option(metavar="PEER", help="Who may use it. Default: tool.")] = "",
    budget: options.Budgets = None,
    sealed: options.Sealed = False,
    print_token: PrintToken = False,
    quiet: Quiet = False,
) -> None:
    """Issue a short-lived grant for a run. Its token is kept in a file only you can read."""
    budgets = options.budgets(budget or ())
    with call.connect() as client:
        issued = client.issuer.issue(
            run,
            scopes=scope,
            ttl=ttl,
            audience=audience,
            request_id=grant,
            budgets=budgets,
            sealed=sealed,
        )
    _show(call, issued, print_token=print_token, quiet=quiet)


def delegate(
    call: Call,
    scope: Scopes,
    grant_token_from: GrantFrom = None,
    grant: NewGrant = None,
    ttl: Ttl = None,
    audience: Annotated[
        str,
        typer.Option(metavar="PEER", help="Who may use it. Default: who may use the grant it comes from."),
    ] = "",
    budget: options.Budgets = None,
    sealed: options.Sealed = False,
    child_run: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Open a run below for it, for a sub-agent, under this id."),
    ] = None,
    agent: Annotated[str, typer.Option(metavar="NAME", help="Which agent runs in the child run.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A mark of the child run; repeatable.")
    ] = None,
    print_token: PrintToken = False,
    quiet: Quiet = False,
) -> None:
    """Hand on part of a grant: fewer actions, fewer uses, less time, smaller budgets; never more.

    Example: countermand delegate --grant-token-from g-1 --scope 'email.send mailto:*@example.com uses=1'
    --ttl 60s --child-run r-1-helper --agent helper
    """
    if child_run is None and (agent or label):
        raise typer.BadParameter("--agent and --label describe a child run: name it with --child-run")
    child = None
    if child_run is not None:
        child = ChildRun(run_id=child_run, agent=agent, labels=options.labels(label or ()))
    token = tokens.find(call.place.directory, grant_token_from, "--grant-token-from")
    with call.connect() as client:
        issued = client.tool.delegate(
            token,
            scopes=scope,
            ttl=ttl,
            audience=audience,
            request_id=grant,
            budgets=options.budgets(budget or ()),
            sealed=sealed,
            child=child,
        )
    _show(call, issued, print_token=print_token, quiet=quiet)


def extend(
    call: Call,
    grant: options.GrantOption = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long from now on, such as 60s.")
    ] = None,
    print_token: PrintToken = False,
    quiet: Quiet = False,
) -> None:
    """Let a grant last longer, also one that has expired, if time is all it lacks.

    What it allows stays as it is. It never outlasts its run, or the grant it comes from.
    """
    token = tokens.find(call.place.directory, grant)
    with call.connect() as client:
        extended = client.issuer.extend(token, ttl)
    _show(call, extended, print_token=print_token, quiet=quiet)


def _show(call: Call, issued: Issued | Delegated | Extended, *, print_token: bool, quiet: bool) -> None:
    """Keep the token, and say what was issued."""
    if issued.replayed:
        say(f"Grant {issued.grant.grant_id} {_REPLAYED[type(issued)]}.")
    path = None if print_token else tokens.keep(call.place.directory, issued.grant.grant_id, issued.token)
    if quiet:
        print(issued.token.reveal() if print_token else issued.grant.grant_id)
        return
    told = {"grant": issued.grant, "remaining": issued.remaining, "replayed": issued.replayed}
    told["token_file"] = path and str(path)
    if isinstance(issued, Delegated):
        whole = document("delegated", run=issued.run, **told)
    elif isinstance(issued, Extended):
        whole = document("extended", **told)
    else:
        whole = document("issued", **told)
    whole["grant"]["scopes"] = [plain(one) | {"text": str(one)} for one in issued.grant.scopes]
    if print_token:
        whole["grant_token"] = issued.token.reveal()
    show(call.output, whole, lambda console: console.print(_told(issued, path), soft_wrap=True))


def _told(issued: Issued | Delegated | Extended, path: Path | None) -> str:
    """The token alone where it was asked for, so that a script can catch it; otherwise what was issued."""
    if path is None:
        return issued.token.reveal()
    grant = issued.grant
    until = (
        _until(grant)
        if not isinstance(issued, Extended)
        else f"good until {clock_time(grant.expire_time, now())}"
    )
    lines = [f"Grant {grant.grant_id} of run {grant.run_id}, {until}:"]
    if isinstance(issued, Delegated) and issued.run:
        opened = issued.run
        lines.insert(0, f"Run {opened.run_id} is open, below run {opened.parent_run_id}.")
        lines += [f"  its run's {one}" for one in budget_lines(opened.budgets)]
    lines += [f"  {scope}" for scope in grant.scopes]
    lines += [f"  {one}" for one in budget_lines(grant.budgets)]
    if issued.remaining:
        lines.append(f"  left to it, of all budgets that apply: {amounts(issued.remaining)}")
    if grant.chain:
        lines.append(f"  delegated from {' > '.join(grant.chain)}")
    if grant.sealed:
        lines.append("  sealed: it may not be handed on")
    lines += [f"Its token is in {path}; use it with --grant {grant.grant_id}"]
    return "\n".join(lines)


def _until(grant: Grant) -> str:
    ends, begins = grant.expire_time, grant.issue_time
    return f"good for {left(ends, begins)}, until {clock_time(ends, begins)}"
