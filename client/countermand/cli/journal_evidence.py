"""Evidence to keep: an exported journal, its signed head, and the public keys."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import NotFound, SignedHead
from countermand.cli import options
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps, members
from countermand.cli.entries import pages
from countermand.cli.evidence_files import export_lines, keep
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say, show
from countermand.cli.rows import print_rows
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, counted
from countermand.evidence import Line, journal_fault, line

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.sync import Client

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output-file", metavar="FILE", help="Keep it in this file, which must be new. Default: print it."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs below `journal`."""
    for one in (export, head, keys):
        verb(app, Panel.LOOK, "journal")(one)


def export(
    call: Call,
    run: options.RunId,
    output_file: OutputFile = None,
    tree: Annotated[bool, typer.Option("--tree", help="Also the journals of all runs below it.")] = False,
) -> None:
    """Export a run's journal as JSON lines: its entries, each with its hash, and its signed head."""
    with call.connect() as client:
        journals, lost = _journals(client, run, tree=tree)
    whole = tree and not lost
    told = [one for head, lines in journals for one in export_lines(head, lines, tree=whole)]
    text = "".join(f"{dumps(one)}\n" for one in told)
    if output_file:
        keep(output_file, text)
        entries = counted(sum(len(lines) for _, lines in journals), "entry", "entries")
        say(f"Exported {entries} of {counted(len(journals), 'run')} to {output_file}.")
    else:
        print(text, end="")
    if lost:
        say(f"WARNING: not the whole tree. No longer kept, or lost: {', '.join(lost)}.")
    for head, lines in journals:
        if fault := journal_fault(head, lines):
            say(f"WARNING: what the service signs of run {head.run_id} is not what it lists: {fault.text}")
            raise typer.Exit(ExitCode.DOES_NOT_HOLD)


def _journals(
    client: "Client", run: str, *, tree: bool
) -> tuple[list[tuple[SignedHead, list[Line]]], list[str]]:
    """Read a run's journal and head; with `tree` those of all runs below it, and which of them are gone."""
    found: list[tuple[SignedHead, list[Line]]] = []
    lost: list[str] = []
    todo = [run]
    for one in todo:
        try:
            head = client.auditor.head(one)
        except NotFound:
            if one == run:
                raise
            lost.append(one)
            continue
        found.append((head, covered(client, head)))
        if tree:
            todo += [told.data["child"] for told in found[-1][1] if told.kind == "CHILD_OPENED"]
    return found, lost


def covered(client: "Client", head: SignedHead) -> list[Line]:
    """Read the entries up to the last one that a head covers."""
    lines: list[Line] = []
    for entry in pages(client, head.run_id):
        if entry.seq > head.last_seq:
            break
        lines.append(line(entry))
    return lines


def head(call: Call, run: options.RunId, output_file: OutputFile = None) -> None:
    """Get the signed head of a run's journal. Keep it elsewhere: it shows later whether anything changed."""
    with call.connect() as client:
        told = client.auditor.head(run)
    whole = document("head", **members(told))
    if output_file:
        keep(output_file, dumps(whole, indent=2) + "\n")
        say(f"Kept in {output_file}: {_in_words(told)}")
        return
    show(call.output, whole, lambda console: console.print(_in_words(told), soft_wrap=True))


def _in_words(told: SignedHead) -> str:
    entries = counted(told.entry_count, "entry", "entries")
    return (
        f"{entries} of run {told.run_id} up to entry {told.last_seq}, as of {clock_time(told.time)}, "
        f"hash {told.hash.hex()}, signed by key {told.key_id}."
    )


def keys(call: Call, output_file: OutputFile = None) -> None:
    """Get the public keys that verify signed heads. Keep them elsewhere, to need no service to verify."""
    with call.connect() as client:
        found = client.auditor.evidence_keys()
    whole = document("evidence_keys", keys=found)
    if output_file:
        keep(output_file, dumps(whole, indent=2) + "\n")
        say(f"Kept in {output_file}: {counted(len(found), 'public key')}.")
        return
    rows = [[one.key_id, one.public_key.hex(), "yes" if one.signing else ""] for one in found]

    def page(console: "Console") -> None:
        print_rows(console, ["key", "public key (Ed25519)", "signs now"], rows)

    show(call.output, whole, page)
