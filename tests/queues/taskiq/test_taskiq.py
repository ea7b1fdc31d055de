"""The seam of taskiq keeps every rule, with a real worker and a real Redis."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from countermand import Outcome, Refused, Revoked
from countermand.integrations.taskiq import take_back
from countermand.testing.conformance import Conformance
from tests.queues.support.suite import JobChecks, QueueSeam
from tests.queues.taskiq.bench import TaskiqBench
from tests.support.redis_server import redis_running


class TaskiqSeam(QueueSeam):
    name = "taskiq"
    make = TaskiqBench
    cancelled = Outcome.UNKNOWN  # a stop interrupts the body

    def release(self, key: str) -> None:
        """Nobody lets it go on: the stop ends it, if it is not too late for that."""


class TestTaskiq(JobChecks, Conformance):
    seam = TaskiqSeam


async def test_a_task_is_taken_out_of_a_list(tmp_path: Path) -> None:
    """Once, with a result for whoever waits; one that is not there any more is refused."""
    with redis_running(tmp_path) as server:
        results: Any = RedisAsyncResultBackend(server.url)
        broker = ListQueueBroker(server.url).with_result_backend(results)

        @broker.task(task_name="send")
        async def send(to: str) -> None: ...

        await broker.startup()
        other, task = await send.kiq("bob"), await send.kiq("ann")
        duty: Any = SimpleNamespace(handle=f"taskiq/{task.task_id}", run_id="r-1")
        call_off = take_back(broker)
        assert await call_off(duty) is None
        assert isinstance(await call_off(duty), Refused)
        with pytest.raises(Revoked, match="was called off: run r-1 was cancelled"):
            (await task.wait_result(timeout=5)).raise_for_error()
        assert not await other.is_ready()
        await broker.shutdown()
