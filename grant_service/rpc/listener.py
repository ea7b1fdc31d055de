"""Where the sidecar listens: one socket and one server for each role."""

import os
import socket
import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from countermand.v1 import (
    action_service_pb2,
    action_service_pb2_grpc,
    control_service_pb2,
    control_service_pb2_grpc,
    grant_service_pb2,
    grant_service_pb2_grpc,
    journal_service_pb2,
    journal_service_pb2_grpc,
)
from grant_service.core.errors import ErrorReason, Refused
from grant_service.rpc.guard import Guard
from grant_service.rpc.journal import MAX_ANSWER_BYTES
from grant_service.rpc.roles import Role

#: A socket's path may have 107 bytes on Linux, 103 on macOS.
_MAX_SOCKET_PATH = 103

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    # Above the slots of any listener, so that a flood meets a refusal with a reason and not a broken stream.
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s at the most; the default of 300 s would hang up on them.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

_SERVICES: tuple[tuple[ModuleType, Any, str], ...] = (
    (grant_service_pb2, grant_service_pb2_grpc.add_GrantServiceServicer_to_server, "GrantService"),
    (action_service_pb2, action_service_pb2_grpc.add_ActionServiceServicer_to_server, "ActionService"),
    (control_service_pb2, control_service_pb2_grpc.add_ControlServiceServicer_to_server, "ControlService"),
    (journal_service_pb2, journal_service_pb2_grpc.add_JournalServiceServicer_to_server, "JournalService"),
)


class Unlistenable(Refused):
    """The sidecar cannot listen where it should."""


def build_server(guard: Guard, servicers: dict[str, object], health: Any) -> grpc.aio.Server:
    """Build one role's server: every service is on it, and the guard decides what the role may call."""
    server = grpc.aio.server(options=_OPTIONS)
    for module, add, name in _SERVICES:
        add(_guarded(guard, servicers[name], module.DESCRIPTOR.services_by_name[name]), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server


def _guarded(guard: Guard, servicer: object, descriptor: Any) -> object:
    handlers = {
        method.name: guard.handler(f"{descriptor.name}.{method.name}", getattr(servicer, method.name, None))
        for method in descriptor.methods
    }
    return type(
        f"Guarded{descriptor.name}", (), {name: staticmethod(call) for name, call in handlers.items()}
    )()


def socket_path(directory: Path, role: Role) -> Path:
    """Name a role's socket."""
    return directory / f"{role.value}.sock"


def prepare_directory(directory: Path) -> None:
    """Make a directory only we can enter, or refuse one that others could."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise _unfit(f"{directory} is not a directory of this user", "choose another COUNTERMAND_HOME")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise _unfit(f"{directory} can be entered by others", f"run: chmod 700 {directory}")
    for role in Role:
        path = os.fsencode(socket_path(directory, role))
        if len(path) > _MAX_SOCKET_PATH:
            name = os.fsdecode(path)
            cause = f"the socket path {name} has {len(path)} bytes, more than {_MAX_SOCKET_PATH}"
            raise _unfit(cause, "set COUNTERMAND_HOME to a shorter path")


def bind(server: grpc.aio.Server, path: Path) -> None:
    """Listen on a socket; one left behind by a process that died is removed, a live one is respected."""
    if path.is_symlink() or (path.exists() and not path.is_socket()):
        raise _unfit(f"{path} exists and is no socket", "remove it, or choose another COUNTERMAND_HOME")
    if path.exists():
        if _answers(path):
            raise _unfit(f"another process listens on {path}", "stop it, or choose another COUNTERMAND_HOME")
        path.unlink()
    # The socket gets its mode from the umask at bind: readable by nobody else from its first moment.
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise _unfit(f"cannot listen on {path}", "see whether the directory is writable") from error
    finally:
        os.umask(before)


def bind_tcp(server: grpc.aio.Server, address: str, offset: int) -> str:
    """Listen on a loopback port; only for development."""
    host, _, port = address.rpartition(":")
    target = f"{host}:{int(port) + offset}"
    try:
        server.add_insecure_port(target)
    except RuntimeError as error:
        raise _unfit(
            f"cannot listen on {target}", "choose another port for COUNTERMAND_INSECURE_DEV_TCP"
        ) from error
    return target


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _unfit(cause: str, remedy: str) -> Unlistenable:
    return Unlistenable(ErrorReason.STORE_UNFIT, cause=cause, remedy=remedy)
