"""The journal: every decision about a run, in the order in which the store made them."""

import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from countermand import Entry
from countermand.cli import journal_evidence, options, verifying
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps, members
from countermand.cli.entries import pages
from countermand.cli.exit_codes import in_short
from countermand.cli.output import Output, say
from countermand.cli.verb import Panel, verb

if TYPE_CHECKING:
    from countermand.sync import Client


class _ListUnlessSaid(TyperGroup):
    """Takes `journal RUN` for `journal list RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb before what is none."""
        verb_is_said = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        nothing_typed_yet = not args and ctx.resilient_parsing
        return super().parse_args(ctx, args if verb_is_said or nothing_typed_yet else ["list", *args])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer runs beside the verbs."""
        (run,) = (one for one in self.commands["list"].params if one.name == "run")
        return [*super().shell_complete(ctx, incomplete), *run.shell_complete(ctx, incomplete)]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    told = "Read journals, follow them, export them, and verify them against heads that were kept."
    below = typer.Typer(cls=_ListUnlessSaid, help=told, epilog=in_short(), rich_markup_mode="rich")
    for one in (list_, tail):
        verb(below, Panel.LOOK, "journal")(one)
    journal_evidence.register(below)
    verifying.register(below)
    settings = {"help_option_names": ["--help", "-h"]}
    app.add_typer(below, name="journal", rich_help_panel=Panel.LOOK.value, context_settings=settings)


Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")]


def list_(
    call: Call,
    run: options.RunId,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only entries with a higher number.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many at the most.")] = None,
    follow: Follow = False,
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


def tail(
    call: Call,
    run: options.RunId,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many to begin with.")
    ] = 10,
    follow: Follow = False,
) -> None:
    """Read the last entries of a run's journal, and with --follow those to come: also after its end."""
    if follow:
        _needs_no_end(call)
    with call.connect() as client:
        last: deque[Entry] = deque(maxlen=lines)
        after = 0
        for entry in pages(client, run):
            last.append(entry)
            after = entry.seq
        if call.output is Output.JSON:
            print(dumps(document("journal", run_id=run, entries=last, more=False), indent=2))
        else:
            for entry in last:
                _print(call, entry)
        if follow:
            _follow(call, client, run, after)


def _needs_no_end(call: Call) -> None:
    if call.output is Output.JSON:
        raise typer.BadParameter("--follow has no end, so it prints --output jsonl or table")


def _follow(call: Call, client: "Client", run: str, after: int) -> None:
    _needs_no_end(call)
    for entry in client.auditor.watch(run, after_seq=after):
        _print(call, entry)
        sys.stdout.flush()


def _read(client: "Client", run: str, after: int, limit: int | None) -> tuple[list[Entry], bool]:
    entries: list[Entry] = []
    for entry in pages(client, run, after):
        if limit is not None and len(entries) == limit:
            return entries, True
        entries.append(entry)
    return entries, False


def _print_pages(call: Call, client: "Client", run: str, after: int, limit: int | None) -> bool:
    for count, entry in enumerate(pages(client, run, after)):
        if count == limit:
            return True
        _print(call, entry)
    return False


def _print(call: Call, entry: Entry) -> None:
    if call.output is Output.JSONL:
        print(dumps(document("entry", **members(entry))))
        return
    when = entry.time.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if entry.time else ""
    told = " ".join(f"{name}={value}" for name, value in sorted(entry.data.items()) if name != "op" and value)
    print(f"{entry.seq:>8}  {when}  {entry.kind:<12}  {entry.op_id:<22}  {told}".rstrip())
