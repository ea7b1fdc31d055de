"""Run the sidecar: this process becomes it."""

import os
import sys

import typer

from countermand.cli.call import Place
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say
from countermand.cli.verb import Panel


def register(app: typer.Typer) -> None:
    """Add the verb to the command. Its options, --help too, are the sidecar's own."""
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("serve", rich_help_panel=Panel.START.value, context_settings=passed_on)(serve)


def serve(ctx: typer.Context) -> None:
    """Run the sidecar in the foreground until Ctrl-C. See: countermand serve --help."""
    from countermand.cli.version import missing_for_service

    if missing := missing_for_service():
        say(
            f"countermand serve: the sidecar is an extra ({', '.join(missing)} not found): "
            "pip install 'countermand[service]'"
        )
        raise typer.Exit(ExitCode.ASK_OPERATOR)
    if isinstance(ctx.obj, Place) and ctx.obj.home:
        os.environ["COUNTERMAND_HOME"] = ctx.obj.home
    os.execv(sys.executable, service_command(*ctx.args))  # noqa: S606 - the same interpreter, a fixed module


def service_command(*options: str) -> list[str]:
    """How the sidecar is started; with -P no file of the current directory is taken for a module of it."""
    return [sys.executable, "-P", "-m", "grant_service", *options]
