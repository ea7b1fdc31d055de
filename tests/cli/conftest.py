"""A real sidecar for each test, a clock that is moved by hand, and a shell."""

import os
from collections.abc import Iterator

import pytest

from countermand.testing import ManualClock, Sidecar, sidecar
from tests.cli.support import Shell


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what the tester has set."""
    for name in list(os.environ):
        if name.startswith(("COUNTERMAND_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "SUDO_USER")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOGNAME", "ada")


@pytest.fixture
def clock() -> ManualClock:
    """The sidecar's clock; it stands still until it is moved."""
    return ManualClock()


@pytest.fixture
def real(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    """A real sidecar that forgets; the command finds it by COUNTERMAND_HOME."""
    with sidecar(clock=clock) as running:
        monkeypatch.setenv("COUNTERMAND_HOME", str(running.home))
        yield running


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A shell, with or without a sidecar."""
    return Shell(monkeypatch, capsys)


@pytest.fixture
def granted(real: Sidecar, shell: Shell) -> Shell:
    """A shell with the run r-1 open and the grant g-1 issued for everything."""
    assert shell("open", "--run", "r-1", "--agent", "mailer", "--subject", "u-7").code == 0
    assert shell("issue", "r-1", "--grant", "g-1", "--scope", "*").code == 0
    return shell
