"""The shell offers what there is: live runs, kept grants, reasons. It is silent when nobody answers."""

import time
from pathlib import Path

import pytest

from countermand.testing import Sidecar
from tests.cli.support import Shell


def offered(shell: Shell, line: str, **variables: str) -> list[str]:
    """What bash would offer at the end of this line."""
    words = line.split(" ")
    asked = {"_COUNTERMAND_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = shell(**asked, **variables)
    assert done.code == 0
    assert done.err == ""
    return [one for one in done.out.splitlines() if one]


@pytest.fixture
def busy(granted: Shell) -> Shell:
    """Two active runs and a stopped one."""
    granted("open", "--run", "r-2")
    granted("open", "--run", "x-3")
    granted("cancel", "r-2", "--reason", "incident")
    return granted


def test_verbs_are_offered(shell: Shell) -> None:
    """By their beginning."""
    assert offered(shell, "countermand ca") == ["cancel"]
    assert {"cancel", "report", "demo"} <= set(offered(shell, "countermand "))


def test_a_stop_is_offered_active_runs_only(busy: Shell) -> None:
    """A report is offered all of them."""
    assert offered(busy, "countermand cancel ") == ["x-3", "r-1"]
    assert offered(busy, "countermand cancel r") == ["r-1"]
    assert offered(busy, "countermand report r-") == ["r-2", "r-1"]
    assert offered(busy, "countermand journal x") == ["x-3"]


def test_the_home_said_on_the_line_counts(busy: Shell, real: Sidecar) -> None:
    """Before and behind the verb."""
    home = str(real.home)
    assert offered(busy, f"countermand --home {home} cancel r", COUNTERMAND_HOME="/nowhere") == ["r-1"]
    assert offered(busy, f"countermand report --home {home} r-1", COUNTERMAND_HOME="/nowhere") == ["r-1"]


def test_reasons_are_offered_in_any_spelling(shell: Shell) -> None:
    """Those a person may give; the others are the sidecar's own."""
    assert "user_stop" in offered(shell, "countermand cancel r-1 --reason ")
    assert "store_epoch" not in offered(shell, "countermand cancel r-1 --reason ")
    assert offered(shell, "countermand cancel r-1 --reason po") == ["policy"]


def test_a_fence_is_offered_what_it_can_stand_over(busy: Shell) -> None:
    """Active runs, kept grants, reasons."""
    assert offered(busy, "countermand freeze --run ") == ["x-3", "r-1"]
    assert offered(busy, "countermand revoke --grant ") == ["g-1"]
    assert offered(busy, "countermand freeze --all --reason inc") == ["incident"]


def test_a_lift_is_offered_freezes_that_stand(busy: Shell) -> None:
    """A revoke cannot be lifted, and a lifted one need not be."""
    for fence in ("f-1", "f-2"):
        busy("freeze", "--run", "r-1", "--reason", "incident", "--id", fence, "--yes")
    busy("revoke", "--run", "r-1", "--reason", "incident", "--id", "f-3", "--yes")
    busy("lift", "f-2", "--note", "over")
    assert offered(busy, "countermand lift ") == ["f-1"]


def test_a_person_is_offered_what_waits_for_them(busy: Shell) -> None:
    """The run first, then its actions."""
    busy("issue", "x-3", "--grant", "g-p", "--scope", "pay.* approval=irreversible")
    busy("prepare", "pay.out", "--op", "o-1", "--grant", "g-p", "--summary", "900 EUR")
    assert offered(busy, "countermand approve ") == ["x-3"]
    assert offered(busy, "countermand deny x-3 ") == ["o-1"]
    assert offered(busy, "countermand deny r-1 ") == []


def test_kept_grants_are_offered(busy: Shell) -> None:
    """The youngest first."""
    busy("issue", "r-1", "--grant", "g-2", "--scope", "*")
    assert set(offered(busy, "countermand commit o-1 --grant ")) == {"g-1", "g-2"}
    assert offered(busy, "countermand commit o-1 --grant g-2") == ["g-2"]


def test_nobody_answers(shell: Shell, tmp_path: Path) -> None:
    """No offer, no error in the middle of a line, and no long wait."""
    began = time.monotonic()
    assert offered(shell, "countermand cancel ", COUNTERMAND_HOME=str(tmp_path)) == []
    for line in ("commit o-1 --grant ", "lift ", "approve ", "deny r-1 "):
        assert offered(shell, f"countermand {line}", COUNTERMAND_HOME=str(tmp_path)) == []
    assert time.monotonic() - began < 6


def test_the_script_for_the_shell_is_printed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """--show-completion has what goes into a start-up file."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = shell(_COUNTERMAND_COMPLETE="source_bash")
    assert done.code == 0
    assert "_COUNTERMAND_COMPLETE=complete_bash" in done.out
