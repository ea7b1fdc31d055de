"""Verify a journal: the service's, or an exported one, against heads that were kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from countermand import EvidenceKey, NotFound, Run, SignedHead
from countermand._soundness import FENCES
from countermand.cli import completion, evidence_files
from countermand.cli.call import Call
from countermand.cli.documents import document
from countermand.cli.entries import pages
from countermand.cli.evidence_files import Block
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import say, show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import clock_time, counted
from countermand.evidence import Fault, Line, chain, journal_fault, line, run_fault, signature_fault

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.sync import Client

_NO_PROOF = (
    "No head was given that was kept elsewhere: whoever can write to the store can make a journal that "
    "passes this. Only a kept head proves that nothing was edited: "
    "countermand journal head RUN --output-file FILE"
)
_SINCE_EXPORT = (
    "It is what was signed when it was exported. Whether it had been edited before that, only a head that "
    "was kept earlier shows: --head FILE"
)
_SAME_HAND = (
    "The keys came from the service itself. To depend on it for nothing, keep them elsewhere "
    "(countermand journal keys --output-file FILE) and say --key FILE."
)
_NEXT = (
    "Next: keep everything as it is (countermand journal export RUN --output-file FILE), believe no report "
    "of this journal, and find out who could write to it."
)


def register(app: typer.Typer) -> None:
    """Add the verb below `journal`."""
    verb(app, Panel.LOOK, "journal")(verify)


@dataclass(slots=True)
class Checked:
    """One journal, the heads it was held against, and the first thing that does not hold."""

    run_id: str
    entry_count: int
    heads: list[SignedHead] = field(default_factory=list)
    fault: Fault | None = None
    #: Entries behind all that the heads cover.
    uncovered_count: int = 0


def verify(
    call: Call,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.all_runs),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="EXPORT", help="An exported journal instead; no service is asked.")
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What was kept: a head, a report or cancel as JSON, or an export."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The public keys, as 'journal keys' wrote them.")
    ] = None,
) -> None:
    """Verify that a journal is what was signed. If not, the first bad entry is named; the exit code is 11."""
    if (run is None) == (file is None):
        raise typer.BadParameter("say one of the two: RUN, or --file EXPORT")
    if file and not key:
        raise typer.BadParameter("without a service --key FILE has to say whose signature counts")
    kept = evidence_files.heads_in(evidence_files.read(head, "--head")) if head else []
    if head and not kept:
        raise typer.BadParameter(f"{head} holds no signed head", param_hint="--head")
    keys = evidence_files.keys_in(evidence_files.read(key, "--key")) if key else None
    notes: list[str] = []
    try:
        if file:
            found = _offline(
                evidence_files.blocks_in(evidence_files.read(file, "--file")), kept, keys or [], notes
            )
        else:
            found = _online(call, str(run), kept, keys, notes)
    except ModuleNotFoundError as error:
        say(f"countermand {call.verb}: {error}")
        raise typer.Exit(ExitCode.ASK_OPERATOR) from None
    if not kept:
        notes.append(_SINCE_EXPORT if file else _NO_PROOF)
    _tell(call, found, bool(kept), bool(kept or file), notes)


def _online(
    call: Call, run: str, kept: list[SignedHead], keys: Sequence[EvidenceKey] | None, notes: list[str]
) -> list[Checked]:
    """Hold the service's journals against the heads that were kept, or against what it signs now."""
    with call.connect() as client:
        if keys is None:
            keys = client.auditor.evidence_keys()
            notes.append(_SAME_HAND)
        if not kept:
            head = client.auditor.head(run)
            record = None if run == FENCES else client.auditor.run(run)
            lines = _journal(client, run)
            checked = _checked(run, lines, [head], keys)
            if record:
                checked.fault = _first([checked.fault, _counts_fault(record, lines)])
            return [checked]
        runs = dict.fromkeys([run, *(one.run_id for one in kept)])
        if run not in {one.run_id for one in kept}:
            names = ", ".join(sorted({one.run_id for one in kept}))
            return [Checked(run, 0, fault=Fault(f"the head that was kept is of another run: {names}"))]
        found = []
        for one in runs:
            heads = [head for head in kept if head.run_id == one]
            found.append(_checked(one, _journal(client, one), heads, keys))
            if found[-1].fault:
                notes.extend(_epoch_note(client, one, heads))
        return found


def _journal(client: "Client", run: str) -> list[Line]:
    """Read a run's journal; one that is not there any more is empty."""
    try:
        return [line(entry) for entry in pages(client, run)]
    except NotFound:
        return []


def _epoch_note(client: "Client", run: str, heads: Iterable[SignedHead]) -> Iterable[str]:
    """Tell a store that lost its last entries by itself from one that was edited, as far as can be told."""
    try:
        epoch = client.auditor.head(run).store_epoch
    except NotFound:
        return
    if any(head.store_epoch != epoch for head in heads):
        yield (
            f"The store is in epoch {epoch} now and was in another when run {run}'s head was signed: it was "
            "restarted or restored since, and may have lost its last entries by itself."
        )


