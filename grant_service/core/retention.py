"""When a run may leave the store: it ended long enough ago, and nobody needs it there any more."""

from collections.abc import Iterable

from grant_service.core.action import ActionState
from grant_service.core.journal import Entry, Kind
from grant_service.core.report import ReportedAction
from grant_service.core.run import RECENT_MS, End
from grant_service.core.verbs import Release

#: What may still be undone, called off or found out.
_UNFINISHED = frozenset(
    {
        ActionState.SUCCEEDED,
        ActionState.UNKNOWN,
        ActionState.PERMITTED,
        ActionState.UNDO_PENDING,
        ActionState.UNDO_FAILED,
    }
)


def ended_long_ago(end: End | None, now: int, after_ms: int) -> bool:
    """Say whether a run ended so long ago. When an epoch ended nobody knows: such a run waits on."""
    if end is None or not end.time:
        return False
    return now - end.time >= max(after_ms, RECENT_MS)


def is_needed(actions: Iterable[ReportedAction], now: int) -> bool:
    """Say whether somebody may still undo an effect, call it off, or say what became of it."""
    return any(now < one.undo_until and _may_matter(one, now) for one in actions)


def _may_matter(action: ReportedAction, now: int) -> bool:
    if action.state not in _UNFINISHED:
        return False
    waits = any(not one.outcome for one in action.call_offs)
    return action.state is not ActionState.SUCCEEDED or waits or not action.why_not_undoable(now)


def release_of(run_id: str, entries: Iterable[Entry]) -> Release:
    """Name everything a run's journal says it left."""
    grants, ops, spendings, last_seq = [], [], [], 0
    for entry in entries:
        last_seq = entry.seq
        if entry.kind in (Kind.ISSUED, Kind.DELEGATED):
            grants.append(entry.data["grant"])
        elif entry.kind is Kind.PREPARED:
            ops.append(entry.op_id)
        elif entry.kind is Kind.SPENT:
            spendings.append(entry.op_id)
    return Release(run_id, last_seq, tuple(grants), tuple(ops), tuple(spendings))
