"""Attack: somebody else on the machine gets at the sockets, or was there first. The real process."""

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.rpc.test_sockets import as_nobody
from tests.support.sidecar import ROLES, SidecarProcess, make_home, sidecar_running


@pytest.fixture
def place() -> Iterator[SidecarProcess]:
    """A sidecar that is not started yet, in a home that an attacker may have prepared."""
    home = make_home()
    one = SidecarProcess(home, store="memory")
    yield one
    one.close()
    subprocess.run(["rm", "-rf", str(home)], check=True)


def refused_to_start(place: SidecarProcess) -> str:
    """Why it did not start: exit code 1, and one line."""
    place.launch()
    assert place.wait() == 1
    said = place.err.splitlines()[-1]
    assert said.startswith("countermand serve: ")
    assert "Traceback" not in place.err
    assert place.out == ""
    return said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_reach_the_operators_socket() -> None:
    """Nor any of the others, whatever umask the sidecar was started with."""
    before = os.umask(0)
    try:
        with sidecar_running(store="memory") as handle:
            handle.home.chmod(0o755)
            assert [as_nobody(handle.socket(role)) for role in ROLES] == ["EACCES"] * 4
    finally:
        os.umask(before)


def test_a_socket_laid_out_before_the_start_is_no_way_in(place: SidecarProcess) -> None:
    """The attacker listens where the operator's socket will be: the start is refused."""
    (place.home / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(str(place.socket("operator")))
        trap.listen()
        assert "another process listens on" in refused_to_start(place)
    place.start()


def test_a_link_laid_out_before_the_start_is_not_followed(place: SidecarProcess) -> None:
    """It would make the socket in a directory of the attacker's."""
    theirs = place.home / "theirs"
    theirs.mkdir(mode=0o777)
    (place.home / "run").mkdir(mode=0o700)
    place.socket("tool").symlink_to(theirs / "tool.sock")
    assert "exists and is no socket" in refused_to_start(place)
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("directory", ["", "run", "keys"])
def test_a_directory_that_others_can_enter_stops_the_start(place: SidecarProcess, directory: str) -> None:
    """Home, sockets, keys: each with the line that closes it, and after that line it starts."""
    path = place.home / directory
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    line = refused_to_start(place).partition("run: ")[2]
    assert line == f"chmod 700 {path}"
    subprocess.run(line, shell=True, check=True)  # noqa: S602 - the line is under test
    place.start()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_second_sidecar_in_the_same_place_is_refused_by_the_name_of_the_first(store: str) -> None:
    """And takes nothing from it."""
    with sidecar_running(store=store) as first:
        second = SidecarProcess(first.home, store=store)
        said = refused_to_start(second)
        assert f"process {first.pid}" in said
        assert "set COUNTERMAND_HOME to another directory" in said
        second.close()
        assert first.health() == "SERVING"
