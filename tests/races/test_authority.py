"""Authority under load: what is handed on, issued, approved or spent while it is taken away.

COUNTERMAND_AUTHORITY_RACES sets how many races each test must see at the least (default 500; `make race`
asks for 10,000): calls that were truly under way together with what stops them.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.races import authority, authority_sabotage
from tests.races.authority import Told
from tests.races.load import Load
from tests.support.redis_server import RedisServer
from tests.support.sidecar import sidecar_running, twin_running
from tests.support.standby import lives_of_a_sidecar

pytestmark = pytest.mark.alone

RACES = int(os.environ.get("COUNTERMAND_AUTHORITY_RACES", "500"))
AT_ONCE, PATIENCE = 3, 60
#: A thousand takers are as many as the connections of the load can carry at once.
ALONE = {authority.budget_round}
#: A thousand takers come at once: more than the listener's slots are by default.
SLOTS = {"max_calls": 4000, "max_operator_calls": 4000}

Play = Callable[[Load, int], Awaitable[Told]]
Tell = Callable[[str], None]

#: Each race, and what it must have met to prove something: both ways in which it can end.
KINDS: dict[Play, tuple[str, str]] = {
    authority.delegate_round: ("delegated True", "delegated False"),
    authority.extend_round: ("extended True", "extended False"),
    authority.fence_round: ("used True", "used False"),
    authority.approval_round: ("denied", "permitted"),
    authority.budget_round: ("taken", "refused"),
}


@pytest.mark.parametrize("play", KINDS, ids=lambda play: play.__name__)
async def test_authority_that_is_taken_away_is_gone(play: Play, fresh_redis: RedisServer, tell: Tell) -> None:
    """Through two sidecars, whoever comes first: what was accepted came before the stop, by its number."""
    store = {"store": fresh_redis.url} | SLOTS
    with sidecar_running(**store) as first, twin_running(first, **store) as second:
        start, met, found = time.monotonic(), Counter[str](), list[str]()
        async with Load(first, second) as load:
            rounds, at_once = 0, 1 if play in ALONE else AT_ONCE
            while met.total() < RACES and not found:
                numbers = range(rounds, rounds + at_once)
                for told in await asyncio.gather(*(play(load, number) for number in numbers)):
                    met.update(told.met)
                    found += told.faults
                rounds += at_once
    assert not found, found[:10]
    took = time.monotonic() - start
    tell(f"{play.__name__}: {met.total()} races in {rounds} rounds and {took:.0f} s: {dict(met)}, 0 faults")
    assert min(met[name] for name in KINDS[play]) >= met.total() * 0.005, (
        f"one side nearly always wins: {met}"
    )


@pytest.mark.parametrize("defect", authority_sabotage.DEFECTS, ids=lambda defect: defect.__name__)
async def test_a_planted_defect_of_authority_is_found(
    defect: Callable[[], None], fresh_redis: RedisServer, tell: Tell
) -> None:
    """The same rounds find a sidecar out that lacks one of its guards."""
    play, rules = authority_sabotage.DEFECTS[defect]
    program = ("-m", "tests.races.authority_sabotage", defect.__name__)
    found: list[str] = []
    with lives_of_a_sidecar(program, store=fresh_redis.url, **SLOTS) as lives:
        async with Load(lives.sidecar) as load:
            number = 0
            while not found and number < PATIENCE:
                found += (await play(load, number)).faults
                number += 1
    assert found, f"{defect.__name__} got away with {number} rounds"
    broken = {fault.partition(":")[0] for fault in found}
    assert broken & set(rules), found[:10]
    tell(f"{defect.__name__}: found within {number} rounds ({', '.join(sorted(broken))})")
