"""`exec`: a command runs under a permit or not at all, and with its authority goes all that it started."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from countermand import Report, ReportedAction
from countermand.cli.exit_codes import ExitCode
from countermand.sync import connect
from countermand.testing import ManualClock, Sidecar, sidecar
from tests.cli.support import Shell

PROGRAM = (sys.executable, "-c", "import sys; from countermand.cli import main; sys.exit(main())")
DEPLOY = ("exec", "--action", "deploy.prod", "--resource", "host:web-1")

#: Begins a grandchild; both hear no SIGTERM and write down who they are.
STUBBORN = """
trap '' TERM
echo $$ > {0}/parent
sh -c 'trap "" TERM; echo $$ > {0}/child; while :; do sleep 0.05; done' &
while :; do sleep 0.05; done
"""


def until(is_so: Callable[[], Any], seconds: float = 30) -> None:
    """Wait for a condition."""
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Say whether a process is gone, or is only still to be buried by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Running:
    """An `exec` as a process of its own."""

    def __init__(self, home: Path, *options: str, script: str = "", command: tuple[str, ...] = ()) -> None:
        line = [*PROGRAM, *DEPLOY, *options, "--", *(command or ("sh", "-c", script))]
        self.process = subprocess.Popen(
            line,
            env=dict(os.environ) | {"COUNTERMAND_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, typed: str = "") -> tuple[int, str, str]:
        """Wait for its end: its code, and what it wrote."""
        out, err = self.process.communicate(typed, timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def start(granted: Shell, real: Sidecar) -> Iterator[Callable[..., Running]]:
    """Starts `exec`s for the grant g-1 of run r-1, and leaves none."""
    started: list[Running] = []

    def one(*options: str, **more: Any) -> Running:
        who = () if "--run" in options else ("--grant", "g-1")
        started.append(Running(real.home, *who, *options, **more))
        return started[-1]

    yield one
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


def report(real: Sidecar) -> Report:
    """The run's report."""
    with connect(real.home) as cm:
        return cm.auditor.report("r-1")


def only(real: Sidecar) -> ReportedAction:
    """The one action there is."""
    told = report(real)
    parts = (told.done, told.unknown, told.in_flight, told.not_done, told.interrupted, told.pending)
    (action,) = [action for part in parts for action in part]
    return action


def test_a_command_runs_once_with_what_names_its_effect(
    start: Callable[..., Running], real: Sidecar, granted: Shell
) -> None:
    """It reads and writes as if nothing were in between; no token is in its environment."""
    script = 'read line; echo "$line $COUNTERMAND_OP_ID $COUNTERMAND_FENCE"; env | grep -c "eyJ" >&2'
    token = granted("issue", "r-1", "--scope", "*", "--print-token").out.strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERMAND_GRANT_TOKEN", token)
        code, out, err = start("--op", "o-1", script=f"{script}; true").end("hello\n")
    action = only(real)
    assert (code, out, err) == (0, f"hello o-1 {action.fence}\n", "0\n")
    assert (action.state, action.receipt) == ("SUCCEEDED", "exit code 0")
    again = start("--op", "o-1", script=f"{script}; true").end("hello\n")
    assert (again[0], again[1]) == (ExitCode.FIX_THE_CALL, "")
    other = start("--op", "o-1", script="true").end()
    assert "OP_ID_CONFLICT" in other[2], "the permit is for the command line as well"


def test_what_is_refused_never_begins(
    start: Callable[..., Running], real: Sidecar, granted: Shell, tmp_path: Path
) -> None:
    """A cancelled run, a grant for something else, no sidecar: the command is not there to act."""
    mark = tmp_path / "begun"
    script, kept = f"touch {mark}", f"@{real.home}/grants/g-1.token"
    granted("issue", "r-1", "--grant", "g-2", "--scope", "email.*")
    assert start("--grant", "g-2", script=script).end()[0] == ExitCode.STOP_THE_RUN
    granted("cancel", "r-1", "--reason", "user_stop")
    code, _, err = start(script=script).end()
    assert (code, err.count("\n")) == (ExitCode.STOP_THE_RUN, 1)
    assert "REVOKED" in err
    nobody = start("--home", str(tmp_path), "--grant", kept, script=script)
    assert nobody.end()[0] == ExitCode.TRY_AGAIN
    assert not mark.exists()
    assert [one.action for one in report(real).late_attempts] == ["deploy.prod"]


