"""Duties under load: undoing, calling off and asking, each while somebody else does what must not cross it.

COUNTERMAND_DUTY_RACES sets how many races each test must see at the least (default 100; `make race` asks for
3,000): calls that were truly under way together with what meets them.
"""

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.races import duties, duty_sabotage
from tests.races.authority import Told
from tests.races.load import Load
from tests.support.redis_server import RedisServer, redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running, twin_running
from tests.support.standby import lives_of_a_sidecar

pytestmark = pytest.mark.alone

RACES = int(os.environ.get("COUNTERMAND_DUTY_RACES", "100"))
PATIENCE = 60

Play = Callable[[Load, int], Awaitable[Told]]
Tell = Callable[[str], None]

#: Each race, and what it must have met to prove something: all the ways in which it can end.
KINDS: dict[Play, tuple[str, ...]] = {
    duties.late_settle_round: ("claimed True", "claimed False"),
    duties.claims_round: ("claimed True", "claimed False", "lost"),
    duties.withdraw_round: ("claimed True", "claimed False"),
    duties.order_round: ("earlier True", "earlier False"),
    duties.cancel_round: ("asked True", "asked False", "called off True", "called off False"),
    duties.resolve_round: ("tool", "operator", "probe"),
}


async def _race(play: Play, tell: Tell, name: str, *sidecars: SidecarProcess) -> None:
    """Play until there were enough races, with all their ways to end."""
    start, met, found, rounds = time.monotonic(), Counter[str](), list[str](), 0
    async with Load(*sidecars) as load:
        while not found and (met.total() < RACES or not all(met[way] for way in KINDS[play])):
            told = await play(load, rounds)
            met.update(told.met)
            found += told.faults
            rounds += 1
            assert rounds < max(100, RACES), f"one side always wins: {met}"
    assert not found, found[:10]
    took = f"{rounds} rounds and {time.monotonic() - start:.0f} s"
    tell(f"{play.__name__} {name}: {met.total()} races in {took}: {dict(met)}, 0 faults")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SidecarProcess, SidecarProcess]]:
    """Two sidecars on one Redis, for all races of this module: no two have a run in common."""
    with (
        redis_running(tmp_path_factory.mktemp("twins")) as server,
        sidecar_running(store=server.url) as first,
        twin_running(first, store=server.url) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def sqlite() -> Iterator[SidecarProcess]:
    """A sidecar on the embedded store."""
    with sidecar_running() as sidecar:
        yield sidecar


@pytest.mark.parametrize("play", KINDS, ids=lambda play: play.__name__)
async def test_no_undo_crosses_what_must_come_before_it(
    play: Play, twins: tuple[SidecarProcess, SidecarProcess], tell: Tell
) -> None:
    """Through two sidecars on one Redis, whoever comes first: one order, the same for everybody."""
    await _race(play, tell, "on Redis", *twins)


@pytest.mark.parametrize("play", KINDS, ids=lambda play: play.__name__)
async def test_nor_does_it_on_the_embedded_store(play: Play, sqlite: SidecarProcess, tell: Tell) -> None:
    """One sidecar, whose calls share transactions."""
    await _race(play, tell, "on SQLite", sqlite)


@pytest.mark.parametrize("defect", duty_sabotage.DEFECTS, ids=lambda defect: defect.__name__)
async def test_a_planted_defect_of_duties_is_found(
    defect: Callable[[], None], fresh_redis: RedisServer, tell: Tell
) -> None:
    """The same rounds find a sidecar out that lacks one of its guards."""
    play, rules = duty_sabotage.DEFECTS[defect]
    program = ("-m", "tests.races.duty_sabotage", defect.__name__)
    found: list[str] = []
    with lives_of_a_sidecar(program, store=fresh_redis.url) as lives:
        async with Load(lives.sidecar) as load:
            number = 0
            while not found and number < PATIENCE:
                found += (await play(load, number)).faults
                number += 1
    assert found, f"{defect.__name__} got away with {number} rounds"
    broken = {fault.partition(":")[0] for fault in found}
    assert broken & set(rules), found[:10]
    tell(f"{defect.__name__}: found within {number} rounds ({', '.join(sorted(broken))})")
