"""Jobs: what the outside world has only accepted, so that it may yet be asked to stop."""

from dataclasses import dataclass

from grant_service.core.action import Action
from grant_service.core.duty import MAX_JOBS, DutyKind
from grant_service.core.store import State
from grant_service.core.verbs import Settle

TOO_MANY = f"of one action at most {MAX_JOBS} jobs can be called off"
_NOBODY = "its tool named nobody who could"


@dataclass(frozen=True, slots=True)
class Named:
    """What a word of a tool says about a job."""

    #: Its place among the jobs of its action, from 0.
    number: int
    #: It was not on record, or nobody could call it off until now.
    is_news: bool
    #: Why nobody can call it off; '' if somebody can.
    why_not: str

    @property
    def is_beyond(self) -> bool:
        """Whether it is one more than can be called off."""
        return self.number >= MAX_JOBS


def named(state: State, action: Action, command: Settle) -> Named | None:
    """Say what a settle tells of a job; None if it names none. The same job is called off once."""
    if not command.handle:
        return None
    is_known = command.handle in action.handles
    number = action.handles.index(command.handle) if is_known else len(action.handles)
    if is_known and state.duty(action.run_id, action.intent.op_id, DutyKind.CALL_OFF, number):
        return Named(number, is_news=False, why_not="")
    if number >= MAX_JOBS:
        return Named(number, is_news=not is_known, why_not=TOO_MANY)
    why_not = "" if command.canceller else command.why_not or _NOBODY
    return Named(number, is_news=not (is_known and why_not), why_not=why_not)
