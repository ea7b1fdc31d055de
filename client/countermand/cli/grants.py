"""Grants: issue one, and keep its token where later commands find it."""

from pathlib import Path
from typing import Annotated

import typer

from countermand import Grant, Issued
from countermand.cli import options, tokens
from countermand.cli.call import Call
from countermand.cli.documents import document, plain
from countermand.cli.options import Quiet
from countermand.cli.output import say, show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, left

_SCOPE = "ACTION [RESOURCE] [uses=N] [ceiling=CLASS]"


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, Panel.OWNER)(issue)


def issue(
    call: Call,
    run: options.ActiveRunId,
    scope: Annotated[
        list[str],
        typer.Option(
            metavar=f"'{_SCOPE}'",
            help="What it allows, such as 'email.send mailto:*@example.com uses=3 ceiling=compensable'; "
            "repeatable.",
        ),
    ],
    grant: Annotated[
        str | None, typer.Option(metavar="ID", help="Its id. Default: a new one, printed.")
    ] = None,
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="How long it lasts, such as 60s.")] = None,
    audience: Annotated[str, typer.Option(metavar="PEER", help="Who may use it. Default: tool.")] = "",
    print_token: Annotated[
        bool,
        typer.Option(
            "--print-token", help="Print the token instead of keeping it in a file. It is a secret."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Issue a short-lived grant for a run. Its token is kept in a file only you can read."""
    with call.connect() as client:
        issued = client.issuer.issue(run, scopes=scope, ttl=ttl, audience=audience, request_id=grant)
    if issued.replayed:
        say(f"Grant {issued.grant.grant_id} had been issued before, just like this.")
    path = None if print_token else tokens.keep(call.place.directory, issued.grant.grant_id, issued.token)
    if quiet:
        print(issued.token.reveal() if print_token else issued.grant.grant_id)
        return
    whole = document("issued", grant=issued.grant, replayed=issued.replayed, token_file=path and str(path))
    whole["grant"]["scopes"] = [plain(one) | {"text": str(one)} for one in issued.grant.scopes]
    if print_token:
        whole["grant_token"] = issued.token.reveal()
    show(call.output, whole, lambda console: console.print(_told(issued, path), soft_wrap=True))


def _told(issued: Issued, path: Path | None) -> str:
    """The token alone where it was asked for, so that a script can catch it; otherwise what was issued."""
    if path is None:
        return issued.token.reveal()
    grant = issued.grant
    lines = [f"Grant {grant.grant_id} of run {grant.run_id}, {_until(grant)}:"]
    lines += [f"  {scope}" for scope in grant.scopes]
    lines += [f"Its token is in {path}; use it with --grant {grant.grant_id}"]
    return "\n".join(lines)


def _until(grant: Grant) -> str:
    ends, begins = grant.expire_time, grant.issue_time
    return f"good for {left(ends, begins)}, until {clock_time(ends, begins)}"
