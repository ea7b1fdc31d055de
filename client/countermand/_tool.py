"""The decorator for tools that need nothing but a permit around their call, async and sync alike."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from countermand._async.action import perform as perform_async
from countermand._span import Span
from countermand._sync.action import perform as perform_sync
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
    use_within: Span | None = None,
    timeout: float | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function run only under a permit for the action `name`, asked for at each call.

    `resource` may be a callable: it gets the function's own arguments, defaults filled in, and answers what
    they act on. The permit is for these very arguments, `self` left out; where one has no spelling in
    JSON, `args` gets the same arguments and answers what stands for them. `receipt` picks the world's own id
    from the result.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        call = _Call(inspect.signature(function), name, resource, args, reversibility, compensation)
        options: dict[str, Any] = {"use_within": use_within, "timeout": timeout}
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator; use 'with countermand.perform(...)' inside"
            )
        if inspect.iscoroutinefunction(function):
            return _async_tool(function, call, receipt, options)
        return _sync_tool(function, call, receipt, options)

    return decorate


@dataclass(frozen=True, slots=True)
class _Call:
    """How a call of the function is described to the sidecar."""

    signature: inspect.Signature
    name: str
    resource: str | Callable[..., str]
    args: Callable[..., Mapping[str, object]] | None
    reversibility: Reversibility
    compensation: str

    def intent(self, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Answer what `perform` is to be told of a call."""
        bound = self.signature.bind(*positional, **named)
        bound.apply_defaults()
        resource = self.resource
        return {
            "name": self.name,
            "resource": resource(*bound.args, **bound.kwargs) if callable(resource) else resource,
            "args": self.args(*bound.args, **bound.kwargs) if self.args else _without_self(bound.arguments),
            "reversibility": self.reversibility,
            "compensation": self.compensation,
        }


def _without_self(arguments: Mapping[str, object]) -> dict[str, object]:
    first = next(iter(arguments), "")
    return {name: value for name, value in arguments.items() if name != first or name not in ("self", "cls")}


def _async_tool(
    function: Callable[..., Any],
    call: _Call,
    receipt: Callable[[Any], object] | None,
    options: dict[str, Any],
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def guarded(*positional: Any, **named: Any) -> Any:
        async with perform_async(**call.intent(positional, named), **options) as act:
            result = await function(*positional, **named)
            act.receipt = receipt(result) if receipt else None
            return result

    return guarded


def _sync_tool(
    function: Callable[..., Any],
    call: _Call,
    receipt: Callable[[Any], object] | None,
    options: dict[str, Any],
) -> Callable[..., Any]:
    @functools.wraps(function)
    def guarded(*positional: Any, **named: Any) -> Any:
        with perform_sync(**call.intent(positional, named), **options) as act:
            result = function(*positional, **named)
            act.receipt = receipt(result) if receipt else None
            return result

    return guarded
