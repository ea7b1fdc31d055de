"""Attack: somebody else on the machine gets at the sockets, or was there first. Nothing starts then."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from grant_service.__main__ import main
from tests.rpc.support import short_home
from tests.rpc.test_log import logs as logs_as_configured
from tests.rpc.test_sockets import as_nobody
from tests.support.sidecar import ROLES, sidecar_running

logs = logs_as_configured


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that an attacker may have prepared."""
    with short_home() as one:
        yield one


def refused_to_start(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Why it does not start: exit code 1, and one line."""
    assert main(["--home", str(home), "--store", "memory", "--log-level", "error"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("countermand serve: ")
    assert said.err.count("\n") == 1
    return said.err.strip()


def test_another_user_cannot_reach_the_operators_socket() -> None:
    """Nor any of the others, whatever umask the sidecar was started with."""
    before = os.umask(0)
    try:
        with sidecar_running(store="memory") as handle:
            handle.home.chmod(0o755)
            assert [as_nobody(handle.socket(role)) for role in ROLES] == ["EACCES"] * len(ROLES)
    finally:
        os.umask(before)


def test_a_socket_laid_out_before_the_start_is_no_way_in(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The attacker listens where the operator's socket will be: the start is refused."""
    (home / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(str(home / "run" / "operator.sock"))
        trap.listen()
        assert "another process listens on" in refused_to_start(home, capsys)


def test_a_link_laid_out_before_the_start_is_not_followed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would make the socket in a directory of the attacker's."""
    theirs = home / "theirs"
    theirs.mkdir(mode=0o777)
    (home / "run").mkdir(mode=0o700)
    (home / "run" / "tool.sock").symlink_to(theirs / "tool.sock")
    assert "exists and is no socket" in refused_to_start(home, capsys)
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("directory", ["", "run", "keys"])
def test_a_directory_that_others_can_enter_stops_the_start(
    home: Path, capsys: pytest.CaptureFixture[str], directory: str
) -> None:
    """Home, sockets, keys: each with the line that closes it."""
    path = home / directory
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    assert refused_to_start(home, capsys).endswith(f"; run: chmod 700 {path}")


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_second_sidecar_in_the_same_place_is_refused_by_the_name_of_the_first(
    capsys: pytest.CaptureFixture[str], store: str
) -> None:
    """And takes nothing from it."""
    with sidecar_running(store=store) as first:
        said = refused_to_start(first.home, capsys)
        assert f"process {first.pid}" in said
        assert "set COUNTERMAND_HOME to another directory" in said
        assert first.health() == "SERVING"
