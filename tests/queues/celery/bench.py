"""Celery, with everything real."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import redis
from celery.exceptions import TimeoutError as CeleryTimeout

from countermand.integrations.celery import revoke
from tests.queues.support.bench import PATIENCE, Bench


class CeleryBench(Bench):
    name = "celery"
    tries_again = "Retry in"
    tells_called_off = ""  # a task with a countdown is dropped when it would be due

    @classmethod
    def command(cls) -> list[str]:
        options = ["--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=INFO"]
        return cls.python("celery", "-A", "tests.queues.celery.app", "worker", *options)

    async def open(self) -> None:
        self.jobs = self.imported()

    async def shut(self) -> None:
        backend = self.jobs.app.backend
        backend.result_consumer.stop()
        backend.client.close()
        self.jobs.app.close()

    async def put(self, task: str, *args: Any) -> Any:
        return await asyncio.to_thread(getattr(self.jobs, task).delay, *args)

    async def put_bare(self, task: str, *args: Any) -> Any:
        name = getattr(self.jobs, task).name
        return await asyncio.to_thread(self.jobs.app.send_task, name, args)

    async def put_later(self, task: str, *args: Any) -> Any:
        """Workers keep it until it is due, and are the ones to be told."""
        told = {"args": args, "countdown": 3600}
        return await asyncio.to_thread(lambda: getattr(self.jobs, task).apply_async(**told))

    async def result(self, job: Any, timeout: float = PATIENCE) -> Any:
        try:
            return await asyncio.to_thread(job.get, timeout=timeout, interval=0.02)
        except CeleryTimeout:
            raise AssertionError(f"nobody told what became of {job}: {self.worker.said()[-3000:]}") from None

    def canceller(self) -> tuple[str, Callable[..., Any]]:
        return "celery.revoke", revoke(self.jobs.app)

    async def lose(self, pid: int, job: Any) -> None:
        """The process of the pool is lost; the worker puts the job back, as it was told to."""
        os.kill(pid, signal.SIGKILL)

    def addresses(self) -> dict[str, str]:
        return {"redis://localhost:6379": f"redis+socket://{self.redis.socket}?virtual_host=1"}

    def page_command(self) -> list[str]:
        return self.python("celery", "-A", "mailer", "worker", "--concurrency=1")

    def kept(self) -> bytes:
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as client:
            return b"".join(client.get(key) for key in client.keys("celery-task-meta-*"))