@pytest.mark.parametrize(
    ("script", "code", "state", "note"),
    [
        ("exit 7", 7, "UNKNOWN", "exit code 7"),
        ("exit 3", 3, "FAILED", "exit code 3"),
        ("kill -9 $$", 137, "UNKNOWN", "killed by SIGKILL"),
    ],
)
def test_how_it_ends_is_what_became_of_it(
    start: Callable[..., Running], real: Sidecar, script: str, code: int, state: str, note: str
) -> None:
    """What failed half-way may have acted, unless the owner of the command knows its codes."""
    assert start("--failed-codes", "2-4,9", script=script).end()[0] == code
    action = only(real)
    assert (action.state, action.note) == (state, note)


@pytest.mark.parametrize(("mode", "code"), [(None, ExitCode.NO_SUCH_COMMAND), (0o644, ExitCode.CANNOT_START)])
def test_what_cannot_be_started_has_failed(
    start: Callable[..., Running], real: Sidecar, tmp_path: Path, mode: int | None, code: ExitCode
) -> None:
    """It certainly did nothing."""
    path = tmp_path / "deploy.sh"
    if mode is not None:
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    ended = start(command=(str(path),)).end()
    assert (ended[0], ended[2].count("\n")) == (code, 1)
    assert only(real).state == "FAILED"


def test_a_stop_ends_the_command_and_all_it_started(
    start: Callable[..., Running], real: Sidecar, granted: Shell, tmp_path: Path
) -> None:
    """Also what ignores SIGTERM, when its grace is over; nobody calls stopped what may have happened."""
    running = start("--grace", "200ms", script=STUBBORN.format(tmp_path))
    pids = both(tmp_path)
    assert only(real).state == "PERMITTED"
    granted("cancel", "r-1", "--reason", "user_stop", "--note", "wrong host")
    code, _, err = running.end()
    assert code == ExitCode.STOP_THE_RUN
    assert "USER_STOP" in err
    assert "wrong host" in err
    until(lambda: all(map(is_gone, pids)))
    action = only(real)
    assert (action.state, action.note) == ("UNKNOWN", "stopped: killed by SIGKILL")


def both(folder: Path) -> list[int]:
    """Wait for the stubborn command and what it began."""
    names = [folder / name for name in ("parent", "child")]
    until(lambda: all(one.exists() and one.read_text().endswith("\n") for one in names))
    return [int(one.read_text()) for one in names]


def test_a_command_that_ends_well_after_a_stop_is_no_success(
    start: Callable[..., Running], real: Sidecar, granted: Shell, tmp_path: Path
) -> None:
    """It may have cleaned up, or have done all of it: the caller is told to stop, whatever it says."""
    running = start(script=f"trap 'exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.02; done")
    until(lambda: (tmp_path / "up").exists())
    granted("cancel", "r-1", "--reason", "user_stop")
    assert running.end()[0] == ExitCode.STOP_THE_RUN
    assert (only(real).state, only(real).note) == ("UNKNOWN", "stopped: exit code 0")


def test_nothing_runs_on_unowned(
    start: Callable[..., Running], real: Sidecar, clock: ManualClock, tmp_path: Path
) -> None:
    """If `exec` itself is killed, its keeper kills the group; the report does not know the outcome."""
    running = start(script=STUBBORN.format(tmp_path))
    pids = both(tmp_path)
    running.process.kill()
    until(lambda: all(map(is_gone, pids)))
    assert only(real).state == "PERMITTED"
    clock.advance(60)
    assert only(real).state == "UNKNOWN"


