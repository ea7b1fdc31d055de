"""The exit codes are a contract: one for each thing a script does next."""

import subprocess
import sys
from pathlib import Path

import pytest

import countermand
from countermand import CountermandError, Run
from countermand.cli.exit_codes import ExitCode, code_of
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell, one_line


def test_every_error_has_its_code() -> None:
    """The code follows what the caller does next, which the exception's parent says."""
    parents = {
        countermand.FixTheCall: ExitCode.FIX_THE_CALL,
        countermand.StopTheRun: ExitCode.STOP_THE_RUN,
        countermand.TryAgain: ExitCode.TRY_AGAIN,
        countermand.AskOperator: ExitCode.ASK_OPERATOR,
    }
    kinds = [
        kind
        for kind in vars(countermand).values()
        if isinstance(kind, type) and issubclass(kind, CountermandError)
    ]
    assert len(kinds) > 20
    for kind in kinds:
        codes = {code for parent, code in parents.items() if issubclass(kind, parent)}
        assert codes == {code_of(kind())} or kind is CountermandError


def test_nobody_listening(shell: Shell, tmp_path: Path) -> None:
    """One line: what is missing, and the command that starts it."""
    for command in (["runs"], ["cancel", "r-1", "--reason", "incident"], ["report", "r-1"], ["open"]):
        done = shell(*command, "--home", str(tmp_path))
        assert done.code == ExitCode.TRY_AGAIN
        assert one_line(done.err)
        assert "countermand serve" in done.err
        assert str(tmp_path) in done.err


def test_a_cancel_without_an_answer_is_no_stop(shell: Shell, tmp_path: Path) -> None:
    """The line says so, and what to do."""
    done = shell("cancel", "r-1", "--reason", "incident", "--home", str(tmp_path))
    assert "may NOT be stopped: repeat the command" in done.err


def test_an_unknown_run_is_not_stopped(real: Sidecar, shell: Shell) -> None:
    """A mistyped id at 3 a.m. must not look like success."""
    done = shell("cancel", "r-typo", "--reason", "incident")
    assert done.code == ExitCode.NEVER_OPENED
    assert "NOTHING WAS STOPPED" in done.err
    assert "r-typo was stopped" not in done.out
    assert "Nothing was stopped" in done.out
    assert shell("cancel", "r-typo", "--reason", "incident").code == ExitCode.NEVER_OPENED
    assert shell("open", "--run", "r-typo").code == ExitCode.STOP_THE_RUN
    document = shell("cancel", "r-typo", "--reason", "incident", "--output", "json")
    assert document.code == ExitCode.NEVER_OPENED
    assert document.document["cancel"]["known"] is False


def test_a_second_cancel_is_no_error(granted: Shell) -> None:
    """The first stop stands, and whoever repeats it is told."""
    granted("cancel", "r-1", "--reason", "user_stop", "--actor", "bob", "--tag", "t-1")
    again = granted("cancel", "r-1", "--reason", "incident")
    assert again.code == ExitCode.OK
    assert "USER_STOP by bob (operator)" in again.err
    assert "INCIDENT is not recorded" in again.err
    assert "by bob (operator): USER_STOP" in again.out
    assert "[t-1]" in again.out


def test_quiet_by_code_if_asked(granted: Shell, clock: ManualClock) -> None:
    """--exit-code tells whether something may still land; without it a cancel that worked is a success."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1", "--use-within", "5s")
    assert granted("cancel", "r-1", "--reason", "incident").code == ExitCode.OK
    assert granted("cancel", "r-1", "--reason", "incident", "--exit-code").code == ExitCode.NOT_QUIET
    assert granted("report", "r-1").code == ExitCode.OK
    assert granted("report", "r-1", "--exit-code").code == ExitCode.NOT_QUIET
    clock.advance("6s")
    assert granted("report", "r-1", "--exit-code").code == ExitCode.OK


@pytest.mark.parametrize(
    "arguments",
    [
        ["cancel", "r-1"],
        ["cancel", "r-1", "--reason", "because"],
        ["cancel", "--reason", "incident"],
        ["cancle", "r-1"],
        ["runs", "--limit", "0"],
        ["runs", "--output", "xml"],
        ["commit", "o-1"],
        ["issue", "r-1"],
        ["report", "r-1", "r-2"],
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(real: Sidecar, shell: Shell, arguments: list[str]) -> None:
    """Code 2, one line, and where the help is; nothing was asked."""
    done = shell(*arguments)
    assert done.code == ExitCode.USAGE
    assert done.out == ""
    assert one_line(done.err)
    assert "--help" in done.err


def test_a_wrong_length_of_time_is_refused(granted: Shell) -> None:
    """Nothing is stopped by a command with a mistake in it."""
    done = granted("cancel", "r-1", "--reason", "incident", "--wait", "soon")
    assert done.code == ExitCode.FIX_THE_CALL
    assert one_line(done.err)
    assert granted.json("report", "r-1")["run"]["state"] == "ACTIVE"


def test_a_defect_is_one_line_and_a_trace_on_request(
    real: Sidecar, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads a traceback at 3 a.m.; whoever wants it can have it."""
    from countermand.cli import run_list

    def broken(_: Run) -> str:
        raise ZeroDivisionError("by zero")

    shell("open", "--run", "r-1")
    monkeypatch.setattr(run_list, "_ended", broken)
    done = shell("runs")
    assert done.code == ExitCode.ASK_OPERATOR
    assert one_line(done.err)
    assert "ZeroDivisionError" in done.err
    assert "Traceback" in shell("runs", COUNTERMAND_TRACEBACK="1").err


def test_a_stop_whose_report_is_unread_is_told_apart(granted: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is stopped and the line says so: code 6, not 5."""
    from grant_service.core.errors import ErrorReason, Refused
    from grant_service.rpc import control

    def unreadable(*_: object) -> None:
        raise Refused(ErrorReason.STORE_UNAVAILABLE, cause="disk")

    monkeypatch.setattr(control, "report_message", unreadable)
    done = granted("cancel", "r-1", "--reason", "incident", "--timeout", "300ms")
    assert done.code == ExitCode.NOT_QUIET
    assert "Run r-1 IS stopped" in done.err
    monkeypatch.undo()


def test_home_is_taken_before_and_behind_the_verb(real: Sidecar, shell: Shell) -> None:
    """And wins over the environment."""
    home = str(real.home)
    for arguments in (["--home", home, "runs"], ["runs", "--home", home]):
        assert shell(*arguments, COUNTERMAND_HOME="/nowhere", COUNTERMAND_TARGET="127.0.0.1:1").code == 0
    assert shell("runs", COUNTERMAND_HOME="/nowhere").code == ExitCode.TRY_AGAIN
    assert shell("--home", "/nowhere", "runs", "--home", home).code == 0
    assert shell("runs", "--home", home, "--target", "127.0.0.1:7420").code == ExitCode.FIX_THE_CALL
    assert shell("runs", "--target", "192.0.2.1:7420").code == ExitCode.FIX_THE_CALL


def test_the_installed_program_ends_with_the_code(real: Sidecar) -> None:
    """The entry point hands the code to the shell, and prints no traceback into a closed pipe."""
    program = Path(sys.executable).parent / "countermand"
    done = subprocess.run([program, "report", "nope"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (ExitCode.FIX_THE_CALL, "")
    assert one_line(done.stderr)
    closed = subprocess.run(
        ["bash", "-c", f"{program} --help | head -1"], capture_output=True, text=True, timeout=20
    )
    assert "Traceback" not in closed.stderr
