"""What the bad days share: a sidecar to be unkind to, a caller, and a look at what is left behind."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.caller import Caller
from tests.support.redis_server import RedisServer, redis_running
from tests.support.sidecar import SidecarProcess, left_behind, sidecar_running


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_behind() -> Iterator[None]:
    """No process, no socket and no home outlives the module that started it."""
    before = _children()
    yield
    assert not left_behind()
    assert not _children() - before


def _children() -> set[str]:
    """The processes that this one has started and not yet seen end: pid and name."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            if int(rest.split()[1]) == os.getpid():
                found.add(name)
    return found


@pytest.fixture(scope="module")
def sidecar() -> Iterator[SidecarProcess]:
    """A sidecar on the embedded store, for tests that do it no harm."""
    with sidecar_running() as running:
        yield running


@pytest.fixture(scope="module")
def caller(sidecar: SidecarProcess) -> Iterator[Caller]:
    """Somebody to call it."""
    with Caller(sidecar) as calling:
        yield calling


@pytest.fixture
def run(request: pytest.FixtureRequest) -> str:
    """A run id of the test's own, short enough to be made longer."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name.removeprefix("test_"))
    return f"{name[:40]}-{os.urandom(4).hex()}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it may break."""
    with redis_running(tmp_path / "redis") as server:
        yield server
