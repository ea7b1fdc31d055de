"""What SQLite is given together: a call sees what those before it in its transaction wrote."""

import asyncio

import pytest

from grant_service.core.errors import ErrorReason
from grant_service.core.verbs import Permitted
from grant_service.store import sqlite_state
from grant_service.store.sqlite_writes import Writes
from tests.store.differential import compare, tell
from tests.store.player import Player, refused
from tests.store.rigs import MemoryRig, Rig
from tests.store.test_differential_controls import _drawn

pytestmark = pytest.mark.parametrize("rig", ["sqlite"], indirect=True)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that keeps one or two records in memory, and so forgets some within every call."""
    monkeypatch.setattr(sqlite_state, "_MOST_KNOWN", 1)


@pytest.mark.usefixtures("forgetful")
async def test_a_commit_sees_the_cancel_before_it_in_its_transaction(play: Player) -> None:
    """Also where the record of the run was forgotten in between: it is written before it is."""
    grant = await play.ready()
    await play.prepare(grant)
    _, committed = await asyncio.gather(play.cancel(), play.commit(grant))
    refused(committed, ErrorReason.REVOKED)


@pytest.mark.usefixtures("forgetful")
async def test_what_is_forgotten_unwritten_would_let_it_through(
    play: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: rows that are never written, so that what is forgotten is read as it was before."""
    grant = await play.ready()
    await play.prepare(grant)
    monkeypatch.setattr(Writes, "out", lambda _: None)
    _, committed = await asyncio.gather(play.cancel(), play.commit(grant))
    assert isinstance(committed, Permitted)


@pytest.mark.usefixtures("forgetful")
async def test_a_forgetful_store_decides_like_the_model(rig: Rig) -> None:
    """Whole stories of everything, calls in one transaction among them."""
    model = await MemoryRig.start()
    for sequence in _drawn("")[:120]:
        await compare(await tell(sequence, model), [rig])
