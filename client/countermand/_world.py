"""What differs between the two clients beyond `await`; everything else of the sync one is derived."""

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Self, TypeVar

import grpc

from countermand._retry import Pacing
from countermand.work.interrupts import Shield as Shield_
from countermand.work.loops import running_loop

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("countermand")

#: No second try by the transport: only this client knows which calls are safe to repeat, and until when.
CHANNEL_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # a report may be long
    ("grpc.use_local_subchannel_pool", 1),  # a client starts without the memory of another one's failures
    ("grpc.initial_reconnect_backoff_ms", 50),  # a sidecar that restarts is back within a decision's deadline
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
]


AsyncChannel = grpc.aio.Channel
Channel = grpc.Channel


class AsyncWorld:
    """For code on an event loop."""

    pacing = Pacing(asyncio.sleep)

    @staticmethod
    def open_channel(target: str) -> grpc.aio.Channel:
        """Make a channel; it connects when it is first used."""
        running_loop()
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)

    @staticmethod
    async def result(answered: Any) -> Any:
        """Answer what a function of somebody else's came to, `async def` or not."""
        return await answered if inspect.isawaitable(answered) else answered

    @staticmethod
    async def aside(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do what blocks in a thread, so that the loop goes on."""
        return await asyncio.to_thread(work, *args, **named)

    @staticmethod
    def place() -> object:
        """Answer what a connection cannot leave: the event loop."""
        return asyncio.get_running_loop()


class World:
    """For code that blocks."""

    pacing = Pacing(time.sleep)

    @staticmethod
    def open_channel(target: str) -> grpc.Channel:
        """Make a channel; it connects when it is first used."""
        return grpc.insecure_channel(target, options=CHANNEL_OPTIONS)

    @staticmethod
    def result(answered: Any) -> Any:
        """Answer what a function of somebody else's came to."""
        return answered

    @staticmethod
    def aside(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do it: whoever blocks may block here, too."""
        return work(*args, **named)

    @staticmethod
    def place() -> object:
        """Answer what a connection cannot leave: the process."""
        return os.getpid()


class AsyncBackground:
    """Work that goes on when the task that asked for it is cancelled: what happened must still be told."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **named: P.kwargs) -> T:
        """Do the work; a cancelled caller leaves, the work does not. It has a deadline of its own."""
        task = running_loop().create_task(work(*args, **named))
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait for what is still going on."""
        others = self._tasks - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)


class Background:
    """The same for code that blocks: nothing cancels a call under way, so the work is simply done."""

    def finish(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do the work."""
        return work(*args, **named)

    def drain(self) -> None:
        """There is nothing to wait for."""


#: Keeps a stop of the scope that owns a task from cutting an effect in half.
AsyncShield = Shield_


class Shield:
    """The same for code that blocks: no stop interrupts that, so there is nothing to hold back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Locks:
    """One lock for each world."""

    def __init__(self) -> None:
        self.async_lock = asyncio.Lock()
        self.lock = threading.Lock()
