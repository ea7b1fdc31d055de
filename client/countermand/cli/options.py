"""Options and arguments that several verbs share, and how their text is read."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from countermand import SecretToken
from countermand.cli import completion, tokens
from countermand.cli.call import Call

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.all_runs)]
ActiveRunId = Annotated[
    str, typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.active_runs)
]
OpId = Annotated[
    str, typer.Argument(metavar="OP", help="The action's op id, as prepare or perform printed it.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the id and nothing else, for scripts.")]
Note = Annotated[str, typer.Option(metavar="TEXT", help="One line for people. It goes into the report.")]
GrantOption = Annotated[
    str | None,
    typer.Option(
        "--grant",
        metavar="GRANT|@FILE|-",
        help="The grant: its id if it was issued here, a file with its token, or - for the token on standard "
        f"input. Default: the token in ${tokens.VARIABLE}.",
        autocompletion=completion.grants,
    ),
]
Args = Annotated[
    str,
    typer.Option(
        metavar="JSON|@FILE|-",
        help="The arguments of the effect, a JSON object. Only their digest is sent, to bind the permit.",
    ),
]


def grant_token(call: Call, grant: str | None, args: str = "{}") -> SecretToken:
    """Find the token of the grant to act under."""
    if grant == args == "-":
        raise typer.BadParameter("only one of --grant and --args can come from standard input")
    return tokens.find(call.place.directory, grant)


def arguments(text: str) -> dict[str, Any]:
    """Read an effect's arguments."""
    hint = "--args"
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
        value = json.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"is not JSON: {error}", param_hint=hint) from None
    if not isinstance(value, dict):
        raise typer.BadParameter('must be a JSON object, such as {"to": "team"}', param_hint=hint)
    return value


def word(told: str, words: Iterable[str], hint: str) -> str:
    """Read one of some words, in any case, with - or _; answer it in upper case."""
    asked = told.strip().upper().replace("-", "_")
    known = [one.upper() for one in words]
    if asked not in known:
        choices = ", ".join(one.lower() for one in known)
        raise typer.BadParameter(f"{told!r} is none of {choices}", param_hint=hint)
    return asked


def labels(told: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    pairs = [one.partition("=") for one in told]
    if any(not name or not equals for name, equals, _ in pairs):
        raise typer.BadParameter("must read NAME=VALUE", param_hint="--label")
    return {name: value for name, _, value in pairs}
