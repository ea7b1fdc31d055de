"""Logging is set up once for a process, and many tests share one: each gives back what it found."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


def logging_now() -> dict[str, Any]:
    """How this process logs, warnings and the errors nobody can catch included."""
    root, ours = logging.getLogger(), structlog.get_config()
    return {
        "structlog": ours,
        "processors": ours["processors"][:],  # whoever captures logs changes the list in place
        "handlers": root.handlers[:],
        "level": root.level,
        "showwarning": warnings.showwarning,
        "unraisablehook": sys.unraisablehook,
    }


@contextmanager
def own_logging() -> Iterator[None]:
    """Whatever is configured inside ends with it."""
    configured, before = structlog.is_configured(), logging_now()
    try:
        yield
    finally:
        before["structlog"]["processors"][:] = before["processors"]
        if configured:
            structlog.configure(**before["structlog"])
        else:
            structlog.reset_defaults()
        root = logging.getLogger()
        root.handlers[:] = before["handlers"]
        root.setLevel(before["level"])
        logging.captureWarnings(False)
        warnings.showwarning, sys.unraisablehook = before["showwarning"], before["unraisablehook"]
