"""One Redis for all tests of this folder, emptied before each; after each, no key may stay unasked."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from grant_service.store.redis import RedisStore
from tests.redis.support import leaks
from tests.support.redis_server import RedisServer, redis_running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole session."""
    with redis_running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    """The shared server, empty and with no script loaded; what a test configures is taken back."""
    with shared_server.client() as client:
        before = client.config_get("*")
        client.flushall()
        client.script_flush()
        yield shared_server
        for name, value in client.config_get("*").items():
            if before[name] != value:
                client.config_set(name, before[name])
        found = leaks(client)
    assert not found, f"keys that live otherwise than declared: {found}"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server to crash, restart and wipe."""
    with redis_running(tmp_path / "redis") as server:
        yield server
        with server.client() as client:
            found = leaks(client)
    assert not found, f"keys that live otherwise than declared: {found}"


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on the shared server."""
    store = await RedisStore.connect(server.url)
    yield store
    await store.close()
