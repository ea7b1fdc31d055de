"""Actions: what a tool asks before an effect, and says after it."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from countermand import (
    ActionState,
    AlreadyPermitted,
    ErrorReason,
    Intent,
    Outcome,
    Permit,
    PermitLapsed,
    Prepared,
    Reversibility,
    TryAgain,
    digest,
)
from countermand.cli import options
from countermand.cli.budgets import left_over
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.exit_codes import ExitCode
from countermand.cli.options import Args, GrantOption, Note, OpId, Quiet
from countermand.cli.output import show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, who

_CLASSES = [one for one in Reversibility if one is not Reversibility.UNSPECIFIED]

Name = Annotated[str, typer.Argument(metavar="ACTION", help="The action, such as email.send.")]
NewOp = Annotated[
    str | None,
    typer.Option("--op", metavar="ID", help="Names this one effect for ever. Default: a new id, printed."),
]
Resource = Annotated[
    str, typer.Option(metavar="NAME", help="What it acts on, such as mailto:team@example.com.")
]
ReversibilityOption = Annotated[
    str,
    typer.Option(
        metavar="|".join(one.lower() for one in _CLASSES),
        help="What can be done about the effect afterwards. Default: irreversible.",
    ),
]
Compensation = Annotated[str, typer.Option(metavar="NAME", help="The compensation registered for the tool.")]
Probe = Annotated[str, typer.Option(metavar="NAME", help="The probe registered for it, if one can tell.")]
UseWithin = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How long the permit should last, such as 2s. Shorter is safer."),
]

Again = Annotated[
    bool,
    typer.Option("--again", help="Take a permit that was given before: you asked, and never got the answer."),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for function in (prepare, commit, perform, settle, abandon):
        verb(app, Panel.TOOL)(function)


@dataclass(frozen=True, slots=True)
class Described:
    """The options that describe an effect."""

    resource: Resource = ""
    args: Args = "{}"
    reversibility: ReversibilityOption = ""
    compensation: Compensation = ""
    compensation_args: options.CompensationArgs = ""
    probe: Probe = ""
    cost: options.Costs = None
    summary: options.Summary = ""


def intended(op: str | None, told: Described) -> dict[str, Any]:
    """Describe an effect as `Intent.of` and `perform` take it."""
    declared = (
        options.word(told.reversibility, _CLASSES, "--reversibility") if told.reversibility else "UNSPECIFIED"
    )
    return {
        "resource": told.resource,
        "args": options.arguments(told.args),
        "op_id": op,
        "reversibility": Reversibility(declared),
        "compensation": told.compensation,
        "compensation_args": _for_undo(told.compensation_args),
        "probe": told.probe,
        "costs": options.amounts(told.cost or ()),
        "summary": told.summary,
    }


def _intent(action: str, op: str | None, told: Described) -> Intent:
    return Intent.of(action, **intended(op, told))


def _for_undo(text: str) -> dict[str, object]:
    return options.arguments(text, "--compensation-args") if text else {}


def prepare(
    call: Call,
    action: Name,
    described: Described,
    grant: GrantOption = None,
    op: NewOp = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it may wait for its commit.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Put an intended effect on record. Nothing may happen yet."""
    token = options.grant_token(call, grant, described.args)
    intent = _intent(action, op, described)
    with call.connect() as client:
        prepared = client.tool.prepare(token, intent, ttl=ttl)
    waits = prepared.state is ActionState.AWAITING_APPROVAL
    if quiet:
        print(prepared.op_id)
    else:
        whole = document("prepared", **members(prepared))
        show(call.output, whole, lambda console: console.print(_prepared(prepared), soft_wrap=True))
    if waits:
        raise typer.Exit(ExitCode.WAITS_FOR_A_PERSON)


def _prepared(prepared: Prepared) -> str:
    """Say that nothing may happen yet, and what has to come first."""
    op, again = prepared.op_id, ", as it did before" if prepared.replayed else ""
    until = clock_time(prepared.expire_time, prepared.expire_time)
    left = left_over(prepared.remaining)
    if prepared.state is ActionState.AWAITING_APPROVAL:
        return (
            f"Action {op} waits for a person{again}: nothing may happen yet. They see it in 'countermand "
            f"approvals', until {until}. Ask again with the same command and --op {op}.{left}"
        )
    again = ", as it was before" if prepared.replayed else ""
    lines = [f"Action {op} is prepared{again}: nothing may happen yet. Commit it before {until}.{left}"]
    said = prepared.approval
    if said is not None:
        note = f": “{said.note}”" if said.note else ""
        once = f"once, until {clock_time(said.expire_time, prepared.expire_time)}"
        lines.append(f"{who(said.actor)} agreed to it{note}. It can be committed {once}.")
        if said.amendment:
            lines.append(f"Only with these arguments instead: {said.amendment}")
    return "\n".join(lines)


