"""Lengths of time as people write them."""

import re
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from countermand._errors import InvalidRequest

#: A length of time: "500ms", "60s", "5m", "1h", "2d", a number of seconds, or a timedelta.
Span = str | float | timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1e9  # 30 years; what is longer is a slip, and overflows further down
_TEXT = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def seconds(span: Span) -> float:
    """Answer a length of time in seconds; it must be longer than nothing and shorter than 30 years."""
    value = _seconds(span)
    if not 0 < value <= _LONGEST:
        raise _refused(span)
    return value


def _seconds(span: Span) -> float:
    if isinstance(span, timedelta):
        return span.total_seconds()
    if isinstance(span, int | float) and not isinstance(span, bool):
        return float(span)
    match = _TEXT.fullmatch(span) if isinstance(span, str) else None
    if match is None:
        raise _refused(span)
    return float(match[1]) * _UNITS[match[2]]


def duration(span: Span | None) -> Duration | None:
    """Answer it as the contract has it, to the millisecond; None leaves the choice to the sidecar."""
    if span is None:
        return None
    message = Duration()
    message.FromMilliseconds(max(1, round(seconds(span) * 1000)))
    return message


def _refused(span: object) -> InvalidRequest:
    rule = "must be longer than nothing: 500ms, 60s, 5m, 1h, 2d, a number of seconds, or a timedelta"
    return InvalidRequest(f"a length of time {rule}, not {span!r}", metadata={"field": "ttl", "rule": rule})
