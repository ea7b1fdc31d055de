"""Arq, with everything real."""

from collections.abc import Callable
from typing import Any

import redis
from arq import create_pool
from arq.constants import in_progress_key_prefix

from countermand.integrations.arq import abort, enqueue
from tests.queues.support.bench import PATIENCE, Bench


class ArqBench(Bench):
    name = "arq"
    tries_again = "retrying job"
    tells_called_off = "CancelledError"

    @classmethod
    def command(cls) -> list[str]:
        return cls.python("arq", "tests.queues.arq.app.WorkerSettings")

    async def open(self) -> None:
        self.jobs = self.imported()
        self.pool = await create_pool(self.jobs.SETTINGS)
        [self.flaky, *_] = self.jobs.WorkerSettings.functions

    async def shut(self) -> None:
        await self.pool.aclose()

    async def put(self, task: str, *args: Any) -> Any:
        function = self.flaky if task == "flaky" else getattr(self.jobs, task)
        return await enqueue(self.pool, function, *args)

    async def put_bare(self, task: str, *args: Any) -> Any:
        return await self.pool.enqueue_job(task, *args)

    async def put_later(self, task: str, *args: Any) -> Any:
        """Workers abort it, so that one has to be there."""
        return await enqueue(self.pool, getattr(self.jobs, task), *args, _defer_by=3600)

    async def result(self, job: Any, timeout: float = PATIENCE) -> Any:
        try:
            return await job.result(timeout=timeout, poll_delay=0.02)
        except TimeoutError:
            raise AssertionError(f"nobody told what became of {job}: {self.worker.said()[-3000:]}") from None

    def canceller(self) -> tuple[str, Callable[..., Any]]:
        return "arq.abort", abort(self.jobs.SETTINGS)

    async def lose(self, pid: int, job: Any) -> None:
        """Arq takes a job for lost once its mark has run out; here somebody turns the clock."""
        await super().lose(pid, job)
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as client:
            client.delete(*client.keys(f"{in_progress_key_prefix}*"))

    def addresses(self) -> dict[str, str]:
        here = f"RedisSettings(unix_socket_path={str(self.redis.socket)!r}, database=1)"
        return {'RedisSettings(host="localhost")': here}

    def page_command(self) -> list[str]:
        return self.python("arq", "mailer.WorkerSettings")

    def kept(self) -> bytes:
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as client:
            return b"".join(client.get(key) for key in client.keys("arq:result:*"))
