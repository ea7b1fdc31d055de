"""The rigs themselves: a check that cannot fail is a defect."""

import pytest

from grant_service.store.keys import Keys
from tests.store.player import UNDO, Player, done
from tests.store.redis_rigs import RedisRig
from tests.store.rigs import MemoryRig

KEYS = Keys()


@pytest.mark.parametrize(
    "damage",
    [
        ("PERSIST", KEYS.grant("grant")),
        ("PERSIST", KEYS.run("run")),
        ("PERSIST", KEYS.journal("run")),
        ("PERSIST", KEYS.undo("run")),
        ("PERSIST", KEYS.duty("run", "op", UNDO)),
        ("PEXPIRE", KEYS.action("run", "op"), 60_000),
        ("SET", f"{KEYS.stem}cache:x", "1"),
        ("SET", "elsewhere", "1"),
        ("ZREM", KEYS.runs, "run"),
        ("ZADD", KEYS.runs, 7, "nobody"),
        ("HSET", KEYS.meta, "more", "1"),
        ("ZREM", KEYS.undoing, "run"),
        ("ZREM", KEYS.undo("run"), "op"),
        ("ZADD", KEYS.undo("run"), 7, "op"),
        ("ZADD", KEYS.asking, 7, "run/op"),
        ("HSET", KEYS.duty("run", "op", UNDO), "state", "DONE"),
    ],
)
async def test_a_damage_fails_the_test_that_left_it(damage: tuple[str, ...]) -> None:
    """The look at the whole state after each test finds a key without its expiry or name, or a wrong list."""
    rig = await RedisRig.start_fake()
    play = Player(rig)
    await play.effect(await play.ready())
    done(await play.finish())
    done(await play.undo())
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
