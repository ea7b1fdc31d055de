"""Structured logs: lines for people on a terminal, JSON elsewhere, and no token in either."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, TextIO

import structlog

from grant_service.log_sink import Sink, writer

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]*")


def configure(level: str) -> Sink:
    """Set up logging for the process; standard error only, standard output belongs to people."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    processors = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        _renderer(),
    ]
    # Everything goes through it: a write by the event loop to a pipe nobody reads would stop every call.
    sink = Sink(writer(sys.stderr), partial(_dropped_line, processors))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(sink),
        cache_logger_on_first_use=False,
    )
    # What libraries say goes the same way, or it would go around `redact`. Their chatter is not ours to tell.
    logging.basicConfig(handlers=[_Libraries()], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(True)
    sys.unraisablehook = _unraisable
    return sink


def pass_on() -> None:
    """Log through the standard library: for a sidecar inside another program, whose logs are its own."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _renderer() -> Any:
    if not _for_people(sys.stderr):
        return structlog.processors.JSONRenderer()
    # Plain, because the pretty one shows the variables of each frame: requests, and the tokens in them.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _for_people(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _dropped_line(processors: Sequence[Any], count: int) -> str:
    """Word it as any other line, at no level that could be below the threshold."""
    logger = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    )
    return str(logger.warning("log lines dropped", count=count))


class _Lines:
    """The end of the chain: hands each finished line to the sink."""

    def __init__(self, sink: Sink) -> None:
        self.msg = sink.put
        self.log = self.debug = self.info = self.warning = self.error = self.critical = sink.put


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Log what nobody can catch, such as an error in a finalizer, instead of printing it."""
    structlog.get_logger().error(what.err_msg or "exception ignored", exc_info=what.exc_value)


class _Libraries(logging.Handler):
    """Passes the records of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as our own."""
        try:
            said = record.getMessage()
        except Exception:
            said = str(record.msg)  # its arguments do not fit it: nobody's call should fail for that
        structlog.get_logger().log(record.levelno, said, logger=record.name, exc_info=record.exc_info)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Blot out anything that looks like a token: nobody should log one, and this makes sure."""
    return {name: _blot(value) for name, value in event.items()}


def _blot(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else without_tokens(str(value))


def without_tokens(text: str) -> str:
    """Blot out whatever looks like a token."""
    return _TOKEN.sub("[token]", text)
