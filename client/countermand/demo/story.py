"""The two stories: the same agent, stopped by its user at the same moment, without and with Countermand."""

import math
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import countermand.sync as countermand
from countermand import Cancelled, Entry, NotRunning, Report, StopReason, UndoAsked
from countermand.demo.errands import SCOPES, STOP_AFTER_S
from countermand.demo.ledger import Effect, Ledger
from countermand.demo.processes import ENDED, Players
from countermand.demo.stage import Event, queue_below, undone_below

#: The run of the second story; its sidecar has no other.
RUN = "r-demo"

#: Below which name the second story plays.
WITH = "with"

#: Seconds without any event after which something is broken.
_PATIENCE_S = 20.0

#: The events that say that a slow errand is under way.
_UNDER_WAY = {"begun", "writing", "queued"}
_SLOW_ERRANDS = 3

Tell = Callable[["Played", Event], None]


@dataclass(slots=True)
class Played:
    """What happened in one story. Times are seconds of the machine's monotonic clock."""

    began_at: float
    #: When the user was told that it is stopped.
    stopped_at: float = math.inf
    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    #: The actions that the answer to Stop named as in flight.
    named: set[str] = field(default_factory=set)
    #: What the outside world has of being undone, in order.
    undone: list[Effect] = field(default_factory=list)

    @property
    def was_stopped(self) -> bool:
        """False if the agent ended before anybody could stop it."""
        return self.stopped_at != math.inf

    @property
    def refused(self) -> list[Event]:
        """The attempts that were refused, as the tools saw it."""
        return [event for event in self.events if event.what == "refused"]

    @property
    def after_stop(self) -> list[Effect]:
        """What reached the outside world after the user was told."""
        return [effect for effect in self.effects if effect.at > self.stopped_at]


@dataclass(slots=True)
class Stopped:
    """What Countermand has to say about the second story."""

    run_id: str
    cancelled: Cancelled
    #: How long the cancel took, in seconds.
    took_s: float
    report: Report
    journal: Sequence[Entry]
    #: What was asked to be undone afterwards, in the order in which it is to be done.
    asked: UndoAsked = field(default_factory=lambda: UndoAsked(()))


class Story:
    """One story: an agent and a worker, and somebody who presses Stop when all is under way."""

    def __init__(self, players: Players, directory: Path, tell: Tell) -> None:
        self._players = players
        self._directory = directory
        self._tell = tell
        queue_below(directory).mkdir(parents=True, mode=0o700)

    def play(self, home: str = "", token: str = "") -> Played:
        """Play it to its end."""
        agent = self._players.start("countermand.demo.agent", str(self._directory), home)
        self._players.start("countermand.demo.worker", str(self._directory), home)
        self._players.order(agent, token)
        played = Played(time.monotonic())
        ended = under_way = 0
        for event in self._players.events(_PATIENCE_S):
            self._take(played, event)
            under_way += event.what in _UNDER_WAY
            if event.what in _UNDER_WAY and under_way == _SLOW_ERRANDS:
                time.sleep(STOP_AFTER_S)
                self.press_stop(played, agent)
            ended += event.what == ENDED
            if ended == 2:  # the agent and the worker
                break
        played.effects = Ledger(self._directory / "ledger").effects
        return played

    def _take(self, played: Played, event: Event) -> None:
        played.events.append(event)
        if event.what == "stopped":
            played.stopped_at = min(played.stopped_at, event.at)
        if event.what != ENDED:
            self._tell(played, event)

    def press_stop(self, played: Played, agent: "subprocess.Popen[str]") -> None:
        """Stop the agent's loop. The user is told when the agent says that it has."""
        self._players.order(agent, "stop")


class StoryWithCountermand(Story):
    """The same, but Stop cancels the run first; the user is told when the cancel has answered."""

    def __init__(self, players: Players, directory: Path, tell: Tell, client: countermand.Client) -> None:
        super().__init__(players, directory, tell)
        self._client = client
        self.cancelled: Cancelled | None = None
        self.took_s = 0.0

    def press_stop(self, played: Played, agent: "subprocess.Popen[str]") -> None:
        """Cancel the run, then stop the agent's loop too."""
        asked_at = time.monotonic()
        self.cancelled = self._client.operator.cancel(
            RUN, reason=StopReason.USER_STOP, actor="u-7", note="the user pressed Stop"
        )
        played.stopped_at = time.monotonic()
        self.took_s = played.stopped_at - asked_at
        played.named = {action.op_id for action in self.cancelled.report.in_flight}
        super().press_stop(played, agent)

    def undo(self, played: Played) -> UndoAsked:
        """Have everything undone that can be, and wait until it is, or given up."""
        asked = self._client.operator.undo_run(RUN, actor="u-7", note="the offer was wrong")
        waiting = set(asked.op_ids)
        self._tell(played, Event(time.monotonic(), "undo"))
        for event in self._players.events(_PATIENCE_S) if waiting else ():
            self._take(played, event)
            if event.what in ("undone", "not undone"):
                waiting.discard(event.op_id)
            if not waiting:
                break
        played.undone = Ledger(undone_below(self._directory)).effects
        return asked


def without(players: Players, tell: Tell) -> Played:
    """Play the story of today."""
    return Story(players, players.directory / "without", tell).play()


def with_countermand(
    players: Players, sidecar: "subprocess.Popen[str]", tell: Tell
) -> tuple[Played, Stopped]:
    """Play the story with the run cancelled."""
    with countermand.connect(players.home) as client:
        _open(client, sidecar, players.home)
        issued = client.issuer.issue(RUN, scopes=SCOPES, ttl="60s")
        story = StoryWithCountermand(players, players.directory / WITH, tell, client)
        played = story.play(str(players.home), issued.token.reveal())
        if story.cancelled is None:
            raise RuntimeError("the agent ended before its user could stop it")
        asked = story.undo(played)
        journal = client.auditor.entries(RUN, page_size=1000).entries
        last = client.auditor.report(RUN)
        return played, Stopped(RUN, story.cancelled, story.took_s, last, journal, asked)


def _open(client: countermand.Client, sidecar: "subprocess.Popen[str]", home: Path) -> None:
    """Open the run as soon as the sidecar listens."""
    ends_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            client.issuer.open(run_id=RUN, subject="u-7", agent="assistant")
            return
        except NotRunning:
            if sidecar.poll() is not None or time.monotonic() > ends_at:
                said = (home / "log").read_text().strip().splitlines()
                raise RuntimeError(
                    f"the sidecar did not start: {said[-1] if said else 'it said nothing'}"
                ) from None
            time.sleep(0.02)
