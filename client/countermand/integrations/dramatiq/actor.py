"""`granted`: the class of actors whose messages are enqueued and processed under permits."""

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Unpack

from dramatiq import Actor, Message
from dramatiq.errors import Retry
from dramatiq.middleware import CurrentMessage

from countermand._errors import CountermandError, NotSent
from countermand._job import CARRIED, Declared, JobOptions, pause_after, ungranted
from countermand._sync.job import Delivery, enqueueing

QUEUE = "dramatiq"
#: Who takes back a message that was enqueued; `take_back` answers the function for it.
CANCELLER = "dramatiq.take_back"


def granted(name: str, **options: Unpack[JobOptions]) -> Callable[..., "GrantActor"]:
    """Answer the class of an actor that is the action `name`: `@dramatiq.actor(actor_class=granted(...))`."""
    declared = Declared.of(name, **options)
    return lambda fn, **told: GrantActor(declared, fn, **told)


class GrantActor(Actor[Any, Any]):
    """An actor whose messages are sent under the current grant, and processed under one of their own."""

    def __init__(self, declared: Declared, fn: Callable[..., Any], **told: Any) -> None:
        if inspect.iscoroutinefunction(fn):
            raise TypeError(f"{fn.__qualname__}: a granted actor is a plain function; it runs in a thread")
        self.declared = declared
        # What may come again is said by `__call__`, once it is on record; whatever else is raised is final.
        told["options"] = {**told["options"], "retry_when": _asks_for_it, "throws": CountermandError}
        super().__init__(fn, **told)
        if not any(isinstance(one, CurrentMessage) for one in self.broker.middleware):
            self.broker.add_middleware(CurrentMessage())

    def send_with_options(
        self, *, args: Any = (), kwargs: dict[str, Any] | None = None, delay: Any = None, **options: Any
    ) -> Message[Any]:
        """Enqueue a message under a permit, with a grant for this one message."""
        call = self.declared.call(self.fn, args, kwargs or {})
        message = self.message_with_options(args=args, kwargs=kwargs, **options)
        with enqueueing(call, f"{QUEUE}:{self.queue_name}/{self.actor_name}", message.message_id) as (
            act,
            token,
        ):
            granted_message = message.copy(options={CARRIED: token})
            sent = self.broker.enqueue(granted_message, delay=_milliseconds(delay))
            act.accepted(handle=_handle(sent), canceller=CANCELLER)
            return _without_grant(sent)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Process a message, if its run says so at this moment."""
        message = CurrentMessage.get_current_message()
        if message is None or message.actor_name != self.actor_name:
            raise ungranted(self.declared.name, "")
        call = self.declared.call(self.fn, args, kwargs)
        delivery = Delivery(call, QUEUE, message.message_id, message.options.get(CARRIED))
        try:
            return delivery.carry_out(lambda: self.fn(*args, **kwargs))
        except (CountermandError, NotSent) as error:
            retries = message.options.get("retries", 0)
            if not delivery.may_come_again(error, retries):
                raise
            raise Retry(str(error), delay=round(pause_after(retries) * 1000)) from error


def _asks_for_it(_: int, error: BaseException) -> bool:
    return isinstance(error, Retry)


def _handle(message: Message[Any]) -> str:
    """Name a message so that it can be found in its queue, in a Redis; elsewhere its id has to do."""
    return f"{message.queue_name}/{message.options.get('redis_message_id', message.message_id)}"


def _without_grant(message: Message[Any]) -> Message[Any]:
    """Answer the message as its sender may show it."""
    del message.options[CARRIED]
    return message


def _milliseconds(delay: Any) -> int | None:
    if isinstance(delay, timedelta):
        return round(delay.total_seconds() * 1000)
    return None if delay is None else int(delay)
