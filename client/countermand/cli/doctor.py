"""Look whether everything a sidecar needs is in order, and say how to mend what is not."""

import typer

from countermand.cli import checks
from countermand.cli.call import Call
from countermand.cli.checks import Check, Verdict
from countermand.cli.documents import document, plain
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import page, say, show
from countermand.cli.verb import Panel, verb


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.START)(doctor)


def doctor(call: Call) -> None:
    """Check home, sockets, keys, store and versions; say how to mend what is wrong. It changes nothing."""
    found = list(checks.every(call.place))
    failed = [one for one in found if one.verdict is Verdict.FAIL]
    whole = document("doctor", healthy=not failed, checks=found)
    lines = [document("check") | plain(one) for one in found]
    show(call.output, whole, lambda _: _print(found), lines)
    if failed:
        say(f"countermand doctor: {len(failed)} of {len(found)} checks failed")
        raise typer.Exit(ExitCode.ASK_OPERATOR)


_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def _print(found: list[Check]) -> None:
    from rich.text import Text

    console = page()
    for one in found:
        line = Text.assemble((f"{one.verdict.lower():<5}", _STYLES[one.verdict]), f"{one.name:<22}", one.told)
        console.print(line, soft_wrap=not console.is_terminal)
        if one.fix:
            console.print(Text(f"      to mend it: {one.fix}"), soft_wrap=True)
