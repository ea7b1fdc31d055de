"""The sidecar is killed at random moments under load, again and again on the same data: no answer is unsaid.

Callers note what they were answered. After each crash everything that was acknowledged is there, what got no
answer is asked again, and the whole history is held against the rules of the races.
"""

import asyncio
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc

from countermand.v1 import action_service_pb2_grpc as action_grpc
from countermand.v1 import control_service_pb2_grpc as control_grpc
from countermand.v1 import grant_service_pb2_grpc as grant_grpc
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import journal_service_pb2_grpc as journal_grpc
from tests.races.checker import LOST, PERMITTED, Attempt, Cancel, Round, faults
from tests.races.load import telling
from tests.support import messages as say
from tests.support.sidecar import CHANNEL_OPTIONS, SidecarProcess, sidecar_running

KILLS = 30
WORKERS = 6
#: How long the load lasts before the kill, in seconds.
LIFE = (0.03, 0.2)
TIMEOUT = 10.0

Call = Callable[..., Awaitable[Any]]
History = list[tuple["Story", Round]]


class Lost(Exception):
    """No answer came: the sidecar died. What was decided is not known."""


@dataclass
class Story:
    """One run, as its callers know it."""

    run: str
    token: str = ""
    prepared: set[str] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    lost_cancels: list[float] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)
    #: What is wrong that the rules of the races do not see.
    forgotten: list[str] = field(default_factory=list)

    def lost(self) -> list[Attempt]:
        """The calls whose answers were lost."""
        return [attempt for attempt in self.attempts if attempt.word == LOST]


class Callers:
    """Everybody who calls one life of the sidecar."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._sidecar, self._channels = sidecar, AsyncExitStack()

    async def __aenter__(self) -> "Callers":
        self.grants = grant_grpc.GrantServiceStub(await self._channel("issuer"))
        self.tools = action_grpc.ActionServiceStub(await self._channel("tool"))
        self.control = control_grpc.ControlServiceStub(await self._channel("operator"))
        self.journal = journal_grpc.JournalServiceStub(await self._channel("auditor"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channels.aclose()

    async def _channel(self, role: str) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(self._sidecar.target(role), options=CHANNEL_OPTIONS)
        return await self._channels.enter_async_context(channel)

    async def live(self, story: Story, stopped: bool) -> None:
        """Open a run, ask for permits, settle one, perhaps cancel, as far as the sidecar lets it get."""
        await _ask(self.grants.OpenRun, say.open_run(story.run))
        story.token = (await _ask(self.grants.IssueGrant, say.issue(story.run))).grant_token
        together = [self._prepare(story, f"c-{number}") for number in range(3)]
        await asyncio.gather(*together)
        asked = [self.permit(story, "commit", f"c-{number}") for number in range(2)]
        asked += [self.permit(story, "perform", f"p-{number}") for number in range(2)]
        await asyncio.gather(*asked, *([self.cancel(story)] if stopped else []))
        for attempt in story.attempts[:1]:
            if attempt.word == PERMITTED:
                await self.settle(story, attempt.op)

    async def _prepare(self, story: Story, op: str) -> None:
        invoke = time.monotonic_ns()
        try:
            await _ask(self.tools.PrepareAction, say.prepare(story.token, op, ttl=600))
        except Lost:
            story.attempts.append(Attempt(op, "prepare", invoke, math.inf, LOST))
            raise
        story.prepared.add(op)

    async def permit(self, story: Story, verb: str, op: str) -> None:
        """Ask for a permit and note the answer."""
        call, request = self.tools.CommitAction, say.commit(story.token, op, within=60)
        if verb == "perform":
            call, request = self.tools.PerformAction, say.perform(story.token, op, within=60)
        invoke = time.monotonic_ns()
        try:
            permit = (await _ask(call, request)).permit
        except Lost:
            story.attempts.append(Attempt(op, verb, invoke, math.inf, LOST))
        except grpc.aio.AioRpcError as error:
            told = say.refusal_of(error)
            prior = told.details.get("prior_decision") == PERMITTED
            attempt = Attempt(op, verb, invoke, time.monotonic_ns(), told.reason, prior=prior)
            story.attempts.append(attempt)
        else:
            back = time.monotonic_ns()
            story.attempts.append(Attempt(op, verb, invoke, back, PERMITTED, permit.fence, permit.replayed))

    async def settle(self, story: Story, op: str) -> None:
        """Say that it was done; what is acknowledged must be told as done."""
        await _ask(self.tools.SettleAction, say.settle(story.token, op))
        story.settled.add(op)

    async def cancel(self, story: Story) -> None:
        """Cancel and note the answer."""
        invoke = time.monotonic_ns()
        try:
            answer = await _ask(self.control.CancelRun, say.cancel(story.run))
        except Lost:
            story.lost_cancels.append(invoke)
        else:
            back = time.monotonic_ns()
            if not answer.known:
                story.forgotten.append(f"FORGOTTEN: run {story.run}")
            story.cancels.append(Cancel(invoke, back, telling(answer.report), answer.replayed))

    async def report(self, story: Story) -> journal_pb.Report:
        """Read a run's report."""
        request = journal_pb.GetReportRequest(run_id=story.run)
        return (await _ask(self.journal.GetReport, request)).report


