"""Where the sidecar listens: who can reach it, and what may be in the way."""

import os
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from grant_service.app import Sidecar
from grant_service.rpc import listener
from grant_service.rpc.listener import Unlistenable
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from tests.rpc.support import Caller, short_home


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that is not there yet, in a directory that is."""
    with short_home() as parent:
        yield parent / "h"


_STARTED: list[Sidecar] = []


@pytest.fixture(autouse=True)
async def nothing_goes_on() -> AsyncIterator[None]:
    """Stop what a failed test left: a server that is not stopped holds its process."""
    yield
    while _STARTED:
        await _STARTED.pop().stop()


async def start(home: Path, **settings: Any) -> Sidecar:
    """Start a sidecar that forgets."""
    sidecar = await Sidecar.start(Settings(home=home, store="memory", **settings))
    _STARTED.append(sidecar)
    return sidecar


async def unlistenable(home: Path, **settings: Any) -> str:
    """Why a sidecar does not start; nothing of it must be left."""
    with pytest.raises(Unlistenable) as caught:
        await start(home, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def works(sidecar: Sidecar, home: Path) -> None:
    """Call it on every socket, and stop it."""
    for role in Role:
        caller = Caller(f"unix:{home}/run/{role.value}.sock", [("grpc.use_local_subchannel_pool", 1)])
        refused = await caller.refused("UndoRun")
        assert refused.reason == ("INVALID_REQUEST" if role is Role.OPERATOR else "ROLE_NOT_ALLOWED")
        await caller.channel.close()
    await sidecar.stop()


def mode(path: Path) -> int:
    """The permissions of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def make_home(home: Path, bits: int) -> None:
    """Make a home before the sidecar does."""
    home.mkdir()
    home.chmod(bits)


def follow(said: str) -> None:
    """Do what the refusal says."""
    subprocess.run(said.partition("run: ")[2], shell=True, check=True)  # noqa: S602 - the line is under test


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids=lambda umask: f"umask-{umask:03o}")
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The habits of those who start it."""
    before = os.umask(request.param)
    yield request.param
    assert os.umask(before) == request.param, "the sidecar changed the umask of its process"


async def test_sockets_are_private_from_their_first_moment(
    home: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at when the call that binds returns, before anything could have been corrected."""
    seen: list[int] = []
    add = grpc.aio._server.Server.add_insecure_port

    def look(server: Any, address: str) -> int:
        port = add(server, address)
        seen.append(mode(Path(address.removeprefix("unix:"))))
        return port

    monkeypatch.setattr(grpc.aio._server.Server, "add_insecure_port", look)
    sidecar = await start(home)
    assert seen == [0o600] * 5
    assert (mode(home), mode(home / "run")) == (0o700, 0o700)
    await sidecar.stop()


async def test_a_socket_is_not_private_by_itself(home: Path) -> None:
    """The control of the test above: gRPC leaves the mode to the umask."""
    make_home(home, 0o700)
    before = os.umask(0o022)
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{home}/open.sock")
    os.umask(before)
    assert mode(home / "open.sock") == 0o755
    await listener.discard(server)


async def test_another_user_cannot_connect(home: Path) -> None:
    """Neither through the directory, nor, should somebody open it, through the socket itself."""
    sidecar = await start(home)
    sockets = [home / "run" / f"{role.value}.sock" for role in Role]
    for directory in (home.parent, home, home / "run"):
        assert [as_nobody(path) for path in sockets] == ["EACCES"] * 5
        assert mode(directory) == 0o700
        directory.chmod(0o755)
    assert [as_nobody(path) for path in sockets] == ["EACCES"] * 5
    sockets[0].chmod(0o666)
    assert as_nobody(sockets[0]) == "connected"  # the control: it was the mode that kept them out
    assert [mode(path) for path in sockets[1:]] == [0o600] * 4
    await sidecar.stop()


def as_nobody(path: Path) -> str:
    """What a user with no rights gets who connects. Root becomes one and tries; others read the modes."""
    by_modes = "connected" if open_to_all(path) else "EACCES"
    if os.getuid() == 0:
        assert tried_as_nobody(path) == by_modes
    return by_modes


