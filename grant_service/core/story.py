"""The story of one action: its own entries, and those that ended what it acted by, in the order of numbers.

So it shows which side won: whatever has the lower number came first.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from grant_service.core.action import Action
from grant_service.core.fence import FENCES, Fence, grant_mark
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry
from grant_service.core.run import Run

_PAGE = 1000


class Journals(Protocol):
    """Where journals and grants are read."""

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]: ...
    async def grants(self, ids: Sequence[str]) -> list[Grant | None]: ...


async def story_of(
    store: Journals, action: Action, path: Sequence[Run], fences: Sequence[Fence]
) -> tuple[Entry, ...]:
    """Tell the story of an action: of its runs, grants and fences, what first ended each."""
    told = await _own(store, action)
    where = _first((run.end_seq, run.run_id) for run in path)
    grants = await _grants(store, action)
    where += _first((one.end_seq, one.run_id) for one in grants)
    where += _first((one.seq, FENCES) for one in fences if _kills(one, action, grants, path))
    for seq, run_id in where:
        told += [entry for entry in await store.journal(run_id, seq - 1, 1) if entry.seq == seq]
    return tuple(sorted(told, key=lambda entry: entry.seq))


def _first(ends: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Pick what came first, if anything did."""
    return sorted(end for end in ends if end[0])[:1]


async def _own(store: Journals, action: Action) -> list[Entry]:
    """Read the entries that name the action: all are looked at, a prepare may have been refused first."""
    told: list[Entry] = []
    after = 0
    while page := await store.journal(action.run_id, after, _PAGE):
        told += [entry for entry in page if entry.op_id == action.intent.op_id]
        after = page[-1].seq
    return told


async def _grants(store: Journals, action: Action) -> list[Grant]:
    """Read the grant an action was prepared under, and its chain."""
    (grant,) = await store.grants([action.grant_id])
    chain = await store.grants(grant.chain) if grant and grant.chain else []
    return [one for one in [*chain, grant] if one]


def _kills(fence: Fence, action: Action, grants: Sequence[Grant], path: Sequence[Run]) -> bool:
    """Say whether a fence killed what the action was prepared under."""
    if not grants or not path or grants[-1].grant_id != action.grant_id:
        return False
    marks = frozenset({*path[-1].marks, *(grant_mark(one.grant_id) for one in grants)})
    return grants[-1].root_seq < fence.seq and fence.selector.names(marks, action.intent.action)
