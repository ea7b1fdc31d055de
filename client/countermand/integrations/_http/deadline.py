"""How long a client will wait, as the headers of a request say. It only ever shortens."""

import re
from collections.abc import Iterable

from countermand._errors import InvalidRequest

#: gRPC's own: at most eight digits and a unit.
_GRPC = re.compile(rb"(\d{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
#: Seconds, with decimals if need be.
_PLAIN = re.compile(rb"\d{1,8}(?:\.\d{1,9})?")

#: How long a client will wait, in seconds: read on the way in, written on the way out.
REQUEST_TIMEOUT = "request-timeout"

_SHOWN = 40  # bytes of a header that is refused


def time_left(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Answer in seconds how long the client will wait; None if it does not say. The shortest time counts.

    Raises InvalidRequest for what is no length of time: to take it for none would be to work for longer than
    somebody asked for.
    """
    told = [_seconds(name.lower(), value.strip(b" \t")) for name, value in headers if name.lower() in _READ]
    return min(told, default=None)


def _seconds(name: bytes, value: bytes) -> float:
    seconds = _READ[name](value)
    if seconds is None:
        shown = value[:_SHOWN].decode("ascii", "backslashreplace")
        rule = _RULES[name]
        raise InvalidRequest(
            f"header {name.decode()} {rule}, not {shown!r}: mend it, or leave it out",
            metadata={"field": name.decode(), "rule": rule},
        )
    return seconds


def _grpc(value: bytes) -> float | None:
    match = _GRPC.fullmatch(value)
    return int(match[1]) * _UNITS[match[2]] if match else None


def _plain(value: bytes) -> float | None:
    return float(value) if _PLAIN.fullmatch(value) else None


_READ = {b"grpc-timeout": _grpc, REQUEST_TIMEOUT.encode(): _plain}
_RULES = {
    b"grpc-timeout": "must be at most 8 digits and one of H, M, S, m, u, n",
    REQUEST_TIMEOUT.encode(): "must be a number of seconds such as 2.5",
}
