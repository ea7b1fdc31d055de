"""The promise itself, under load: a commit and a cancel that race, over and over, through real sockets.

A race is a call for a permit that was truly under way while the cancel was. COUNTERMAND_RACES sets how many
of them the test on Redis must see (default 12,000; `make race` asks for 300,000); the embedded store gets a
tenth of that.
"""

import os
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.races import pushes, sabotage
from tests.races.checker import PERMITTED, REVOKED, Round, faults, overlaps
from tests.races.load import RACERS, Load
from tests.support.redis_server import RedisServer
from tests.support.sidecar import SidecarProcess, sidecar_running, twin_running
from tests.support.standby import lives_of_a_sidecar

pytestmark = pytest.mark.alone

RACES = int(os.environ.get("COUNTERMAND_RACES", "12000"))

#: At least so large a part of the calls must meet the cancel, or the load proves little.
OVERLAP = 0.2
#: Rounds played before looking again; a defect must be found within PATIENCE rounds.
BATCH, PATIENCE = 12, 240

Tell = Callable[[str], None]


async def test_on_redis_a_commit_is_accepted_exactly_if_the_cancel_reports_it(
    fresh_redis: RedisServer, tell: Tell
) -> None:
    """Each race ends one way for everybody, on every sidecar: permitted and reported, or late on record."""
    with (
        sidecar_running(store=fresh_redis.url) as first,
        twin_running(first, store=fresh_redis.url) as second,
    ):
        await _race("redis, two sidecars", RACES, tell, first, second)


async def test_on_sqlite_a_commit_is_accepted_exactly_if_the_cancel_reports_it(tell: Tell) -> None:
    """The same promise, kept by the other store."""
    with sidecar_running() as sidecar:
        await _race("sqlite", RACES // 10, tell, sidecar)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
@pytest.mark.parametrize("fault", pushes.FAULTS, ids=lambda fault: fault.__name__)
async def test_no_promise_depends_on_what_is_pushed(
    fault: Callable[[], None], store: str, fresh_redis: RedisServer, tell: Tell
) -> None:
    """Calls travel on sessions whose stops are dropped, delayed, reordered or made up: nothing changes."""
    program = ("-m", "tests.races.pushes", fault.__name__)
    with lives_of_a_sidecar(program, store=fresh_redis.url if store == "redis" else store) as lives:
        async with Load(lives.sidecar, by_session=True) as load:
            played = await load.play(BATCH * 2)
            told, watched = Counter[str](), 0
            for tool in load.sessions:
                told.update(tool.told)
                watched += len(tool.watched)
    met = Counter(word for one in played for word in _raced(one))
    assert not (found := faults(played)), found[:10]
    assert set(met) == {PERMITTED, REVOKED}, met
    assert bool(told) == pushes.FAULTS[fault], told
    tell(f"pushes {fault.__name__}, {store}: {met.total()} races, 0 faults, {told.total()} of {watched} told")


async def test_a_planted_defect_is_found_over_sessions_too(fresh_redis: RedisServer) -> None:
    """Without the guard the same load finds late commits that travelled together."""
    program = ("-m", "tests.races.sabotage", sabotage.run_checked_before.__name__)
    with lives_of_a_sidecar(program, store=fresh_redis.url) as lives:
        _, found = await _hunt(lives.sidecar, by_session=True)
    assert found


@pytest.mark.parametrize("defect", sabotage.DEFECTS, ids=lambda defect: defect.__name__)
async def test_a_planted_defect_is_found(
    defect: Callable[[], None], fresh_redis: RedisServer, tell: Tell
) -> None:
    """The same load and the same checker find a sidecar out that lacks one of its guards."""
    program = ("-m", "tests.races.sabotage", defect.__name__)
    store = "sqlite" if defect.__name__.endswith("sqlite") else fresh_redis.url
    with lives_of_a_sidecar(program, store=store) as lives:
        played, found = await _hunt(lives.sidecar)
    assert found, f"{defect.__name__} got away with {len(played)} rounds"
    rules = {fault.partition(":")[0] for fault in found}
    assert rules & set(sabotage.DEFECTS[defect]), found[:10]
    tell(f"{defect.__name__}: found within {len(played) * RACERS} races ({', '.join(sorted(rules))})")


async def _hunt(sidecar: SidecarProcess, *, by_session: bool = False) -> tuple[list[Round], list[str]]:
    played: list[Round] = []
    async with Load(sidecar, by_session=by_session) as load:
        while len(played) < PATIENCE:
            played += await load.play(BATCH)
            if found := faults(played):
                return played, found
    return played, []


async def _race(name: str, races: int, tell: Tell, *sidecars: SidecarProcess) -> None:
    start, played, met = time.monotonic(), list[Round](), Counter[str]()
    async with Load(*sidecars) as load:
        while met.total() < races and len(played) * RACERS * OVERLAP < races + BATCH * RACERS:
            batch = await load.play(BATCH * 4)
            played += batch
            met.update(word for one in batch for word in _raced(one))
    took, tried = time.monotonic() - start, len(played) * RACERS
    found = faults(played)
    assert not found, "\n".join([f"{len(found)} faults, the first of them:", *found[:20]])
    tell(
        f"{name}: {met.total()} races in {took:.0f} s ({met.total() / tried:.0%} of {tried} calls): "
        f"{met[PERMITTED]} permitted, {met[REVOKED]} revoked, 0 faults (rate < {3 / met.total():.1e} at 95 %)"
    )
    assert set(met) == {PERMITTED, REVOKED}, f"answers were lost: {met}"
    assert met.total() >= races, f"only {met.total()} of {tried} calls met the cancel: this proves little"
    assert min(met.values()) >= met.total() * 0.1, f"one side nearly always wins: {met}"


def _raced(one: Round) -> list[str]:
    """How each action ended for which a call was under way at the same time as the cancel."""
    return list({attempt.op: attempt.word for attempt in one.attempts if overlaps(one, attempt)}.values())
