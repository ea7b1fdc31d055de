"""The journal: every decision about a run, in the order in which the store made them."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import Entry
from countermand.cli import options
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps, members
from countermand.cli.output import Output, say
from countermand.cli.verb import Panel, verb

if TYPE_CHECKING:
    from countermand.sync import Client

_PAGE = 1000

#: How often --follow asks for more, in seconds.
_LOOK_EVERY = 0.5


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.LOOK)(journal)


def journal(
    call: Call,
    run: options.RunId,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only entries with a higher number.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many at the most.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")
    ] = False,
) -> None:
    """Read the journal of one run, an entry a line. Each run below has its own; the fences' is _fences."""
    with call.connect() as client:
        if follow:
            _follow(call, client, run, after)
            return
        if call.output is not Output.JSON:
            more = _print_pages(call, client, run, after, limit)
        else:
            entries, more = _read(client, run, after, limit)
            print(dumps(document("journal", run_id=run, entries=entries, more=more), indent=2))
    if more:
        say("There are more entries: go on with --after and the last number.")


def _follow(call: Call, client: "Client", run: str, after: int) -> None:
    if call.output is Output.JSON:
        raise typer.BadParameter("--follow has no end, so it prints --output jsonl or table")
    while True:
        for entry in _pages(client, run, after):
            after = entry.seq
            _print(call, entry)
        sys.stdout.flush()
        time.sleep(_LOOK_EVERY)


def _read(client: "Client", run: str, after: int, limit: int | None) -> tuple[list[Entry], bool]:
    entries: list[Entry] = []
    for entry in _pages(client, run, after):
        if limit is not None and len(entries) == limit:
            return entries, True
        entries.append(entry)
    return entries, False


def _print_pages(call: Call, client: "Client", run: str, after: int, limit: int | None) -> bool:
    for count, entry in enumerate(_pages(client, run, after)):
        if count == limit:
            return True
        _print(call, entry)
    return False


def _pages(client: "Client", run: str, after: int) -> Iterator[Entry]:
    while True:
        page = client.auditor.entries(run, after_seq=after, page_size=_PAGE)
        yield from page.entries
        if not page.more:
            return
        after = page.entries[-1].seq


def _print(call: Call, entry: Entry) -> None:
    if call.output is Output.JSONL:
        print(dumps(document("entry", **members(entry))))
        return
    when = entry.time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if entry.time else ""
    told = " ".join(f"{name}={value}" for name, value in sorted(entry.data.items()) if name != "op" and value)
    print(f"{entry.seq:>8}  {when}  {entry.kind:<12}  {entry.op_id:<22}  {told}".rstrip())
