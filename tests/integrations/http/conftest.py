"""A target, a sidecar, and each adapter."""

from collections.abc import Iterator

import pytest

from countermand.testing import Sidecar, sidecar
from tests.integrations.http.target import Target, serving


@pytest.fixture(scope="module")
def real() -> Iterator[Sidecar]:
    """A real sidecar."""
    with sidecar() as running:
        yield running


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A real HTTP server."""
    with serving() as running:
        yield running
