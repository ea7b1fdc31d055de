"""`run_for_request`: a run that lasts as long as somebody waits for its answer."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Protocol

from countermand._async.client import Client
from countermand._async.run import ActiveRun
from countermand._errors import CountermandError, FixTheCall, Stopped, StopTheRun
from countermand._models.budgets import Budgets
from countermand._span import Span, seconds
from countermand._words import StopReason
from countermand._world import log
from countermand.integrations._http.deadline import time_left
from countermand.integrations.asgi.boundary import LINE
from countermand.integrations.asgi.line import Line
from countermand.work.causes import because_of
from countermand.work.scope import WorkScope, scope
from countermand.work.stop import Stop, StopCause

_LEFT = "the client left before it had its answer"
_LATE = "the client's deadline was over before anything began"


class HasScope(Protocol):
    """A request of Starlette or FastAPI."""

    @property
    def scope(self) -> Any:
        """The ASGI scope."""
        ...


def run_for_request(
    request: HasScope | Mapping[str, Any],
    client: Client,
    *,
    subject: str = "",
    agent: str = "",
    tenant: str = "",
    labels: Mapping[str, str] | None = None,
    ttl: Span = "1h",
    budgets: Budgets | None = None,
    run_id: str | None = None,
    parent_run_id: str = "",
    timeout: float | None = None,
    grace: Span | None = None,
) -> "RequestRun":
    """Open a run for a request: `async with run_for_request(request, cm, agent="chat") as run`.

    What the block starts belongs to a scope of its own (`countermand.current_scope()`).
    A client that leaves before the block's end cancels the run with CLIENT_DISCONNECTED and stops the scope,
    and so the block, which raises `Stopped`; so does whatever else ends the run. For a streamed answer open
    it in the generator of the body. The run lasts no longer than `ttl`, nor than the request's
    `request-timeout` or `grpc-timeout`. `request` is Starlette's, or an ASGI scope; the rest is as for
    `open_run` and `scope`.
    """
    told = request if isinstance(request, Mapping) else request.scope
    line, longest = _line(told), _longest(told, seconds(ttl))
    run = client.open_run(
        subject=subject,
        agent=agent,
        tenant=tenant,
        labels=labels,
        ttl=longest,
        budgets=budgets,
        run_id=run_id,
        parent_run_id=parent_run_id,
        timeout=timeout,
    )
    work = scope("request", timeout=longest, grace=grace, source=run)
    return RequestRun(line, run, _Leaving(client, run, work), work)


class RequestRun:
    """A run that is open inside its block, for as long as the client of its request is there.

    No generator: one that is thrown away is closed at any time, beside the body that is using it.
    """

    def __init__(self, line: Line, run: ActiveRun, leaving: "_Leaving", work: WorkScope) -> None:
        self._line, self._run, self._leaving, self._work = line, run, leaving, work
        self._open = AsyncExitStack()
        self._is_closing = False

    async def __aenter__(self) -> ActiveRun:
        if self._line.left:
            raise Stopped(Stop(StopReason.CLIENT_DISCONNECTED, _LEFT))
        async with AsyncExitStack() as opening:
            opening.callback(self._line.watch(self._thrown_away))
            await opening.enter_async_context(self._run)
            opening.push_async_callback(self._leaving.over)
            await opening.enter_async_context(self._work)
            self._leaving.watch(self._line)
            self._open = opening.pop_all()
        return self._run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):
            await self._thrown_away()
        else:
            self._is_closing = True
            await self._open.__aexit__(kind, error, trace)

    async def _thrown_away(self) -> None:
        """End it properly, though the body that has it open was thrown away, or closed, in mid-piece.

        A scope by itself could not wait then. Here there is a task to wait in.
        """
        if self._is_closing:
            return
        self._is_closing = True
        stopped = Stopped(self._work.token.stop or because_of(GeneratorExit()))
        with suppress(StopTheRun):
            await self._open.__aexit__(Stopped, stopped, None)


class _Leaving:
    """What is done when the client leaves: the run is cancelled and its work is stopped, side by side."""

    def __init__(self, client: Client, run: ActiveRun, work: WorkScope) -> None:
        self._client, self._run, self._work = client, run, work
        self._cancelling: asyncio.Future[None] | None = None
        self._forget: Callable[[], object] = lambda: None

    def watch(self, line: Line) -> None:
        """Begin once the client leaves."""
        self._forget = line.on_leave(self._begin)

    async def over(self) -> None:
        """The work is over: a client that leaves from now on stops nothing. Wait for a cancel under way."""
        self._forget()
        if self._cancelling is not None:
            await asyncio.wait({self._cancelling})

    def _begin(self) -> None:
        self._cancelling = asyncio.ensure_future(self._client.background.finish(self._cancel))
        self._work.cancel(Stop(StopReason.CLIENT_DISCONNECTED, _LEFT, run_id=self._run.run_id))

    async def _cancel(self) -> None:
        try:
            await self._run.cancel(reason=StopReason.CLIENT_DISCONNECTED, note=_LEFT)
        except CountermandError as failure:
            log.warning("run %s could not be cancelled: %s", self._run.run_id, failure)


def _line(told: Mapping[str, Any]) -> Line:
    line: Line | None = told.get(LINE)
    if line is None:
        raise FixTheCall(
            "nobody watches the client of this request: wrap the application with RequestBoundary, as in "
            "app.add_middleware(RequestBoundary); it must be a request over HTTP"
        )
    if line.answered:
        raise FixTheCall("this request has been answered, so nobody waits: open a run with cm.open_run(...)")
    return line


def _longest(told: Mapping[str, Any], ttl: float) -> float:
    left = time_left(told["headers"])
    if left == 0:
        raise Stopped(Stop(StopReason.DEADLINE, _LATE, cause=StopCause.TIMEOUT))
    return ttl if left is None else min(ttl, left)