def commit(
    call: Call,
    op: OpId,
    grant: GrantOption = None,
    args: Args = "{}",
    use_within: UseWithin = None,
    again: Again = False,
) -> None:
    """Ask whether a prepared effect may happen now. Exit code 0 means go; any other means: do not act."""
    token = options.grant_token(call, grant, args)
    bound = digest(options.arguments(args))
    with call.connect() as client:
        permit = _own(client.tool.commit(token, op, bound, use_within=use_within), again)
    _show_permit(call, permit)


def perform(
    call: Call,
    action: Name,
    described: Described,
    grant: GrantOption = None,
    op: NewOp = None,
    use_within: UseWithin = None,
    again: Again = False,
    quiet: Quiet = False,
) -> None:
    """Prepare and commit at once, for an effect that has nothing to prepare. Exit code 0 means go."""
    token = options.grant_token(call, grant, described.args)
    intent = _intent(action, op, described)
    with call.connect() as client:
        try:
            permit = _own(client.tool.perform(token, intent, use_within=use_within), again)
        except TryAgain as error:
            error.metadata["op"] = intent.op_id  # a new id, perhaps: whoever asks again has to know it
            raise
    if quiet:
        print(permit.op_id)
        return
    _show_permit(call, permit)


def _own(permit: Permit, again: bool) -> Permit:
    """Take a permit that is this call's own and can still be used: to a script, no other is permission."""
    if permit.replayed and not (again or permit.asked_before):
        raise AlreadyPermitted(
            f"action {permit.op_id} had got its permit before, so its effect may have happened: do not act; "
            "if that answer never reached you, say --again",
            reason=ErrorReason.ALREADY_PERMITTED,
            metadata={"op": permit.op_id},
        )
    if permit.remaining <= 0:
        raise PermitLapsed(
            f"the permit of action {permit.op_id} lapsed too early: do not act; settle it as failed",
            metadata={"op": permit.op_id},
        )
    return permit


def _show_permit(call: Call, permit: Permit) -> None:
    remaining = permit.remaining
    whole = document(
        "permit",
        op_id=permit.op_id,
        fence=permit.fence,
        use_by_time=permit.use_by_time,
        remaining_seconds=round(remaining, 3),
        replayed=permit.replayed,
        remaining=permit.remaining_budgets,
    )
    within = f"within {remaining:.1f} s"
    told = f"Go: action {permit.op_id} may happen, {within}. Fence {permit.fence}. Settle it after."
    told += left_over(permit.remaining_budgets)
    show(call.output, whole, lambda console: console.print(told))


def settle(
    call: Call,
    op: OpId,
    grant: GrantOption = None,
    succeeded: Annotated[bool, typer.Option("--succeeded", help="It happened.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="It certainly did not happen.")] = False,
    unknown: Annotated[bool, typer.Option("--unknown", help="Nobody can tell.")] = False,
    receipt: Annotated[
        str, typer.Option(metavar="ID", help="The outside world's id of the effect, such as a message id.")
    ] = "",
    note: Note = "",
    compensation_args: options.CompensationArgs = "",
    handle: Annotated[
        str, typer.Option(metavar="ID", help="What the outside world calls a job that it has only accepted.")
    ] = "",
    canceller: Annotated[
        str, typer.Option(metavar="NAME", help="Who can call that job off, should the run be cancelled.")
    ] = "",
) -> None:
    """Say what became of a permitted effect. Accepted after a cancel too, as information."""
    if succeeded + failed + unknown != 1:
        raise typer.BadParameter("say one of --succeeded, --failed and --unknown")
    outcome = Outcome.SUCCEEDED if succeeded else Outcome.FAILED if failed else Outcome.UNKNOWN
    token = options.grant_token(call, grant)
    with call.connect() as client:
        settled = client.tool.settle(
            token,
            op,
            outcome,
            receipt=receipt,
            note=note,
            compensation_args=_for_undo(compensation_args),
            handle=handle,
            canceller=canceller,
        )
    late = " The run had been stopped by then: the report says so." if settled.after_cut else ""
    told = f"Action {settled.op_id} is on record as {settled.state}.{late}"
    if settled.why_not_called_off:
        told += f" Nobody can call off {handle}: {settled.why_not_called_off}."
    told += left_over(settled.remaining)
    show(call.output, document("settled", **members(settled)), lambda console: console.print(told))


def abandon(call: Call, op: OpId, grant: GrantOption = None, note: Note = "") -> None:
    """Give up a prepared effect: it can never be committed."""
    token = options.grant_token(call, grant)
    with call.connect() as client:
        abandoned = client.tool.abandon(token, op, note=note)
    told = f"Action {abandoned.op_id} is abandoned: it can never be committed."
    told += left_over(abandoned.remaining)
    show(call.output, document("abandoned", **members(abandoned)), lambda console: console.print(told))
