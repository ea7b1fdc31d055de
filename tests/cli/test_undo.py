"""Undo from the command line: what is shown and asked before, what is watched, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import countermand
import countermand.sync
from countermand import _registry
from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock
from tests.cli.support import Shell, one_line

UNDOABLE = ("--reversibility", "compensable", "--compensation", "email.unsend")


def effect(shell: Shell, op: str, *more: str, run: str = "g-1") -> None:
    """Have one effect."""
    assert shell("perform", "email.send", "--op", op, "--grant", run, *more).code == 0
    assert shell("settle", op, "--grant", run, "--succeeded", "--receipt", f"m{op[1:]}").code == 0


@pytest.fixture
def stopped(granted: Shell) -> Shell:
    """A cancelled run with two effects that can be undone, and between them one that cannot."""
    effect(granted, "o-1", *UNDOABLE, "--resource", "mailto:a@b.example")
    effect(granted, "o-2")
    effect(granted, "o-3", *UNDOABLE, "--compensation-args", '{"to": "a"}')
    assert granted("cancel", "r-1", "--reason", "incident").code == 0
    return granted


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `undo_functions` below the current directory, to be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path / "undo_functions.py"
    sys.modules.pop("undo_functions", None)
    _registry.shared._functions.clear()


WORKS = """
import countermand

registry = countermand.Registry()


@registry.compensation("email.unsend")
async def unsend(duty):
    return f"c-{duty.op_id}"
"""


def test_a_dry_run_tells_what_in_which_order_and_what_not(stopped: Shell) -> None:
    """The service answers it, and nothing is asked for."""
    told = stopped("undo", "r-1", "--dry-run")

    assert told.code == ExitCode.OK
    assert told.out.startswith("DRY RUN: nothing is undone.")
    assert told.out.index("o-3") < told.out.index("o-1") < told.out.index("it is irreversible")
    steps = stopped.json("undo", "r-1", "--dry-run")["steps"]
    assert [(one["op_id"], one["how"]) for one in steps] == [
        ("o-3", "email.unsend"),
        ("o-2", ""),
        ("o-1", "email.unsend"),
    ]
    assert "Nothing of run r-1 is to be undone." in stopped("undo", "r-1", "--status").out


def test_nothing_is_undone_that_nobody_meant(stopped: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal it needs --yes, on one it is asked; and it always needs a reason."""
    assert stopped("undo", "r-1", "--yes").code == ExitCode.USAGE
    refused = stopped("undo", "r-1", "--reason", "wrong template")
    assert refused.code == ExitCode.NOT_CONFIRMED
    assert "NOTHING WAS DONE" in refused.err

    monkeypatch.setattr(countermand.cli.confirming, "there_is_a_terminal", lambda: True)
    for typed, code in (("n\n", ExitCode.NOT_CONFIRMED), ("y\n", ExitCode.OK)):
        asked = stopped("undo", "r-1", "--reason", "wrong template", typed=typed)
        assert asked.code == code
        assert "To be undone, in this order (2)" in asked.err
        assert "Undo 2 effects of run r-1 now? [y/N]" in asked.err
    assert stopped("undo", "r-1", "--status").code == ExitCode.UNDO_PENDING


def test_an_undo_is_asked_for_and_carried_out(stopped: Shell, functions: Path) -> None:
    """Who asked and who did it, and with which receipt, is in the report; to ask twice changes nothing."""
    functions.write_text(WORKS)
    for _ in range(2):
        asked = stopped("undo", "r-1", "--reason", "wrong template", "--yes")
        assert asked.code == ExitCode.OK
        assert "0 of 2 effects of run r-1 undone, 2 still to be, 1 cannot be." in asked.out
    done = stopped("compensate", "undo_functions:registry", "--once", "--name", "night")
    assert done.code == ExitCode.OK
    assert "Compensator night is ready: email.unsend (undo)" in done.err
    assert [(line["what"], line["op_id"]) for line in done.lines] == [
        ("BEGUN", "o-3"),
        ("DONE", "o-3"),
        ("BEGUN", "o-1"),
        ("DONE", "o-1"),
    ]
    assert done.lines[1]["receipt"] == "c-o-3"

    told = stopped("undo", "r-1", "--status")
    assert told.code == ExitCode.OK
    assert told.out.startswith("2 of 2 effects of run r-1 undone.")
    assert stopped.json("undo", "r-1", "--status")["verdict"] == "UNDONE"
    report = stopped("report", "r-1").out
    assert "by night (compensator), receipt c-o-1 (asked by ada (operator))" in report


