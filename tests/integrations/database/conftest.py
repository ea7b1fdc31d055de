"""A real PostgreSQL for the tests of this folder, and a real sidecar."""

from collections.abc import Iterator

import pytest

from countermand.testing import Sidecar, sidecar
from tests.support.postgres_server import PostgresServer, postgres_running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all of them."""
    with postgres_running() as server:
        yield server


@pytest.fixture(scope="module")
def real() -> Iterator[Sidecar]:
    """A real sidecar."""
    with sidecar() as running:
        yield running
