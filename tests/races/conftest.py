"""What the races share: a real Redis that syncs every write, and figures, told when the session ends."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.redis_server import RedisServer, redis_running
from tests.support.sidecar import left_behind

_figures: list[str] = []


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the races of a module: each starts by emptying it."""
    with redis_running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def fresh_redis(redis_server: RedisServer) -> RedisServer:
    """The server, empty."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server


@pytest.fixture
def tell() -> Callable[[str], None]:
    """Takes a line of figures for the end of the session."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures: a race test that passed says little if nobody knows how many races there were."""
    if _figures:
        terminalreporter.section("races")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert not left_behind()
