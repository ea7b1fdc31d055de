"""Callers who note what they were answered, in one life of a sidecar after another."""

import asyncio
import math
import time
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
from tests.races.checker import LOST, PERMITTED, Attempt, Cancel, Round
from tests.races.load import telling
from tests.support import messages as say
from tests.support.sidecar import CHANNEL_OPTIONS, SidecarProcess

TIMEOUT = 10.0
WORKERS = 6

#: What leaves open whether anything was decided.
OPEN = frozenset({"", "STORE_UNAVAILABLE", "TIMED_OUT"})

Call = Callable[..., Awaitable[Any]]


class Lost(Exception):
    """No answer came: the sidecar or its store died. What was decided is not known."""


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

    def lost(self) -> dict[str, Attempt]:
        """The calls for a permit that got no answer, by action."""
        asked = (attempt for attempt in self.attempts if attempt.verb != "prepare")
        return {attempt.op: attempt for attempt in asked if attempt.word == LOST}


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
        # Each notes its own loss; nobody goes away before all have.
        await asyncio.gather(*(self._prepare(story, f"c-{number}") for number in range(3)))
        if story.attempts:
            raise Lost
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
        else:
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
        if say.refusal_of(error).reason in OPEN:
            raise Lost from error
        raise


async def close_story(callers: Callers, story: Story, new_epoch: bool = False) -> Round:
    """Cancel a run for certain after a crash, and read what is told of it."""
    in_doubt = new_epoch and not story.cancels
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
        in_doubt,
    )


async def work_until(
    end: Callable[[], None], after: float, sidecar: SidecarProcess, name: str
) -> list[Story]:
    """Let everybody work, `end` it all after so many seconds, and answer what was begun."""
    stories: list[Story] = []

    async def work(worker: int, callers: Callers) -> None:
        for number in range(10_000):
            stories.append(Story(f"{name}-{worker}-{number}"))
            await callers.live(stories[-1], stopped=(worker + number) % 2 == 0)

    async with Callers(sidecar) as callers:
        working = [asyncio.create_task(work(worker, callers)) for worker in range(WORKERS)]
        await asyncio.sleep(after)
        end()
        for ended in await asyncio.gather(*working, return_exceptions=True):
            assert isinstance(ended, Lost), ended
    return stories
