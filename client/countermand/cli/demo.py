"""See the whole story in a few seconds: an agent stopped mid-run, without Countermand and with it."""

import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import typer

from countermand.cli.call import Call
from countermand.cli.documents import document
from countermand.cli.exit_codes import ExitCode
from countermand.cli.output import Output, say, show
from countermand.cli.verb import Panel, verb

if TYPE_CHECKING:
    from countermand.cli.demo_page import DemoPage
    from countermand.demo.claims import Claim
    from countermand.demo.story import Played, Stopped


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    verb(app, Panel.START)(demo)


def demo(call: Call) -> None:
    """See an agent stopped mid-run, without Countermand and with it. No network, no keys, a few seconds."""
    from countermand.cli.demo_page import DemoPage, silent
    from countermand.cli.version import missing_for_service
    from countermand.demo.claims import check

    if missing := missing_for_service():
        say(
            f"countermand demo: needs the sidecar ({', '.join(missing)} not found): "
            "pip install 'countermand[service]'"
        )
        raise typer.Exit(ExitCode.ASK_OPERATOR)
    _end_in_order_when_told()
    began_at = time.monotonic()
    page = DemoPage() if call.output is Output.TABLE else None
    without, played, stopped = _play(page)
    claims = check(without, played, stopped)
    if page:
        page.end(without, played, stopped, claims)
    else:
        whole = _document(without, played, stopped, claims, time.monotonic() - began_at)
        show(call.output, whole, silent)
    if not all(claim.holds for claim in claims):
        say("countermand demo: a claim does not hold here; please report it")
        raise typer.Exit(ExitCode.ASK_OPERATOR)


def _play(page: "DemoPage | None") -> "tuple[Played, Played, Stopped]":
    from countermand.demo.processes import Players
    from countermand.demo.story import WITH, with_countermand, without

    def tell(*_: object) -> None:
        """Say nothing: only the document is asked for."""

    with Players() as players:
        sidecar = players.start_sidecar()  # they get ready while the first story plays
        players.start_undoer(WITH)
        if page:
            page.begin()
        first = without(players, page.tell_without if page else tell)
        if page:
            page.between(first)
        played, stopped = with_countermand(players, sidecar, page.tell_with if page else tell)
    return first, played, stopped


def _end_in_order_when_told() -> None:
    """Let a closed terminal and a supervisor end the demo as Ctrl-C does: with nothing left behind."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _document(
    without: "Played", played: "Played", stopped: "Stopped", claims: "list[Claim]", seconds: float
) -> dict[str, object]:
    return document(
        "demo",
        holds=all(claim.holds for claim in claims),
        claims=claims,
        without=_told(without),
        **{"with": _told(played) | _told_by_countermand(stopped)},
        seconds=round(seconds, 2),
    )


def _told(played: "Played") -> dict[str, object]:
    """A story in seconds since its beginning."""
    return {
        "stopped_at": round(played.stopped_at - played.began_at, 3) if played.was_stopped else None,
        "effects": [
            {
                "at": round(effect.at - played.began_at, 3),
                "after_stop": effect.at > played.stopped_at,
                "op_id": effect.op_id,
                "action": effect.action,
                "resource": effect.resource,
                "receipt": effect.receipt,
            }
            for effect in played.effects
        ],
        "effects_after_stop": len(played.after_stop),
        "refused": [{"op_id": event.op_id, "told": event.told} for event in played.refused],
        "undone": [
            {
                "at": round(effect.at - played.began_at, 3),
                "op_id": effect.op_id,
                "by": effect.action,
                "receipt": effect.receipt,
            }
            for effect in played.undone
        ],
    }


def _told_by_countermand(stopped: "Stopped") -> dict[str, object]:
    from countermand.demo.claims import late_commits

    return {
        "run_id": stopped.run_id,
        "cancel_seconds": round(stopped.took_s, 4),
        "late_commits_accepted": late_commits(stopped),
        "report_at_stop": stopped.cancelled.report,
        "report": stopped.report,
    }
