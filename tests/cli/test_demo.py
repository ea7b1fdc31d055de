"""The demo's claims hold, are counted and not assumed, and it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from countermand import CallOffState, Report, UndoAsked
from countermand.cli.exit_codes import ExitCode
from countermand.demo.claims import Claim, check
from countermand.demo.errands import ERRANDS
from countermand.demo.ledger import Effect
from countermand.demo.processes import Players
from countermand.demo.story import RUN, Played, Stopped, StoryWithCountermand
from countermand.testing import Sidecar
from tests.cli.support import Shell, without

pytestmark = pytest.mark.alone  # its stories are played in real time

PROGRAM = Path(sys.executable).parent / "countermand"


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start the demo as a user does, without a terminal."""
    return subprocess.Popen(
        [PROGRAM, "demo", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without(os.environ),
    )


@pytest.fixture(scope="module")
def both() -> tuple[dict[str, Any], str]:
    """One demo for programs and one for people, at the same time."""
    demos = [start("--output", "json"), start()]
    try:
        said = [demo.communicate(timeout=60) for demo in demos]
    finally:
        for demo in demos:
            demo.kill()
    assert [(demo.returncode, err) for demo, (_, err) in zip(demos, said, strict=True)] == [(0, "")] * 2
    return json.loads(said[0][0]), said[1][0]


def test_without_it_three_effects_land_after_stop(both: tuple[dict[str, Any], str]) -> None:
    """The user was told Stopped; the outside world's ledger has what came after."""
    story = both[0]["without"]
    late = [effect["op_id"] for effect in story["effects"] if effect["at"] > story["stopped_at"]]
    assert sorted(late) == ["o-invoice", "o-ticket", "o-upload"]
    assert story["effects_after_stop"] == 3
    assert story["refused"] == []


def test_with_it_no_late_commit_is_accepted(both: tuple[dict[str, Any], str]) -> None:
    """What was under way at the stop is named by its answer; it is called off before it lands."""
    document, told = both[0], both[0]["with"]
    assert document["schema"] == "countermand.demo/v1"
    assert told["late_commits_accepted"] == 0
    late = {effect["op_id"] for effect in told["effects"] if effect["at"] > told["stopped_at"]}
    in_flight = {action["op_id"] for action in told["report_at_stop"]["in_flight"]}
    assert late <= in_flight == {"o-upload"}
    refused = {one["op_id"]: one["told"] for one in told["refused"]}
    assert set(refused) == {"o-ticket", "o-invoice"}
    assert all("REVOKED" in one and "cancelled by operator:u-7" in one for one in refused.values())
    interrupted = {action["op_id"] for action in told["report_at_stop"]["interrupted"]}
    assert interrupted == set(refused)


def test_the_last_report_is_what_the_outside_world_saw(both: tuple[dict[str, Any], str]) -> None:
    """The same effects, with the same receipts; what was called off is none of them."""
    told = both[0]["with"]
    seen = {effect["op_id"]: effect["receipt"] for effect in told["effects"]}
    done = {action["op_id"]: action for action in told["report"]["done"]}
    call_off = done["o-upload"]["call_off"]
    assert call_off["state"] == ("REFUSED" if "o-upload" in seen else "ACKNOWLEDGED")
    assert {op: action["receipt"] for op, action in done.items() if op != "o-upload"} == {
        op: receipt for op, receipt in seen.items() if op != "o-upload"
    }
    assert told["report"]["quiesced"] is True
    assert len(told["report"]["late_attempts"]) == 2


def test_what_was_done_is_undone_in_the_end(both: tuple[dict[str, Any], str]) -> None:
    """The last effect first, and the report has the outside world's own ids of the undos."""
    told = both[0]["with"]
    assert [(one["op_id"], one["by"]) for one in told["undone"]] == [
        ("o-upload", "files.delete"),
        ("o-calendar", "calendar.delete"),
        ("o-email", "email.correct"),
    ]
    done = {action["op_id"]: action for action in told["report"]["done"]}
    assert {one["op_id"]: one["receipt"] for one in told["undone"]} == {
        op: action["undo"]["receipt"] for op, action in done.items()
    }
    assert {action["state"] for action in done.values()} == {"UNDONE"}
    assert {action["undo"]["asked_by"] for action in done.values()} == {"operator:u-7"}


def test_it_is_over_soon(both: tuple[dict[str, Any], str]) -> None:
    """Six seconds on an idle machine; here two are played at once, beside whatever else is running."""
    assert both[0]["seconds"] < 20


def test_people_see_both_stories_and_what_was_counted(both: tuple[dict[str, Any], str]) -> None:
    """In the order in which they happen, without colours where there is no terminal."""
    page = both[1]
    places = [
        page.index(text)
        for text in (
            "Without Countermand",
            "The screen says: Stopped.",
            "3 effects landed after the screen said Stopped",
            "With Countermand",
            "No new commit is accepted. May still land: files.upload.",
            "refused. REVOKED: run r-demo was cancelled by operator:u-7",
            "The user wants it undone.",
            "undone, receipt",
            "Done (3)",
            "Late attempts (2): all refused",
            "Effects after Stop: without 3; with 0 late commits accepted",
        )
    ]
    assert places == sorted(places)
    assert "FAILS" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_nothing_is_left_behind_when_it_is_ended(number: signal.Signals, code: int) -> None:
    """Its processes end with it, however it is ended; its directory goes too, unless it was killed."""
    demo = start()
    try:
        assert demo.stdout
        for line in demo.stdout:
            if "queued" in line:
                break
        children = children_of(demo.pid)
        assert len(children) == 4  # the sidecar, the compensator, the agent, the worker
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=20)
    finally:
        demo.kill()
    assert demo.returncode == code
    assert "Traceback" not in errors
    until_gone(children)
    directories = {
        Path(word).parent for command in children.values() for word in command if "cm-demo-" in word
    }
    assert len(directories) == 1
    for directory in directories:
        assert directory.exists() == (number is signal.SIGKILL)
        remove(directory)


