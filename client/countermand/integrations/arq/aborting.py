"""`abort`: calls off jobs, in the queue or at work, for `countermand compensate`."""

from collections.abc import Awaitable, Callable
from typing import Any

from arq.connections import RedisSettings, create_pool
from arq.jobs import Job

from countermand._errors import NotDone, Refused
from countermand._models.duties import Duty


def abort(
    settings: RedisSettings, *, timeout: float = 5.0, **pool: Any
) -> Callable[[Duty], Awaitable[Refused | None]]:
    """Answer the canceller of a queue, for `countermand.canceller("arq.abort")`.

    Workers do it, and only those with `allow_abort_jobs = True`; `timeout` is how many seconds they have.
    """

    async def call_off(duty: Duty) -> Refused | None:
        queue, _, job_id = duty.handle.partition("/")
        redis = await create_pool(settings, **pool)
        try:
            job = Job(job_id, redis, _queue_name=queue, _deserializer=redis.job_deserializer)
            if await _is_aborted(job, timeout):
                return None
        finally:
            await redis.aclose()
        return Refused("it is over, or there is no such job any more")

    return call_off


async def _is_aborted(job: Job, timeout: float) -> bool:
    try:
        return bool(await job.abort(timeout=timeout, poll_delay=0.1))
    except TimeoutError:
        raise NotDone("no worker aborted it in time: is allow_abort_jobs = True in its settings?") from None
    except Exception:  # what the job itself raised, if it has ended
        if await job.result_info() is None:
            raise
        return False
