"""Approvals: what waits for a person, and what they say."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from countermand import ApprovalPage, ErrorReason, NotFound, PendingApproval
from countermand.cli import completion, confirming, options
from countermand.cli.approval_page import print_approvals, print_one
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.options import Note
from countermand.cli.output import say, show, talk_page
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, left, now

if TYPE_CHECKING:
    from countermand.sync import Client

#: The way to those that are not listed: there is no next page, because people go by what waits longest.
_MORE = (
    "To see the others approve or deny these, or stop a run that asks for so much: "
    "countermand cancel RUN --reason policy"
)

RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The action's run.", autocompletion=completion.waiting_runs),
]
OpId = Annotated[
    str, typer.Argument(metavar="OP", help="The action's op id.", autocompletion=completion.waiting_ops)
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for function in (approvals, approve, deny):
        verb(app, Panel.AUTHORITY)(function)


def approvals(call: Call) -> None:
    """List the actions that wait for a person, the oldest first."""
    with call.connect() as client:
        told = client.auditor.approvals()
    found = told.approvals
    if not found and call.output.value == "table":
        say("Nothing waits for a person.")
    lines = [document("approval", **members(one)) for one in found]
    whole = document("approvals", approvals=found, more=told.more)
    show(call.output, whole, lambda page: print_approvals(page, found, now()), lines)
    if told.more:
        say(f"... and more: these are the {len(found)} that wait longest. {_MORE}")


def approve(
    call: Call,
    run: RunId,
    op: OpId,
    digest_: Annotated[
        str,
        typer.Option(
            "--digest",
            metavar="SHA256",
            help="The digest it waits with, as 'approvals --output json' told it. Without it the action is "
            "shown, and asked about on a terminal.",
        ),
    ] = "",
    args: Annotated[
        str,
        typer.Option(
            metavar="JSON|@FILE|-",
            help="Narrower arguments to use instead, a JSON object. They are sent, stored and shown to the "
            "tool, which refuses any that are not narrower.",
        ),
    ] = "",
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="How long it can be used, such as 5m. It is used once."),
    ] = None,
    note: Note = "",
    actor: options.Actor = None,
) -> None:
    """Agree to an action that waits for a person: to this very one, once, for a while.

    Until it is committed it can be taken back: countermand deny RUN OP --note WHY
    """
    amendment = options.arguments(args) if args else None
    bound = _digest(digest_) if digest_ else None
    with call.connect() as client:
        if bound is None:
            bound = _asked(call, client, run, op, amendment)
        approved = client.operator.approve(
            run,
            op,
            digest=bound,
            amendment=amendment,
            ttl=for_,
            actor=options.login_name() if actor is None else actor,
            note=note,
        )
    before = ", as it was before" if approved.replayed else ""
    until = approved.expire_time
    told = (
        f"Action {op} of run {run} is approved{before}: it can be committed once, until "
        f"{clock_time(until, now())}. To take it back: countermand deny {run} {op} --note WHY"
    )
    whole = document("approved", run_id=run, op_id=op, **members(approved))
    show(call.output, whole, lambda console: console.print(told, soft_wrap=True))


def _digest(told: str) -> bytes:
    try:
        read = bytes.fromhex(told)
    except ValueError:
        read = b""
    if len(read) != 32:
        raise typer.BadParameter(
            "must be 64 hexadecimal digits, as 'approvals' shows it", param_hint="--digest"
        )
    return read


def _asked(call: Call, client: "Client", run: str, op: str, amendment: dict[str, Any] | None) -> bytes:
    """Show what waits, and ask; the approval is for the very digest that was shown."""
    if not confirming.there_is_a_terminal():
        confirming.refuse(call.verb, "there is no terminal to ask on: say which arguments, with --digest")
    one = _find(client.auditor.approvals(), run, op)
    print_one(talk_page(), one, now(), amendment)
    confirming.ask(call.verb, f"Let it happen, within {left(one.expire_time, now())}? [y/N] ")
    return one.digest


def _find(waiting: ApprovalPage, run: str, op: str) -> PendingApproval:
    for one in waiting.approvals:
        if (one.run_id, one.op_id) == (run, op):
            return one
    if waiting.more:
        raise NotFound(
            f"action {op} of run {run} is not among the {len(waiting.approvals)} that wait longest, and more "
            "wait; approve or deny those first, or say which arguments, with --digest",
            reason=ErrorReason.NOT_AWAITING,
            metadata={"run": run, "op": op},
        )
    raise NotFound(
        f"no action {op} of run {run} waits for a person; see 'countermand approvals' and "
        f"'countermand why {run}/{op}'",
        reason=ErrorReason.NOT_AWAITING,
        metadata={"run": run, "op": op},
    )


def deny(
    call: Call,
    run: RunId,
    op: OpId,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, in one line. The tool sees it.")],
    actor: options.Actor = None,
) -> None:
    """Say no to an action that waits for a person, or take back an approval that was not used yet."""
    name = options.login_name() if actor is None else actor
    with call.connect() as client:
        denied = client.operator.deny(run, op, actor=name, note=note)
    before = " before; that stands" if denied.replayed else ""
    told = f"Action {op} of run {run} is denied{before}: it can never be committed."
    whole = document("denied", run_id=run, op_id=op, **members(denied))
    show(call.output, whole, lambda console: console.print(told, soft_wrap=True))