def open_to_all(path: Path) -> bool:
    """Connecting takes the right to pass every directory on the way, and to write to the socket."""
    return all(mode(one) & stat.S_IXOTH for one in path.parents) and bool(mode(path) & stat.S_IWOTH)


def tried_as_nobody(path: Path) -> str:
    """Connect as another user. (As a process of its own: this one keeps its rights.)"""
    code = (
        "import errno, os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print('connected')\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    command = ["python3", "-c", code, str(path)]
    return subprocess.run(
        command, cwd="/", capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()


@pytest.mark.parametrize("bits", [0o755, 0o710, 0o701, 0o777, 0o770])
async def test_a_directory_others_can_enter_is_refused_with_the_line_that_closes_it(
    home: Path, bits: int
) -> None:
    """The line does what it says: the next start works."""
    (home / "run").mkdir(parents=True)
    (home / "run").chmod(bits)
    said = await unlistenable(home)
    assert said == f"{home / 'run'} can be entered by others; run: chmod 700 {home / 'run'}"
    follow(said)
    await works(await start(home), home)


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o722])
async def test_a_home_others_can_change_is_refused_with_the_line_that_closes_it(
    home: Path, bits: int
) -> None:
    """Others could put a directory of theirs in place of ours, and take the tools' tokens."""
    make_home(home, bits)
    said = await unlistenable(home)
    assert said == f"{home} can be changed by others; run: chmod 700 {home}"
    follow(said)
    await works(await start(home), home)


@pytest.mark.parametrize("bits", [0o755, 0o750, 0o711])
async def test_a_home_others_can_only_read_is_fine(home: Path, bits: int) -> None:
    """What is in it is closed by itself."""
    make_home(home, bits)
    await works(await start(home), home)


