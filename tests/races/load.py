"""The load of the races: rounds of one run each, in which callers ask for permits while it is cancelled.

Everything goes through the sockets of real sidecars; every call leaves an interval and an answer. Where there
are two sidecars on one store, each run is opened, tried and cancelled through both.
"""

import asyncio
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Protocol, Self

import grpc

from countermand.v1 import action_service_pb2_grpc as action_grpc
from countermand.v1 import control_service_pb2_grpc as control_grpc
from countermand.v1 import grant_service_pb2_grpc as grant_grpc
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import journal_service_pb2_grpc as journal_grpc
from countermand.v1 import undo_service_pb2_grpc as undo_grpc
from tests.races.by_session import SessionTool
from tests.races.checker import LOST, PERMITTED, Attempt, Cancel, Round, Telling
from tests.support import messages as say

#: Actions of a round that race with its cancel: half are prepared beforehand and committed, half performed.
RACERS = 24
#: Each of them waits up to this long (seconds) after the start signal. The cancel, whose own listener lets it
#: overtake the crowd at the tools' listener, waits up to most of the time that the crowds before it took.
JITTER = 0.005
#: Rounds under way at the same time: while one races, others prepare.
AT_ONCE = 3
TOOL_CONNECTIONS = 2
TIMEOUT = 20.0

#: What leaves open whether a permit was given.
_OPEN = frozenset({"", "TIMED_OUT", "STORE_UNAVAILABLE"})

Call = Callable[..., Awaitable[Any]]


class Called(Protocol):
    """What has channels to it: a sidecar, or its services without the wire."""

    def channel(self, role: str) -> Any:
        """Connect in a role."""


class Load:
    """Callers of every role, each with a connection of its own."""

    def __init__(self, *sidecars: Called, seed: int = 0, by_session: bool = False) -> None:
        """Take the sidecars; `by_session`: tools' calls travel together, and every grant is watched."""
        self._by_session = by_session
        self._sidecars, self.dice = itertools.cycle(sidecars), random.Random(seed)
        self._numbers = itertools.count()
        self.crowd = 4 * JITTER
        self._channels = AsyncExitStack()
        self.sessions: list[SessionTool] = []

    async def __aenter__(self) -> Self:
        self.grants = grant_grpc.GrantServiceStub(await self._channel("issuer"))
        self.owner = control_grpc.ControlServiceStub(await self._channel("issuer"))
        self.operator = control_grpc.ControlServiceStub(await self._channel("operator"))
        self.journal = journal_grpc.JournalServiceStub(await self._channel("auditor"))
        tools = [await self._channel("tool") for _ in range(TOOL_CONNECTIONS)]
        stubs: list[Any] = [await self._tool(channel) for channel in tools]
        self.tools = itertools.cycle(stubs)
        compensators = [await self._channel("compensator") for _ in range(2)]
        self._compensators = itertools.cycle(map(undo_grpc.UndoServiceStub, compensators))
        self._delegates = {
            id(stub): grant_grpc.GrantServiceStub(channel).DelegateGrant
            for stub, channel in zip(stubs, tools, strict=True)
        }
        return self

    async def _tool(self, channel: Any) -> Any:
        if not self._by_session:
            return action_grpc.ActionServiceStub(channel)
        tool = SessionTool(channel)
        ready = asyncio.Event()
        tool.session.on_change(lambda is_there: is_there and ready.set())
        if not tool.session.want():
            await asyncio.wait_for(ready.wait(), TIMEOUT)
        self._channels.push_async_callback(tool.session.close)
        self.sessions.append(tool)
        return tool

    async def __aexit__(self, *_: object) -> None:
        await self._channels.aclose()

    @property
    def tool(self) -> action_grpc.ActionServiceStub:
        """The next tool."""
        return next(self.tools)

    @property
    def compensator(self) -> undo_grpc.UndoServiceStub:
        """The next compensator; where there are two sidecars, each has one."""
        return next(self._compensators)

    def delegating(self, tool: action_grpc.ActionServiceStub) -> Call:
        """The one call of another service that a tool may make, over the same connection."""
        return self._delegates[id(tool)]

    async def _channel(self, role: str) -> grpc.aio.Channel:
        return await self._channels.enter_async_context(next(self._sidecars).channel(role))

    async def play(self, count: int) -> list[Round]:
        """Play so many rounds, a few at a time."""
        numbers, played = iter(range(count)), list[Round]()

        async def some() -> None:
            for _ in numbers:
                played.append(await _Round(self, next(self._numbers)).play())

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return played


