"""The event loop that code runs on, which has to be one of asyncio."""

import asyncio
import math
import sys
from contextlib import AbstractContextManager

from countermand._errors import FixTheCall


def running_loop() -> asyncio.AbstractEventLoop:
    """Answer the loop that runs here; refused where none of asyncio does, as under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise FixTheCall(
            "this needs a running event loop of asyncio, and none runs here: with anyio use its asyncio "
            "backend; under trio, or without a loop, use countermand.sync in a thread"
        ) from None


def hush() -> AbstractContextManager[object] | None:
    """Answer what keeps anyio from cancelling this task anew in each turn of the loop; None if it does not.

    Its scopes do that until the task has left them, and whoever cleans up first would keep a processor busy.
    """
    anyio = sys.modules.get("anyio")  # who has not imported it has no scope of it
    if anyio is None or anyio.current_effective_deadline() != -math.inf:
        return None
    shield: AbstractContextManager[object] = anyio.CancelScope(shield=True)
    return shield
