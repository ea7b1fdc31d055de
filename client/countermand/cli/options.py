"""Options and arguments that several verbs share, and how their text is read."""

import getpass
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from countermand import Budget, Exhaustion, SecretToken, StopReason
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
GrantFrom = Annotated[
    str | None,
    typer.Option(
        "--grant-token-from",
        metavar="GRANT|@FILE|-",
        help="The grant to hand on part of: its id if it was issued here, a file with its token, or - for "
        f"the token on standard input. Default: the token in ${tokens.VARIABLE}.",
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
CompensationArgs = Annotated[
    str,
    typer.Option(
        metavar="JSON|@FILE",
        help="What the compensation is called with, a JSON object. It is stored: no secrets.",
    ),
]
Reason = Annotated[
    str,
    typer.Option(
        metavar="REASON",
        help="Why: " + ", ".join(completion.REASONS) + ".",
        autocompletion=completion.reasons,
    ),
]
Actor = Annotated[
    str | None, typer.Option("--actor", metavar="NAME", help="Who does it. Default: your login name.")
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LIMIT[:refuse]",
        help="How much may be used of something, such as tokens_out=20000. When it runs out, what set it is "
        "ended; with :refuse only the call is refused. Repeatable.",
    ),
]
Sealed = Annotated[bool, typer.Option("--sealed", help="It may not be handed on.")]
Costs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=AMOUNT", help="What it takes of a budget, beside 1 of tool_calls; repeatable."
    ),
]
Summary = Annotated[
    str,
    typer.Option(
        metavar="TEXT", help="One line for the person who may have to agree. No secrets: it is shown."
    ),
]

_AMOUNT = re.compile(r"[0-9]{1,16}")


def login_name() -> str:
    """Who is at the keyboard, as far as the system knows."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that nobody named
        return f"uid {os.getuid()}"


def reason(told: str) -> StopReason:
    """Read why something is stopped."""
    return StopReason(word(told, completion.REASONS, "--reason"))


def budgets(told: Iterable[str]) -> dict[str, Budget]:
    """Read NAME=LIMIT[:refuse]."""
    read: dict[str, Budget] = {}
    for one in told:
        name, _, rest = one.partition("=")
        limit, colon, policy = rest.partition(":")
        known = not colon or policy in ("refuse", "cancel")
        if not name or name in read or not _AMOUNT.fullmatch(limit) or not known:
            rule = "must read NAME=LIMIT or NAME=LIMIT:refuse, each name once"
            raise typer.BadParameter(f"{rule}; not {one!r}", param_hint="--budget")
        read[name] = Budget(int(limit), Exhaustion.REFUSE if policy == "refuse" else Exhaustion.CANCEL)
    return read


def amounts(told: Iterable[str]) -> dict[str, int]:
    """Read NAME=AMOUNT pairs, each name once."""
    read: dict[str, int] = {}
    for one in told:
        name, _, number = one.partition("=")
        if not name or not _AMOUNT.fullmatch(number) or name in read:
            raise typer.BadParameter(
                f"must read NAME=AMOUNT, each name once; not {one!r}", param_hint="--cost"
            )
        read[name] = int(number)
    return read


def grant_token(call: Call, grant: str | None, args: str = "{}") -> SecretToken:
    """Find the token of the grant to act under."""
    if grant == args == "-":
        raise typer.BadParameter("only one of --grant and --args can come from standard input")
    return tokens.find(call.place.directory, grant)


def arguments(text: str, hint: str = "--args") -> dict[str, Any]:
    """Read the arguments of an effect, or of what undoes it."""
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
