"""Hearing from Redis what is published, such as that something stopped, on a connection of its own.

What is published while nobody listens is lost, so whoever hears is told of '', which may be anything,
when the connection is made. Where it cannot be made, time has to do: see rpc/watching.py.
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
    """Listens to channels from the moment somebody wants to hear."""

    def __init__(self, connection: Callable[[], AbstractConnection], *channels: str) -> None:
        self._make, self._channels = connection, channels
        self._hears: tuple[Heard, ...] = ()
        self._heard_of: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Whether what is published now will be heard, as far as is known."""
        return len(self._heard_of) == len(self._channels)

    def hear(self, heard: Heard) -> None:
        """Say from now on what is published."""
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
                await connection.send_command("SUBSCRIBE", *self._channels)
                while True:
                    kind, channel, told = await connection.read_response(timeout=math.inf)
                    pause = _FIRST_PAUSE
                    if kind == "message":
                        self._tell(str(told))
                    else:
                        self._heard_of.add(channel)
                        self._tell("")
            except (RedisError, OSError, ValueError, TypeError) as error:
                if pause == _FIRST_PAUSE:  # said once, until it is well again
                    _log.warning("no hints from Redis: what they say is noticed later", cause=str(error))
                self._heard_of.clear()
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                await connection.disconnect(nowait=True)

    def _tell(self, told: str) -> None:
        for heard in self._hears:
            heard(told)

    async def close(self) -> None:
        """Listen no more."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
