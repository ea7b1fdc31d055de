"""Say which rule refuses a run, a grant or an action, and since when."""

from typing import TYPE_CHECKING, Annotated

import typer

from countermand import ErrorReason, Explanation, Fence, FenceKind, FenceState, GrantUnknown, NotFound
from countermand._errors import CLASSES
from countermand.cli import completion
from countermand.cli.call import Call
from countermand.cli.documents import document, members
from countermand.cli.exit_codes import ExitCode, code_of
from countermand.cli.output import show
from countermand.cli.selectors import in_words
from countermand.cli.story_lines import story_lines
from countermand.cli.verb import Panel, verb
from countermand.cli.words import ago, clock_time, now, who

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.sync import Client


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.LOOK)(why)


def why(
    call: Call,
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|GRANT|RUN/OP",
            help="A run, a grant, or an action with its run before it.",
            autocompletion=completion.all_runs,
        ),
    ],
) -> None:
    """Say which rule refuses a run, a grant or an action: since when, by whom, and what to do about it.

    The exit code says so too: 0 if nothing refuses it, else that of the refusal.
    """
    with call.connect() as client:
        what, told = _explain(client, name)
    refused = told.reason is not ErrorReason.UNSPECIFIED
    code = code_of(CLASSES[told.reason](reason=told.reason)) if refused else ExitCode.OK
    whole = document("why", asked=name, what=what, refused=refused, next=code.name, **members(told))
    show(call.output, whole, lambda console: _print(console, what, told))
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _explain(client: "Client", name: str) -> tuple[str, Explanation]:
    """Find out what the name names, and ask why it is refused."""
    run, slash, op = name.partition("/")
    if slash:
        return f"action {op} of run {run}", client.auditor.why(run, op_id=op)
    try:
        return f"run {name}", client.auditor.why(name)
    except NotFound:
        pass
    try:
        return f"grant {name}", client.auditor.why("", grant_id=name)
    except (NotFound, GrantUnknown):
        raise NotFound(
            f"no run and no grant {name} is known here; see 'countermand runs'; an action is RUN/OP",
            reason=ErrorReason.RUN_UNKNOWN,
            metadata={"run": name},
        ) from None


def _print(console: "Console", what: str, told: Explanation) -> None:
    console.print(_line(what, told), soft_wrap=True)
    for line in story_lines(told):
        console.print(line, soft_wrap=True)


def _line(what: str, told: Explanation) -> str:
    """Write it in one line: the rule, since when, by whom, why, and what to do."""
    if told.reason is ErrorReason.UNSPECIFIED:
        return _nothing(what, told)
    if told.fence is not None:
        selector = told.fence.selector
        partly = " in part" if what.startswith("run ") and (selector.action or selector.grant_id) else ""
        return f"Refused{partly}: {what}, by {_fence(told.fence)} [{told.reason}]"
    word = "Waits" if told.reason is ErrorReason.AWAITING_APPROVAL else "Refused"
    since = f"; since {clock_time(told.since_time, now())}" if told.since_time else ""
    note = told.details.get("note", "")
    said = f"; they said: “{note}”" if note else ""
    return f"{word}: {told.text}{since}{said} [{told.reason}]"


def _nothing(what: str, told: Explanation) -> str:
    """Say that nothing refuses it, and the sidecar's remark: what a fence stands over all the same."""
    remark = told.text.removeprefix("nothing refuses it").rstrip(".")
    if told.fence is None or not remark:
        return f"Nothing refuses {what}."
    between = ": " if told.text.startswith(remark) else ""
    return f"Nothing refuses {what}{between}{remark}."


def _fence(fence: Fence) -> str:
    """Tell of a fence, and of the way out."""
    kind = "freeze" if fence.kind is FenceKind.FREEZE else "revoke"
    since = f"since {clock_time(fence.time, now())}, {ago(fence.time, now())}"
    by = f"by {who(fence.actor)}: {fence.reason}" + (f" “{fence.note}”" if fence.note else "")
    told = f"fence {fence.fence_id}, a {kind} of {in_words(fence.selector)}, {since}, {by}"
    if fence.kind is FenceKind.FREEZE and fence.state is FenceState.STANDING:
        ends = f" (it ends by itself at {clock_time(fence.expire_time, now())})" if fence.expire_time else ""
        return f"{told}; to let new grants act: countermand lift {fence.fence_id} --note WHY{ends}"
    return f"{told}; what was issued before stays dead: issue a new grant"
