"""The gateway without its boundary, for controls: whoever hangs up stops nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.responses import StreamingResponse

import countermand
from examples.openai_gateway import app as gateway_app


def without_boundary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gateway open plain runs.

    Starlette itself ends a streamed body, though not what that has set off; that is switched off, too.
    """
    monkeypatch.setattr(gateway_app, "run_for_request", _run_of_nobody)
    monkeypatch.setattr(StreamingResponse, "listen_for_disconnect", _never)


@asynccontextmanager
async def _run_of_nobody(request: Any, cm: countermand.Client, **asked: Any) -> AsyncIterator[Any]:
    """A run that lasts as long as its block, as without `run_for_request`."""
    async with cm.open_run(**asked) as run:
        yield run


async def _never(response: Any, receive: Any) -> None:
    await asyncio.Event().wait()
