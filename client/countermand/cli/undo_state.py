"""How far an undo is: every effect that was asked for, by what the report says of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from countermand import ActionState, Report, ReportedAction, UndoAsked
from countermand.cli.documents import members


class Verdict(StrEnum):
    """How the whole of it stands."""

    UNDONE = "UNDONE"
    PENDING = "PENDING"
    NOT_UNDONE = "NOT_UNDONE"


#: What is asked for and can still come to something.
_PENDING = (ActionState.UNDO_PENDING, ActionState.PERMITTED, ActionState.UNKNOWN, ActionState.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class Step:
    """One effect, and why it was not asked for, if it was not."""

    effect: ReportedAction
    why_not: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.verdict is not Verdict.PENDING

    @property
    def verdict(self) -> Verdict:
        """How it stands. What did not happen after all needs no undo."""
        if self.why_not or self.effect.undo.why_not or self.effect.state is ActionState.UNDO_FAILED:
            return Verdict.NOT_UNDONE
        return Verdict.PENDING if self.effect.state in _PENDING else Verdict.UNDONE

    @property
    def told(self) -> dict[str, Any]:
        """It as a part of a document."""
        effect, undo = self.effect, members(self.effect.undo)
        names = ("run_id", "op_id", "action", "resource", "state", "receipt")
        return {name: getattr(effect, name) for name in names} | {
            "verdict": self.verdict,
            "why_not": self.why_not or effect.undo.why_not,
            "undo": undo,
        }


@dataclass(frozen=True, slots=True)
class Undoing:
    """Everything that was asked for, in the order in which it is done."""

    steps: tuple[Step, ...]
    time: Any
    just_asked: bool = False

    @property
    def refused(self) -> list[Step]:
        """The effects that could not be asked for."""
        return [one for one in self.steps if one.why_not]

    @property
    def verdict(self) -> Verdict:
        """How the whole stands; what could not be asked for does not count, it was named."""
        verdicts = {one.verdict for one in self.steps if not one.why_not}
        if Verdict.PENDING in verdicts:
            return Verdict.PENDING
        return Verdict.NOT_UNDONE if Verdict.NOT_UNDONE in verdicts else Verdict.UNDONE

    def again(self, report: Report) -> "Undoing":
        """Look at the same effects in a later report."""
        found = _effects(report)
        steps = (Step(found.get(_key(one.effect), one.effect), one.why_not) for one in self.steps)
        return Undoing(tuple(steps), report.time, self.just_asked)


def asked_in(report: Report, asked: UndoAsked) -> Undoing:
    """Put together what was asked and what the report says of it."""
    found = _effects(report)
    steps = [
        Step(found[step.run_id, step.op_id], step.why_not)
        for step in asked.steps
        if (step.run_id, step.op_id) in found
    ]
    return Undoing(tuple(steps), report.time, just_asked=True)


def standing(report: Report) -> Undoing:
    """Find what was asked for before."""
    asked = [one for one in _effects(report).values() if one.undo.ask_time is not None]
    asked.sort(key=lambda one: one.fence, reverse=True)
    return Undoing(tuple(map(Step, asked)), report.time)


def _effects(report: Report) -> dict[tuple[str, str], ReportedAction]:
    parts: Iterable[Iterable[ReportedAction]] = (
        report.done,
        report.in_flight,
        report.unknown,
        report.not_done,
    )
    return {_key(one): one for part in parts for one in part}


def _key(effect: ReportedAction) -> tuple[str, str]:
    return effect.run_id, effect.op_id
