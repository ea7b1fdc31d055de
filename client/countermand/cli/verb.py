"""How a verb becomes a command: shared options, one way to fail, one way to print."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from countermand import CountermandError
from countermand.cli import failures
from countermand.cli.call import Call, Place
from countermand.cli.exit_codes import in_short
from countermand.cli.output import Output


class Panel(StrEnum):
    """The groups of the help: who a verb is for."""

    START = "Start here"
    OPERATOR = "Operators: stop a run, see what became of it"
    AUTHORITY = "Operators: stop everything of a kind, decide what waits for a person"
    UNDO = "Undo what was done"
    OWNER = "Owners of runs"
    TOOL = "Tools: every side effect passes here"
    LOOK = "Look"


_WHERE = "Where the sidecar is"

Home = Annotated[
    str | None,
    typer.Option(
        metavar="DIRECTORY",
        help="The sidecar's home. Default: $COUNTERMAND_HOME, else the user's state directory.",
        rich_help_panel=_WHERE,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS:PORT",
        help="First port of a development sidecar on loopback, instead of a home. "
        "Default: $COUNTERMAND_TARGET.",
        rich_help_panel=_WHERE,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="How long to wait for an answer, such as 500ms or 10s.", rich_help_panel=_WHERE
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", help="How to print: for people, or for programs.", case_sensitive=False)
]

_SHARED = {"home": Home, "target": Target, "timeout": Timeout}

Verb = Callable[..., None]


def verb(app: typer.Typer, panel: Panel, under: str = "") -> Callable[[Verb], Verb]:
    """Register a function as the command of its name; its parameters behind the Call are its options.

    One that is annotated with a dataclass is a group of options, a field each: several verbs can share it.
    `under` is the verb it belongs to, where `app` is not the whole command.
    """

    def register(function: Verb) -> Verb:
        name = function.__name__.rstrip("_")
        app.command(name, rich_help_panel=panel.value, epilog=in_short(), no_args_is_help=False)(
            _command(f"{under} {name}".lstrip(), function)
        )
        return function

    return register


def _command(name: str, function: Verb) -> Callable[..., None]:
    """Wrap a verb: typer reads the options from the signature, the wrapper makes the Call of them."""
    told = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    groups: dict[str, Any] = {one.name: one.annotation for one in told if is_dataclass(one.annotation)}
    own = [part for one in told for part in (_parts(groups[one.name]) if one.name in groups else [one])]

    @functools.wraps(function)
    def command(
        ctx: typer.Context,
        *,
        home: str | None,
        target: str | None,
        timeout: str | None,
        output: Output,
        **options: Any,
    ) -> None:
        before = ctx.obj if isinstance(ctx.obj, Place) else Place()
        call = Call(name, Place(home, target, timeout).under(before), output)
        for group, kind in groups.items():
            options[group] = kind(**{one.name: options.pop(one.name) for one in _parts(kind)})
        _run(function, call, options)

    shared = [_option(one, kind, None) for one, kind in _SHARED.items()]
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *own, _option("output", OutputOption, Output.TABLE), *shared]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parts(group: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(group, eval_str=True).parameters.values())


def _option(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _run(function: Verb, call: Call, options: dict[str, Any]) -> None:
    """Do what the verb does; a refusal becomes one line and an exit code."""
    try:
        function(call, **options)
    except CountermandError as error:
        raise typer.Exit(failures.tell(call, error)) from error
