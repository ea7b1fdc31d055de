"""Where things are printed: data on standard output, talk on standard error."""

import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from countermand.cli.documents import Document, dumps

if TYPE_CHECKING:
    from rich.console import Console

#: Wider than any line of ours: what goes into a pipe is not wrapped, so that grep sees whole rows.
_PIPE_WIDTH = 4000


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def say(text: str) -> None:
    """Tell people something."""
    print(text, file=sys.stderr, flush=True)


def page() -> "Console":
    """Standard output for people: colours and folded lines on a terminal, plain whole lines elsewhere."""
    return _page(sys.stdout)


def talk_page() -> "Console":
    """Standard error, for what has to be seen before a question is answered."""
    return _page(sys.stderr)


def _page(stream: TextIO) -> "Console":
    from rich.console import Console

    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def show(
    output: Output,
    whole: Document,
    for_people: Callable[["Console"], None],
    lines: Iterable[Document] | None = None,
) -> None:
    """Print one answer in the form asked for; `lines` are its documents for jsonl, if not the whole one."""
    if output is Output.TABLE:
        for_people(page())
    elif output is Output.JSON:
        print(dumps(whole, indent=2))
    else:
        for line in lines if lines is not None else [whole]:
            print(dumps(line))
    sys.stdout.flush()


def keep_going_with_any_encoding() -> None:
    """Write what the terminal's encoding lacks as escapes, rather than fail while a report is printed."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
