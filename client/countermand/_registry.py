"""The functions that carry out duties, by the names that tools give; and what their answers mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from countermand._errors import InvalidRequest, NotDone, Refused
from countermand._models.duties import Duty, Finding
from countermand._text import line
from countermand._words import DutyKind, Outcome

#: Takes the duty; async or not.
Function = Callable[[Duty], Any]
F = TypeVar("F", bound=Function)


class Registry:
    """Functions that carry out duties, by name. `countermand.compensation` and the like share one."""

    def __init__(self) -> None:
        self._functions: dict[tuple[DutyKind, str], Function] = {}

    def compensation(self, name: str) -> Callable[[F], F]:
        """Register what undoes an effect. It answers the outside world's id of the undo, or None.

        It may be called again after it did its work, by another process: it must have the same result then,
        which passing on `duty.key` as the idempotency key sees to.
        """
        return self._register(DutyKind.UNDO, name)

    def canceller(self, name: str) -> Callable[[F], F]:
        """Register what calls off the job `duty.handle`. It answers None once that is acknowledged.

        It answers `Refused(why)` if the outside world says that it will not be called off.
        """
        return self._register(DutyKind.CALL_OFF, name)

    def probe(self, name: str) -> Callable[[F], F]:
        """Register what finds out what became of an effect: it answers a `Finding`, or None for no idea.

        FAILED is a finding only if the effect certainly did not happen and will not happen any more.
        """
        return self._register(DutyKind.ASK, name)

    def _register(self, kind: DutyKind, name: str) -> Callable[[F], F]:
        def register(function: F) -> F:
            if self._functions.setdefault((kind, name), function) is not function:
                rule = "is registered for another function"
                raise InvalidRequest(f"{name!r} {rule}", metadata={"field": "name", "rule": rule})
            return function

        return register

    def names(self, kind: DutyKind) -> list[str]:
        """Answer the names of one kind."""
        return [name for of, name in self._functions if of is kind]

    def function(self, duty: Duty) -> Function:
        """Answer the function for a duty."""
        return self._functions[duty.kind, duty.name]

    @property
    def functions(self) -> dict[tuple[DutyKind, str], Function]:
        """All functions, by kind and name."""
        return dict(self._functions)


#: Where functions go that are registered without a registry.
shared = Registry()
compensation, canceller, probe = shared.compensation, shared.canceller, shared.probe


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a function's answer says of its duty."""

    receipt: str = ""
    note: str = ""
    refused: bool = False
    outcome: Outcome = Outcome.UNSPECIFIED


def verdict(kind: DutyKind, result: object) -> Verdict:
    """Read a function's answer. One that means nothing is no success: it may stand for a failure."""
    if kind is DutyKind.ASK:
        if result is None:
            raise NotDone("it cannot tell")
        if isinstance(result, Finding):
            return Verdict(note=line(result.evidence), outcome=Outcome(result.outcome))
        raise _senseless(result, "a Finding, or None if it cannot tell")
    if kind is DutyKind.CALL_OFF and isinstance(result, Refused):
        return Verdict(note=line(result), refused=True)
    if result is None:
        return Verdict()
    if isinstance(result, str | int) and not isinstance(result, bool):
        return Verdict(receipt=line(result))
    what = "None, an id, or Refused" if kind is DutyKind.CALL_OFF else "None, or an id"
    raise _senseless(result, f"{what}; raise NotDone if it did not work")


def _senseless(result: object, expected: str) -> NotDone:
    return NotDone(f"answered a {type(result).__qualname__}, not {expected}")
