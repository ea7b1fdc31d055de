"""On a terminal there are colours and progress; with NO_COLOR there are no colours; in a pipe neither."""

import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from countermand.cli.exit_codes import ExitCode
from countermand.testing import Sidecar
from tests.cli.support import Shell

PROGRAM = Path(sys.executable).parent / "countermand"
_COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command wrote to a terminal, and how it ended."""

    said: str
    code: int


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """Everything a command writes to a terminal."""
    return asked(*arguments, **variables).said


def asked(*arguments: str, typed: str = "", **variables: str) -> Asked:
    """Run a command on a terminal; `typed` is entered before it asks."""
    ours, theirs = pty.openpty()
    told = {"TERM": "xterm-256color", "COLUMNS": "100", **variables}
    command = subprocess.Popen(
        [PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | told
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(ours)
        command.wait(20)
    return Asked(said.decode(), command.returncode)


def test_colours_are_for_terminals_only(granted: Shell) -> None:
    """And for those who want them."""
    granted("cancel", "r-1", "--reason", "incident")
    assert _COLOUR.search(on_a_terminal("report", "r-1"))
    assert not _COLOUR.search(on_a_terminal("report", "r-1", NO_COLOR="1"))
    piped = subprocess.run([PROGRAM, "report", "r-1"], capture_output=True, text=True, timeout=20, check=True)
    assert "\x1b" not in piped.stdout


def test_a_document_is_plain_on_a_terminal_too(granted: Shell) -> None:
    """Programs read it there as well."""
    assert "\x1b" not in on_a_terminal("report", "r-1", "--output", "json")


def test_waiting_shows_progress_in_one_line(real: Sidecar, granted: Shell) -> None:
    """It is wiped away at the end."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    said = on_a_terminal("cancel", "r-1", "--reason", "incident", "--wait", "600ms")
    assert "\r\x1b[KWaiting: 1 action may still land, for 5 s more; giving up in" in said
    assert said.index("It is not quiet yet.") > said.rindex("\r\x1b[K")


def test_a_terminal_that_knows_no_such_letters(granted: Shell) -> None:
    """A report is printed whatever the encoding; what is lacking is written as an escape."""
    granted("cancel", "r-1", "--reason", "incident", "--note", "déjà vu")
    told = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [PROGRAM, "report", "r-1"],
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | told,
        check=True,
    )
    assert "d\\xe9j\\xe0 vu" in done.stdout
    assert "Run r-1 was stopped" in done.stdout


FREEZE = ("freeze", "--run", "r-1", "--reason", "incident", "--id", "f-1")


@pytest.mark.parametrize(("typed", "code"), [("y\n", ExitCode.OK), ("n\n", ExitCode.NOT_CONFIRMED)])
def test_what_is_hit_is_shown_before_it_is_asked_about(granted: Shell, typed: str, code: ExitCode) -> None:
    """On a terminal nothing stops before somebody has seen what, and said yes."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    done = asked(*FREEZE, typed=typed)
    assert done.code == code
    assert done.said.index("DRY RUN") < done.said.index("Freeze everything of run r-1 now? [y/N]")
    assert "1 action in flight may still land" in " ".join(done.said.split())
    assert bool(granted.json("fences")["fences"]) == (code is ExitCode.OK)
    assert ("NOTHING WAS DONE" in done.said) == (code is not ExitCode.OK)


@pytest.mark.parametrize(("typed", "code"), [("1\n", ExitCode.OK), ("y\n", ExitCode.NOT_CONFIRMED)])
def test_a_large_number_is_typed_back(granted: Shell, typed: str, code: ExitCode) -> None:
    """A yes is not enough above the limit."""
    done = asked(*FREEZE, "--confirm-above", "0", typed=typed)
    assert done.code == code
    assert "It would hit 1 run. To freeze everything of run r-1, type the number of runs:" in done.said
    assert bool(granted.json("fences")["fences"]) == (code is ExitCode.OK)


def test_waiting_for_a_fence_shows_progress_in_one_line(granted: Shell) -> None:
    """With what may still land, by action."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    done = asked(*FREEZE, "--yes", "--wait", "700ms")
    assert done.code == ExitCode.NOT_QUIET
    assert "Waiting: 1 action may still land (a.b 1); giving up in 1 s" in done.said
    assert done.said.index("It is not quiet yet") > done.said.rindex("Waiting:")


