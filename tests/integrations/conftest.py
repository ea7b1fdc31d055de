"""`make test-integrations` runs these tests in .venv-integrations; in any other environment none is run."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integrations.provider import Provider, provider

collect_ignore_glob = [] if Path(sys.prefix).name == ".venv-integrations" else ["test_*.py", "*/test_*.py"]


@pytest.fixture
def fake() -> Iterator[Provider]:
    """A provider of models of this test's own."""
    with provider() as running:
        yield running


@pytest.fixture
async def closing() -> AsyncIterator[None]:
    """Close the clients that the test has made."""
    from tests.integrations.openers import clients  # the SDKs are in that one environment

    yield
    while clients:
        ending = clients.pop().close()
        if ending is not None:
            await ending
