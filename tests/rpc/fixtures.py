"""Fixtures of every test that calls a sidecar."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog

from tests.rpc.support import Served, served


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[dict[str, Any]]]:
    """What the sidecar logs, as events; nothing of it on the terminal."""
    with structlog.testing.capture_logs() as events:
        yield events


@pytest.fixture
async def sidecar() -> AsyncIterator[Served]:
    """A sidecar on a store in memory."""
    async with served() as running:
        yield running
