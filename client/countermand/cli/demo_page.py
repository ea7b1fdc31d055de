"""The demo for people: both stories as they happen, the stop report, and what was counted."""

import sys

from rich.console import Console
from rich.text import Text

from countermand.cli.output import page
from countermand.cli.report_page import print_report
from countermand.demo.claims import Claim, late_commits
from countermand.demo.errands import ERRANDS, PUBLISHING_S, QUEUED_S, UPLOADING_S, WRITING_S
from countermand.demo.stage import Event
from countermand.demo.story import Played, Stopped

_UNDER_WAY = {
    "begun": f"begun; it takes {UPLOADING_S:g} s",
    "accepted": f"accepted by the service; it publishes the file in {PUBLISHING_S:g} s",
    "writing": f"the model writes it; that takes {WRITING_S:g} s",
    "queued": f"queued for a worker in another process, due in {QUEUED_S:g} s",
}


_CLEANED_UP = {
    "called off": "the service calls off {}: the file is never published",
    "undone": "undone, receipt {}",
}


def silent(_: Console) -> None:
    """Print nothing."""


class DemoPage:
    """Prints the demo while it happens."""

    def __init__(self) -> None:
        self._console = page()

    def begin(self) -> None:
        """Say what is about to be seen."""
        self._say(
            "An agent runs five errands for its user, who presses Stop while three of them are under way."
        )
        self._title("Without Countermand")

    def between(self, without: Played) -> None:
        """Sum up the first story."""
        count = len(without.after_stop)
        self._say(
            f"{count} effects landed after the screen said Stopped, and nobody could have named them.", "red"
        )
        self._title("With Countermand: the same agent, every effect passes prepare and commit")

    def tell_without(self, played: Played, event: Event) -> None:
        """Tell an event of the first story."""
        if event.what == "stopped":
            self._stop(played, event.at, "The user presses Stop. The screen says: Stopped.")
        else:
            self._errand(played, event, "red")

    def tell_with(self, played: Played, event: Event) -> None:
        """Tell an event of the second story."""
        if event.what == "undo":
            told = "The user wants it undone. Countermand has each effect undone, the last one first."
            self._stop(played, event.at, told)
        elif event.what == "stopped":
            named = ", ".join(ERRANDS[op_id].action for op_id in sorted(played.named)) or "nothing"
            self._stop(played, played.stopped_at, "The user presses Stop. Countermand answers:")
            self._stop(played, played.stopped_at, f"No new commit is accepted. May still land: {named}.")
        else:
            self._errand(played, event, "yellow")

    def _stop(self, played: Played, at: float, told: str) -> None:
        self._line(at - played.began_at, "", told, "bold")

    def _errand(self, played: Played, event: Event, late: str) -> None:
        errand = ERRANDS[event.op_id]
        since = event.at - played.began_at
        if event.what == "landed":
            after = event.at > played.stopped_at
            named = ", as the answer to Stop had said" if event.op_id in played.named else ""
            told = f"landed at {errand.resource}" + (f", after Stop{named}" if after else "")
            self._line(since, errand.action, told, late if after else "")
        elif event.what == "refused":
            self._line(since, errand.action, f"refused. {event.told}", "green")
        elif event.what in _CLEANED_UP:
            self._line(since, errand.action, _CLEANED_UP[event.what].format(event.told), "green")
        else:
            told = _UNDER_WAY.get(event.what, f"{event.what}: {event.told}")
            self._line(since, errand.action, told, "dim")

    def end(self, without: Played, played: Played, stopped: Stopped, claims: list[Claim]) -> None:
        """Print the report, and what was counted."""
        self._title("The stop report, as it stands now: countermand report RUN")
        print_report(self._console, stopped.report)
        self._title("Counted from the ledger of the outside world")
        for claim in claims:
            self._say(
                f"  {'holds' if claim.holds else 'FAILS'}  {claim.found}  {claim.claim}",
                "" if claim.holds else "red",
            )
        late, named = late_commits(stopped), len({one.op_id for one in played.after_stop} & played.named)
        told = f"Effects after Stop: without {len(without.after_stop)}; with {late} late commits accepted"
        self._say(f"{told}, {named} that the answer to Stop had named, {len(played.undone)} undone.", "bold")

    def _title(self, text: str) -> None:
        self._say(f"\n{text}\n", "bold")

    def _line(self, since: float, action: str, told: str, style: str = "") -> None:
        self._say(f"  {since:4.1f} s  {action:<16} {told}", style)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=not self._console.is_terminal)
        sys.stdout.flush()
