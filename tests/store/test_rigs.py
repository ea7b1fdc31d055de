"""The rigs themselves: a check that cannot fail is a defect."""

import pytest

from tests.store.player import Player
from tests.store.redis_rigs import RedisRig
from tests.store.rigs import MemoryRig


@pytest.mark.parametrize(
    "damage",
    [
        ("PERSIST", "cm3:{p0}:grant:grant"),
        ("PERSIST", "cm3:{p0}:run:run"),
        ("PERSIST", "cm3:{p0}:journal:run"),
        ("PEXPIRE", "cm3:{p0}:action:run:op", 60_000),
        ("SET", "cm3:{p0}:cache:x", "1"),
        ("SET", "elsewhere", "1"),
        ("ZREM", "cm3:{p0}:runs", "run"),
        ("ZADD", "cm3:{p0}:runs", 7, "nobody"),
        ("HSET", "cm3:{p0}:meta", "more", "1"),
    ],
)
async def test_a_key_that_lives_too_long_fails_the_test_that_left_it(damage: tuple[str, ...]) -> None:
    """The look at the whole state after each test finds a key without its expiry, or without a name."""
    rig = await RedisRig.start_fake()
    play = Player(rig)
    await play.permit(await play.ready())
    await rig.dump()
    await rig.link.call(*damage)
    with pytest.raises((AssertionError, KeyError)):
        await rig.dump()
    await rig.close()


async def test_two_dumps_differ_where_the_stores_do() -> None:
    """A difference in one field of one record is found and named; equal states have none."""
    dumps = []
    for note in ("one", "two"):
        rig = await MemoryRig.start()
        await Player(rig).open()
        await Player(rig).cancel(note=note)
        dumps.append(await rig.dump())
    assert dumps[0].differences(dumps[0]) == []
    assert dumps[0].differences(dumps[1]) == [
        "/entries/run/1/3/note: 'one' != 'two'",
        "/runs/run/end_note: 'one' != 'two'",
    ]
