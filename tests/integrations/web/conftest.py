"""A real sidecar for what is served, and nothing logged as an error."""

import logging
from collections.abc import Iterator

import pytest

from countermand.testing import Sidecar, sidecar


@pytest.fixture(scope="module")
def real() -> Iterator[Sidecar]:
    """A real sidecar."""
    with sidecar() as running:
        yield running


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing may be logged as an error, by the server, by asyncio, or by anybody."""
    yield
    errors = [one for phase in ("setup", "call") for one in caplog.get_records(phase)]
    assert [one.getMessage() for one in errors if one.levelno >= logging.ERROR] == []
