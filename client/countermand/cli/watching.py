"""Watch what is at work for a run: on a terminal a page kept up to date, elsewhere a document a change."""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from countermand import Run, RunState, RunWork, ShownWork
from countermand.cli import completion
from countermand.cli.call import Call
from countermand.cli.documents import Document, document, dumps, plain
from countermand.cli.output import Output, say, show
from countermand.cli.verb import Panel, verb
from countermand.cli.words import counted, who

if TYPE_CHECKING:
    from rich.console import Console

    from countermand.sync import Client

#: How often it is looked again, in seconds.
_LOOK_EVERY = 0.5

#: What a piece of work that has not stopped looks like.
_GOES_ON = frozenset({"QUEUED", "RUNNING", "SHIELDED", "STOPPING"})


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.LOOK)(watch)


def watch(
    call: Call,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.all_runs)],
    once: Annotated[bool, typer.Option("--once", help="Look once, and not until it is over.")] = False,
) -> None:
    """Watch what is at work for a run, and for the runs below it: name, kind, age and state.

    Processes show the work that they own in a scope bound to the run. It ends when the run has ended and none
    of that is left. What is shown is what the processes say; what they hide goes on unseen.
    """
    with call.connect() as client:
        if once:
            told, work = client.auditor.run(run), client.auditor.work(run)
            show(call.output, _whole(told, work), lambda console: _print(console, told, work))
            return
        _until_over(call, client, run)


def _until_over(call: Call, client: "Client", run: str) -> None:
    seen: Any = None
    live = _live(call)
    with live or nullcontext():
        while True:
            told, work = client.auditor.run(run), client.auditor.work(run)
            outline = (told.state, _outline(work))
            if live:
                live.update(_page(told, work), refresh=True)
            elif outline != seen:
                print(dumps(_whole(told, work)), flush=True)
            seen = outline
            if told.end is not None and not any(_at_work(work)):
                break
            time.sleep(_LOOK_EVERY)
    say(_last_word(told, work))


def _live(call: Call) -> Any:
    """A page that is kept up to date, on a terminal."""
    if call.output is not Output.TABLE or not sys.stdout.isatty():
        return None
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(highlight=False), auto_refresh=False)


def _whole(run: Run, work: RunWork) -> Document:
    told = {"works": plain(work.works), "gaps": plain(work.gaps)}
    return document("work", run_id=run.run_id, state=run.state, end=run.end, **told)


def _outline(work: RunWork) -> list[tuple[str, ...]]:
    """Tell what makes a change: not that time goes by."""
    shown = [(one.process, node.path, node.state) for one in work.works for node in _nodes(one)]
    return [*shown, work.gaps]


def _nodes(work: ShownWork) -> Iterator[Any]:
    waiting = list(work.roots[::-1])
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children[::-1]


def _at_work(work: RunWork) -> Iterator[Any]:
    """Find the work that has not come to its end; scopes and their bodies only hold it."""
    for one in work.works:
        yield from (node for node in _nodes(one) if node.state in _GOES_ON)


def _print(console: "Console", run: Run, work: RunWork) -> None:
    console.print(_headline(run, work), soft_wrap=True)
    for one in work.works:
        console.print(f"{one.process}, for run {one.run_id}, {one.age:.1f} s ago", soft_wrap=True)
        for root in one.roots:
            for line in str(root).splitlines():
                console.print(f"  {line}", soft_wrap=True)


def _page(run: Run, work: RunWork) -> Any:
    from rich.console import Group
    from rich.text import Text
    from rich.tree import Tree

    def grow(tree: Tree, nodes: Any) -> None:
        for node in nodes:
            style = {"STOPPING": "yellow", "FAILED": "red", "DONE": "dim", "STOPPED": "dim"}.get(
                node.state, ""
            )
            text = Text(f"{node.name}  ", style=style).append(f"{node.kind} ", style="dim")
            grow(tree.add(text.append(f"{node.state} {node.age:.1f}s")), node.children)

    trees = []
    for one in work.works:
        tree = Tree(Text(f"{one.process}, for run {one.run_id}", style="bold"))
        grow(tree, one.roots)
        trees.append(tree)
    return Group(Text(_headline(run, work)), *trees)


def _headline(run: Run, work: RunWork) -> str:
    count = counted(len(work.works), "process", "processes")
    shown = (
        f"{count} show" if len(work.works) > 1 else "one process shows" if work.works else "no process shows"
    )
    return f"Run {run.run_id} is {_state(run)}; {shown} work for it{_doubt(work)}."


def _doubt(work: RunWork) -> str:
    """Say that there may be more than is shown."""
    return f". This may not be complete: {'; '.join(work.gaps)}" if work.gaps else ""


def _state(run: Run) -> str:
    if run.end is None:
        return str(RunState.ACTIVE).lower()
    return f"{run.state.lower()} ({run.end.reason} by {who(run.end.actor)})"


def _last_word(run: Run, work: RunWork) -> str:
    nothing = "nothing that is shown is at work for it any more"
    return f"Run {run.run_id} is {_state(run)}, and {nothing}{_doubt(work)}."
