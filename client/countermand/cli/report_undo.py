"""What a report says of an effect beside what became of it: undone, called off, resolved by somebody.

Said once, for the terminal and for the page that is handed out; each has times in its own way.
"""

from countermand import ActionState, CallOff, CallOffState, ReportedAction, Reversibility
from countermand.cli.words import counted, who


def undo_in_words(one: ReportedAction, at: str = "") -> str:
    """Say whether it can be undone and how; and if somebody asked for that, how far it is."""
    undo = one.undo
    note = f": {undo.note}" if undo.note else ""
    if one.state is ActionState.UNDONE:
        receipt = f", receipt {undo.receipt}" if undo.receipt else ""
        return f"UNDONE{f' at {at}' if at else ''} by {who(undo.worker)}{receipt}{_asked(one)}"
    if one.state is ActionState.UNDO_FAILED:
        return f"NOT UNDONE, given up after {counted(undo.attempts, 'attempt')}{note}{_asked(one)}"
    if undo.why_not:
        return f"no: {undo.why_not}"
    if undo.asked_by:
        tried = f", {counted(undo.attempts, 'attempt')} so far" if undo.attempts else ""
        return f"to be undone by {undo.how}{tried}{note}{_asked(one)}"
    if undo.undoable:
        trace = ", a trace remains" if undo.reversibility is Reversibility.COMPENSABLE else ""
        return f"yes: {undo.how}{trace}"
    return "no"


def _asked(one: ReportedAction) -> str:
    return f" (asked by {who(one.undo.asked_by)})"


def call_off_in_words(one: ReportedAction) -> str:
    """Say what became of calling off each job that was only accepted; '' if there is none."""
    return "; ".join(map(_job_in_words, one.call_offs))


def _job_in_words(told: CallOff) -> str:
    note = f": {told.note}" if told.note else ""
    job = told.handle
    match told.state:
        case CallOffState.ACKNOWLEDGED:
            return f"{job} was called off{note}"
        case CallOffState.REFUSED:
            return f"{job} will NOT be called off{note}"
        case CallOffState.UNREACHABLE:
            return f"{job} could not be called off after {counted(told.attempts, 'attempt')}{note}"
        case CallOffState.IMPOSSIBLE:
            return f"{job} was only accepted and CANNOT be called off{note}"
    if told.attempts:
        return f"{job}, {counted(told.attempts, 'attempt')} so far{note}"
    return f"{job} was only accepted"


def resolved_in_words(one: ReportedAction) -> str:
    """Say who said what became of it, and how they knew; '' if it was its tool."""
    return f"{who(one.resolved_by)}: “{one.evidence}”" if one.resolved_by else ""
