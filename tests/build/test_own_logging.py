"""Tests that share a process do not share how it logs."""

from typing import Any

import pytest
import structlog

from grant_service.log import configure, pass_on
from tests.support.own_logging import logging_now

found: list[dict[str, Any]] = []


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_finds_logging_as_the_one_before_it_did(turn: int) -> None:
    """Whatever that one made of it: here a host's way, captured, and meanwhile a sidecar's.

    Once this left the processors of the one to the loggers of the other, and a test far away failed.
    """
    found.append(logging_now())
    assert found[-1] == found[0]
    pass_on()
    with structlog.testing.capture_logs():
        configure("error")
    now = logging_now()
    assert [part for part in now if now[part] == found[0][part]] == []
    with pytest.raises(AttributeError):
        structlog.get_logger().error("mixed")