async def _ask(call: Call, request: Any) -> Any:
    try:
        return await call(request, timeout=TIMEOUT)
    except grpc.aio.AioRpcError as error:
        if say.refusal_of(error).reason:
            raise
        raise Lost from error


async def _load(sidecar: SidecarProcess, dice: random.Random, life: int) -> list[Story]:
    """Let everybody work until the sidecar is killed."""
    stories: list[Story] = []

    async def work(worker: int, callers: Callers) -> None:
        for number in range(10_000):
            stories.append(Story(f"k-{life}-{worker}-{number}"))
            await callers.live(stories[-1], stopped=dice.random() < 0.5)

    async with Callers(sidecar) as callers:
        working = [asyncio.create_task(work(worker, callers)) for worker in range(WORKERS)]
        await asyncio.sleep(dice.uniform(*LIFE))
        os.kill(sidecar.pid, signal.SIGKILL)
        for ended in await asyncio.gather(*working, return_exceptions=True):
            assert isinstance(ended, Lost), ended
    return stories


async def _ask_again(callers: Callers, story: Story) -> Round:
    """Ask again whatever got no answer; then cancel the run for certain, and read what is told of it."""
    if not story.cancels:
        again = {attempt.op: attempt for attempt in story.lost() if attempt.verb != "prepare"}
        for attempt in again.values():
            await callers.permit(story, attempt.verb, attempt.op)
    await callers.cancel(story)
    report = await callers.report(story)
    lost = story.settled - {action.op_id for action in report.done}
    story.forgotten += [f"FORGOTTEN: {op} of run {story.run} was settled" for op in lost]
    return Round(
        story.run,
        frozenset(story.prepared),
        tuple(story.attempts),
        tuple(story.cancels),
        telling(report),
        tuple(story.lost_cancels),
    )


async def _crash(sidecar: SidecarProcess, dice: random.Random, life: int) -> tuple[History, list[str]]:
    """Work, die, come back; answer what happened and what is wrong with it."""
    stories = await _load(sidecar, dice, life)
    assert sidecar.wait() == -signal.SIGKILL
    sidecar.start()
    async with Callers(sidecar) as callers:
        told = [(one, await _ask_again(callers, one)) for one in stories if one.token]
    found = [fault for story, _ in told for fault in story.forgotten]
    return told, found + faults(one for _, one in told)


async def test_what_was_answered_survives_every_kill() -> None:
    """At least thirty kills under load: every acknowledged decision is there after the restart, and stays."""
    dice, history = random.Random(7), list[tuple[Story, Round]]()
    with sidecar_running() as sidecar:
        for life in range(KILLS):
            told, found = await _crash(sidecar, dice, life)
            assert not found, found[:10]
            history += told
        found = faults(one for _, one in history)
        assert not found, found[:10]
        async with Callers(sidecar) as callers:
            for story, one in history:
                assert telling(await callers.report(story)) == one.final, "what was told once stays so"
    _require_a_real_load(history)


def _require_a_real_load(history: History) -> None:
    """The kills must have fallen into decisions, and there must have been much to lose."""
    words = Counter(attempt.word for story, _ in history for attempt in story.attempts)
    lost_cancels = sum(len(story.lost_cancels) for story, _ in history)
    assert words[PERMITTED] >= 10 * KILLS, words
    assert words[LOST] >= KILLS, words
    assert lost_cancels >= KILLS / 10, lost_cancels


async def test_a_sidecar_that_answers_before_it_writes_is_found_out() -> None:
    """The control: the same kills show that something was forgotten, if something was."""
    dice = random.Random(7)
    with sidecar_running(None, ("-m", "tests.races.sabotage", "answered_before_it_is_durable")) as sidecar:
        for life in range(KILLS):
            _, found = await _crash(sidecar, dice, life)
            if found:
                return
    raise AssertionError("it got away with it")
