"""Where the sidecar listens: a Unix socket for each role, or, in development, five loopback ports."""

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from countermand._errors import InvalidRequest

_LONGEST_PATH = 107  # bytes: what the kernel has room for in a socket's address


class Role(StrEnum):
    """Who a caller is: the socket it comes in by says so. The order is that of the development ports."""

    ISSUER = "issuer"
    TOOL = "tool"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    COMPENSATOR = "compensator"


class Address(Protocol):
    """Where each role is served."""

    def target(self, role: Role) -> str:
        """Answer the role's address as gRPC writes it."""

    def fault(self, role: Role) -> str | None:
        """Say why nothing can be listening there, or None if something may be."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The Unix sockets below one home directory."""

    home: Path

    def path(self, role: Role) -> Path:
        """Answer the path of a role's socket."""
        return self.home / "run" / f"{role}.sock"

    def target(self, role: Role) -> str:
        """Answer the role's address as gRPC writes it."""
        return f"unix:{quote(str(self.path(role)))}"

    def fault(self, role: Role) -> str | None:
        """Try the socket itself: where it is absent, or nobody accepts, there is no sidecar."""
        path = self.path(role)
        if len(os.fsencode(path)) > _LONGEST_PATH:
            return f"the path {path} is too long for a socket; choose a shorter COUNTERMAND_HOME"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)  # a full backlog means that somebody is there, so do not wait for it
            code = probe.connect_ex(str(path))
        if code in (0, errno.EAGAIN, errno.EINPROGRESS):
            return None
        what = "is absent" if code == errno.ENOENT else f"does not answer ({os.strerror(code)})"
        how = "start it with 'countermand serve', or check COUNTERMAND_HOME"
        return f"no sidecar is running: {path} {what}; {how}"


@dataclass(frozen=True, slots=True)
class Ports:
    """Five loopback ports in a row. Without encryption and without authentication: for development only."""

    host: str
    port: int

    def target(self, role: Role) -> str:
        """Answer the role's address as gRPC writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port + list(Role).index(role)}"

    def fault(self, role: Role) -> str | None:
        """Try the port itself; on a loopback address that takes no time."""
        target = self.target(role)
        try:
            socket.create_connection((self.host, self.port + list(Role).index(role)), timeout=0.2).close()
        except TimeoutError:
            return None
        except OSError as error:
            how = "start it with 'countermand serve', and COUNTERMAND_INSECURE_DEV_TCP set"
            return f"no sidecar is running: {target} does not answer ({error.strerror}); {how}"
        return None


def locate(home: str | os.PathLike[str] | None = None, target: str | None = None) -> Address:
    """Find the sidecar: as told, or by COUNTERMAND_TARGET, COUNTERMAND_HOME, the user's state directory."""
    if home is not None and target is not None:
        raise InvalidRequest("give home or target, not both", metadata={"field": "target"})
    if home is not None:
        return Sockets(Path(home).expanduser().absolute())
    target = target if target is not None else os.environ.get("COUNTERMAND_TARGET")
    return _ports(target) if target else Sockets(default_home())


def default_home() -> Path:
    """The directory of the user's own sidecar."""
    if home := os.environ.get("COUNTERMAND_HOME"):
        return Path(home).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "countermand"


def _ports(target: str) -> Ports:
    """Read ADDRESS:PORT. Only loopback: grant tokens go over it in the clear."""
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not port.isdecimal() or not 0 < int(port) <= 65_531:
        rule = "must be the loopback address and first port of a development sidecar, such as 127.0.0.1:7420"
        raise InvalidRequest(f"target {rule}; not {target!r}", metadata={"field": "target", "rule": rule})
    return Ports("127.0.0.1" if host == "localhost" else host, int(port))
