"""What each action's tool is registered as, and what a call may still say about it: nothing else.

Whoever integrates a tool registers how reversible its effect is, and which functions undo it, call it off and
tell what became of it. What a call leaves unset is filled in from there; what it says otherwise is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.scope import NOT_UNDOABLE, Reversibility


@dataclass(frozen=True, slots=True)
class Tool:
    """How an action is registered, or what a call says of it: then what it leaves unset is None or ''."""

    action: str
    reversibility: Reversibility | None = None
    compensation: str = ""
    canceller: str = ""
    probe: str = ""

    @property
    def fault(self) -> tuple[str, str] | None:
        """Name the key of a registration that makes no sense, and the rule; None if there is none."""
        if self.reversibility is None:
            return "reversibility", f"must be given: one of {', '.join(Reversibility)}"
        if self.compensation and (why := NOT_UNDOABLE.get(self.reversibility)):
            return "compensation", f"must be left out of what is {self.reversibility}: {why}"
        return None


@dataclass(frozen=True, slots=True)
class Tools:
    """All that are registered. Where `only` is set, an action that is not registered is refused."""

    registered: Mapping[str, Tool] = field(default_factory=dict)
    only: bool = False

    def filled(self, said: Tool) -> Tool | Refusal:
        """Fill in what a call leaves unset, or refuse what it says otherwise. A canceller comes later."""
        tool = self.registered.get(said.action)
        if tool is None:
            return self._unregistered(said.action) or said
        for name, rule in _otherwise(tool, said):
            return _mismatch(said.action, name, rule)
        return replace(tool, canceller="")

    def canceller(self, action: str, said: str) -> tuple[str, str]:
        """Name who can call off what an action has begun, or else why nobody may.

        It is never refused: that there is a job must not go unheard because its tool says a wrong name.
        """
        tool = self.registered.get(action)
        if tool is None:
            return ("", f"{action} is not in the tools file") if self.only else (said, "")
        if tool.canceller and said in ("", tool.canceller):
            return tool.canceller, ""
        if not said:
            return "", f"no canceller is registered for {action}"
        return "", f"canceller {said} is not registered for {action}"

    def _unregistered(self, action: str) -> Refusal | None:
        return _mismatch(action, "action", "must be in the tools file") if self.only else None


def _otherwise(tool: Tool, said: Tool) -> Iterator[tuple[str, str]]:
    if said.reversibility not in (None, tool.reversibility):
        yield "reversibility", _instead(tool.reversibility or "")
    if said.compensation not in ("", tool.compensation):
        yield "compensation", _instead(tool.compensation)
    if said.probe not in ("", tool.probe):
        yield "probe", _instead(tool.probe)


def _instead(registered: str) -> str:
    return f"must be {registered}, or left out" if registered else "must be left out: none is registered"


def _mismatch(action: str, name: str, rule: str) -> Refusal:
    return Refusal(ErrorReason.TOOL_MISMATCH, {"action": action, "field": name, "rule": rule})