def test_what_is_named_and_cannot_be_undone_is_a_failure(stopped: Shell) -> None:
    """Of all of it, what cannot is only named."""
    both = stopped("undo", "r-1", "--reason", "x", "--yes", "--action", "o-1", "--action", "o-2")
    assert both.code == ExitCode.NOT_UNDONE
    alone = stopped("undo", "r-1", "--reason", "x", "--yes", "--action", "o-2")
    assert alone.code == ExitCode.NOTHING_HIT
    assert "it is irreversible" in alone.out
    unknown = stopped("undo", "r-1", "--reason", "x", "--yes", "--action", "o-9")
    assert unknown.code == ExitCode.FIX_THE_CALL
    assert one_line(unknown.err)


def test_an_undo_that_was_given_up_stays_visible(stopped: Shell, functions: Path) -> None:
    """With the function's own line; the exit code says that a person has to look."""
    functions.write_text(WORKS.replace('return f"c-{duty.op_id}"', 'raise countermand.GiveUp("no mailbox")'))
    stopped("undo", "r-1", "--reason", "wrong template", "--yes")
    done = stopped("compensate", "undo_functions:registry", "--once")
    assert done.code == ExitCode.NOT_UNDONE
    assert done.lines[1]["note"] == "no mailbox"

    told = stopped("undo", "r-1", "--status", "--wait", "5s")
    assert told.code == ExitCode.NOT_UNDONE
    assert "NOT UNDONE, given up after 1 attempt: no mailbox" in told.out
    assert "NOT UNDONE, given up after 1 attempt: no mailbox" in stopped("report", "r-1").out


def test_what_is_tried_again_later_is_left_by_once(
    stopped: Shell, functions: Path, clock: ManualClock
) -> None:
    """Its text is for whoever runs the compensator; the report has only the type."""
    functions.write_text(WORKS.replace('return f"c-{duty.op_id}"', 'raise ValueError("a secret")'))
    stopped("undo", "r-1", "--reason", "wrong template", "--yes")
    done = stopped("compensate", "undo_functions:registry", "--once")
    assert done.code == ExitCode.UNDO_PENDING
    assert done.lines[1]["error"] == "ValueError: a secret"
    assert done.lines[1]["due_time"]
    told = stopped("undo", "r-1", "--status")
    assert told.code == ExitCode.UNDO_PENDING
    assert "being undone, 1 attempt so far: left by ValueError" in told.out
    assert "a secret" not in stopped("journal", "r-1", "--output", "jsonl").out


LOST = """
import countermand

registry = countermand.Registry()


@registry.compensation("email.unsend")
async def unsend(duty):
    async with countermand.connect() as cm:
        await cm.operator.withdraw_undo("r-1", ["o-1"], note="legal hold")
    raise countermand.NotDone("the server is down")
"""


def test_what_was_lost_meanwhile_is_no_success(stopped: Shell, functions: Path) -> None:
    """Whether it was done by then, nobody can say who lost it."""
    functions.write_text(LOST)
    stopped("undo", "r-1", "--reason", "wrong template", "--yes", "--action", "o-1")
    done = stopped("compensate", "undo_functions:registry", "--once")
    assert [line["what"] for line in done.lines] == ["BEGUN", "LOST"]
    assert done.code == ExitCode.UNDO_PENDING


