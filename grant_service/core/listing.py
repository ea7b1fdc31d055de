"""Runs as people are told them: each with how it stands ended, from above too."""

from collections.abc import Iterable
from dataclasses import dataclass

from grant_service.core.action import Action, ActionState
from grant_service.core.errors import ErrorReason, Refused
from grant_service.core.run import End, Run, RunState, end_of
from grant_service.core.store import Standing, Store
from grant_service.core.why import only_awaiting

#: How many runs are looked at for one page: a filter that matches little gets a short page, not a long wait.
_MAX_LOOKED_AT = 5000

#: How many actions are read at a time.
_PAGE = 1000

RunTold = tuple[Run, End | None]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which runs are asked for; what is empty does not matter."""

    state: RunState | None = None
    subject: str = ""
    agent: str = ""
    tenant: str = ""

    def wants(self, run: Run, end: End | None) -> bool:
        """Say whether a run is one of them."""
        state = end.state if end else RunState.ACTIVE
        wanted = ((self.subject, run.subject), (self.agent, run.agent), (self.tenant, run.tenant))
        return self.state in (None, state) and all(not asked or asked == told for asked, told in wanted)


async def find_run(store: Store, run_id: str) -> tuple[Run, End | None, int]:
    """Find one run and tell the store's time, or refuse."""
    standing = await store.standing()
    told = await _told(store, [run_id], standing)
    if not told:
        raise Refused(ErrorReason.RUN_UNKNOWN, run=run_id)
    return *told[0], standing.now


async def list_runs(
    store: Store, standing: Standing, wanted: Filter, before_seq: int, size: int
) -> tuple[list[RunTold], int]:
    """List runs, the youngest first, and tell where to go on; 0 after the last."""
    found: list[RunTold] = []
    looked_at = 0
    while looked_at < _MAX_LOOKED_AT:
        rows = await store.run_ids(before_seq, size)
        for run, end in await _told(store, [run_id for _, run_id in rows], standing):
            if wanted.wants(run, end):
                found.append((run, end))
                if len(found) == size:
                    return found, run.open_seq
        if len(rows) < size:
            return found, 0
        before_seq = rows[-1][0]
        looked_at += len(rows)
    return found, before_seq


async def _told(store: Store, ids: list[str], standing: Standing) -> list[RunTold]:
    runs = [run for run in await store.runs(ids) if run]
    above = await _by_id(store, {one for run in runs for one in run.ancestors})
    return [(run, _end(run, above, standing)) for run in runs]


async def _by_id(store: Store, ids: Iterable[str]) -> dict[str, Run | None]:
    wanted = sorted(ids)
    return dict(zip(wanted, await store.runs(wanted) if wanted else [], strict=True))


def _end(run: Run, above: dict[str, Run | None], standing: Standing) -> End | None:
    path = [*(above[one] for one in run.ancestors), run]
    return end_of(path, run.path, standing.epoch, standing.now)


async def pending_approvals(
    store: Store, longest_ms: int, most: int
) -> tuple[list[tuple[Action, Run]], bool]:
    """Find the actions that wait for a person, and for nothing else, the oldest first.

    No action waits longer than `longest_ms`, so what is older need not be read: what nobody answered for
    years must not bury what waits now. `most` are told, and whether there are more.
    """
    standing = await store.standing()
    waiting = await only_awaiting(store, await _waiting(store, standing.now, standing.now - longest_ms))
    told, more = waiting[:most], len(waiting) > most
    runs = await store.runs([one.run_id for one in told])
    return [(one, run) for one, run in zip(told, runs, strict=True) if run], more


async def _waiting(store: Store, now: int, since: int) -> list[Action]:
    """Read back from the youngest to those that were prepared by then; answer the oldest first."""
    ids = await store.awaiting()
    found: list[Action] = []
    while ids:
        ids, page = ids[:-_PAGE], ids[-_PAGE:]
        actions = [one for one in await store.actions(page) if one]
        waits = (one for one in reversed(actions) if one.state is ActionState.AWAITING_APPROVAL)
        found.extend(one for one in waits if now < one.expire_time)
        if actions and actions[0].prepare_time < since:
            break
    return found[::-1]
