"""The decorator for tools that need nothing but a permit around their call, async and sync alike."""

import asyncio
import concurrent.futures
import dis
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import _AsyncGeneratorContextManager, _GeneratorContextManager, suppress
from dataclasses import dataclass
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, ParamSpec, TypeVar

from countermand._approval import APPROVAL_TIMEOUT
from countermand._async.effect import Effect as AsyncEffect
from countermand._async.perform import perform as perform_async
from countermand._span import Span
from countermand._sync.effect import Effect
from countermand._sync.perform import perform as perform_sync
from countermand._words import Reversibility

P = ParamSpec("P")
T = TypeVar("T")


def tool(
    name: str,
    *,
    resource: str | Callable[..., str] = "",
    args: Callable[..., Mapping[str, object]] | None = None,
    receipt: Callable[[Any], object] | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    compensation_args: Mapping[str, object] | Callable[..., Mapping[str, object]] | None = None,
    undo_with: Callable[[Any], Mapping[str, object]] | None = None,
    accepted: Callable[[Any], object] | None = None,
    canceller: str = "",
    probe: str = "",
    costs: Mapping[str, int] | Callable[..., Mapping[str, int]] | None = None,
    summary: str | Callable[..., str] = "",
    use_within: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function run only under a permit for the action `name`, asked for at each call.

    `resource`, `costs` and `summary` may be callables: they get the function's own arguments, defaults filled
    in, and answer what the call acts on, what it costs, and what it comes to in a line. The permit is for
    these very arguments, `self` left out; where one has no spelling in JSON, `args` gets the same arguments
    and answers what stands for them. `receipt` picks the world's own id from the result. Where a person has
    to agree first, the call waits for them, up to `approval_timeout`.

    `compensation` names the function that undoes it. `compensation_args` is what that is called with, or gets
    the call's arguments and answers it; `undo_with` picks from the result what only that can tell. `probe`
    names the function that can tell what became of a call. `accepted` picks from the result what the outside
    world calls a job that it has only accepted, or answers None; `canceller` names who calls that off. What
    the sidecar's tools file says of the action need not be said here.

    The work must be done when the function returns: a coroutine, generator or future for a result is stopped
    and refused with a TypeError, because what it does would come after the permit, and after a stop.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        if canceller and accepted is None:
            raise TypeError(f"{_name(function)}: a canceller needs to be told what was accepted")
        call = Call(inspect.signature(function), name, resource, args, costs, summary, compensation_args)
        result = Result(receipt, undo_with, accepted, canceller)
        options: dict[str, Any] = {
            "reversibility": reversibility,
            "compensation": compensation,
            "probe": probe,
            "use_within": use_within,
            "approval_timeout": approval_timeout,
            "timeout": timeout,
        }
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{_name(function)} is a generator; use 'with countermand.perform(...)' inside")
        if inspect.iscoroutinefunction(function):
            return _async_tool(function, call, result, options)
        return _sync_tool(function, call, result, options)

    return decorate


@dataclass(frozen=True, slots=True)
class Call:
    """How a call of the function is described to the sidecar."""

    signature: inspect.Signature
    name: str
    resource: str | Callable[..., str]
    args: Callable[..., Mapping[str, object]] | None
    costs: Mapping[str, int] | Callable[..., Mapping[str, int]] | None
    summary: str | Callable[..., str]
    compensation_args: Mapping[str, object] | Callable[..., Mapping[str, object]] | None

    def intent(self, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Answer what `perform` is to be told of a call."""
        bound = self.signature.bind(*positional, **named)
        bound.apply_defaults()

        def told(value: Any) -> Any:
            return value(*bound.args, **bound.kwargs) if callable(value) else value

        return {
            "name": self.name,
            "resource": told(self.resource),
            "args": told(self.args) if self.args else _without_self(bound.arguments),
            "costs": told(self.costs),
            "summary": told(self.summary),
            "compensation_args": told(self.compensation_args),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What is told of a call's result."""

    receipt: Callable[[Any], object] | None
    undo_with: Callable[[Any], Mapping[str, object]] | None
    accepted: Callable[[Any], object] | None
    canceller: str

    def tell(self, result: object, act: AsyncEffect | Effect) -> None:
        """Tell it."""
        act.receipt = self.receipt(result) if self.receipt else None
        if self.undo_with:
            act.undo_with(**self.undo_with(result))
        handle = self.accepted(result) if self.accepted else None
        if handle is not None:
            act.accepted(handle=handle, canceller=self.canceller)


def _without_self(arguments: Mapping[str, object]) -> dict[str, object]:
    first = next(iter(arguments), "")
    return {name: value for name, value in arguments.items() if name != first or name not in ("self", "cls")}


def _async_tool(
    function: Callable[..., Any],
    call: Call,
    told: Result,
    options: dict[str, Any],
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*positional: Any, **named: Any) -> Any:
        async with perform_async(**call.intent(positional, named), **options) as act:
            result = await function(*positional, **named)
            refuse_work_to_do(function, result, act)
            told.tell(result, act)
            return result

    return guarded


def _sync_tool(
    function: Callable[..., Any],
    call: Call,
    told: Result,
    options: dict[str, Any],
) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*positional: Any, **named: Any) -> Any:
        with perform_sync(**call.intent(positional, named), **options) as act:
            result = function(*positional, **named)
            refuse_work_to_do(function, result, act)
            told.tell(result, act)
            return result

    return guarded


def refuse_work_to_do(function: Callable[..., Any], result: object, act: AsyncEffect | Effect) -> None:
    """Raise if the result is work that is still to be done: the permit does not reach that far."""
    work = _work_to_do(result)
    if work is None:
        return
    kind = type(work).__qualname__
    if _has_begun(work):
        _stop(work)
        act.unknown(f"answered a {kind}, which may have begun")
        came_to = "It was told to stop, but may have begun"
    else:
        _close(work)
        # Unknown all the same: nobody sees what the function itself did before it answered.
        act.unknown(f"answered a {kind}, closed before it began")
        came_to = "It was closed before it began"
    raise TypeError(
        f"{_name(function)} answered a {kind}: what that does would come after the permit. {came_to}. "
        "Decorate an 'async def' that awaits it, or use 'with countermand.perform(...)' around the work"
    )


def _work_to_do(result: object) -> object | None:
    """Answer what of the result is still to be run or waited for, if anything is."""
    if isinstance(result, _GeneratorContextManager | _AsyncGeneratorContextManager):
        return result.gen
    if isinstance(result, GeneratorType | AsyncGeneratorType | concurrent.futures.Future):
        return result
    return result if inspect.isawaitable(result) else None


def _has_begun(work: object) -> bool:
    """Say no only if not a line of it can have run. Tasks, futures and remote calls run by themselves."""
    if isinstance(work, CoroutineType):
        return inspect.getcoroutinestate(work) != inspect.CORO_CREATED
    if isinstance(work, GeneratorType):
        return inspect.getgeneratorstate(work) != inspect.GEN_CREATED
    if isinstance(work, AsyncGeneratorType):
        return _async_generator_has_begun(work)
    return True


if sys.version_info >= (3, 12):

    def _async_generator_has_begun(work: AsyncGeneratorType[Any, Any]) -> bool:
        return inspect.getasyncgenstate(work) != inspect.AGEN_CREATED

else:

    def _async_generator_has_begun(work: AsyncGeneratorType[Any, Any]) -> bool:
        frame = work.ag_frame  # its state can be told only by the instruction it stands at
        return frame is None or dis.opname[frame.f_code.co_code[frame.f_lasti]] != "RETURN_GENERATOR"


def _close(work: Any) -> None:
    """Make sure that what has not begun never will, whoever else holds it."""
    if isinstance(work, AsyncGeneratorType):
        with suppress(StopIteration):
            work.aclose().send(None)  # nothing of it has run, so there is nothing to wait for
    else:
        work.close()


def _stop(work: Any) -> None:
    """Ask what may have begun to stop; whether it does is not known, and an error of it tells nothing."""
    with suppress(Exception):
        if isinstance(work, asyncio.Future) and work.get_loop() is not asyncio._get_running_loop():
            work.get_loop().call_soon_threadsafe(work.cancel)  # it belongs to another thread
        elif isinstance(work, CoroutineType | GeneratorType) or not hasattr(work, "cancel"):
            work.close()
        else:
            work.cancel()


def _name(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__qualname__)
