"""Logs: JSON for machines, lines for people, and no token in either."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from grant_service.log import configure, pass_on, redact
from grant_service.log_sink import Sink
from tests.tokens.support import token

TOKEN = token()


@pytest.fixture
def logs() -> None:
    """Not captured here: the configuration itself is under test."""


class Terminal(io.StringIO):
    """Standard error of somebody who watches."""

    def isatty(self) -> bool:
        """A terminal."""
        return True


class Heard(io.StringIO):
    """Standard error of a reader who waits for all that was logged."""

    def __init__(self, *, people: bool) -> None:
        super().__init__()
        self._people = people
        self.sinks: list[Sink] = []

    def isatty(self) -> bool:
        """A terminal, if people read it."""
        return self._people

    def getvalue(self) -> str:
        """All that was logged before."""
        assert all(sink.flush(5) for sink in self.sinks)
        return super().getvalue()


def listen(like: io.StringIO, monkeypatch: pytest.MonkeyPatch, level: str) -> Heard:
    """Configure logging for a standard error; called in the test itself, or pytest puts its own there."""
    stream = Heard(people=like.isatty())
    monkeypatch.setattr(sys, "stderr", stream)
    stream.sinks.append(configure(level))
    return stream


def in_the_event() -> None:
    """In what happened."""
    structlog.get_logger().info(f"got {TOKEN}!")


def in_a_value() -> None:
    """In a particular."""
    structlog.get_logger().info("x", given=TOKEN)


def deep_in_a_value() -> None:
    """In a particular that is no text."""
    structlog.get_logger().info("x", given={"metadata": [("authorization", f"Bearer {TOKEN}".encode())]})


def in_an_error() -> None:
    """In an exception's words, and in a variable of its frame."""
    kept = TOKEN
    try:
        raise ValueError(f"cannot read {kept}")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)


def in_the_cause_of_an_error() -> None:
    """In an exception below the one that is logged."""
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError as cause:
            raise RuntimeError("generic") from cause
    except RuntimeError:
        structlog.get_logger().exception("failed")


def by_a_library() -> None:
    """In what a library logs by the standard way."""
    logging.getLogger("grpc._cython").error("Unexpected request %s", TOKEN)


def by_a_library_that_cannot_format() -> None:
    """In a record whose arguments do not fit: the standard library would print them."""
    logging.getLogger("grpc").error("Unexpected %s %s", TOKEN)


def in_a_warning() -> None:
    """In a warning of Python's own."""
    warnings.warn(f"no {TOKEN}", RuntimeWarning, stacklevel=1)


class _Unhappy:
    """Cannot be let go of."""

    def __del__(self) -> None:
        raise ValueError(f"kept {TOKEN}")


def in_a_finalizer() -> None:
    """In an error nobody can catch: Python itself would print it."""
    unhappy = _Unhappy()
    del unhappy


WAYS = [
    *(in_the_event, in_a_value, deep_in_a_value, in_an_error, in_the_cause_of_an_error),
    *(by_a_library, by_a_library_that_cannot_format, in_a_warning, in_a_finalizer),
]


@pytest.mark.parametrize("leak", WAYS, ids=lambda leak: leak.__name__)
@pytest.mark.parametrize("reader", [io.StringIO, Terminal], ids=["machine", "people"])
@pytest.mark.filterwarnings("default")
def test_no_token_gets_into_a_log(
    reader: Callable[[], io.StringIO], leak: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody should log one; whoever does leaves a line without it."""
    error = listen(reader(), monkeypatch, "debug")
    leak()
    said = error.getvalue()
    assert said, "nothing was logged: this test would prove nothing"
    for part in (TOKEN, *TOKEN.split(".")):
        assert part not in said
    if leak is not by_a_library_that_cannot_format:
        assert "[token]" in said


def test_a_machine_gets_one_json_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a text that tries to be a second line, and for an error."""
    stream = listen(io.StringIO(), monkeypatch, "info")
    structlog.get_logger().info("x", note='a\n{"event": "forged"}\x1b[31m\u202e')
    structlog.get_logger().error("y", exc_info=ValueError("a\nb"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["x", "y"]
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    "leak", [in_the_event, in_a_value, deep_in_a_value, in_an_error], ids=lambda one: one.__name__
)
def test_no_token_gets_into_the_log_of_a_host(leak: Callable[[], None]) -> None:
    """A sidecar inside another program logs by that program's ways; it blots first."""
    stream = io.StringIO()
    logging.getLogger().handlers[:] = [logging.StreamHandler(stream)]
    logging.getLogger().setLevel(logging.DEBUG)
    pass_on()
    leak()
    assert "[token]" in stream.getvalue()
    assert not any(part in stream.getvalue() for part in (TOKEN, *TOKEN.split(".")))


def test_a_trace_for_people_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of its frames, which hold requests; and no complaint of the logger's own about it."""
    stream = listen(Terminal(), monkeypatch, "debug")
    in_an_error()
    said = stream.getvalue()
    assert "Traceback (most recent call last)" in said
    assert "ValueError: cannot read [token]" in said
    assert "format_exc_info" not in said
    assert "\u2502" not in said  # the frame of a pretty one


def test_the_level_counts_for_us_and_libraries_are_heard_from_warnings_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their chatter is not ours to tell, at any level."""
    stream = listen(io.StringIO(), monkeypatch, "debug")
    structlog.get_logger().debug("ours")
    logging.getLogger("asyncio").info("theirs")
    logging.getLogger("asyncio").warning("their warning")
    stream.getvalue()  # the lines of before are written before
    stream.sinks.append(configure("error"))
    structlog.get_logger().warning("too little")
    logging.getLogger("asyncio").warning("too little")
    logging.getLogger("asyncio").error("enough")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["ours", "their warning", "enough"]


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "text", "eyJ is no token", "a.b.c"])
def test_what_is_no_token_stays_as_it_is(value: Any) -> None:
    """Numbers stay numbers, and not every text with three parts is a token."""
    assert redact(None, "", {"given": value}) == {"given": value}
