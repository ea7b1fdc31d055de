"""On a terminal there are colours and progress; with NO_COLOR there are no colours; in a pipe neither."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from countermand.testing import Sidecar
from tests.cli.support import Shell

PROGRAM = Path(sys.executable).parent / "countermand"
_COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """Everything a command writes to a terminal."""
    ours, theirs = pty.openpty()
    told = {"TERM": "xterm-256color", "COLUMNS": "100", **variables}
    command = subprocess.Popen(
        [PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | told
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(ours)
        command.wait(20)
    return said.decode()


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