def _counts_fault(run: Run, lines: Sequence[Line]) -> Fault | None:
    """Hold a journal against the counts and the end in the run's record."""
    prepared = sum(one.kind == "PREPARED" for one in lines)
    if prepared < run.action_count:
        return Fault(f"it has {counted(prepared, 'action')}, and the run's record counts {run.action_count}")
    end = run.end
    if end and end.seq and end.run_id in ("", run.run_id) and end.seq not in {one.seq for one in lines}:
        return Fault(f"the run's record says that entry {end.seq} ended it, and there is no such entry")
    return None


def _offline(
    blocks: list[Block], kept: list[SignedHead], keys: Sequence[EvidenceKey], notes: list[str]
) -> list[Checked]:
    """Verify an export by itself, and against the heads that were kept."""
    found = []
    for block in blocks:
        heads = [one for one in kept if one.run_id == block.run_id]
        checked = _checked(block.run_id, block.lines, heads, keys)
        checked.fault = _first([block.fault, checked.fault, *_own_faults(block, keys)])
        if block.head and not checked.fault:
            checked.heads.append(block.head)
            checked.uncovered_count = 0
        found.append(checked)
    there = [block.run_id for block in blocks]
    if kept and not {one.run_id for one in kept} & set(there):
        names = ", ".join(sorted({one.run_id for one in kept}))
        found[0].fault = Fault(f"the head that was kept is of another run: {names}")
    _note_missing(blocks, set(there), found, notes)
    return found


def _own_faults(block: Block, keys: Sequence[EvidenceKey]) -> Iterable[Fault | None]:
    """What is wrong with an exported journal by its own head, hashes and lines."""
    head = block.head
    if head is None:
        yield Fault("the file ends without its head: it was cut off", len(block.lines) + 1)
    elif head.run_id != block.run_id:
        yield Fault(f"its head is of another run: {head.run_id}")
    elif bad := signature_fault(head, keys):
        yield bad
    else:
        yield journal_fault(head, block.lines)
        if len(block.lines) > head.entry_count:
            extra = block.lines[head.entry_count]
            text = f"it was put in: the head covers {counted(head.entry_count, 'entry', 'entries')}"
            yield Fault(text, head.entry_count + 1, extra.seq, extra.kind)
    links = chain(block.run_id, block.lines)
    for place, (one, link, said) in enumerate(zip(block.lines, links, block.hashes, strict=True), 1):
        if link.hex() != said:
            text = "its hash does not follow from it and the entries before it: one of the three was changed"
            yield Fault(text, place, one.seq, one.kind)
            break


def _note_missing(blocks: list[Block], there: set[str], found: list[Checked], notes: list[str]) -> None:
    """Say which runs below are not in the file; in one of a whole tree all have to be."""
    for block, checked in zip(blocks, found, strict=True):
        children = [one.data.get("child", "") for one in block.lines if one.kind == "CHILD_OPENED"]
        missing = [child for child in children if child not in there]
        if missing and block.whole_tree:
            text = f"the file is said to hold the whole tree, and lacks run {missing[0]} below it"
            checked.fault = checked.fault or Fault(text)
        elif missing:
            notes.append(f"Not in this file: {', '.join(missing)}, below run {block.run_id}.")


def _checked(
    run: str, lines: list[Line], heads: Sequence[SignedHead], keys: Sequence[EvidenceKey]
) -> Checked:
    """Verify one journal by these heads, and by itself."""
    faults: list[Fault | None] = []
    for one in heads:
        # By a head that nobody signed nothing can be said of the journal.
        bad = signature_fault(one, keys)
        faults.append(bad or journal_fault(one, lines))
    last = max((one.last_seq for one in heads), default=0)
    after = sum(one.seq > last for one in lines)
    return Checked(run, len(lines), list(heads), _first([*faults, run_fault(run, lines)]), after)


def _first(faults: Iterable[Fault | None]) -> Fault | None:
    """Pick the fault that comes first in the journal; one that is at no entry, if there is no other."""
    real = [one for one in faults if one]
    return min(real, key=lambda one: one.place or float("inf"), default=None)


def _tell(call: Call, found: list[Checked], kept: bool, proved: bool, notes: list[str]) -> None:
    bad = [one for one in found if one.fault]
    whole = document("verified", holds=not bad, by_kept_head=kept, journals=found, notes=notes)
    show(call.output, whole, lambda console: _print(console, found, proved))
    for note in notes:
        say(note)
    if bad:
        say(_NEXT.replace("RUN", bad[0].run_id))
        raise typer.Exit(ExitCode.DOES_NOT_HOLD)


def _print(console: "Console", found: list[Checked], proved: bool) -> None:
    for one in found:
        console.print(_line(one, proved), soft_wrap=True)


def _line(one: Checked, proved: bool) -> str:
    if fault := one.fault:
        at = f", entry {fault.seq} ({fault.kind}), number {fault.place} of its journal" if fault.seq else ""
        return f"DOES NOT HOLD: run {one.run_id}{at}: {fault.text}."
    entries = counted(one.entry_count - one.uncovered_count, "entry", "entries")
    if not one.heads:
        return f"Consistent: run {one.run_id}, {entries}; held against no signed head."
    last = max(one.heads, key=lambda head: head.last_seq)
    by = f"up to entry {last.last_seq} as key {last.key_id} signed them for {clock_time(last.time)}"
    after = (
        f"; {one.uncovered_count} more after that, in order and not covered" if one.uncovered_count else ""
    )
    return f"{'Holds' if proved else 'Consistent'}: run {one.run_id}, {entries}, {by}{after}."
