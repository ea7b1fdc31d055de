"""The stage on which a seam is checked: one sidecar, one event loop, a run of its own for each check."""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import countermand
from countermand._async.client import Client
from countermand._async.grant import CurrentGrant
from countermand._async.run import ActiveRun
from countermand._ids import new_id
from countermand._models.reports import Report, ReportedAction
from countermand.testing.conformance.seam import Fault, Seam
from countermand.testing.conformance.service import Service

#: How long it may take until something is on record: no measure of a seam, only an end to waiting.
PATIENCE = 20.0
_LOOK_EVERY = 0.02
#: How long an attempt waits for an answer that does not come, in seconds.
_HASTE = 0.3


class NotConforming(AssertionError):
    """The seam breaks a rule of the suite."""


def demand(holds: object, fault: str) -> None:
    """Raise unless the rule holds."""
    if not holds:
        raise NotConforming(fault)


class Stage:
    """A seam that is started, and the sidecar that its adapter asks. For a `with` block."""

    def __init__(self, seam: Seam, service: Service) -> None:
        self.seam, self.service = seam, service
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self.seam.home = self.service.home
        self._runner.__enter__()
        try:
            self._runner.run(self.seam.start())
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self.seam.close())
        finally:
            self._runner.close()

    def run(self, check: Callable[["Stage"], Awaitable[None]]) -> None:
        """Run one check, where no grant is current."""

        async def run() -> None:
            await check(self)

        # An empty context: whoever runs the suite may have a grant of their own.
        self._runner.run(run(), context=contextvars.Context())

    @asynccontextmanager
    async def open_run(self) -> AsyncIterator["Round"]:
        """Open a run for one check, and a grant that is issued and current."""
        client = countermand.connect(self.service.home)
        async with client as cm, cm.open_run(agent="conformance") as run:
            with run.grant(scopes=self.seam.scopes) as grant:
                await grant.token()
                yield Round(self.seam, cm, run)


@asynccontextmanager
async def in_haste(home: Path) -> AsyncIterator[None]:
    """Act under the current grant as a client that soon gives up waiting for answers."""
    authority = countermand.current_grant().authority
    async with countermand.connect(home, timeout=_HASTE) as cm:
        with CurrentGrant(cm, authority):
            yield


class Round:
    """One check's run, the key of its effect, and what is on record of it."""

    def __init__(self, seam: Seam, cm: Client, run: ActiveRun) -> None:
        self.run, self.key = run, new_id("k")
        self._seam, self._cm = seam, cm

    async def attempt(self, fault: Fault | None = None) -> Exception | None:
        """Attempt the effect; answer what was raised, None if nothing."""
        return await caught(self._seam.attempt(self.key, fault))

    @property
    def happened(self) -> int:
        """How often the effect reached its target."""
        return self._seam.happened(self.key)

    async def report(self) -> Report:
        """Tell what is on record now."""
        return await self._cm.auditor.report(self.run.run_id)

    async def actions(self) -> list[ReportedAction]:
        """Tell of the effect's own actions as they are on record now, whatever became of them."""
        return self.of_effect(await self.report())

    def of_effect(self, report: Report) -> list[ReportedAction]:
        """Pick the effect's own actions out of a report."""
        parts = (report.done, report.interrupted, report.in_flight, report.unknown, report.not_done)
        told = [one for part in (*parts, report.pending) for one in part]
        return [one for one in told if one.action == self._seam.action]

    async def settled(self) -> list[ReportedAction]:
        """Tell of the effect's actions once each has its outcome: another process may take a while."""
        ends = time.monotonic() + PATIENCE
        while True:
            report = await self.report()
            open_yet = self.of_effect(report) and (report.in_flight or report.pending)
            if not open_yet or time.monotonic() > ends:
                return self.of_effect(report)
            await asyncio.sleep(_LOOK_EVERY)

    async def inside(self, attempt: "asyncio.Task[Exception | None]") -> bool:
        """Wait until the effect has its permit and has begun; answer whether its attempt still goes on."""
        ends = time.monotonic() + PATIENCE
        while not attempt.done() and time.monotonic() < ends:
            report = await self.report()
            permitted = any(one.action == self._seam.action for one in report.in_flight)
            if permitted and self._seam.entered(self.key):
                return not attempt.done()
            if any(one.settle_time for one in self.of_effect(report)):
                return False
            await asyncio.sleep(_LOOK_EVERY)
        return False


async def caught(attempt: Awaitable[None]) -> Exception | None:
    """Answer what an attempt raised, None if it came to an end."""
    try:
        await attempt
    except Exception as error:
        return error
    return None
