"""The contract's fixtures: every test that asks for `play` or `rig` runs on every kind of store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.player import Player
from tests.store.rigs import MemoryRig, Rig, SqliteRig


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """One store of each kind, new for each test."""
    rig = await _start(request.param, tmp_path)
    yield rig
    await rig.close()


async def _start(kind: str, folder: Path) -> Rig:
    if kind == "memory":
        return await MemoryRig.start()
    return await SqliteRig.start(folder)


@pytest.fixture
def play(rig: Rig) -> Player:
    """Somebody to play on the rig."""
    return Player(rig)
