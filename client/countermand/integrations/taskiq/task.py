"""`granted` and `enqueue`: tasks that are enqueued and carried out under permits."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from taskiq import AsyncTaskiqTask, Context, TaskiqDepends

from countermand._async.job import Delivery as AsyncDelivery
from countermand._async.job import enqueueing
from countermand._errors import FixTheCall
from countermand._job import CARRIED, Declared, JobCall, JobOptions
from countermand._sync.job import Delivery

QUEUE = "taskiq"
#: Who takes back a task that was enqueued; `take_back` answers the function for it.
CANCELLER = "taskiq.take_back"
_CONTEXT = "countermand_context"

F = TypeVar("F", bound=Callable[..., Any])


def granted(name: str, **options: Unpack[JobOptions]) -> Callable[[F], F]:
    """Let a task run only under a permit for the action `name`, by the grant that came with it.

    It goes below `@broker.task`, and is no middleware: what that refuses has no result, and its waiter waits.
    """
    declared = Declared.of(name, **options)

    def decorate(function: F) -> F:
        is_async = inspect.iscoroutinefunction(function)
        guarded: Any = _async_task(declared, function) if is_async else _sync_task(declared, function)
        guarded.declared, guarded.function = declared, function
        guarded.__signature__ = _with_context(function)
        guarded.__annotations__ = {**function.__annotations__, CARRIED: str, _CONTEXT: Context}
        return guarded  # type: ignore[no-any-return]

    return decorate


def _with_context(function: Callable[..., Any]) -> inspect.Signature:
    """Ask taskiq for the message, beside the function's own arguments."""
    signature, only_named = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    own = list(signature.parameters.values())
    ours = [
        inspect.Parameter(CARRIED, only_named, default="", annotation=str),
        inspect.Parameter(_CONTEXT, only_named, default=TaskiqDepends(), annotation=Context),
    ]
    last = len(own) - (bool(own) and own[-1].kind is inspect.Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[*own[:last], *ours, *own[last:]])


def _async_task(declared: Declared, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        token, context = kwargs.pop(CARRIED, None), kwargs.pop(_CONTEXT, None)
        delivery = AsyncDelivery(declared.call(function, args, kwargs), QUEUE, _job_id(context), token)
        try:
            return await delivery.carry_out(lambda: function(*args, **kwargs))
        except BaseException as error:
            _retry_only_if(delivery.may_come_again(error, _retries(context)), context)
            raise

    return guarded


def _sync_task(declared: Declared, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        token, context = kwargs.pop(CARRIED, None), kwargs.pop(_CONTEXT, None)
        delivery = Delivery(declared.call(function, args, kwargs), QUEUE, _job_id(context), token)
        try:
            return delivery.carry_out(lambda: function(*args, **kwargs))
        except BaseException as error:
            _retry_only_if(delivery.may_come_again(error, _retries(context)), context)
            raise

    return guarded


def _job_id(context: Context | None) -> str:
    return context.message.task_id if context else ""


def _retries(context: Context | None) -> int:
    return int(context.message.labels.get("_retries", 0)) if context else 0


def _retry_only_if(it_may: bool, context: Context | None) -> None:
    """Keep taskiq's retry middleware, if there is one, from repeating what must not be."""
    if context and not it_may:
        context.message.labels["retry_on_error"] = False


async def enqueue(task: Any, *args: Any, **kwargs: Any) -> AsyncTaskiqTask[Any]:
    """Enqueue a task under a permit, with a grant for this one task.

    `task` is the granted task, or a kicker of it: `send.kicker().with_labels(priority=1)`.
    """
    kicker = task.kicker() if hasattr(task, "kicker") else task
    call = _call(kicker, args, kwargs)
    job_id = kicker.custom_task_id or kicker.broker.id_generator()
    queue = kicker.labels.get("queue_name") or getattr(kicker.broker, "queue_name", "")
    async with enqueueing(call, f"{QUEUE}:{queue}/{kicker.task_name}", job_id) as (act, token):
        act.accepted(handle=f"{queue}/{job_id}", canceller=CANCELLER)
        told = {**kwargs, CARRIED: token}
        sent: AsyncTaskiqTask[Any] = await kicker.with_task_id(job_id).kiq(*args, **told)
        return sent


def _call(kicker: Any, args: Any, kwargs: Any) -> JobCall:
    found = kicker.broker.find_task(kicker.task_name)
    guarded = found.original_func if found else None
    declared: Declared | None = getattr(guarded, "declared", None)
    if guarded is None or declared is None:
        raise FixTheCall(f"{kicker.task_name} is not granted: decorate it with @granted(...), or use kiq")
    return declared.call(guarded.function, args, kwargs)
