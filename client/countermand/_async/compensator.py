"""`compensator`: a worker that carries out duties. What undoes an effect outlives the run that had it."""

import os
import random
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from countermand import _registry as registry_of
from countermand._crew import AsyncCrew, AsyncPause, LetGo
from countermand._errors import (
    AskOperator,
    CountermandError,
    FixTheCall,
    GiveUp,
    LeaseLost,
    NotDone,
    NotFound,
    Refused,
    TryAgain,
)
from countermand._models.duties import Duty, DutyStep, Progress
from countermand._registry import Registry, Verdict, verdict
from countermand._span import Span, seconds
from countermand._text import kind_of, line
from countermand._words import DutyKind, DutyState
from countermand._world import log

if TYPE_CHECKING:
    from countermand._async.client import Client

#: What may be over when it is asked again. Whatever else a call is refused with, is its answer.
_PASSING = (TryAgain, AskOperator)

_LAST_WORDS = 10.0  # seconds in which a compensator that ends still tries to tell what it did
_SHORTEST = 0.05  # seconds between two tries to keep a lease


def compensator(
    registry: Registry | None = None,
    *,
    client: "Client | None" = None,
    workers: int = 4,
    lease: Span | None = None,
    poll: Span = "1s",
    name: str = "",
    on_step: Callable[[DutyStep], object] | None = None,
) -> "Compensator":
    """Answer a worker that carries out duties with the functions of a registry, so many at a time.

    Without a registry it has all that were registered without one; without a client it makes its own. `lease`
    is how long a duty is its own before it has to be renewed, which it is while a function runs: so long does
    nobody else take over if this process dies. `poll` is the longest time between two looks for something to
    do, `name` is who the report says did it, and `on_step` is told of everything that happens.
    """
    return Compensator(registry, client, workers, lease, poll, name, on_step)