def test_an_undo_is_watched_until_it_is_over(
    stopped: Shell, functions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change is a document of its own, and the last one says how it ended."""
    functions.write_text(WORKS)
    home = os.environ["COUNTERMAND_HOME"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "countermand.cli.app", "compensate", "undo_functions:registry"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COUNTERMAND_HOME": home},
    )
    try:
        done = stopped("undo", "r-1", "--reason", "x", "--yes", "--wait", "20s", "--output", "jsonl")
    finally:
        worker.send_signal(signal.SIGTERM)
        said, talk = worker.communicate(timeout=20)
    assert done.code == ExitCode.OK
    states = [line["state"] for line in done.lines if line["op_id"] == "o-1"]
    assert (states[0], states[-1]) == ("UNDO_PENDING", "UNDONE")
    assert worker.returncode == 0, talk
    assert [json.loads(line)["what"] for line in said.splitlines()].count("DONE") == 2


def test_a_watch_that_is_over_too_early_says_so(stopped: Shell) -> None:
    """Nobody carries it out."""
    done = stopped("undo", "r-1", "--reason", "x", "--yes", "--wait", "300ms")
    assert done.code == ExitCode.UNDO_PENDING
    assert "2 still to be" in done.out


def test_the_authority_to_undo_is_taken_back(stopped: Shell) -> None:
    """For good."""
    taken = stopped("undo", "r-1", "--withdraw", "o-1", "--reason", "legal hold")
    assert taken.code == ExitCode.OK
    assert one_line(taken.out)
    told = stopped("undo", "r-1", "--dry-run")
    assert "the authority to undo it was taken back" in told.out
    for wrong in (
        ("--withdraw", "o-1"),
        ("--withdraw", "o-1", "--reason", "x", "--action", "o-1"),
        ("--withdraw", "o-1", "--status"),
    ):
        assert stopped("undo", "r-1", *wrong).code == ExitCode.USAGE


def test_a_run_at_work_is_not_undone(granted: Shell) -> None:
    """Its next effect would build on what is being taken away."""
    effect(granted, "o-1", *UNDOABLE)
    refused = granted("undo", "r-1", "--reason", "x", "--yes")
    assert refused.code == ExitCode.FIX_THE_CALL
    assert "RUN_ACTIVE" in refused.err


def test_an_outcome_is_resolved_with_evidence(granted: Shell, clock: ManualClock) -> None:
    """Not while it can still happen; then it is in the report who said so, and how they knew."""
    granted("perform", "email.send", "--op", "o-1", "--grant", "g-1", "--use-within", "2s")
    resolve = ("resolve", "r-1", "o-1", "--failed", "--evidence", "not in the outbox")
    early = granted(*resolve)
    assert early.code == ExitCode.TRY_AGAIN
    assert one_line(early.err)
    assert "IN_FLIGHT" in early.err
    clock.advance("3s")
    assert granted(*resolve).code == ExitCode.OK
    assert "as it was before" in granted(*resolve).out
    assert granted("resolve", "r-1", "o-1", "--succeeded", "--evidence", "x").code == ExitCode.FIX_THE_CALL
    assert granted("resolve", "r-1", "o-1", "--evidence", "x").code == ExitCode.USAGE
    report = granted("report", "r-1").out
    assert "ada (operator): “not in the outbox”" in report


def test_a_job_that_was_accepted_is_called_off(granted: Shell, functions: Path) -> None:
    """It is said by settle, and the report tells what the outside world answered."""
    functions.write_text(
        "import countermand\n\n\n"
        '@countermand.canceller("job.cancel")\n'
        "def cancel(duty):\n"
        '    return None if duty.handle == "job-1" else countermand.Refused("it is being rendered")\n'
    )
    for n in (1, 2):
        granted("perform", "video.render", "--op", f"o-{n}", "--grant", "g-1")
        granted("settle", f"o-{n}", "--grant", "g-1", "--succeeded", *job(n))
    assert "job-1 was only accepted" in granted("report", "r-1").out
    granted("cancel", "r-1", "--reason", "user_stop")
    assert granted("compensate", "undo_functions", "--once").code == ExitCode.OK
    report = granted("report", "r-1").out
    assert "job-1 was called off" in report
    assert "job-2 will NOT be called off: it is being rendered" in report


def test_every_job_is_told_also_one_that_nobody_can_call_off(
    granted: Shell, functions: Path, tmp_path: Path
) -> None:
    """By settle, which is not refused, by the report in every form, and by the story, with who did what."""
    functions.write_text(
        'import countermand\n\n\n@countermand.canceller("job.cancel")\ndef cancel(duty):\n    return None\n'
    )
    granted("perform", "video.render", "--op", "o-1", "--grant", "g-1")
    settle = ("settle", "o-1", "--grant", "g-1")
    assert granted(*settle, "--unknown", *job(1)).code == ExitCode.OK
    told = granted(*settle, "--succeeded", "--handle", "job-2")
    assert told.code == ExitCode.OK
    assert "Nobody can call off job-2: its tool named nobody who could." in told.out
    assert granted.json(*settle, "--succeeded", *job(3))["why_not_called_off"] == ""
    granted("cancel", "r-1", "--reason", "user_stop")
    assert granted("compensate", "undo_functions", "--once").code == ExitCode.OK
    page = tmp_path / "report.html"
    granted("report", "r-1", "--html", "--output-file", str(page))
    for text in (granted("report", "r-1").out, page.read_text()):
        assert "job-1 was called off" in text
        assert "job-2 was only accepted and CANNOT be called off: its tool named nobody who could" in text
        assert "job-3 was called off" in text
    [done] = granted.json("report", "r-1")["done"]
    told_of = [done["call_off"], *done["more_call_offs"]]
    assert [(one["handle"], one["state"]) for one in told_of] == [
        ("job-1", "ACKNOWLEDGED"),
        ("job-2", "IMPOSSIBLE"),
        ("job-3", "ACKNOWLEDGED"),
    ]
    story = granted("why", "r-1/o-1").out
    assert "SUCCEEDED job-2 its tool named nobody who could" in story
    for handle in ("job-1", "job-3"):
        assert re.search(rf"CALLED_OFF +\S+ \(compensator\): ACKNOWLEDGED {handle}", story)


def job(n: int) -> tuple[str, ...]:
    """How settle is told of a job."""
    return ("--handle", f"job-{n}", "--canceller", "job.cancel")


@pytest.mark.parametrize(
    ("functions_text", "named", "said"),
    [
        ("", "undo functions", "must read MODULE or MODULE:REGISTRY"),
        ("import nowhere_at_all", "undo_functions", "cannot be imported: ModuleNotFoundError"),
        ("", "undo_functions:registry", "has no Registry called registry"),
        ("import countermand\nr = countermand.Registry()", "undo_functions:r", "registers no compensation"),
    ],
)
def test_functions_that_cannot_be_used_are_said_in_one_line(
    shell: Shell, functions: Path, functions_text: str, named: str, said: str
) -> None:
    """Before anything is claimed."""
    functions.write_text(functions_text)
    done = shell("compensate", named, "--once")
    assert done.code == ExitCode.USAGE
    assert one_line(done.err)
    assert said in done.err


def test_once_does_not_wait_for_a_sidecar(shell: Shell, functions: Path, tmp_path: Path) -> None:
    """It says that none is running."""
    functions.write_text(WORKS)
    done = shell("compensate", "undo_functions:registry", "--once", COUNTERMAND_HOME=str(tmp_path / "none"))
    assert done.code == ExitCode.TRY_AGAIN
    assert "no sidecar is running" in done.err


SLOW = """
import asyncio
import pathlib

import countermand

registry = countermand.Registry()


@registry.compensation("email.unsend")
async def unsend(duty):
    pathlib.Path("begun").touch()
    await asyncio.sleep({seconds})
"""


@pytest.mark.parametrize(
    ("signals", "seconds", "code", "state"),
    [
        ([signal.SIGTERM], 1, 0, "UNDONE"),
        ([signal.SIGINT], 1, ExitCode.INTERRUPTED, "UNDONE"),
        ([signal.SIGTERM, signal.SIGTERM], 60, 0, "UNDO_PENDING"),
    ],
)
def test_a_compensator_that_is_told_to_end_ends_in_order(
    stopped: Shell, functions: Path, signals: list[int], seconds: int, code: int, state: str
) -> None:
    """What is under way comes to its end; told twice, it lets go."""
    functions.write_text(SLOW.format(seconds=seconds))
    stopped("undo", "r-1", "--reason", "x", "--yes", "--action", "o-1")
    command = [sys.executable, "-m", "countermand.cli.app", "compensate", "undo_functions:registry"]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        ends_at = time.monotonic() + 20
        while not (functions.parent / "begun").exists():
            assert worker.poll() is None, worker.communicate()
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        for number in signals:
            worker.send_signal(number)
            time.sleep(0.1)
        _, talk = worker.communicate(timeout=20)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == code, talk
    assert "Traceback" not in talk
    assert stopped.json("report", "r-1")["done"][0]["state"] == state