@pytest.mark.parametrize(("typed", "code"), [("y\n", ExitCode.OK), ("\n", ExitCode.NOT_CONFIRMED)])
def test_an_approval_is_asked_for_by_what_it_is(granted: Shell, typed: str, code: ExitCode) -> None:
    """The action is shown in full, with the arguments that are to replace its own."""
    granted("issue", "r-1", "--grant", "g-2", "--scope", "pay.* approval=irreversible")
    granted("prepare", "pay.out", "--op", "o-1", "--grant", "g-2", "--summary", "900 EUR to DE02")
    done = asked("approve", "r-1", "o-1", "--args", '{"amount": 1}', typed=typed)
    assert done.code == code
    for told in ("pay.out", "900 EUR to DE02", "cannot be undone", '{"amount": 1}', "Let it happen, within"):
        assert told in done.said
    assert bool(granted.json("approvals")["approvals"]) == (code is not ExitCode.OK)


def test_what_does_not_wait_is_not_asked_about(granted: Shell) -> None:
    """A mistyped op id is a mistake, with where to look."""
    done = asked("approve", "r-1", "o-9", typed="y\n")
    assert done.code == ExitCode.FIX_THE_CALL
    assert "countermand why r-1/o-9" in done.said


UNDOABLE = ("--reversibility", "compensable", "--compensation", "email.unsend")

WORKS = """
import countermand


@countermand.compensation("email.unsend")
async def unsend(duty):
    return f"c-{duty.op_id}"
"""


def _to_be_undone(shell: Shell) -> None:
    """A cancelled run with two effects that can be undone."""
    for op in ("o-1", "o-2"):
        shell("perform", "email.send", "--op", op, "--grant", "g-1", *UNDOABLE)
        shell("settle", op, "--grant", "g-1", "--succeeded")
    shell("cancel", "r-1", "--reason", "incident")


def _shown(said: str) -> str:
    """The text of all pages that were shown, one after another, without what moves the cursor."""
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).split())


def test_watching_an_undo_shows_one_page_that_is_wiped_away(granted: Shell) -> None:
    """With what is still to be undone and for how long it is watched; what it came to is left."""
    _to_be_undone(granted)
    done = asked("undo", "r-1", "--reason", "wrong template", "--yes", "--wait", "700ms")
    assert done.code == ExitCode.UNDO_PENDING
    shown = _shown(done.said)
    assert shown.count("Watching for 1 s more.") >= 1
    assert "0 of 2 effects of run r-1 undone, 2 still to be" in shown
    last_wiped = done.said.rindex("\x1b[2K")
    assert "Watching for" not in done.said[last_wiped:]
    assert "0 of 2 effects of run r-1 undone, 2 still to be" in done.said[last_wiped:]
    assert "undo_step" not in done.said, "documents are for pipes"


def test_a_watched_undo_ends_when_it_is_done(granted: Shell, tmp_path: Path) -> None:
    """The page tells each effect as it is undone, and the command does not wait on."""
    _to_be_undone(granted)
    (tmp_path / "undo_functions.py").write_text(WORKS)
    worker = subprocess.Popen(
        [PROGRAM, "compensate", "undo_functions"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        done = asked("undo", "r-1", "--reason", "wrong template", "--yes", "--wait", "60s")
    finally:
        worker.terminate()
        worker.communicate(timeout=20)
    assert done.code == ExitCode.OK
    assert "Watching for" in _shown(done.said)
    assert "2 of 2 effects of run r-1 undone." in done.said[done.said.rindex("\x1b[2K") :]
