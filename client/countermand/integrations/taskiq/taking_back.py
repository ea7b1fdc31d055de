"""`take_back`: takes tasks that nobody has fetched out of the queue, for `countermand compensate`."""

from collections.abc import Awaitable, Callable
from typing import Any

from taskiq import TaskiqResult

from countermand._errors import Refused, Revoked
from countermand._models.duties import Duty

_GONE = "it is not in the queue any more: a worker has it, or has had it"


def take_back(broker: Any) -> Callable[[Duty], Awaitable[Refused | None]]:
    """Answer the canceller of a broker, for `countermand.canceller("taskiq.take_back")`.

    Taskiq has none of its own. It works with the brokers of taskiq-redis that keep tasks in a list or a
    stream. Who waits for the result of a task that was taken back is told so.
    """
    take = {"ListQueueBroker": _from_list, "RedisStreamBroker": _from_stream}.get(type(broker).__name__)
    if take is None:
        raise TypeError(f"tasks cannot be taken back from a {type(broker).__name__}")

    async def call_off(duty: Duty) -> Refused | None:
        from redis.asyncio import Redis  # who has such a broker has it

        queue, _, task_id = duty.handle.rpartition("/")
        async with Redis(connection_pool=broker.connection_pool) as redis:
            if not await take(broker, redis, queue, task_id):
                return Refused(_GONE)
        told: TaskiqResult[Any] = TaskiqResult(
            is_err=True,
            return_value=None,
            execution_time=0,
            error=Revoked(f"task {task_id} was called off: run {duty.run_id} was cancelled"),
        )
        await broker.result_backend.set_result(task_id, told)
        return None

    return call_off


async def _from_list(broker: Any, redis: Any, queue: str, task_id: str) -> bool:
    for message in await redis.lrange(queue, 0, -1):
        if _is(broker, message, task_id):
            return bool(await redis.lrem(queue, 1, message))
    return False


async def _from_stream(broker: Any, redis: Any, queue: str, task_id: str) -> bool:
    """What is behind the last entry that the workers were given is nobody's yet."""
    last = await _last_given(broker, redis, queue)
    for entry, fields in await redis.xrange(queue, min=f"({last}"):
        if _is(broker, fields[b"data"], task_id):
            gone = await redis.xdel(queue, entry)
            # Asked again: a worker may have been given it meanwhile. From now on none is.
            return bool(gone) and _key(await _last_given(broker, redis, queue)) < _key(entry)
    return False


async def _last_given(broker: Any, redis: Any, queue: str) -> str:
    groups = await redis.xinfo_groups(queue)
    [last] = [one["last-delivered-id"] for one in groups if _text(one["name"]) == broker.consumer_group_name]
    return _text(last)


def _is(broker: Any, message: bytes, task_id: str) -> bool:
    return bool(broker.formatter.loads(message).task_id == task_id)


def _key(entry: str | bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in _text(entry).split("-"))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