@pytest.mark.parametrize(
    ("name", "said"), [("", "belongs to another user"), ("run", "is not a directory of this user")]
)
async def test_a_directory_of_another_user_is_refused(
    home: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its mode: its owner could change it."""
    (home / "run").mkdir(parents=True, mode=0o700)
    give_away(home / name, monkeypatch)
    assert f"{home / name} {said}" in await unlistenable(home)


def give_away(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a directory to somebody else. Only root can; to others it then only looks like that."""
    if os.getuid() == 0:
        os.chown(directory, 65534, 65534)
        return
    look = os.stat

    def stranger(path: Any, **how: Any) -> os.stat_result:
        found = look(path, **how)
        return os.stat_result((*found[:4], os.getuid() + 1, *found[5:])) if path == directory else found

    monkeypatch.setattr(os, "stat", stranger)


def in_the_way_file(path: Path) -> None:
    """A regular file."""
    path.write_text("precious")


def in_the_way_directory(path: Path) -> None:
    """A directory."""
    path.mkdir()


def in_the_way_link(path: Path) -> None:
    """A link to a file elsewhere."""
    (path.parent.parent / "elsewhere").write_text("precious")
    path.symlink_to(path.parent.parent / "elsewhere")


def in_the_way_dangling_link(path: Path) -> None:
    """A link to nothing: binding through it would make a socket elsewhere."""
    path.symlink_to(path.parent.parent / "nowhere.sock")


def in_the_way_link_to_socket(path: Path) -> None:
    """A link to a dead socket: it is a socket to whoever follows it."""
    left_behind(path.parent.parent / "other.sock")
    path.symlink_to(path.parent.parent / "other.sock")


def in_the_way_pipe(path: Path) -> None:
    """A pipe: opening it would wait for ever."""
    os.mkfifo(path)


def left_behind(path: Path) -> None:
    """A socket whose process died."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


OBSTACLES = [make for name, make in sorted(globals().items()) if name.startswith("in_the_way")]


@pytest.mark.parametrize("make", OBSTACLES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("role", ["issuer", "operator"])
async def test_what_is_no_socket_is_not_removed(home: Path, make: Callable[[Path], None], role: str) -> None:
    """It is refused and stays as it was; nothing else is left, so that the next start works."""
    (home / "run").mkdir(parents=True, mode=0o700)
    path = home / "run" / f"{role}.sock"
    make(path)
    before = path.lstat()
    assert (
        await unlistenable(home)
        == f"{path} exists and is no socket; remove it, or choose another COUNTERMAND_HOME"
    )
    assert path.lstat() == before
    assert {found.name for found in (home / "run").iterdir()} == {"lock", path.name}
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    await works(await start(home), home)


@pytest.mark.parametrize("make", [in_the_way_file, in_the_way_link, in_the_way_dangling_link])
async def test_the_directory_of_sockets_is_a_directory_itself(
    home: Path, make: Callable[[Path], None]
) -> None:
    """Not a link to one that somebody else may own."""
    (home / "x").mkdir(parents=True)
    make(home / "run")
    assert "choose another COUNTERMAND_HOME" in await unlistenable(home)


async def test_a_link_to_a_directory_is_refused_as_the_directory_of_sockets(home: Path) -> None:
    """Even where the directory it leads to is private now."""
    (home / "real").mkdir(parents=True, mode=0o700)
    (home / "run").symlink_to(home / "real")
    assert await unlistenable(home) == f"{home / 'run'} is not a directory of this user; " + (
        "choose another COUNTERMAND_HOME"
    )


async def test_a_socket_left_behind_by_a_dead_process_is_replaced(home: Path) -> None:
    """After a crash nobody has to clean up."""
    (home / "run").mkdir(parents=True, mode=0o700)
    for role in Role:
        left_behind(home / "run" / f"{role.value}.sock")
    await works(await start(home), home)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with-a-full-queue"])
async def test_a_socket_of_a_live_process_is_respected(home: Path, busy: bool) -> None:
    """Also one that is too busy to answer: only a refused connection proves that nobody is there."""
    (home / "run").mkdir(parents=True, mode=0o700)
    path = home / "run" / "operator.sock"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(0)
        waiting = fill(path) if busy else []
        said = await unlistenable(home)
        assert said == f"another process listens on {path}; stop it, or choose another COUNTERMAND_HOME"
        assert path.is_socket()
        for one in waiting:
            one.close()
    await works(await start(home), home)


def fill(path: Path) -> list[socket.socket]:
    """Connect until the queue of a listener is full."""
    waiting: list[socket.socket] = []
    for _ in range(1000):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        waiting.append(one)
        if one.connect_ex(str(path)):
            return waiting
    raise AssertionError("its queue has no end")


async def test_a_second_sidecar_on_the_same_home_is_refused_by_name(home: Path) -> None:
    """It names the process that is there, which goes on undisturbed."""
    first = await start(home)
    with pytest.raises(Unlistenable) as caught:
        await start(home)
    assert str(caught.value) == (
        f"home {home} is in use by another sidecar (process {os.getpid()}), and a home has one; "
        "stop that one, or set COUNTERMAND_HOME to another directory"
    )
    await works(first, home)


async def test_a_home_can_be_used_again_at_once_many_times(home: Path) -> None:
    """A socket that goes late must not take the next one's with it."""
    for _ in range(20):
        await works(await start(home), home)
        assert [path.name for path in (home / "run").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    "name", ["a b", "a%41", "100%", "a%2Fb", "a#b", "a?b", "a:b", "\u00e4", "a'b", "$HOME"]
)
async def test_sockets_are_where_the_home_is_whatever_its_name(home: Path, name: str) -> None:
    """gRPC reads an address as a URI and decodes it: never into another directory than was checked."""
    place = home / name
    sidecar = await start(place)
    assert [path.name for path in home.iterdir()] == [name]
    for role in Role:
        assert sidecar.addresses[role.value] == f"unix:{quote(str(place))}/run/{role.value}.sock"
        assert (place / "run" / f"{role.value}.sock").is_socket()
        caller = Caller(sidecar.addresses[role.value], [("grpc.use_local_subchannel_pool", 1)])
        assert (await caller.refused("LiftFence")).reason in ("INVALID_REQUEST", "ROLE_NOT_ALLOWED")
        await caller.channel.close()
    await sidecar.stop()


async def test_a_home_that_no_client_could_reach_is_refused(home: Path) -> None:
    """gRPC takes a comma, however it is written, for the end of an address."""
    place = home / "a,b"
    said = await unlistenable(place)
    assert said == f"{place} holds a comma, at which gRPC ends an address; choose another COUNTERMAND_HOME"
    assert not list(home.parent.iterdir())


async def test_a_path_too_long_for_a_socket_is_refused_with_its_length() -> None:
    """Before anything is made; one byte less works."""
    with short_home() as parent:
        longest = listener._MAX_SOCKET_PATH - len("/run/compensator.sock")
        home = Path(f"{parent}/{'h' * (longest - len(str(parent)) - 1)}")
        await works(await start(home), home)
        longer = Path(f"{home}h")
        path = longer / "run" / "compensator.sock"
        assert await unlistenable(longer) == (
            f"the socket path {path} has 104 bytes, more than 103; set COUNTERMAND_HOME to a shorter path"
        )
        assert [path.name for path in parent.iterdir()] == [home.name]


async def test_the_length_of_a_path_is_counted_in_bytes() -> None:
    """Not in letters, of which some take four."""
    with short_home() as parent:
        assert "bytes, more than 103" in await unlistenable(parent / ("\u6f22" * 25))


def free_ports() -> int:
    """The first of as many free ports in a row as there are roles."""
    for base in range(42_000, 60_000, 7):
        taken = [socket.socket() for _ in Role]
        try:
            for offset, one in enumerate(taken):
                one.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for one in taken:
                one.close()
        return base
    raise AssertionError("no such ports")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_the_insecure_ports_are_one_for_each_role_in_order(home: Path, host: str) -> None:
    """Issuer, tool, operator, auditor, compensator; beside the sockets, on loopback, and never unasked."""
    base = free_ports()
    sidecar = await start(home, insecure_dev_tcp=f"{host}:{base}")
    for offset, role in enumerate(("issuer", "tool", "operator", "auditor", "compensator")):
        assert sidecar.addresses[role] == f"unix:{home}/run/{role}.sock and {host}:{base + offset}"
        caller = Caller(f"{host}:{base + offset}")
        denied = await caller.refused("UndoRun" if role != "operator" else "OpenRun")
        assert denied.metadata["role"] == role
        await caller.channel.close()
    await works(sidecar, home)


async def test_a_taken_port_is_refused_and_nothing_is_left(home: Path) -> None:
    """The third of them: the first two are closed again."""
    base = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 2))
        taken.listen()
        said = await unlistenable(home, insecure_dev_tcp=f"127.0.0.1:{base}")
    assert (
        said == f"cannot listen on 127.0.0.1:{base + 2}; choose another port for COUNTERMAND_INSECURE_DEV_TCP"
    )
    assert [path.name for path in (home / "run").iterdir()] == ["lock"]
    await works(await start(home, insecure_dev_tcp=f"127.0.0.1:{base}"), home)


async def test_without_the_flag_nothing_listens_on_tcp(home: Path) -> None:
    """Every socket this process holds is asked."""
    sidecar = await start(home)
    assert listening_ports() == set()
    await sidecar.stop()
    base = free_ports()
    sidecar = await start(home, insecure_dev_tcp=f"127.0.0.1:{base}")
    loopback = {(address.removeprefix("::ffff:"), port) for address, port in listening_ports()}
    assert loopback == {("127.0.0.1", base + offset) for offset in range(len(Role))}
    await sidecar.stop()


def listening_ports() -> set[tuple[str, int]]:
    """The addresses and ports this process listens on."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            one = socket.socket(fileno=int(name))
        except OSError:
            continue  # a file or a pipe, or closed by now
        if one.family != socket.AF_UNIX and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.add(one.getsockname()[:2])
        one.detach()  # it is not ours to close
    return found
