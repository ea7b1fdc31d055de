"""Structured logs: lines for people on a terminal, JSON elsewhere, and no token in either."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*")


def configure(level: str) -> None:
    """Set up logging for the process; standard error only, standard output belongs to people."""
    for_people = sys.stderr.isatty()
    render: Any = structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Blot out anything that looks like a token: nobody should log one, and this makes sure."""
    return {name: _blot(value) for name, value in event.items()}


def _blot(value: Any) -> Any:
    if isinstance(value, str):
        return _TOKEN.sub("[token]", value)
    return value if isinstance(value, int | float | bool | None) else _TOKEN.sub("[token]", repr(value))
