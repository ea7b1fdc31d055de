"""`granted`: the base class of tasks that are enqueued and carried out under permits."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

from celery import Task
from celery.utils import uuid

from countermand._errors import CountermandError, FixTheCall, NotSent
from countermand._job import CARRIED, Declared, JobOptions, pause_after, ungranted
from countermand._sync.job import Delivery, enqueueing

QUEUE = "celery"
#: Who calls off a task that was enqueued; `revoke` answers the function for it.
CANCELLER = "celery.revoke"


def granted(name: str, **options: Unpack[JobOptions]) -> type["GrantTask"]:
    """Answer the base class of a task that is the action `name`: `@app.task(base=granted("email.send"))`."""
    return type("GrantTask", (GrantTask,), {"declared": Declared.of(name, **options), "abstract": True})


class GrantTask(Task):  # type: ignore[misc]  # celery ships no types
    """A task that is enqueued under the current grant, and carried out under one of its own."""

    abstract = True
    #: What is refused is told to whoever waits, and logged without a traceback.
    throws = (CountermandError,)
    declared: ClassVar[Declared]

    def apply_async(
        self,
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """Enqueue it under a permit, with a grant for this one task."""
        headers = options.get("headers") or {}
        if CARRIED in headers:  # a worker puts it back: it has been enqueued before
            return super().apply_async(args, kwargs, task_id=task_id, **options)
        job_id = task_id or uuid()
        call = self.declared.call(self.run, args or (), kwargs or {})
        with enqueueing(call, self._place(options), job_id) as (act, token):
            act.accepted(handle=job_id, canceller=CANCELLER)
            options["headers"] = {**headers, CARRIED: token}
            return super().apply_async(args, kwargs, task_id=job_id, **options)

    def _place(self, options: Mapping[str, Any]) -> str:
        route = self.app.amqp.router.route({**self._get_exec_options(), **options}, self.name)
        queue = route.get("queue") or route.get("routing_key") or ""
        return f"{QUEUE}:{getattr(queue, 'name', queue)}/{self.name}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Carry it out, if its run says so at this moment."""
        request = self.request
        if request.called_directly:
            raise ungranted(self.declared.name, "")
        token = _taken_out(request)
        delivery = Delivery(self.declared.call(self.run, args, kwargs), QUEUE, request.id, token)
        try:
            return delivery.carry_out(lambda: self.run(*args, **kwargs))
        except (CountermandError, NotSent) as error:
            if not delivery.may_come_again(error, request.retries):
                raise
            request.headers = {**(request.headers or {}), CARRIED: token}
            raise super().retry(
                exc=error, countdown=pause_after(request.retries), max_retries=sys.maxsize
            ) from error

    def retry(self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, **_: Any) -> Any:
        """Fail instead: whether it is tried again depends on what is on record of it, when it has ended.

        So does `autoretry_for`, which comes here. What it is tried again for, and how often, `granted` says.
        """
        raise exc or sys.exception() or FixTheCall("raise NotSent, and say granted(..., attempts=...)")


def _taken_out(request: Any) -> str | None:
    """Take the token out of a request: code that shows its request must not show that."""
    vars(request).pop(CARRIED, None)
    token: str | None = (request.headers or {}).get(CARRIED)
    request.headers = {name: told for name, told in (request.headers or {}).items() if name != CARRIED}
    return token
