"""Dramatiq, with everything real."""

import asyncio
from collections.abc import Callable
from typing import Any

import redis
from dramatiq.results import ResultTimeout

from countermand.integrations.dramatiq import take_back
from tests.queues.support.bench import PATIENCE, Bench


class DramatiqBench(Bench):
    name = "dramatiq"
    tries_again = "Retrying message"
    tells_called_off = "Revoked"

    @classmethod
    def command(cls) -> list[str]:
        return cls.python("dramatiq", "tests.queues.dramatiq.app", "--processes", "1", "--threads", "2")

    async def open(self) -> None:
        self.jobs = self.imported()

    async def shut(self) -> None:
        self.jobs.broker.close()

    async def put(self, task: str, *args: Any) -> Any:
        return await asyncio.to_thread(getattr(self.jobs, task).send, *args)

    async def put_bare(self, task: str, *args: Any) -> Any:
        message = getattr(self.jobs, task).message(*args)
        return await asyncio.to_thread(self.jobs.broker.enqueue, message)

    async def result(self, job: Any, timeout: float = PATIENCE) -> Any:
        def wait() -> Any:
            return job.get_result(backend=self.jobs.results, block=True, timeout=round(timeout * 1000))

        try:
            return await asyncio.to_thread(wait)
        except ResultTimeout:
            raise AssertionError(f"nobody told what became of {job}: {self.worker.said()[-3000:]}") from None

    def canceller(self) -> tuple[str, Callable[..., Any]]:
        return "dramatiq.take_back", take_back(self.jobs.broker)

    def page_command(self) -> list[str]:
        return self.python("dramatiq", "mailer", "--processes", "1", "--threads", "1")

    def kept(self) -> bytes:
        """Results are under names that are digests."""
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as client:
            results = [key for key in client.keys("*") if b":" not in key]
            return b"".join(part for key in results for part in client.lrange(key, 0, -1))
