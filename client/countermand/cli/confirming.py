"""Asking before something is stopped: what it hits is shown, and somebody has to mean it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from countermand import Hit
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say
from countermand.cli.words import counted

#: Said instead of a number: do not even count.
_ANY = "any"


_PANEL = "Before it is done"


@dataclass(frozen=True, slots=True)
class Asking:
    """The options that answer before the question is put."""

    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Do not ask. Needed where there is no terminal.", rich_help_panel=_PANEL
        ),
    ] = False
    expect: Annotated[
        str,
        typer.Option(
            metavar="COUNT|any",
            help="Do nothing if more runs than this are counted first. 'any' with --yes does not count.",
            rich_help_panel=_PANEL,
        ),
    ] = ""
    confirm_above: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Above this many runs the count has to be typed, or said with --expect.",
            rich_help_panel=_PANEL,
        ),
    ] = 100

    def limit(self) -> int | None:
        """How many runs may be hit at the most, if that was said."""
        if self.expect in ("", _ANY):
            return None
        if not self.expect.isdecimal():
            raise typer.BadParameter("must be a number of runs, or 'any'", param_hint="--expect")
        return int(self.expect)

    @property
    def counts(self) -> bool:
        """Whether what it hits has to be counted first."""
        return not (self.yes and self.expect == _ANY)


def there_is_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(
    verb: str, what: str, asking: Asking, count: Callable[[], Hit], preview: Callable[[Hit], None]
) -> None:
    """Go on only if somebody meant it; otherwise nothing is done, and the exit code says so."""
    limit = asking.limit()
    if not asking.yes and not there_is_a_terminal():
        refuse(verb, "there is no terminal to ask on: look with --dry-run, then add --yes")
    if not asking.counts:
        return
    hit = count()
    if limit is not None and (hit.run_count > limit or not hit.complete):
        refuse(verb, f"it would hit {_told(hit)}, and {limit} were expected at the most")
    is_large = hit.run_count > asking.confirm_above or not hit.complete
    if asking.yes:
        if is_large and asking.expect == "":
            refuse(
                verb,
                f"it would hit {_told(hit)}, more than {asking.confirm_above}: "
                f"if that is meant, add --expect {hit.run_count if hit.complete else _ANY}",
            )
        return
    preview(hit)
    if is_large:
        _ask_for_the_count(verb, what, hit)
    else:
        ask(verb, f"{verb.capitalize()} {what} now? [y/N] ")


def _told(hit: Hit) -> str:
    return (
        counted(hit.run_count, "run")
        if hit.complete
        else f"{hit.run_count} runs or more (not all were counted)"
    )


def ask(verb: str, question: str) -> None:
    """Put a question to be answered with yes."""
    if _answer(question).lower() not in ("y", "yes"):
        refuse(verb, "not confirmed")


def _ask_for_the_count(verb: str, what: str, hit: Hit) -> None:
    question = f"It would hit {_told(hit)}. To {verb} {what}, type the number of runs: "
    if _answer(question) != str(hit.run_count):
        refuse(verb, f"that is not {hit.run_count}")


def _answer(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def refuse(verb: str, why: str) -> NoReturn:
    """Do nothing, and say so."""
    say(f"countermand {verb}: {why}; NOTHING WAS DONE")
    raise typer.Exit(ExitCode.NOT_CONFIRMED)