class _Round:
    """One run, its racers, its cancels."""

    def __init__(self, load: Load, number: int) -> None:
        self._load, self._number = load, number
        self._run = self._root = f"race-{number}"
        self._start = asyncio.Event()
        self._attempts: list[Attempt] = []
        self._settled: list[str] = []

    async def play(self) -> Round:
        """Prepare, race, try again afterwards, and read the last report."""
        prepared = [f"c-{index}" for index in range(RACERS // 2)]
        await self._open()
        await asyncio.gather(*(self._prepare(op) for op in [*prepared, "late-c"]))
        cancels, issued = await self._race(prepared)
        await self._try_late(issued)
        final = await self._load.journal.GetReport(
            journal_pb.GetReportRequest(run_id=self._root), timeout=TIMEOUT
        )
        told = telling(final.report)
        done = {action.op_id for action in final.report.done}
        assert done == set(self._settled), f"{self._run}: settled {self._settled}, told as done {done}"
        return Round(self._run, frozenset([*prepared, "late-c"]), tuple(self._attempts), cancels, told)

    async def _open(self) -> None:
        """Open the run; each third one is a child, and its parent is what gets cancelled."""
        grants = self._load.grants
        if self._number % 3 == 0:
            self._root = f"{self._run}-root"
            await grants.OpenRun(say.open_run(self._root), timeout=TIMEOUT)
        parent = self._root if self._root != self._run else ""
        await grants.OpenRun(say.open_run(self._run, parent), timeout=TIMEOUT)
        issued = await grants.IssueGrant(say.issue(self._run), timeout=TIMEOUT)
        self._token = issued.grant_token

    async def _prepare(self, op: str) -> None:
        await next(self._load.tools).PrepareAction(say.prepare(self._token, op), timeout=TIMEOUT)

    async def _race(self, prepared: list[str]) -> tuple[tuple[Cancel, ...], str | None]:
        """Let everybody go at once; answer the cancels, and the token of a grant if one was still issued."""
        performed = [f"p-{index}" for index in range(RACERS // 2)]
        # A tenth of them twice: the second caller gets the same permit, or none.
        self._twice = again = self._load.dice.sample([*prepared, *performed], RACERS // 10)
        racers = [self._racer(self._commit, op) for op in prepared]
        racers += [self._racer(self._perform, op) for op in performed]
        racers += [self._racer(self._commit if op in prepared else self._perform, op) for op in again]
        cancels = [self._cancel(self._load.operator)]
        if self._number % 4 == 0:
            cancels.append(self._cancel(self._load.owner))
        everybody = asyncio.gather(self._crowd(racers), asyncio.gather(*cancels), self._issue())
        await asyncio.sleep(0)
        self._start.set()
        _, cancelled, issued = await everybody
        return tuple(cancelled), issued

    async def _crowd(self, racers: list[Coroutine[Any, Any, None]]) -> None:
        start = time.monotonic()
        await asyncio.gather(*racers)
        self._load.crowd += (time.monotonic() - start - self._load.crowd) / 8

    async def _try_late(self, issued: str | None) -> None:
        """Ask when the cancel has been answered: by every verb, and for what was asked for before."""
        await self._commit("late-c")
        await self._perform("late-p")
        await self._commit("c-0")
        if issued:
            await self._perform("late-i", issued)

    async def _racer(self, verb: Callable[[str], Awaitable[None]], op: str) -> None:
        await self._start.wait()
        await asyncio.sleep(self._load.dice.random() * JITTER)
        await verb(op)

    async def _commit(self, op: str) -> None:
        tool = next(self._load.tools)
        await self._attempt("commit", tool, tool.CommitAction, say.commit(self._token, op), op)

    async def _perform(self, op: str, token: str = "") -> None:
        tool = next(self._load.tools)
        request = say.perform(token or self._token, op)
        await self._attempt("perform", tool, tool.PerformAction, request, op)

    async def _attempt(self, verb: str, tool: Any, call: Call, request: Any, op: str) -> None:
        invoke = time.monotonic_ns()
        try:
            permit = (await call(request, timeout=TIMEOUT)).permit
        except grpc.aio.AioRpcError as error:
            self._attempts.append(_refused(verb, op, invoke, time.monotonic_ns(), error))
            return
        back = time.monotonic_ns()
        assert permit.op_id == op, "an answer to another call"
        attempt = Attempt(op, verb, invoke, back, PERMITTED, permit.fence, permit.replayed)
        self._attempts.append(attempt)
        if permit.fence % 4 == 0 and op not in self._twice:
            await tool.SettleAction(say.settle(request.grant_token, op), timeout=TIMEOUT)
            self._settled.append(op)

    async def _cancel(self, control: control_grpc.ControlServiceStub) -> Cancel:
        """Cancel at a moment that moves through the window from round to round, so that each part is met."""
        await self._start.wait()
        await asyncio.sleep(self._number * 0.618034 % 1 * self._load.crowd * 0.6)
        invoke = time.monotonic_ns()
        answer = await control.CancelRun(say.cancel(self._root), timeout=TIMEOUT)
        return Cancel(invoke, time.monotonic_ns(), telling(answer.report), answer.replayed)

    async def _issue(self) -> str | None:
        """Issue another grant while the run is cancelled: what it is worth is seen afterwards."""
        await self._start.wait()
        await asyncio.sleep(self._load.dice.random() * JITTER)
        try:
            answer = await self._load.grants.IssueGrant(say.issue(self._run), timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            refusal = say.refusal_of(error)
            assert refusal.reason == "REVOKED", refusal
            return None
        return str(answer.grant_token)


def _refused(verb: str, op: str, invoke: int, back: int, error: grpc.aio.AioRpcError) -> Attempt:
    refusal = say.refusal_of(error)
    if refusal.reason in _OPEN:
        return Attempt(op, verb, invoke, math.inf, LOST)
    prior = refusal.details.get("prior_decision") == PERMITTED
    return Attempt(op, verb, invoke, back, refusal.reason, prior=prior)


def telling(report: journal_pb.Report) -> Telling:
    """Take from a report what the checker looks at."""
    permitted = {op: told.fence for op, told in say.listed(report, *say.PERMITTED_PARTS).items()}
    return Telling(
        cut=report.cut_seq,
        permitted={op: fence for op, fence in permitted.items() if fence},
        doubtful=frozenset(op for op, fence in permitted.items() if not fence),
        stopped=frozenset(say.listed(report, "interrupted")),
        elsewhere=frozenset(say.listed(report, *say.OTHER_PARTS)),
        late=Counter(attempt.op_id for attempt in report.late_attempts),
    )
