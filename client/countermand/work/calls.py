"""An async function as a piece of work."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from countermand._errors import FixTheCall
from countermand.work.names import name_of


def calling(fn: Any, args: tuple[Any, ...]) -> Callable[[Any], Coroutine[Any, Any, Any]]:
    """Answer how to run a function as a piece of work."""
    if not callable(fn):
        if inspect.iscoroutine(fn):
            fn.close()
        raise FixTheCall(f"{fn!r} is not a function: pass the function and its arguments, not its result")

    async def call(_: Any) -> Any:
        answer = fn(*args)
        if not inspect.isawaitable(answer):
            raise FixTheCall(
                f"{name_of(fn)} is no async function: use run_in_thread, or offload if it computes"
            )
        return await answer

    return call
