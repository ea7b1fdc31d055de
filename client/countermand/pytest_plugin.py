"""Fixtures for tests of code that acts through Countermand; ask for them in conftest.py:

    pytest_plugins = ["countermand.pytest_plugin"]

It is no entry point on purpose: nobody's tests should import gRPC because this package is installed.
"""

from collections.abc import Iterator

import pytest

from countermand.testing import ManualClock, Sidecar, sidecar


@pytest.fixture
def countermand_clock() -> ManualClock:
    """The clock of this test's sidecar: asked for, it stands still until `advance` moves it."""
    return ManualClock()


@pytest.fixture
def countermand_sidecar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    """A sidecar of this test's own, which `countermand.connect()` finds by itself."""
    manual = "countermand_clock" in request.fixturenames
    clock = request.getfixturevalue("countermand_clock") if manual else None
    with sidecar(clock=clock) as running:
        monkeypatch.delenv("COUNTERMAND_TARGET", raising=False)
        monkeypatch.setenv("COUNTERMAND_HOME", str(running.home))
        yield running
