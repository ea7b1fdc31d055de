"""Starts that cannot work: the sidecar ends at once, with code 1 and one line that says what to do."""

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grant_service.store.sqlite_state import _SCHEMA_VERSION
from tests.support.caller import Caller
from tests.support.redis_server import redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running

#: A store that is away must not keep a supervisor waiting; a silent one is given 2 s to answer.
SOON, SILENCE = 3.0, 2.0
PASSWORD = "s3cret-word"


@pytest.fixture
def fresh() -> Iterator[SidecarProcess]:
    """A sidecar that has not been started."""
    sidecar = SidecarProcess()
    yield sidecar
    sidecar.close()


def refuses_to_start(sidecar: SidecarProcess, seconds: float = 10.0, **settings: object) -> str:
    """Require that it ends with code 1 and one line for people beside its log, and answer the line."""
    before, start = sidecar.err, time.monotonic()
    sidecar.launch(**settings)
    assert sidecar.wait() == 1, sidecar.err
    assert time.monotonic() - start < seconds
    lines = sidecar.err.removeprefix(before).splitlines()
    (said,) = [line for line in lines if line.startswith("countermand serve: ")]
    assert not [line for line in lines if line.startswith("Traceback")]
    return said


def starts(sidecar: SidecarProcess, **settings: object) -> None:
    """Require that nothing is left in the way: it starts, and decides."""
    sidecar.start(**settings)
    with Caller(sidecar) as caller:
        assert caller.perform(caller.begin(f"r-{sidecar.pid}"), "op-1").fence
    sidecar.kill()


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_store_nobody_listens_at_is_named_without_its_password(fresh: SidecarProcess, nobody: int) -> None:
    """The line can be pasted into a ticket."""
    url = f"redis://ann:{PASSWORD}@127.0.0.1:{nobody}/0"
    said = refuses_to_start(fresh, SOON, store=url)
    assert f"redis://ann@127.0.0.1:{nobody}/0" in said
    assert PASSWORD not in said
    starts(fresh)


def test_a_store_whose_socket_does_not_exist_is_named(fresh: SidecarProcess, tmp_path: Path) -> None:
    """A typing error in the path of a socket is seen at a glance."""
    said = refuses_to_start(fresh, SOON, store=f"unix://{tmp_path}/nowhere.sock")
    assert f"unix://{tmp_path}/nowhere.sock" in said


