"""Adapters with one defect each, and the rules that each of them breaks: all of these, and no other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import countermand
from countermand.testing.conformance import Fault, Grade
from countermand.testing.conformance.stage import caught
from tests.conformance.seams import Perform

REVOKED, NO_GRANT, NO_SERVICE, NO_ANSWER = (
    "a_revoked_call_does_not_run",
    "a_call_without_a_grant_does_not_run",
    "a_call_without_the_service_does_not_run",
    "a_call_that_nobody_answers_does_not_run",
)
ONCE, RAISED, LOST, INSIDE = (
    "a_call_in_good_standing_runs_once",
    "an_exception_settles_honestly",
    "a_lost_connection_settles_honestly",
    "a_cancel_while_inside_is_told_truly",
)
STOPPED, AFTER_STOP = "a_stop_at_the_target_wins", "nothing_lands_after_a_stop_at_the_target"


class SwallowsTheRefusal(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            await super().attempt(key, fault)
        except countermand.StopTheRun:
            await self.target.hit_async(key)


class ActsWithoutAGrant(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            await super().attempt(key, fault)
        except countermand.NoGrant:
            await self.target.hit_async(key)


class ActsWithoutTheService(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            await super().attempt(key, fault)
        except countermand.NotRunning:
            await self.target.hit_async(key)


class ActsWithoutAnAnswer(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            await super().attempt(key, fault)
        except countermand.NotRunning:
            raise
        except countermand.TryAgain:  # it took too long, or the connection that was opened was never one
            await self.target.hit_async(key)


class TellsNobody(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        with suppress(countermand.CountermandError):
            await super().attempt(key, fault)


class AsksNobody(Perform):
    """It heard of the stop by itself, so the report does not hear of the attempt."""

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        await stop()
        raise countermand.Stopped


class ActsTwice(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action):
            await self.target.hit_async(key, fault)
            await self.target.hit_async(key)


class RepeatsALostEffect(Perform):
    """Under the same permit."""

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action):
            try:
                await self.target.hit_async(key, fault)
            except ConnectionError:
                await self.target.hit_async(key, fault)


class ActsAfterItTold(Perform):
    """It raises what it was refused with, and a task that it has begun acts all the same, a little later."""

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            await super().attempt(key, fault)
        except countermand.Revoked:
            self.left = asyncio.create_task(self._later(key))
            raise

    async def _later(self, key: str) -> None:
        await asyncio.sleep(0.05)
        await self.target.hit_async(key)


class AsksAfterwards(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        failure = await caught(self.target.hit_async(key, fault))
        async with countermand.perform(self.action):
            if failure:
                raise failure


class SettlesFirst(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action):
            pass
        await self.target.hit_async(key, fault)


class HidesTheException(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action):
            with suppress(RuntimeError):
                await self.target.hit_async(key, fault)


class TakesALostAnswerForAYes(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action):
            with suppress(ConnectionError):
                await self.target.hit_async(key, fault)


class TakesALostAnswerForANo(Perform):
    """It declares what it says; that it is false is seen all the same."""

    lost = countermand.Outcome.FAILED

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action) as act:
            try:
                await self.target.hit_async(key, fault)
            except ConnectionError:
                act.failed()


class SettlesNothing(Perform):
    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        grant = countermand.current_grant()
        await grant.tool.perform(await grant.token(), countermand.Intent.of(self.action))
        await self.target.hit_async(key, fault)


class OnlySaysItIsOfGradeA(Perform):
    """Its target takes whatever comes."""

    grade = Grade.A

    async def stop_target(self, run_id: str) -> None:
        pass


class LooksTooEarly(Perform):
    """It looks for the stop in its target, but before the effect and not with it."""

    grade = Grade.A

    async def start(self) -> None:
        await super().start()
        self.stopped: set[str] = set()

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        async with countermand.perform(self.action) as act:
            if countermand.current_grant().run_id in self.stopped:
                act.failed("its target was told to stop")
                raise countermand.Fenced
            await self.target.hit_async(key, fault)

    async def stop_target(self, run_id: str) -> None:
        self.stopped.add(run_id)


#: On record of these never comes what the suite waits for.
WAITED_FOR_IN_VAIN = {AsksAfterwards, SettlesNothing}

DEFECTS = {
    SwallowsTheRefusal: {REVOKED},
    ActsWithoutAGrant: {NO_GRANT},
    ActsWithoutTheService: {NO_SERVICE},
    ActsWithoutAnAnswer: {NO_ANSWER},
    TellsNobody: {REVOKED, NO_GRANT, NO_SERVICE, NO_ANSWER},
    AsksNobody: {REVOKED},
    ActsTwice: {ONCE, INSIDE},
    RepeatsALostEffect: {LOST},
    ActsAfterItTold: {REVOKED},
    AsksAfterwards: {REVOKED, NO_GRANT, NO_SERVICE, NO_ANSWER, INSIDE},
    SettlesFirst: {RAISED, LOST, INSIDE},
    HidesTheException: {RAISED},
    TakesALostAnswerForAYes: {LOST},
    TakesALostAnswerForANo: {LOST},
    OnlySaysItIsOfGradeA: {STOPPED, AFTER_STOP},
    LooksTooEarly: {AFTER_STOP},
    SettlesNothing: {ONCE, RAISED, LOST, INSIDE},
}
