"""Watch an undo until it is over: on a terminal a page kept up to date, elsewhere a document a change."""

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from countermand import TryAgain
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps, plain
from countermand.cli.output import Output
from countermand.cli.undo_page import headline, rows
from countermand.cli.undo_state import Step, Undoing, Verdict

if TYPE_CHECKING:
    from countermand.sync import Client

#: How often the report is read again, in seconds.
_LOOK_EVERY = 0.25


def until_over(call: Call, client: "Client", run: str, undoing: Undoing, longest: float) -> Undoing:
    """Look again until all is undone or given up, or the time is over; answer what was seen last."""
    if not longest:
        return undoing
    ends_at = time.monotonic() + longest
    seen: dict[str, Any] = {}
    with _live(call) as live:
        while True:
            remaining = ends_at - time.monotonic()
            seen = _tell(call, live, run, undoing, seen, remaining)
            if undoing.verdict is not Verdict.PENDING or remaining <= 0:
                return undoing
            time.sleep(min(_LOOK_EVERY, remaining))
            undoing = _look(client, run, undoing, remaining)


def _look(client: "Client", run: str, undoing: Undoing, remaining: float) -> Undoing:
    """Look again; where nobody answers, what was seen before still holds."""
    try:
        return undoing.again(client.auditor.report(run, timeout=max(0.1, remaining)))
    except TryAgain:
        return undoing


def _live(call: Call) -> Any:
    """A page that is kept up to date, on a terminal."""
    if call.output is Output.JSONL or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)


def _tell(
    call: Call, live: Any, run: str, undoing: Undoing, seen: dict[str, Any], remaining: float
) -> dict[str, Any]:
    now = {_name(one): one.told for one in undoing.steps}
    if live:
        live.update(_page(run, undoing, remaining), refresh=True)
        return now
    for name, told in now.items():
        if told != seen.get(name):
            step = document("undo_step", run_id=run, at=undoing.time) | plain(told)
            print(dumps(step), file=sys.stdout if call.output is Output.JSONL else sys.stderr, flush=True)
    return now


def _name(step: Step) -> str:
    return f"{step.effect.run_id}/{step.effect.op_id}"


def _page(run: str, undoing: Undoing, remaining: float) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for what, where, stands, by, _, _ in rows(run, undoing):
        table.add_row(Text(what), Text(where), Text(stands), Text(by, style="dim"))
    return Group(Text(f"{headline(run, undoing)} Watching for {max(0, remaining):.0f} s more."), table)
