"""Fixtures of every test."""

import gc
from collections.abc import Iterator

import pytest

from tests.support.own_logging import own_logging


@pytest.fixture(autouse=True, scope="module")
def _logging_of_the_file() -> Iterator[None]:
    """What the fixtures of a file configure ends with the file."""
    with own_logging():
        yield


@pytest.fixture(autouse=True)
def _logging_of_the_test(_logging_of_the_file: None) -> Iterator[None]:
    """What a test configures ends with the test: two configurations mixed belong to nobody."""
    with own_logging():
        yield


#: Files that take longest. One that begins last would leave the other processor with nothing to do.
FIRST = ("tests/store/test_differential.py", "tests/docs/test_pages_run.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; otherwise files stay in their order."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


def pytest_collection_finish() -> None:
    """Thousands of tests stay to the end: no collection of garbage need look at them again."""
    gc.freeze()