def test_what_a_command_leaves_behind_ends_with_it(
    start: Callable[..., Running], real: Sidecar, tmp_path: Path
) -> None:
    """Its outcome is on record then; nothing of its group goes on acting."""
    begin = f"sh -c 'echo $$ > {tmp_path}/child; sleep 600' >/dev/null 2>&1 &"
    wait = f"until [ -s {tmp_path}/child ]; do sleep 0.01; done"
    assert start(script=f"{begin} {wait}").end()[0] == 0
    until(lambda: is_gone(int((tmp_path / "child").read_text())))
    assert only(real).state == "SUCCEEDED"


def test_signals_are_the_commands(start: Callable[..., Running], real: Sidecar, tmp_path: Path) -> None:
    """Who ends `exec` ends the command, which may have its own way of doing so."""
    running = start(script=f"trap 'exit 9' TERM; touch {tmp_path}/up; while :; do sleep 0.02; done")
    until(lambda: (tmp_path / "up").exists())
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 9


def _read_until(terminal: int, word: bytes) -> bytes:
    """Read what is shown, up to a word."""
    seen, ends = b"", time.monotonic() + 60
    while word not in seen:
        assert select.select([terminal], [], [], max(0.0, ends - time.monotonic()))[0], seen
        try:
            seen += os.read(terminal, 1024)
        except OSError:  # nobody has it any more
            return seen
    return seen


def test_ctrl_c_reaches_the_command_on_a_terminal(real: Sidecar, granted: Shell) -> None:
    """It has the terminal while it runs, and `exec` has it again afterwards."""
    # Not a shell, which can miss a Ctrl-C just when it starts something.
    wait = 'import time; print("up", flush=True); time.sleep(600)'
    where = ("--grant", "g-1", "--home", str(real.home))
    line = [*PROGRAM, *DEPLOY, *where, "--", sys.executable, "-c", wait]
    script = (
        'import os, subprocess, sys; code = subprocess.call(sys.argv[1:]); os.write(1, b"code %d\\n" % code)'
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script, *line])  # noqa: S606 - a terminal of its own
    try:
        seen = _read_until(terminal, b"up")
        os.write(terminal, b"\x03")
        seen += _read_until(terminal, b"code")
    finally:
        os.close(terminal)  # whoever still has it is hung up on
        os.waitpid(pid, 0)
    assert only(real).note == "killed by SIGINT", seen


def test_a_run_is_enough_for_its_owner(start: Callable[..., Running], real: Sidecar) -> None:
    """A grant for this action, once, is issued on the way, and lies nowhere."""
    assert start("--run", "r-1", script="true").end()[0] == 0
    with connect(real.home) as cm:
        issued = [one.data for one in cm.auditor.entries("r-1").entries if one.kind == "ISSUED"][-1]
    assert issued["scopes"] == '[["deploy.prod","host:web-1",1,"IRREVERSIBLE",""]]'
    assert issued["sealed"] == "1"


@pytest.mark.parametrize("stop", [True, False])
def test_a_sidecar_that_goes_away_ends_it_or_not(tmp_path: Path, stop: bool) -> None:
    """As was asked for. What became of it is then not on record, and that is said."""
    with sidecar() as away:
        with connect(away.home) as cm:
            cm.issuer.open(run_id="r-1")
        more = ("--on-disconnect", "stop") if stop else ()
        up, go = tmp_path / "up", tmp_path / "go"
        script = f"touch {up}; until [ -e {go} ]; do sleep 0.02; done"
        running = Running(away.home, "--run", "r-1", *more, script=script)
        until(up.exists)
    if not stop:
        go.touch()
    code, _, err = running.end()
    assert code == (ExitCode.STOP_THE_RUN if stop else 0)
    assert "is not on record" in err


def test_its_standard_input_is_the_commands(granted: Shell) -> None:
    """So neither token nor arguments come from there; and other mistakes of the command line are told."""
    for wrong in (
        ("--grant", "-"),
        ("--args", "-"),
        ("--grant", "g-1", "--run", "r-1"),
        ("--failed-codes", "0"),
        ("--failed-codes", "4-2"),
        ("--on-disconnect", "what"),
    ):
        assert granted(*DEPLOY, *wrong, "--", "true").code == ExitCode.USAGE
