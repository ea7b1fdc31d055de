"""Sidecars on one Redis, asked for what each of them alone knows; one that is not heard is missed."""

from functools import partial
from typing import Any

import pytest

import countermand
from countermand._address import Role
from countermand.work.tree import WorkNode, WorkState
from grant_service.core.neighbours import Told
from grant_service.store import redis_neighbours
from grant_service.store.keys import Keys
from grant_service.store.redis_neighbours import RedisNeighbours
from tests.client.support import AsyncSoon
from tests.redis.neighbours import neighbour, until
from tests.redis.proxy import proxy_before
from tests.support.redis_server import RedisServer
from tests.support.sidecar import sidecar_running


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers may take its time on a busy machine."""
    monkeypatch.setattr(redis_neighbours, "_PATIENCE", 10)


def crash(one: RedisNeighbours) -> None:
    """Take it away without a word."""
    assert one._presence
    assert one._hints._task
    one._presence.cancel()
    one._hints._task.cancel()
    one._presence = None


async def test_all_the_others_are_asked(server: RedisServer) -> None:
    """Once each, and not the asker; what each answers comes back."""
    async with neighbour(server.url, "a") as a, neighbour(server.url, "b"), neighbour(server.url, "c"):
        told = await a.ask("r-1")
        with server.client() as client:
            assert 0 < client.pttl(Keys().sidecars) <= 900_000
    assert (sorted(told.answers), told.missing) == (["b r-1", "c r-1"], 0)
    with server.client() as client:
        assert not client.exists(Keys().sidecars)


async def test_who_is_not_heard_is_missed(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nobody listens in its place any more; who said that it goes is not."""
    async with neighbour(server.url, "a") as a:
        async with neighbour(server.url, "b"):
            pass
        assert await a.ask("r-1") == Told([], 0)
        async with neighbour(server.url, "b") as b:
            crash(b)
            monkeypatch.setattr(redis_neighbours, "_PATIENCE", 1)
            assert await a.ask("r-1") == Told([], 1)


async def test_two_of_one_name_are_two(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis says how many it gave the question to: one that is mute is missed, whatever it is called."""
    async with neighbour(server.url, "a") as a, neighbour(server.url, "a") as other:
        assert await a.ask("r-1") == Told(["a r-1"], 0)
        monkeypatch.setattr(redis_neighbours, "_PATIENCE", 1)
        other._answer = lambda _: 1 // 0  # type: ignore[assignment,return-value]
        assert await a.ask("r-1") == Told([], 1)


async def test_where_redis_does_not_answer_nothing_is_known(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even how many there are."""
    monkeypatch.setattr(redis_neighbours, "_PATIENCE", 0.3)
    async with proxy_before(server) as slow, neighbour(slow.url, "a") as a:
        slow.open.clear()
        assert await a.ask("r-1") == Told([], None)
        slow.open.set()


async def test_what_is_no_question_is_left_alone(server: RedisServer) -> None:
    """Whoever may publish there can say anything."""
    async with neighbour(server.url, "a") as a, neighbour(server.url, "b"):
        with server.client() as client:
            for text in ("", "ask", "ask x", "told 1 2 3", "ask x y r-1", "shout a b c d"):
                client.publish(Keys().questions, text)
        assert await a.ask("r-1") == Told(["b r-1"], 0)


async def _shows(cm: countermand.Client, token: Any, name: str) -> None:
    """Show a piece of work, over a session that is there."""
    session = cm.connection.session(Role.TOOL)
    session.want()
    await AsyncSoon.until(lambda: session.is_ready, 20)
    root = WorkNode(name, "scope", WorkState.RUNNING, 1.0)
    cm.use_token(token).show(f"{name} 1", root)


async def test_the_whole_tree_is_seen_at_any_sidecar(server: RedisServer) -> None:
    """Two real sidecars, processes at both: all is seen at either, and it is said when one is not heard."""
    with sidecar_running(store=server.url) as first, sidecar_running(store=server.url) as second:
        async with countermand.connect(first.home) as near, countermand.connect(second.home) as far:
            await near.issuer.open(run_id="r-1")
            await near.issuer.open(run_id="r-2", parent_run_id="r-1")
            await _shows(near, (await near.issuer.issue("r-1", scopes=["*"])).token, "near")
            await _shows(far, (await far.issuer.issue("r-2", scopes=["*"])).token, "far")
            for door in (near.auditor, far.auditor):
                await until(partial(_sees, door, ["far", "near"], ()))
            second.kill()
            missed = "sidecars on this store that did not answer: 1"
            await until(partial(_sees, near.auditor, ["near"], (missed,)))
            second.start()  # in the same home it is the same one: nobody misses it any more
            await until(partial(_sees, near.auditor, ["near"], ()))
            second.terminate()
            await until(partial(_sees, near.auditor, ["near"], ()))


async def _sees(door: Any, names: list[str], gaps: tuple[str, ...]) -> bool:
    told = await door.work("r-1")
    return (sorted(one.roots[0].name for one in told.works), told.gaps) == (names, gaps)
