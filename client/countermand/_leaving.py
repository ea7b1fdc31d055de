"""Why a run is cancelled when its block is left by an exception."""

from collections.abc import Collection, Iterator

from countermand._errors import Exhausted, OutOfScope, RunEnded
from countermand._text import kind_of, line
from countermand._words import StopReason


def reason_of(error: BaseException) -> StopReason:
    """Say why a run stops whose block was left by this.

    Ctrl-C is its user. A refusal for lack of authority is policy, for lack of uses the budget. Whatever else
    ends the code that drives a run, a failure or a cancelled task, leaves the run without its client.
    """
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return StopReason.USER_STOP
    if isinstance(leaves[0], OutOfScope):
        return StopReason.POLICY
    if isinstance(leaves[0], Exhausted):
        return StopReason.BUDGET
    return StopReason.CLIENT_DISCONNECTED


def note_of(error: BaseException) -> str:
    """Say what ended it: types only, what the exceptions say stays here."""
    kinds = dict.fromkeys(kind_of(leaf) for leaf in _leaves(error))
    return line(f"left by {', '.join(kinds)}")


def says_ended(error: BaseException, run_ids: Collection[str]) -> bool:
    """Say whether this already tells that one of these runs has ended."""
    return any(isinstance(leaf, RunEnded) and leaf.ended_run in run_ids for leaf in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error
