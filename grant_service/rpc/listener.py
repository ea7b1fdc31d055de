"""Where the sidecar listens: one socket for each role, in a directory nobody else can enter."""

import errno
import os
import shlex
import socket
import stat
from pathlib import Path
from urllib.parse import quote

import grpc

from grant_service.rpc.roles import Role

#: A socket's path may have 107 bytes on Linux, 103 on macOS.
_MAX_SOCKET_PATH = 103

_ELSEWHERE = "choose another COUNTERMAND_HOME"


class Unlistenable(Exception):
    """The sidecar cannot listen where it should; the message is one line and says what to do."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}; {remedy}")


def socket_path(directory: Path, role: Role) -> Path:
    """Name a role's socket."""
    return directory / f"{role.value}.sock"


def prepare_directory(home: Path) -> Path:
    """Make the directory of the sockets, which only we can enter, or refuse one that others could."""
    directory = home / "run"
    if "," in str(home):
        raise Unlistenable(f"{home} holds a comma, at which gRPC ends an address", _ELSEWHERE)
    for role in Role:
        path = os.fsencode(socket_path(directory, role))
        if len(path) > _MAX_SOCKET_PATH:
            name = os.fsdecode(path)
            cause = f"the socket path {name} has {len(path)} bytes, more than {_MAX_SOCKET_PATH}"
            raise Unlistenable(cause, "set COUNTERMAND_HOME to a shorter path")
    try:
        _require_private_home(home)
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        cause = f"{directory} cannot be made ({error.strerror})"
        raise Unlistenable(cause, _ELSEWHERE) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Unlistenable(f"{directory} is not a directory of this user", _ELSEWHERE)
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise _open_to_others(f"{directory} can be entered by others", directory)
    return directory


def _require_private_home(home: Path) -> None:
    """Make the home; refuse one in which others could put a directory of their own in place of ours."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.stat()
    ours = found.st_uid == os.getuid()
    if not ours and found.st_uid != 0:
        raise Unlistenable(f"{home} belongs to another user", _ELSEWHERE)
    if stat.S_IMODE(found.st_mode) & 0o022:
        cause = f"{home} can be changed by others"
        raise _open_to_others(cause, home) if ours else Unlistenable(cause, _ELSEWHERE)


def _open_to_others(cause: str, directory: Path) -> Unlistenable:
    return Unlistenable(cause, f"run: chmod 700 {shlex.quote(str(directory))}")


def bind(server: grpc.aio.Server, path: Path) -> str:
    """Listen on a socket; one left behind by a process that died is removed, a live one is respected."""
    target = f"unix:{quote(str(path))}"  # gRPC reads it as a URI: it would decode what looks encoded
    make_way(path)
    # The socket gets its mode from the umask at bind: readable by nobody else from its first moment.
    before = os.umask(0o177)
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise Unlistenable(f"cannot listen on {path}", "see whether the directory is writable") from error
    finally:
        os.umask(before)
    return target


def make_way(path: Path) -> None:
    """Remove a socket that a process left behind when it died; respect a live one, and what is no socket."""
    if path.is_symlink() or (path.exists() and not path.is_socket()):
        raise Unlistenable(f"{path} exists and is no socket", f"remove it, or {_ELSEWHERE}")
    if path.exists():
        if not _is_dead(path):
            raise Unlistenable(f"another process listens on {path}", f"stop it, or {_ELSEWHERE}")
        path.unlink()


def bind_tcp(server: grpc.aio.Server, address: str, offset: int) -> str:
    """Listen on a loopback port; only for development."""
    host, _, port = address.rpartition(":")
    target = f"{host}:{int(port) + offset}"
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        remedy = "choose another port for COUNTERMAND_INSECURE_DEV_TCP"
        raise Unlistenable(f"cannot listen on {target}", remedy) from error
    return target


async def discard(server: grpc.aio.Server) -> None:
    """Let go of a server that was never started: gRPC gives up what it bound only by way of a start."""
    await server.start()
    await server.stop(None)


def _is_dead(path: Path) -> bool:
    """Say whether nobody listens. Only a refused connection proves it: a busy listener is alive."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno == errno.ECONNREFUSED
        return False
