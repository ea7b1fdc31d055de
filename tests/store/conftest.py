"""The contract's fixtures: every test that asks for `play` or `rig` runs on every kind of store.

`memory` is the model, `sqlite` and `redis` are the real stores; `fakeredis` runs the Lua scripts without a
server, so that a broken script shows within seconds on any machine.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.store.player import Player
from tests.store.redis_rigs import RedisRig
from tests.store.rigs import MemoryRig, Rig, SqliteRig
from tests.support.redis_server import RedisServer, redis_running

KINDS = ("memory", "sqlite", "redis", "fakeredis")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for all tests of this folder; what a power cut does to it is tested elsewhere."""
    with redis_running(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as server:
        yield server


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: what a disk does to SQLite is tested elsewhere."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made below it
    # Each store takes 8 MB as its reserve; a container may have little memory there.
    room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 256 * 1024 * 1024
    with tempfile.TemporaryDirectory(prefix="cm-", dir=memory if room else None) as name:
        yield Path(name)


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, quick_folder: Path) -> AsyncIterator[Rig]:
    """One store of each kind, new for each test; its whole state is looked at when the test is over."""
    folder = quick_folder / uuid4().hex
    rig = await _start(request, folder)
    yield rig
    await rig.dump()
    await rig.close()
    shutil.rmtree(folder, ignore_errors=True)


async def _start(request: pytest.FixtureRequest, folder: Path) -> Rig:
    match request.param:
        case "memory":
            return await MemoryRig.start()
        case "sqlite":
            return await SqliteRig.start(folder)
        case "redis":
            return await RedisRig.start(request.getfixturevalue("redis_server").url)
        case _:
            return await RedisRig.start_fake()


@pytest.fixture
def play(rig: Rig) -> Player:
    """Somebody to play on the rig."""
    return Player(rig)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all sequences: to make one costs more than to play one."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def rigs(
    loop: asyncio.AbstractEventLoop, redis_server: RedisServer, quick_folder: Path
) -> Iterator[tuple[MemoryRig, list[Rig]]]:
    """The model, and the two real stores."""

    async def start() -> tuple[MemoryRig, list[Rig]]:
        sqlite = await SqliteRig.start(quick_folder / uuid4().hex)
        return await MemoryRig.start(), [sqlite, await RedisRig.start(redis_server.url)]

    model, others = loop.run_until_complete(start())
    yield model, others
    for rig in others:
        loop.run_until_complete(rig.close())
