"""`revoke`: calls off tasks that are still in the queue, for `countermand compensate`."""

from collections.abc import Callable
from typing import Any

from countermand._errors import NotDone, Refused
from countermand._models.duties import Duty


def revoke(app: Any, *, timeout: float = 1.0) -> Callable[[Duty], Refused | None]:
    """Answer the canceller of an application, for `countermand.canceller("celery.revoke")`.

    A task is called off if every worker that answers has been told to drop it, none is at it, and it has no
    result. `timeout` is how many seconds workers have to answer.
    """

    def call_off(duty: Duty) -> Refused | None:
        if not app.control.revoke(duty.handle, reply=True, timeout=timeout):
            raise NotDone("no worker answered, and what workers were told is kept by them alone")
        if _is_active(app, duty.handle, timeout):
            return Refused("a worker is at it")
        result = app.AsyncResult(duty.handle)
        try:
            state = result.state
        except (AttributeError, NotImplementedError):
            return Refused(
                "workers drop it from now on; without a result backend nobody knows if it ran before"
            )
        if state in ("PENDING", "REVOKED", "RETRY"):
            return None
        return Refused(f"it is over: {state}")

    return call_off


def _is_active(app: Any, task_id: str, timeout: float) -> bool:
    answers = app.control.inspect(timeout=timeout).query_task(task_id) or {}
    told = [tasks[task_id] for tasks in answers.values() if task_id in tasks]
    return any(state == "active" for state, *_ in told)
