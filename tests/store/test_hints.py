"""Hints: a store says when something stops, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from grant_service.core.budget import Budget
from grant_service.core.grant import GrantRef
from tests.store.player import Player, done

Doing = Callable[[Player, GrantRef], Awaitable[object]]

#: What stops something, and what is said of it: the run, or '' where it may be any.
STOPS: dict[str, tuple[Doing, list[str]]] = {
    "cancel": (lambda play, _: play.cancel(), ["run"]),
    "cancel an unknown id": (lambda play, _: play.cancel("nobody"), ["nobody"]),
    "finish": (lambda play, _: play.finish(), ["run"]),
    "revoke": (lambda play, _: play.revoke(), [""]),
    "freeze": (lambda play, _: play.freeze(), [""]),
    "a run's budget runs out": (lambda play, grant: play.spend(grant, 11, budget="coins"), ["run"]),
    "a grant's budget runs out": (lambda play, grant: play.spend(grant, 6, budget="own"), ["run"]),
}


async def _ready(play: Player) -> GrantRef:
    await play.open(budgets=(Budget("coins", 10),))
    return await play.issue(budgets=(Budget("own", 5),))


@pytest.fixture
async def heard(play: Player) -> list[str]:
    """What the store has said since it was asked to."""
    said: list[str] = []
    first = asyncio.Event()
    play.store.on_stop(said.append)
    play.store.on_stop(lambda _: first.set())
    if play.rig.says_them_from_afar:  # the connection for it says first that something may have been missed
        await asyncio.wait_for(first.wait(), 5)
        said.clear()
    return said


@pytest.mark.parametrize("what", STOPS)
async def test_what_stops_something_is_said(play: Player, heard: list[str], what: str) -> None:
    """At once, by whichever verb it stops; a store that cannot say so stays silent, and time has to do."""
    stop, wanted = STOPS[what]
    grant = await _ready(play)
    await stop(play, grant)
    await asyncio.sleep(0.05)
    assert heard == (wanted if play.rig.says_stops else [])


async def test_what_stops_nothing_is_not_said(play: Player, heard: list[str]) -> None:
    """Work goes on, and what was stopped before is not said again."""
    grant = await _ready(play)
    await play.permit(grant)
    done(await play.settle(grant))
    done(await play.freeze())
    done(await play.lift())
    await play.cancel()
    await asyncio.sleep(0.05)
    heard.clear()
    await play.cancel()
    await play.perform(grant)
    await play.freeze()
    await asyncio.sleep(0.05)
    assert heard == []