class Compensator:
    """A worker that claims duties, runs the functions that carry them out, and tells what came of it."""

    def __init__(
        self,
        registry: Registry | None,
        client: "Client | None",
        workers: int,
        lease: Span | None,
        poll: Span,
        name: str,
        on_step: Callable[[DutyStep], object] | None,
    ) -> None:
        self.registry = registry_of.shared if registry is None else registry
        self.name = name or f"{socket.gethostname()}/{os.getpid()}"
        self._given = client
        self._client: Any = client
        if workers < 1:
            raise FixTheCall("a compensator needs at least one worker")
        self._workers = workers
        self._lease = lease
        self._poll = seconds(poll)
        self._on_step = on_step
        self._crew: AsyncCrew | None = None
        self._is_ending = False
        self._is_away = False

    async def run(self) -> None:
        """Carry out what is due, until `stop` is called: then what is under way comes to its end.

        Where it is cancelled instead, what can be stopped is let go, and somebody else takes it up.
        """
        await self._run(once=False)

    async def run_until_idle(self) -> None:
        """Carry out what is due until nothing is any more. What is to be tried again later is left."""
        await self._run(once=True)

    def stop(self) -> None:
        """Claim nothing more; `run` ends when what is under way has. May be called before, and twice."""
        self._is_ending = True
        if self._crew is not None:
            self._crew.ring()

    async def _run(self, once: bool) -> None:
        from countermand._async.client import connect

        if not self.registry.functions:
            raise FixTheCall("no compensation, canceller or probe is registered: there is nothing to do")
        self._crew = crew = AsyncCrew(self._workers)
        crew.check(self.registry.functions.values())
        self._client = connect() if self._given is None else self._given
        try:
            await self._work(crew, once)
            await crew.drain()
        finally:
            self._is_ending = True
            await self._end(crew)

    async def _end(self, crew: AsyncCrew) -> None:
        """Let go of what is still under way, if this is left by an exception."""
        try:
            await self._client.background.finish(crew.let_go)
        finally:
            crew.close()
            if self._given is None:
                await self._client.close()

    async def _work(self, crew: AsyncCrew, once: bool) -> None:
        looks = 0
        while not self._is_ending:
            crew.hush()
            if crew.is_full:
                await crew.wait(None)
                continue
            was_idle = crew.is_idle
            if await self._client.background.finish(self._take, crew, once):
                looks = 0
                continue
            if once and was_idle:
                return
            # Spread, so that compensators do not come in step.
            pause = min(self._poll, self._poll / 16 * 2.0 ** min(looks, 10)) * (0.5 + random.random() / 2)  # noqa: S311
            looks += 1
            await crew.wait(pause)

    async def _take(self, crew: AsyncCrew, once: bool) -> bool:
        """Claim something, and begin it. This is never cut short: what was claimed would be nobody's."""
        duty = await self._claim(once)
        if duty is None:
            return False
        if self._is_ending:
            await self._fail(duty, "let go before it began: the compensator ends")
        else:
            crew.begin(self._carry_out, duty)
        return True

    async def _claim(self, once: bool) -> Duty | None:
        try:
            duty: Duty | None = await self._client.compensator.claim(
                compensations=self.registry.names(DutyKind.UNDO),
                cancellers=self.registry.names(DutyKind.CALL_OFF),
                probes=self.registry.names(DutyKind.ASK),
                worker=self.name,
                lease=self._lease,
            )
        except _PASSING as error:
            if once:
                raise
            if not self._is_away:
                log.warning("nothing can be claimed, and that is tried again: %s", error)
            self._is_away = True
            return None
        if self._is_away:
            log.warning("claiming works again")
        self._is_away = False
        return duty

    async def _carry_out(self, duty: Duty) -> None:
        """Run the duty's function and tell what came of it."""
        if not duty.is_held:
            await self._fail(duty, "its lease was over before it could begin")
            return
        self._tell(DutyStep(Progress.BEGUN, duty))
        crew, function = self._crew, self.registry.function(duty)
        assert crew is not None  # noqa: S101 - tells the type checker what the caller made sure of
        try:
            said = verdict(duty.kind, await self._answer(crew, function, duty))
        except LetGo:
            await self._let_go(duty)
        except NotDone as error:
            await self._fail(duty, line(error) or kind_of(error), error, final=isinstance(error, GiveUp))
        except Exception as error:
            await self._fail(duty, f"left by {kind_of(error)}", error)
        else:
            await self._complete(duty, said)

    async def _answer(self, crew: AsyncCrew, function: Any, duty: Duty) -> Any:
        """Run the function; a canceller may raise what it is to answer."""
        try:
            return await crew.carry(function, duty, self._keep)
        except Refused as refused:
            return refused

    async def _keep(self, duty: Duty, pause: AsyncPause) -> None:
        """Keep a duty while its function runs. Ends when it is lost, or nobody knows whether it is."""
        while await pause(max(_SHORTEST, duty.remaining / 3)):
            if not duty.is_held:
                return
            try:
                duty.lease.ends_at = await self._client.compensator.renew(
                    duty, lease=self._lease, timeout=max(_SHORTEST, duty.remaining)
                )
            except _PASSING as error:
                log.info("the lease of %s could not be renewed: %s", duty.key, error)
            except CountermandError as error:
                duty.lease.loss = error
                return

    async def _let_go(self, duty: Duty) -> None:
        """Give back what was told to stop; what is somebody else's, or nobody's any more, is not reported."""
        if duty.lease.loss is not None:
            self._tell(DutyStep(Progress.LOST, duty, note=line(duty.lease.loss), error=duty.lease.loss))
        elif duty.is_held:
            await self._fail(duty, "let go: the compensator ends")
        else:
            await self._fail(duty, "let go: its lease could not be renewed in time")

    async def _complete(self, duty: Duty, said: Verdict) -> None:
        """Tell that it is carried out, unless somebody else does so now."""
        if isinstance(duty.lease.loss, LeaseLost | NotFound):
            self._tell(DutyStep(Progress.LOST, duty, note=line(duty.lease.loss), error=duty.lease.loss))
            return

        async def complete() -> DutyStep:
            told = await self._client.compensator.complete(
                duty, receipt=said.receipt, note=said.note, refused=said.refused, outcome=said.outcome
            )
            what = Progress.REFUSED if told.state is DutyState.REFUSED else Progress.DONE
            note = f"{said.outcome}: {said.note}" if duty.kind is DutyKind.ASK else said.note
            return DutyStep(what, duty, said.receipt, note)

        await self._report(duty, complete)

    async def _fail(
        self, duty: Duty, note: str, error: BaseException | None = None, final: bool = False
    ) -> None:
        """Tell that the attempt did not work."""

        async def fail() -> DutyStep:
            told = await self._client.compensator.fail(duty, note=line(note), final=final)
            what = Progress.FAILED if told.state is DutyState.FAILED else Progress.TRIED
            return DutyStep(what, duty, note=line(note), due_time=told.due_time, error=error)

        await self._report(duty, fail)

    async def _report(self, duty: Duty, tell: Callable[[], Any]) -> None:
        """Tell the sidecar until it has heard, though this task be cancelled meanwhile."""
        await self._client.background.finish(self._report_until_heard, duty, tell)

    async def _report_until_heard(self, duty: Duty, tell: Callable[[], Any]) -> None:
        self._tell(await self._heard(duty, tell))

    async def _heard(self, duty: Duty, tell: Callable[[], Any]) -> DutyStep:
        pacing, tries = self._client.pacing, 0
        began_at = pacing.clock()
        while True:
            try:
                step: DutyStep = await tell()
                return step
            except _PASSING as error:
                if self._is_ending and pacing.clock() - began_at >= _LAST_WORDS:
                    log.warning("what became of %s is not on record: %s", duty.key, error)
                    return DutyStep(Progress.UNTOLD, duty, note=line(error), error=error)
                await pacing.sleep(min(2.0, 0.1 * 2.0 ** min(tries, 10)) * (0.5 + pacing.jitter() / 2))
                tries += 1
            except CountermandError as error:
                return DutyStep(Progress.LOST, duty, note=line(error), error=error)

    def _tell(self, step: DutyStep) -> None:
        """Tell who wants to know; whatever that raises is not the duty's business."""
        duty = step.duty
        told = (duty.name, step.what, duty.key, duty.attempt, step.note)
        log.info("%s %s of %s, attempt %d. %s", *told, exc_info=step.error)
        if self._on_step is not None:
            try:
                self._on_step(step)
            except Exception:
                log.exception("on_step failed")
