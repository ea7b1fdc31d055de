"""Work in a thread: it can be told to stop, never made to, so the scope waits until it has."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from countermand._errors import FixTheCall
from countermand.work.names import name_of
from countermand.work.piece import Work
from countermand.work.stop import Stop, StopCause
from countermand.work.token import CancellationToken

T = TypeVar("T")


def in_thread(
    function: Callable[..., T], args: tuple[Any, ...]
) -> Callable[[Work[T]], Coroutine[Any, Any, T]]:
    """Answer how to run a function in a thread of its own, as a piece of work; it is handed its token."""
    if asyncio.iscoroutinefunction(function):
        raise FixTheCall(f"{name_of(function)} is an async function: use spawn")

    async def body(work: Work[T]) -> T:
        token = work._take_token()
        try:
            done = start(lambda: function(token, *args), work.path)
            while not done.done():
                try:
                    await asyncio.wait({done})
                except asyncio.CancelledError:
                    _tell(token, work)
            return done.result()
        finally:
            work._drop_token()

    return body


def _tell(token: CancellationToken, work: Work[Any]) -> None:
    token.cancel(work.stop or Stop(cause=StopCause.OUTSIDE, note="its task was cancelled"))


def start(function: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Call a function in a new thread, which keeps no program from ending; answer what comes of it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    run = contextvars.copy_context().run

    def tell(result: Any, error: Exception | None) -> None:
        if not done.done():
            done.set_result(result) if error is None else done.set_exception(error)

    def main() -> None:
        result, failure = None, None
        try:
            result = run(function)
        except Exception as error:
            failure = _raised(error)
        except BaseException as error:  # it ends a thread, and no more than that
            failure = RuntimeError(f"{name} ended its thread by {type(error).__qualname__}")
            failure.__cause__ = error
        try:
            loop.call_soon_threadsafe(tell, result, failure)
        except RuntimeError:
            return  # the loop is closed, and nobody waits

    threading.Thread(target=main, name=f"countermand {name}", daemon=True).start()
    return done


def _raised(error: Exception) -> Exception:
    """Answer what a future can hold: it takes StopIteration for an end of its own."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("the function raised StopIteration")
    failure.__cause__ = error
    return failure
