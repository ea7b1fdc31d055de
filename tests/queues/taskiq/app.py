"""The broker that the worker of these tests runs; they import the same."""

import asyncio
import os

from taskiq import SimpleRetryMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from countermand.integrations.taskiq import granted
from tests.queues.layers import job
from tests.queues.support import work

URL = f"unix://{os.environ['QUEUE_REDIS']}"
#: A worker that follows a lost one takes its tasks soon, not after ten minutes.
IDLE = 500 if "QUEUE_IMPATIENT" in os.environ else 600_000

results: RedisAsyncResultBackend[object] = RedisAsyncResultBackend(URL)
broker = (
    RedisStreamBroker(URL, consumer_id="0", xread_block=100, idle_timeout=IDLE, unacknowledged_lock_timeout=1)
    .with_result_backend(results)
    .with_middlewares(SimpleRetryMiddleware(default_retry_count=2, default_retry_label=True))
)


def key(key: str, *_: object) -> dict[str, str]:
    """What the permit is for."""
    return {"key": key}


@broker.task(task_name="hit")
@granted(work.ACTION, resource=lambda key, fault: f"key:{key}")
async def hit(key: str, fault: str) -> str:
    """Be an effect; taskiq was told to try again whatever it raises."""
    return await work.hit_async(key, fault)


@broker.task(task_name="flaky")
@granted("job.flaky", args=key, attempts=2)
def flaky(key: str) -> str:
    """Fail once, with nothing sent; in a thread."""
    return work.flaky(key)


@broker.task(task_name="patient")
@granted("job.patient")
async def patient(key: str) -> None:
    """Go on until stopped."""
    work.begin(key)
    await asyncio.sleep(60)


@broker.task(task_name="brief")
@granted("job.brief", ttl="1s")
async def brief(key: str) -> str:
    """Be granted for a second."""
    return await work.hit_async(key, "")


@broker.task(task_name="lasting")
@granted("job.lasting", ttl="1s", extend="30s")
async def lasting(key: str) -> str:
    """The same, as long as the run lasts."""
    return await work.hit_async(key, "")


@broker.task(task_name="late")
@granted(job.ACTION, resource=job.resource, scopes=job.SCOPES)
def late(key: str) -> str:
    """Write and mail, for the seven layers; in a thread."""
    return job.late(key)
