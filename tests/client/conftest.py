"""A real sidecar for each test, and a proxy in front of it."""

from collections.abc import Iterator

import pytest

from countermand.testing import ManualClock, Sidecar, sidecar
from tests.client.support import Proxy


@pytest.fixture
def clock() -> ManualClock:
    """The sidecar's clock; it stands still until it is moved."""
    return ManualClock()


@pytest.fixture
def real(clock: ManualClock) -> Iterator[Sidecar]:
    """A real sidecar that forgets."""
    with sidecar(clock=clock) as running:
        yield running


@pytest.fixture
def proxy(real: Sidecar) -> Iterator[Proxy]:
    """The same sidecar behind a bad connection."""
    proxy = Proxy(real.home)
    yield proxy
    proxy.stop()