def children_of(pid: int) -> dict[int, list[str]]:
    """The processes a process has started, with their command lines."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {int(row[0]): row[2:] for row in rows if int(row[1]) == pid}


def until_gone(children: dict[int, list[str]]) -> None:
    """Wait until none of these processes is there."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in children if alive(pid)]:
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Say whether it runs; one that only waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] not in ("", "Z")


def remove(directory: Path) -> None:
    """Remove what a killed demo could not."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def told(real: Sidecar) -> tuple[Played, Played, Stopped]:
    """A small story that bears every claim out: one effect in flight and undone since, one refused."""
    with real.connect_sync() as client:
        client.issuer.open(run_id=RUN)
        token = client.issuer.issue(RUN, scopes=["*"]).token
        from countermand import Intent

        undoable: dict[str, Any] = {"reversibility": "REVERSIBLE", "compensation": "files.delete"}
        client.tool.perform(token, Intent.of("files.upload", op_id="o-upload", **undoable))
        cancelled = client.operator.cancel(RUN, reason="USER_STOP")
        client.tool.settle(token, "o-upload", "SUCCEEDED", handle="job-1", canceller="files.cancel")
        asked = client.operator.undo_run(RUN)
        duty = client.compensator.claim(compensations=["files.delete"])
        assert duty is not None
        client.compensator.complete(duty)
        journal = client.auditor.entries(RUN).entries
        stopped = Stopped(RUN, cancelled, 0.0, client.auditor.report(RUN), journal, asked)
    naive = Played(0.0, 1.0, [], [landed("o-ticket", 2.0)])
    from countermand.demo.stage import Event

    played = Played(0.0, 1.0, [Event(1.5, "refused", "o-ticket", "REVOKED: no")], [landed("o-upload", 2.0)])
    return naive, replace(played, undone=[landed("o-upload", 3.0)]), stopped


def landed(op_id: str, at: float) -> Effect:
    """An effect in the ledger."""
    return Effect(at, op_id, ERRANDS[op_id].action, ERRANDS[op_id].resource, "x")


def failing(claims: list[Claim]) -> list[int]:
    """The places of the claims that do not hold."""
    return [place for place, claim in enumerate(claims) if not claim.holds]


def test_the_claims_can_fail(told: tuple[Played, Played, Stopped]) -> None:
    """Each claim is a count: spoil what it counts, and it fails."""
    naive, played, stopped = told
    assert failing(check(naive, played, stopped)) == []
    assert failing(check(replace(naive, stopped_at=3.0), played, stopped)) == [0]
    entries = [
        replace(entry, seq=entry.seq + 100) if entry.kind == "PERMITTED" else entry
        for entry in stopped.journal
    ]
    assert failing(check(naive, played, replace(stopped, journal=entries))) == [1]
    more = replace(played, effects=[*played.effects, landed("o-ticket", 3.0)])
    assert failing(check(naive, more, stopped)) == [2, 3]
    assert failing(check(naive, replace(played, effects=[]), stopped)) == [3]
    assert failing(check(naive, replace(played, events=[]), stopped)) == [4]
    assert failing(check(naive, replace(played, undone=[]), stopped)) == [5]
    assert failing(check(naive, played, replace(stopped, asked=UndoAsked(())))) == [5]
    assert failing(check(naive, played, replace(stopped, report=called_off(stopped.report)))) == [3, 6]


def called_off(report: Report) -> Report:
    """The report if it said that the job was called off, though it landed."""
    [done] = report.done
    assert done.call_off is not None
    said = replace(done.call_off, state=CallOffState.ACKNOWLEDGED)
    return replace(report, done=(replace(done, call_off=said),))


def test_an_agent_that_never_asks_is_caught(real: Sidecar) -> None:
    """The negative control: the same agent without its gate, in the story that claims to have one."""
    with Players() as players, real.connect_sync() as client:
        client.issuer.open(run_id=RUN)
        story = StoryWithCountermand(players, players.directory / "with", lambda *_: None, client)
        played = story.play()
        assert story.cancelled
        journal = client.auditor.entries(RUN).entries
        stopped = Stopped(RUN, story.cancelled, story.took_s, client.auditor.report(RUN), journal)
        claims = check(played, played, stopped)
    assert failing(claims) == [2, 3, 4, 5]
    assert claims[2].found == len(ERRANDS)


def test_a_claim_that_does_not_hold_is_an_error(
    told: tuple[Played, Played, Stopped], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code says so, in every form of output."""
    from countermand.cli import demo

    naive, played, stopped = told
    monkeypatch.setattr(demo, "_play", lambda _: (replace(naive, effects=[]), played, stopped))
    monkeypatch.setattr(demo, "_end_in_order_when_told", lambda: None)
    done = shell("demo", "--output", "json")
    assert done.code == ExitCode.ASK_OPERATOR
    assert done.document["holds"] is False
    for_people = shell("demo")
    assert for_people.code == ExitCode.ASK_OPERATOR
    assert "FAILS  0  without" in for_people.out
