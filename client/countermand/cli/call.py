"""One call of the command: where the sidecar is, how long to wait, how to print."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from countermand.cli.output import Output

if TYPE_CHECKING:
    from countermand._sync.connection import OnDisconnect
    from countermand.sync import Client


@dataclass(frozen=True, slots=True)
class Place:
    """Where to call, as far as options say; the environment and the defaults are the client's business."""

    home: str | None = None
    target: str | None = None
    timeout: str | None = None

    def under(self, other: "Place") -> "Place":
        """Fill in from another one, said earlier on the line, what this one leaves open."""
        named = self if self.home or self.target else other
        return Place(named.home, named.target, self.timeout or other.timeout)

    @property
    def directory(self) -> Path:
        """The sidecar's home, also where tokens of issued grants are kept."""
        from countermand._address import default_home

        return Path(self.home).expanduser().absolute() if self.home else default_home()

    @property
    def is_tcp(self) -> bool:
        """Whether the sidecar is looked for on loopback ports."""
        return bool(self.target or (not self.home and os.environ.get("COUNTERMAND_TARGET")))


@dataclass(frozen=True, slots=True)
class Call:
    """What every verb gets beside its own options."""

    verb: str
    place: Place
    output: Output

    def connect(self, on_disconnect: "OnDisconnect" = "keep") -> "Client":
        """Make a client; use it in a `with` block."""
        return connect(self.place, on_disconnect=on_disconnect)


def connect(place: Place, longest: float | None = None, on_disconnect: "OnDisconnect" = "keep") -> "Client":
    """Make a client. `longest` is the deadline of its calls in seconds, where `--timeout` does not say."""
    from countermand._span import seconds
    from countermand.sync import connect

    timeout = seconds(place.timeout) if place.timeout else longest
    if timeout is None:
        return connect(place.home, target=place.target, on_disconnect=on_disconnect)
    return connect(
        place.home,
        target=place.target,
        timeout=timeout,
        control_timeout=timeout,
        on_disconnect=on_disconnect,
    )
