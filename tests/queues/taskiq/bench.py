"""Taskiq, with everything real."""

import asyncio
from collections.abc import Callable
from typing import Any

import redis
from taskiq import TaskiqResultTimeoutError

from countermand.integrations.taskiq import enqueue, take_back
from tests.queues.support.bench import PATIENCE, Bench, until


class TaskiqBench(Bench):
    name = "taskiq"
    tries_again = ""  # its middleware tries again at once, and a sidecar is away for longer
    tells_called_off = "Revoked"

    @classmethod
    def command(cls) -> list[str]:
        return cls.python("taskiq", "worker", "tests.queues.taskiq.app:broker", "--workers", "1")

    async def open(self) -> None:
        self.jobs = self.imported()
        await self.jobs.broker.startup()

    async def shut(self) -> None:
        await self.jobs.broker.shutdown()

    async def put(self, task: str, *args: Any) -> Any:
        return await enqueue(getattr(self.jobs, task), *args)

    async def put_bare(self, task: str, *args: Any) -> Any:
        return await getattr(self.jobs, task).kiq(*args)

    async def result(self, job: Any, timeout: float = PATIENCE) -> Any:
        try:
            told = await job.wait_result(timeout=timeout, check_interval=0.02)
        except TaskiqResultTimeoutError:
            raise AssertionError(f"nobody told what became of {job}: {self.worker.said()[-3000:]}") from None
        told.raise_for_error()
        return told.return_value

    async def put_later(self, task: str, *args: Any) -> Any:
        """A worker that is paused can still be given what it was asking for."""
        self.worker.pause()
        with self.side() as client:
            await until(lambda: client.info("clients")["blocked_clients"] == 0)
        return await self.put(task, *args)

    async def lose(self, pid: int, job: Any) -> None:
        """What was lost is looked for only when something new has come."""
        await super().lose(pid, job)
        while not await job.is_ready():
            await self.put_bare("flaky", "new")
            await asyncio.sleep(0.2)

    def side(self) -> redis.Redis:
        """Look at Redis from the side."""
        return redis.Redis(unix_socket_path=str(self.redis.socket))

    def canceller(self) -> tuple[str, Callable[..., Any]]:
        return "taskiq.take_back", take_back(self.jobs.broker)

    def page_command(self) -> list[str]:
        return self.python("taskiq", "worker", "mailer:broker", "--workers", "1")

    def kept(self) -> bytes:
        """Results are the only texts that it keeps: tasks are in a stream."""
        with self.side() as client:
            return b"".join(client.get(key) for key in client.keys("*") if client.type(key) == b"string")
