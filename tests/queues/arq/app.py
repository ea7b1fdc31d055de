"""The worker of these tests, as arq's command line finds it; they import the same."""

import asyncio
import os
from typing import Any, ClassVar

from arq.connections import RedisSettings
from arq.worker import func

from countermand.integrations.arq import granted
from tests.queues.layers import job
from tests.queues.support import work

SETTINGS = RedisSettings(unix_socket_path=os.environ["QUEUE_REDIS"])


def key(key: str, *_: object) -> dict[str, str]:
    """What the permit is for."""
    return {"key": key}


@granted(work.ACTION, resource=lambda key, fault: f"key:{key}")
async def hit(ctx: dict[Any, Any], key: str, fault: str) -> str:
    """Be an effect."""
    return await work.hit_async(key, fault)


@granted("job.flaky", args=key, attempts=2)
async def flaky(ctx: dict[Any, Any], key: str) -> str:
    """Fail once, with nothing sent."""
    return work.flaky(key)


@granted("job.patient")
async def patient(ctx: dict[Any, Any], key: str) -> None:
    """Go on until stopped."""
    work.begin(key)
    await asyncio.sleep(60)


@granted("job.brief", ttl="1s")
async def brief(ctx: dict[Any, Any], key: str) -> str:
    """Be granted for a second."""
    return await work.hit_async(key, "")


@granted("job.lasting", ttl="1s", extend="30s")
async def lasting(ctx: dict[Any, Any], key: str) -> str:
    """The same, as long as the run lasts."""
    return await work.hit_async(key, "")


@granted(job.ACTION, resource=job.resource, scopes=job.SCOPES)
async def late(ctx: dict[Any, Any], key: str) -> str:
    """Write and mail, for the seven layers."""
    return await asyncio.to_thread(job.late, key)


class WorkerSettings:
    """What the worker runs."""

    functions: ClassVar[list[Any]] = [func(flaky, name="flaky"), hit, patient, brief, lasting, late]
    redis_settings = SETTINGS
    allow_abort_jobs = True
    poll_delay = 0.05
    job_timeout = 60
