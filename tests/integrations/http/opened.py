"""A client with its adapter, and a run under whose grant it sends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import countermand
from countermand.testing import Sidecar
from tests.integrations.http.clients import Sender


@asynccontextmanager
async def sending(
    kind: type[Sender], url: str, real: Sidecar, *, granted: bool = True, **options: Any
) -> AsyncIterator[tuple[Sender, countermand.ActiveRun]]:
    """Open a client, a run, and a grant that is current unless it is not wanted."""
    async with real.connect() as cm, cm.open_run(agent="clerk") as run:
        sender = kind(url, **options)
        await sender.open()
        try:
            if granted:
                with run.grant(scopes=["*"]):
                    yield sender, run
            else:
                yield sender, run
        finally:
            await sender.close()


async def on_record(run: countermand.ActiveRun) -> list[countermand.ReportedAction]:
    """Every action of a run, in the order in which they got their permits."""
    report = await run.report()
    parts = (report.done, report.in_flight, report.unknown, report.not_done, report.interrupted)
    return sorted((one for part in parts for one in part), key=lambda one: one.fence)
