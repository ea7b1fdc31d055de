"""Hearing from Redis that something stopped: what the scripts publish, on a connection of its own.

What is published while nobody listens is lost, so whoever hears is told to look at everything whenever the
connection is made. Where it cannot be made, time has to do: see rpc/watching.py.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from grant_service.core.store import Heard

_log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Hints:
    """Listens to one channel from the moment somebody wants to hear."""

    def __init__(self, connection: Callable[[], AbstractConnection], channel: str) -> None:
        self._make, self._channel = connection, channel
        self._hears: tuple[Heard, ...] = ()
        self._task: asyncio.Task[None] | None = None

    def on_stop(self, heard: Heard) -> None:
        """Say from now on when something stops."""
        self._hears = (*self._hears, heard)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="hints")

    async def _work(self) -> None:
        """Listen for ever, with pauses after what goes wrong."""
        pause = _FIRST_PAUSE
        while True:
            connection = self._make()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("SUBSCRIBE", self._channel)
                while True:
                    kind, _, told = await connection.read_response(timeout=math.inf)
                    pause = _FIRST_PAUSE
                    self._tell(str(told) if kind == "message" else "")
            except (RedisError, OSError, ValueError, TypeError) as error:
                if pause == _FIRST_PAUSE:  # said once, until it is well again
                    _log.warning("no hints of stops from Redis: they are told later", cause=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                await connection.disconnect(nowait=True)

    def _tell(self, run_id: str) -> None:
        for heard in self._hears:
            heard(run_id)

    async def close(self) -> None:
        """Listen no more."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
