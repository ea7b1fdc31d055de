"""`exec`: any command under a permit, stopped with all it started when its authority ends."""

import errno
import json
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countermand import Scope, SecretToken, Stop
from countermand.cli import options, tokens, waiting
from countermand.cli.actions import Described, NewOp, UseWithin, intended
from countermand.cli.call import Call
from countermand.cli.child import Child, could_not_begin
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say
from countermand.cli.verb import Panel, verb

if TYPE_CHECKING:
    from countermand.sync import Client, Performance

_NAME = "countermand exec"
_CODES = re.compile(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*")


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.TOOL)(exec_)


def exec_(
    call: Call,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND [ARG]...", help="The command, behind a `--`.")
    ],
    action: Annotated[str, typer.Option(metavar="ACTION", help="The action, such as deploy.prod.")],
    described: Described,
    grant: options.GrantOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Instead of a grant: issue one for this run and action, once. Needs the issuer's socket.",
        ),
    ] = None,
    op: NewOp = None,
    use_within: UseWithin = None,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the command has to end after a stop.")
    ] = "5s",
    failed_codes: Annotated[
        str,
        typer.Option(
            metavar="CODES",
            help="Exit codes, such as 2,64-78, by which it says that it certainly did nothing.",
        ),
    ] = "",
    on_disconnect: Annotated[
        str,
        typer.Option(
            metavar="keep|stop", help="What it does while no session with the sidecar tells of a stop."
        ),
    ] = "keep",
) -> None:
    """Run a command under a permit: asked for right before it starts, settled by how it ends.

    When its run is cancelled, or its grant fenced, the command and all of its process group is sent SIGTERM,
    and killed when its grace is over. Its exit code is this command's; after a stop that is 3.

    Example: countermand exec --action deploy.prod --resource host:web-1 --grant g-1 -- ./deploy.sh --fast
    """
    if on_disconnect not in ("keep", "stop"):
        raise typer.BadParameter("takes keep or stop", param_hint="--on-disconnect")
    if "-" in (grant, described.args):
        raise typer.BadParameter(
            "standard input is the command's: name a grant or a file, or use the variable"
        )
    if run and grant:
        raise typer.BadParameter("takes --run or --grant, not both")
    if not hasattr(os, "waitid"):
        raise typer.BadParameter("exec needs Linux, or Python 3.13 on macOS")
    told = _Told(command, waiting.patience(grace), _codes(failed_codes))
    if described.args == "{}":  # then the permit is for this very command line
        described = replace(described, args=json.dumps({"command": command}))
    token = None if run else tokens.find(call.place.directory, grant)
    with call.connect("stop" if on_disconnect == "stop" else "keep") as client:
        token = token or _issued(client, run or "", action, described)
        code = _run(client, token, told, name=action, use_within=use_within, **intended(op, described))
    raise typer.Exit(code)


def _issued(client: "Client", run: str, action: str, described: Described) -> SecretToken:
    """Issue a grant for this action, once."""
    scope = Scope(action, described.resource or "*", max_uses=1)
    return client.issuer.issue(run, scopes=[scope], sealed=True).token


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of the command: how long it has after a stop, and which codes are a no."""

    command: Sequence[str]
    grace: float
    failed: frozenset[int]


def _run(client: "Client", token: SecretToken, told: _Told, **asked: Any) -> int:
    """Hold the command ready, ask, let it begin, and say what became of it."""
    from countermand.sync import perform

    stops: list[Stop] = []
    with client.use_token(token) as grant, Child(told.command) as child:

        def heard(stop: Stop) -> None:
            stops.append(stop)
            child.stop()

        forget = grant.watch(heard)
        try:
            with perform(**asked, approval_timeout=None) as act:
                code = _live(child, act, told, stops)
        finally:
            forget()
    if act.unsettled is not None:
        say(f"{_NAME}: what became of action {act.op_id} is not on record: {act.unsettled}")
    return code


def _live(child: Child, act: "Performance", told: _Told, stops: Sequence[Stop]) -> int:
    """Let it begin and end; note the outcome, and answer the exit code."""
    if stops:
        act.failed("stopped before it began")
        say(f"{_NAME}: stopped before it began: {stops[0]}")
        return ExitCode.STOP_THE_RUN
    if fault := child.begin(_environment(act)):
        act.failed(f"could not be started: {could_not_begin(fault)}")
        say(f"{_NAME}: {told.command[0]}: {could_not_begin(fault)}")
        return ExitCode.NO_SUCH_COMMAND if fault.errno == errno.ENOENT else ExitCode.CANNOT_START
    code = child.wait(told.grace)
    how = f"exit code {code}" if code >= 0 else f"killed by {_signal(-code)}"
    if child.was_stopped:
        act.unknown(f"stopped: {how}")
        say(f"{_NAME}: action {act.op_id} was stopped: {stops[0]} ({how})")
        return ExitCode.STOP_THE_RUN
    if code == 0:
        act.receipt = how
    elif code in told.failed:
        act.failed(how)
    else:
        act.unknown(how)
    return code if code >= 0 else 128 - code


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _environment(act: "Performance") -> dict[str, str]:
    """The command's environment: ours, and what names its effect; never the token."""
    permit = act.permit
    assert permit is not None  # noqa: S101 - tells the type checker what the block made sure of
    told = {name: value for name, value in os.environ.items() if name != tokens.VARIABLE}
    told |= {"COUNTERMAND_OP_ID": act.op_id, "COUNTERMAND_FENCE": str(permit.fence)}
    if permit.use_by_time is not None:
        told["COUNTERMAND_USE_BY"] = permit.use_by_time.isoformat()
    return told


def _codes(text: str) -> frozenset[int]:
    """Read exit codes, such as 2,64-78."""
    if not text:
        return frozenset()
    if not _CODES.fullmatch(text):
        raise typer.BadParameter("takes exit codes, such as 2,64-78", param_hint="--failed-codes")
    pairs = [(first, last or first) for first, _, last in (one.partition("-") for one in text.split(","))]
    found = frozenset(code for first, last in pairs for code in range(int(first), int(last) + 1))
    if not found or not found <= frozenset(range(1, 256)):
        raise typer.BadParameter("takes exit codes from 1 to 255", param_hint="--failed-codes")
    return found