def test_a_store_that_stays_silent_is_given_up_soon(fresh: SidecarProcess) -> None:
    """A connection that is taken and never answered: a half-dead host, a wrong port."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        said = refuses_to_start(fresh, SOON + SILENCE, store=f"redis://:{PASSWORD}@127.0.0.1:{port}")
    assert f"redis://127.0.0.1:{port}" in said
    assert PASSWORD not in said


def test_something_that_is_no_redis_is_refused(fresh: SidecarProcess) -> None:
    """A port that answers in another language."""
    with socket.create_server(("127.0.0.1", 0)) as web:
        url = f"redis://127.0.0.1:{web.getsockname()[1]}"
        answering = threading.Thread(target=_answer_once, args=(web,), daemon=True)
        answering.start()
        assert url in refuses_to_start(fresh, SOON, store=url)
        answering.join(5)


def _answer_once(web: socket.socket) -> None:
    connection, _ = web.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_may_evict_is_refused_with_the_line_that_mends_it(
    fresh: SidecarProcess, tmp_path: Path, policy: str
) -> None:
    """Eviction would forget grants and tombstones alike. The line in the message is run, and it mends it."""
    with redis_running(tmp_path / "redis", "--maxmemory-policy", policy) as server:
        said = refuses_to_start(fresh, SOON, store=server.url)
        assert f"it may evict keys (maxmemory-policy {policy})" in said
        _run_the_line(server.client(), said)
        starts(fresh, store=server.url)


def test_a_redis_that_syncs_too_seldom_is_refused_with_the_line_that_mends_it(
    fresh: SidecarProcess, tmp_path: Path
) -> None:
    """Below SYNCED a power cut can forget a cancel; that is accepted only by a setting that says so."""
    with redis_running(tmp_path / "redis", "--appendfsync", "everysec") as server:
        said = refuses_to_start(fresh, SOON, store=server.url)
        assert "durability EVERY_SECOND, asked for SYNCED" in said
        starts(fresh, store=server.url, accept_durability="EVERY_SECOND")
        _run_the_line(server.client(), said)
        starts(fresh, store=server.url)


def _run_the_line(client: object, said: str) -> None:
    command = said.partition("run: redis-cli ")[2].partition(";")[0].split()
    assert command[:2] == ["CONFIG", "SET"], said
    with client as talking:  # type: ignore[attr-defined]
        assert talking.execute_command(*command)


def test_a_second_sidecar_on_the_same_home_names_the_first(fresh: SidecarProcess) -> None:
    """Two writers of one file would be two truths. The one that was there first does not notice."""
    with sidecar_running() as first, Caller(first) as caller:
        token = caller.begin("r-1")
        second = SidecarProcess(first.home)
        try:
            said = refuses_to_start(second)
        finally:
            second.close()
        in_use = f"countermand serve: home {first.home} is in use by another sidecar (process {first.pid})"
        assert said.startswith(in_use)
        assert said.endswith("stop that one, or set COUNTERMAND_HOME to another directory")
        assert caller.perform(token, "op-1").fence


def test_a_home_whose_socket_paths_are_too_long_is_refused(fresh: SidecarProcess) -> None:
    """The system would cut the path or refuse it with a riddle."""
    deep = fresh.home / ("d" * 90)
    said = refuses_to_start(fresh, home=deep)
    assert f"the socket path {deep}/run/" in said
    assert said.endswith("set COUNTERMAND_HOME to a shorter path")
    assert not deep.exists()
    starts(fresh)


@pytest.mark.parametrize("role", ["issuer", "auditor"])
def test_a_socket_somebody_listens_on_is_respected(fresh: SidecarProcess, role: str) -> None:
    """It is not ours to take away; it goes on answering, and nothing of ours is left beside it."""
    fresh.socket(role).parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(fresh.socket(role)))
        other.listen()
        said = refuses_to_start(fresh)
        assert f"another process listens on {fresh.socket(role)}" in said
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(fresh.socket(role)))
    starts(fresh)  # nobody listens now: what is left of the socket is in nobody's way


def test_a_file_in_the_place_of_a_socket_is_respected(fresh: SidecarProcess) -> None:
    """A file that is no socket belongs to somebody; it is named and left as it is."""
    fresh.socket("tool").parent.mkdir(mode=0o700)
    fresh.socket("tool").write_text("mine")
    said = refuses_to_start(fresh)
    assert f"{fresh.socket('tool')} exists and is no socket" in said
    assert fresh.socket("tool").read_text() == "mine"
    fresh.socket("tool").unlink()
    starts(fresh)


def test_a_taken_port_is_named(fresh: SidecarProcess) -> None:
    """The development listener takes four ports; the one that is taken is said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refuses_to_start(fresh, insecure_dev_tcp=f"127.0.0.1:{port - 1}")
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "COUNTERMAND_INSECURE_DEV_TCP" in said
    starts(fresh)


def test_a_home_that_others_may_change_is_refused(fresh: SidecarProcess) -> None:
    """Whoever can write there could put sockets and keys of their own."""
    fresh.home.chmod(0o777)
    said = refuses_to_start(fresh)
    assert f"{fresh.home} can be changed by others" in said
    assert said.endswith(f"run: chmod 700 {fresh.home}")
    fresh.home.chmod(0o700)
    starts(fresh)


def test_a_damaged_file_is_refused_and_kept(fresh: SidecarProcess) -> None:
    """A file that cannot be read is evidence: it is not overwritten."""
    fresh.start()
    assert fresh.terminate() == 0  # an orderly end leaves everything in the one file
    file = fresh.home / "data" / "countermand.db"
    rubbish = b"this was a database" * 1000
    file.write_bytes(rubbish)
    said = refuses_to_start(fresh)
    assert "countermand.db is damaged" in said
    assert said.endswith("move the file away or restore it from a backup")
    assert file.read_bytes() == rubbish


def test_a_file_of_a_later_version_is_refused_and_kept(fresh: SidecarProcess) -> None:
    """An old sidecar on a new file must not guess."""
    fresh.start()
    assert fresh.terminate() == 0
    with sqlite3.connect(fresh.home / "data" / "countermand.db") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    assert f"countermand.db has schema 99, this sidecar knows {_SCHEMA_VERSION}" in refuses_to_start(fresh)


def test_a_wrong_setting_is_named_with_code_2(fresh: SidecarProcess) -> None:
    """The line names the variable to correct."""
    fresh.launch(store="mysql://somewhere")
    assert fresh.wait() == 2
    assert fresh.err.startswith("countermand serve: COUNTERMAND_STORE: ")
    assert fresh.err.count("\n") == 1
