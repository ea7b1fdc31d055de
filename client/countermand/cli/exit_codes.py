"""What the command's exit codes mean. Scripts may rely on them."""

from enum import IntEnum

from countermand import AskOperator, CountermandError, ErrorReason, FixTheCall, StopTheRun, TryAgain


class ExitCode(IntEnum):
    """One code for each thing a script does next."""

    OK = 0
    ASK_OPERATOR = 1
    USAGE = 2
    STOP_THE_RUN = 3
    FIX_THE_CALL = 4
    TRY_AGAIN = 5
    NOT_QUIET = 6
    NEVER_OPENED = 7
    NOTHING_HIT = 8
    WAITS_FOR_A_PERSON = 9
    NOT_CONFIRMED = 10
    DOES_NOT_HOLD = 11
    NOT_UNDONE = 12
    UNDO_PENDING = 13
    CANNOT_START = 126
    NO_SUCH_COMMAND = 127
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """Say what it means, in a line."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done; for commit and perform: go",
    ExitCode.ASK_OPERATOR: "something failed that a person has to mend; do not act",
    ExitCode.USAGE: "the command line is wrong; nothing was asked",
    ExitCode.STOP_THE_RUN: "refused, the authority is over or too narrow; do not act, stop",
    ExitCode.FIX_THE_CALL: "refused, the call is wrong; do not act, do not repeat it",
    ExitCode.TRY_AGAIN: "no answer; do not act, ask again with the same op id",
    ExitCode.NOT_QUIET: "stopped, but something may still land, or the report is unread or unwritten",
    ExitCode.NEVER_OPENED: "cancel: no such run was ever opened, so nothing was stopped",
    ExitCode.NOTHING_HIT: "revoke, freeze, undo: nothing there matches; a freeze still blocks what comes",
    ExitCode.WAITS_FOR_A_PERSON: "a person has to agree first; do not act, ask again with the same op id",
    ExitCode.NOT_CONFIRMED: "it was not confirmed, so nothing was done",
    ExitCode.DOES_NOT_HOLD: "journal: it is not what was signed, or contradicts itself",
    ExitCode.NOT_UNDONE: "undo, compensate: something was given up or cannot be undone; a person has to look",
    ExitCode.UNDO_PENDING: "undo, compensate: something is still to be undone, or lost to others",
    ExitCode.CANNOT_START: "exec: the command cannot be started; nothing was done",
    ExitCode.NO_SUCH_COMMAND: "exec: there is no such command; nothing was done",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


def code_of(error: CountermandError) -> ExitCode:
    """The code for a call that was refused or not answered."""
    if error.reason is ErrorReason.AWAITING_APPROVAL:
        return ExitCode.WAITS_FOR_A_PERSON
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    return ExitCode.ASK_OPERATOR


_CODES: dict[type[CountermandError], ExitCode] = {
    StopTheRun: ExitCode.STOP_THE_RUN,
    FixTheCall: ExitCode.FIX_THE_CALL,
    TryAgain: ExitCode.TRY_AGAIN,
    AskOperator: ExitCode.ASK_OPERATOR,
}


def in_full() -> str:
    """The table of exit codes, for the help of the command."""
    return "\n".join(["Exit codes:", *(f"{code.value:>3}  {code.meaning}" for code in ExitCode)])


def in_short() -> str:
    """The names of the exit codes, for the help of a verb."""
    told = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    return f"Exit codes: {told}. See: countermand --help"
