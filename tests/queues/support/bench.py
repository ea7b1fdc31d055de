"""One queue with everything real: a Redis, a worker on the other side, and a sidecar that both ask."""

import asyncio
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from countermand.testing.conformance import Target
from tests.queues.support.worker import Worker
from tests.support.redis_server import RedisServer

#: Workers may take long to start where others load the machine.
PATIENCE = 60.0


class Bench:
    """What each queue says anew: how its worker is started, and how jobs are put in and waited for."""

    #: What its name is in the names of actions, and the module of its jobs.
    name: ClassVar[str]
    #: What its worker logs when a job is tried again later; '' where nothing tries again.
    tries_again: ClassVar[str]
    #: What the waiter of a job that was called off is told; '' where that takes until the job would be due.
    tells_called_off: ClassVar[str]

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = Path(tempfile.mkdtemp(prefix="cm-queue-", dir="/tmp"))
        self.target = Target(self.folder / "target")
        self.target.folder.mkdir()
        self.redis = RedisServer(self.folder / "redis", "--appendonly", "no")
        self.worker = Worker(self.command(), {"COUNTERMAND_HOME": str(home)}, self.folder / "worker.log")

    @classmethod
    def command(cls) -> list[str]:
        """The command line of its worker."""
        raise NotImplementedError

    @classmethod
    def python(cls, *arguments: str) -> list[str]:
        """A command of this environment."""
        return [sys.executable, "-m", *arguments]

    def start(self) -> None:
        """Start everything. What the jobs are made of is told by the environment, here as to the worker."""
        self.redis.start()
        os.environ["QUEUE_TARGET"] = str(self.target.folder)
        os.environ["QUEUE_REDIS"] = str(self.redis.socket)
        self.worker.start()

    def close(self) -> None:
        """End everything."""
        try:
            self.worker.kill()  # some take their time to end
        finally:
            self.redis.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def imported(self) -> Any:
        """Import the module of its jobs anew: it is bound to the Redis of the bench that imports it."""
        module = f"tests.queues.{self.name}.app"
        sys.modules.pop(module, None)
        return importlib.import_module(module)

    async def open(self) -> None:
        """Connect to the queue, on the loop of the test."""

    async def shut(self) -> None:
        """Disconnect."""

    async def put(self, task: str, *args: Any) -> Any:
        """Enqueue a job through the integration; answers what is waited for."""
        raise NotImplementedError

    async def put_bare(self, task: str, *args: Any) -> Any:
        """Enqueue a job past the integration."""
        raise NotImplementedError

    async def put_later(self, task: str, *args: Any) -> Any:
        """Enqueue a job that nobody begins, so that it can be called off."""
        self.worker.pause()
        return await self.put(task, *args)

    async def result(self, job: Any, timeout: float = PATIENCE) -> Any:
        """Wait for what became of a job; raises what its waiter is told."""
        raise NotImplementedError

    def canceller(self) -> tuple[str, Callable[..., Any]]:
        """Answer the canceller that is shipped for the queue, and its name."""
        raise NotImplementedError

    def addresses(self) -> dict[str, str]:
        """What the page calls its Redis, and what that is here: a database that no other worker looks at."""
        return {"redis://localhost:6379": f"unix://{self.redis.socket}?db=1"}

    def page_command(self) -> list[str]:
        """The command line of the page's worker."""
        raise NotImplementedError

    async def lose(self, pid: int, job: Any) -> None:
        """Lose the process that is at a job, so that the queue delivers that again."""
        del pid, job
        self.worker.kill()
        self.worker.start(QUEUE_IMPATIENT="1")

    def kept(self) -> bytes:
        """Everything that Redis keeps of results."""
        raise NotImplementedError


def kind_of(error: BaseException) -> str:
    """Name what was raised on the worker, as its waiter is told."""
    return getattr(error, "orig_exc_type", None) or type(error).__name__


async def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it did not come true in time"
        await asyncio.sleep(0.02)
