"""What an exception that leaves a block says: why a run stops, and what is left of an action."""

from collections.abc import Collection, Iterator

from countermand._errors import (
    AlreadyPermitted,
    AlreadySettled,
    ApprovalTimedOut,
    AwaitingApproval,
    CountermandError,
    Denied,
    DigestMismatch,
    Exhausted,
    Fenced,
    GrantEnded,
    GrantUnknown,
    OutOfScope,
    RunEnded,
    Stopped,
    TooLate,
)
from countermand._text import kind_of, line
from countermand._words import StopReason

#: After these answers about an action there is nothing left to abandon. What a stop or a fence interrupted
#: stays interrupted.
NOTHING_LEFT = (RunEnded, Fenced, GrantUnknown, TooLate, Denied, AlreadyPermitted, AlreadySettled)


def leaves_something(error: BaseException, is_on_record: bool) -> bool:
    """Say whether an action whose block could not be entered is to be given up."""
    if not isinstance(error, Exception) or isinstance(error, ApprovalTimedOut | DigestMismatch):
        return True  # cancelled in mid-call it may be on record; the others are, and nobody will use them
    if isinstance(error, AwaitingApproval):
        return False  # the caller did not want to wait, and may come back
    return is_on_record and not isinstance(error, NOTHING_LEFT)


def reason_of(error: BaseException) -> StopReason:
    """Say why a run stops whose block was left by this.

    Ctrl-C is its user. A fence has its own reason, and so has a scope that was stopped in this process. A
    refusal for lack of authority or by a person is policy, for lack of uses or budget the budget. Whatever
    else ends the code that drives a run, a failure or a cancelled task, leaves the run without its client.
    """
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return StopReason.USER_STOP
    first = leaves[0]
    if isinstance(first, Fenced | GrantEnded | Stopped) and first.stop_reason is not StopReason.UNSPECIFIED:
        return first.stop_reason
    if isinstance(first, Exhausted):
        return StopReason.BUDGET
    if isinstance(first, OutOfScope | Denied | Fenced):
        return StopReason.POLICY
    return StopReason.CLIENT_DISCONNECTED


def note_of(error: BaseException) -> str:
    """Say what ended it: types only, what the exceptions say stays here."""
    kinds = dict.fromkeys(kind_of(leaf) for leaf in _leaves(error))
    return line(f"left by {', '.join(kinds)}")


def says_ended(error: BaseException, run_ids: Collection[str]) -> bool:
    """Say whether this already tells that one of these runs has ended."""
    told = [leaf.metadata.get("ended_run") for leaf in _leaves(error) if isinstance(leaf, CountermandError)]
    return any(run_id in run_ids for run_id in told)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error
