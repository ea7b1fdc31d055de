"""`granted` and `enqueue`: jobs that are enqueued and carried out under permits."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Unpack
from uuid import uuid4

from arq import ArqRedis, Retry
from arq.jobs import Job
from arq.worker import Function

from countermand._async.job import Delivery, enqueueing
from countermand._errors import CountermandError, FixTheCall, NotSent
from countermand._job import CARRIED, Declared, JobOptions, pause_after
from countermand.integrations.arq.hidden import Hidden

QUEUE = "arq"
#: Who calls off a job that was enqueued; `abort` answers the function for it.
CANCELLER = "arq.abort"

Coroutine = Callable[..., Awaitable[Any]]


def granted(name: str, **options: Unpack[JobOptions]) -> Callable[[Coroutine], Coroutine]:
    """Let a job function run only under a permit for the action `name`, by the grant that came with it."""
    declared = Declared.of(name, **options)

    def decorate(function: Coroutine) -> Coroutine:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{getattr(function, '__qualname__', function)} must be an async function")

        @functools.wraps(function)
        async def carry_out(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Any:
            token = kwargs.pop(CARRIED, None)
            call = declared.call(function, args, kwargs, leave_out=1)
            delivery = Delivery(call, QUEUE, ctx.get("job_id", ""), token)
            try:
                return await delivery.carry_out(lambda: function(ctx, *args, **kwargs))
            except (CountermandError, NotSent) as error:
                retries = ctx.get("job_try", 1) - 1
                if not delivery.may_come_again(error, retries):
                    raise
                raise Retry(pause_after(retries)) from error

        carry_out.declared = declared  # type: ignore[attr-defined]
        return carry_out

    return decorate


async def enqueue(pool: ArqRedis, function: Coroutine | Function, *args: Any, **kwargs: Any) -> Job | None:
    """Enqueue a job under a permit, with a grant for this one job; None if there is one of its id.

    `function` is the granted one, or arq's `func(...)` around it. Options such as `_job_id` are those of
    `enqueue_job`.
    """
    inner = function.coroutine if isinstance(function, Function) else function
    name = function.name if isinstance(function, Function) else inner.__qualname__
    declared: Declared | None = getattr(inner, "declared", None)
    if declared is None:
        raise FixTheCall(f"{name} is not granted: decorate it with @granted(...), or use enqueue_job")
    told = {key: value for key, value in kwargs.items() if not key.startswith("_")}
    call = declared.call(inspect.unwrap(inner), args, told, leave_out=1)
    job_id = kwargs.pop("_job_id", None) or uuid4().hex
    queue = kwargs.get("_queue_name") or pool.default_queue_name
    async with enqueueing(call, f"{QUEUE}:{queue}/{name}", job_id) as (act, token):
        act.accepted(handle=f"{queue}/{job_id}", canceller=CANCELLER)
        job = await pool.enqueue_job(name, *args, _job_id=job_id, **kwargs, **{CARRIED: Hidden(token)})
        if job is None:
            act.failed("there is a job of this id already")
        return job
