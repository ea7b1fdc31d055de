"""The command: its verbs, grouped by who uses them, and the one place where it fails."""

import os
import sys
import traceback
from typing import Annotated

import typer

from countermand.cli import (
    actions,
    approvals,
    compensate,
    demo,
    doctor,
    executing,
    fence_list,
    fencing,
    grants,
    journal,
    run_list,
    runs,
    serve,
    spending,
    stop,
    undoing,
    version,
    watching,
    why,
)
from countermand.cli.call import Place
from countermand.cli.exit_codes import ExitCode, in_full
from countermand.cli.output import keep_going_with_any_encoding, say
from countermand.cli.unbuilt import group_of
from countermand.cli.verb import Home, Target, Timeout

_NAME = "countermand"

# The order of the help: the first verb of a group puts the group there.
_MODULES = (
    *(serve, demo, doctor, stop, fencing, fence_list, approvals, undoing, compensate),
    *(runs, grants, actions, executing, spending, why, watching, run_list, journal, version),
)
verbs = typer.Typer()
for module in _MODULES:
    module.register(verbs)

app = typer.Typer(
    name=_NAME,
    cls=group_of(verbs),
    help="Authority for AI agents that can be taken back: a commit after cancel is refused.",
    epilog=in_full(),
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
def root(
    ctx: typer.Context,
    home: Home = None,
    target: Target = None,
    timeout: Timeout = None,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Authority for AI agents that can be taken back: a commit after cancel is refused."""
    ctx.obj = Place(home, target, timeout)
    if show_version:
        print(version.installed_version())
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        raise typer.Exit


def run(arguments: list[str]) -> int:
    """Run one command and answer its exit code; whatever goes wrong is one line on standard error."""
    keep_going_with_any_encoding()
    try:
        answer = app(arguments, prog_name=_NAME, standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        return _failed(arguments, error)
    return answer if isinstance(answer, int) else ExitCode.OK


def _failed(arguments: list[str], error: Exception) -> int:
    """Tell a wrong command line, which has words of its own, from a defect."""
    name = " ".join([_NAME, *_verb(verbs, arguments)])
    if hasattr(error, "format_message"):  # typer's own errors, whatever package they live in
        say(f"{name}: {_sentence(error.format_message())}; see '{name} --help'")
        return ExitCode.USAGE
    if os.environ.get("COUNTERMAND_TRACEBACK"):
        traceback.print_exception(error)
    say(
        f"{name}: {type(error).__name__}: {_sentence(str(error))}; this is a defect, "
        "COUNTERMAND_TRACEBACK=1 shows where"
    )
    return ExitCode.ASK_OPERATOR


def _verb(group: typer.Typer, arguments: list[str]) -> list[str]:
    """Find the verb that was meant, and the one below it if it has some."""
    below = {one.name: one.typer_instance for one in group.registered_groups}
    names = {one.name for one in group.registered_commands} | set(below)
    found = next((place for place, one in enumerate(arguments) if one in names), None)
    if found is None:
        return []
    inner = below.get(arguments[found])
    return [arguments[found], *(_verb(inner, arguments[found + 1 : found + 2]) if inner else [])]


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
