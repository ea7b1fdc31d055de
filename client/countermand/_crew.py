"""The hands of a compensator: so many duties at a time, each with a lease that is kept meanwhile.

One crew for each world. What they have in common is what `compensator` asks of them.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from countermand._errors import FixTheCall
from countermand._models.duties import Duty
from countermand._registry import Function

#: Waits so many seconds; answers False if the function has ended meanwhile.
AsyncPause = Callable[[float], Coroutine[Any, Any, bool]]
Pause = Callable[[float], bool]


class LetGo(Exception):
    """The function was told to stop, and did not come to its end."""


class AsyncCrew:
    """Hands on an event loop. Functions that block get a thread each; those cannot be stopped, only told."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell = asyncio.Event()
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody is at work."""
        return not self._tasks

    @property
    def is_full(self) -> bool:
        """Whether everybody is at work."""
        return len(self._tasks) >= self._size

    def ring(self) -> None:
        """Wake up whoever waits."""
        self._bell.set()

    def hush(self) -> None:
        """Forget what rang so far."""
        self._bell.clear()

    async def wait(self, seconds: float | None) -> None:
        """Wait this long, or until it rings: it does when somebody is done."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), seconds)

    @staticmethod
    def check(functions: Iterable[Function]) -> None:
        """Refuse functions that this crew cannot run; it can run all."""

    def begin(self, work: Callable[[Duty], Coroutine[Any, Any, None]], duty: Duty) -> None:
        """Put somebody to work."""
        task = asyncio.get_running_loop().create_task(work(duty))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.ring()

    async def carry(
        self, function: Function, duty: Duty, keep: Callable[[Duty, AsyncPause], Coroutine[Any, Any, None]]
    ) -> Any:
        """Run a function to its end while its lease is kept; where that ends first, the function is told."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(self._call(function, duty))
        keeping = loop.create_task(keep(duty, _sleep))
        waiting: set[asyncio.Task[Any]] = {working, keeping}
        try:
            while not working.done():
                try:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    working.cancel()  # what is let go is still told of, so this task itself goes on
                    continue
                if keeping.done() and not working.done():
                    waiting = {working}
                    working.cancel()
        finally:
            keeping.cancel()
        if working.cancelled():
            raise LetGo
        return working.result()

    async def _call(self, function: Function, duty: Duty) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(duty)
        result = await self._in_a_thread(function, duty)
        return await result if inspect.isawaitable(result) else result

    async def _in_a_thread(self, function: Function, duty: Duty) -> Any:
        if self._threads is None:
            self._threads = concurrent.futures.ThreadPoolExecutor(self._size, "countermand-duty")
        run = contextvars.copy_context().run
        done = asyncio.wrap_future(self._threads.submit(run, function, duty))
        while not done.done():
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError:
                continue  # nobody can stop a thread: it comes to its end, and that is told
            except BaseException:
                break
        return done.result()

    async def drain(self) -> None:
        """Wait until everybody is done."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def let_go(self) -> None:
        """Tell everybody to stop, and wait until they have said how far they are."""
        for task in self._tasks:
            task.cancel()
        await self.drain()

    def close(self) -> None:
        """End the threads, if there are any; nothing runs in them any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


class Crew:
    """Hands that are threads. None of them can be stopped, only told: every function comes to its end."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: set[threading.Thread] = set()
        self._bell = threading.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is at work."""
        return not self._threads

    @property
    def is_full(self) -> bool:
        """Whether everybody is at work."""
        return len(self._threads) >= self._size

    def ring(self) -> None:
        """Wake up whoever waits."""
        self._bell.set()

    def hush(self) -> None:
        """Forget what rang so far."""
        self._bell.clear()

    def wait(self, seconds: float | None) -> None:
        """Wait this long, or until it rings: it does when somebody is done."""
        self._bell.wait(seconds)

    @staticmethod
    def check(functions: Iterable[Function]) -> None:
        """Refuse functions that this crew cannot run: async ones."""
        for function in functions:
            if inspect.iscoroutinefunction(function):
                name = getattr(function, "__qualname__", type(function).__qualname__)
                raise FixTheCall(f"{name} is an async function: run it with the async compensator")

    def begin(self, work: Callable[[Duty], None], duty: Duty) -> None:
        """Put somebody to work."""

        def run() -> None:
            try:
                work(duty)
            finally:
                self._threads.discard(thread)
                self.ring()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="countermand-duty")
        self._threads.add(thread)
        thread.start()

    def carry(self, function: Function, duty: Duty, keep: Callable[[Duty, Pause], None]) -> Any:
        """Run a function to its end while its lease is kept; if that ends first, `duty.is_held` says so."""
        ended = threading.Event()
        pause: Pause = lambda seconds: not ended.wait(seconds)  # noqa: E731 - a name for its type
        keeping = threading.Thread(target=keep, args=(duty, pause), name="countermand-lease")
        keeping.start()
        try:
            return function(duty)
        finally:
            ended.set()
            keeping.join()

    def drain(self) -> None:
        """Wait until everybody is done."""
        for thread in list(self._threads):
            thread.join()

    def let_go(self) -> None:
        """Wait until everybody is done: a thread cannot be stopped."""
        self.drain()

    def close(self) -> None:
        """There is nothing to end."""
