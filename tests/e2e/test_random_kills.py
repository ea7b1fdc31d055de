"""A sidecar or its Redis is killed at random moments under load, again and again: no answer is unsaid.

After each crash everything that was acknowledged is there, what got no answer is asked again, and the whole
history is held against the rules of the races.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.lives import Callers, Story, close_story, work_until
from tests.races.checker import LOST, PERMITTED, Round, faults
from tests.races.load import telling
from tests.support.redis_server import redis_running
from tests.support.sidecar import SidecarProcess, sidecar_running
from tests.support.standby import Lives, lives_of_a_sidecar

pytestmark = pytest.mark.alone  # what is under way at a kill depends on what else runs

KILLS, REDIS_KILLS = 100, 10
#: How long the load lasts before the kill, in seconds.
LIFE = (0.02, 0.1)

History = list[tuple[Story, Round]]


async def _crash(lives: Lives, dice: random.Random, life: int) -> tuple[History, list[str]]:
    """Work, die, come back, ask again; answer what happened and what is wrong with it."""
    stories = await work_until(lives.kill, dice.uniform(*LIFE), lives.sidecar, f"k-{life}")
    lives.wait_for_next()
    async with Callers(lives.sidecar) as callers:
        told = [(story, await _ask_again(callers, story)) for story in stories if story.token]
    return told, _wrong(told)


async def _ask_again(callers: Callers, story: Story) -> Round:
    """Ask again whatever got no answer, unless the run is known to be cancelled; then end the story."""
    if not story.cancels:
        for attempt in story.lost().values():
            await callers.permit(story, attempt.verb, attempt.op)
    return await close_story(callers, story)


def _wrong(told: History) -> list[str]:
    return [fault for story, _ in told for fault in story.forgotten] + faults(one for _, one in told)


async def test_what_was_answered_survives_every_kill() -> None:
    """A hundred kills under load: every acknowledged decision is there after the restart, and stays."""
    dice, history = random.Random(7), History()
    with lives_of_a_sidecar() as lives:
        for life in range(KILLS):
            told, found = await _crash(lives, dice, life)
            assert not found, found[:10]
            history += told
        await _require_it_stays(lives.sidecar, history)
    _require_a_real_load(history, KILLS)


async def _require_it_stays(sidecar: SidecarProcess, history: History) -> None:
    """All lives together break no rule either, and what was told once is told now."""
    found = faults(one for _, one in history)
    assert not found, found[:10]
    async with Callers(sidecar) as callers:
        for story, one in history:
            assert telling(await callers.report(story)) == one.final


def _require_a_real_load(history: History, kills: int) -> None:
    """The kills must have fallen into decisions, and there must have been much to lose."""
    words = Counter(attempt.word for story, _ in history for attempt in story.attempts)
    lost_cancels = sum(len(story.lost_cancels) for story, _ in history)
    assert words[PERMITTED] >= 10 * kills, words
    assert words[LOST] >= kills, words
    assert lost_cancels >= kills / 10, lost_cancels


async def test_a_sidecar_that_answers_before_it_writes_is_found_out() -> None:
    """The control: the same kills show that something was forgotten, if something was."""
    dice = random.Random(7)
    with lives_of_a_sidecar(("-m", "tests.races.sabotage", "answered_before_it_is_durable")) as lives:
        for life in range(KILLS):
            _, found = await _crash(lives, dice, life)
            if found:
                return
    raise AssertionError("it got away with it")


async def test_what_was_answered_survives_every_kill_of_redis(tmp_path: Path) -> None:
    """Redis dies under load and comes back: all runs have ended, their reports have all that was answered."""
    dice, history = random.Random(7), History()
    with redis_running(tmp_path / "redis") as server, sidecar_running(store=server.url) as sidecar:
        for life in range(REDIS_KILLS):
            stories = await work_until(server.kill, dice.uniform(*LIFE), sidecar, f"k-{life}")
            server.start()
            sidecar.wait_health("SERVING")
            async with Callers(sidecar) as callers:
                issued = [story for story in stories if story.token]
                told = [(story, await close_story(callers, story, new_epoch=True)) for story in issued]
                for story, _ in told:
                    (gap,) = (await callers.report(story)).gaps
                    assert "what happened just before the change may be missing here" in gap
            found = _wrong(told)
            assert not found, found[:10]
            history += told
        await _require_it_stays(sidecar, history)
    _require_a_real_load(history, REDIS_KILLS)
