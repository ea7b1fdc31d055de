"""Sidecars that take authority away carelessly: `python -m tests.races.authority_sabotage NAME`.

As in sabotage.py: the real sidecar, on Redis, with one guard taken out from outside before it starts.
"""

import sys
from collections.abc import Callable
from typing import Any

from grant_service.store import redis
from grant_service.store.scripts import scripts
from tests.races import authority
from tests.races.load import Load
from tests.races.sabotage import _changed, _plant, _put
from tests.support.standby import live_again_and_again

_ENDED = "local reason, details = ended(PATH, RUNS_AT, RUN_ID, OWNERS)"
_FENCED = "if not reason and ANY_FENCE then"
_SHORT = "if asked > left(budget) then"


def stop_not_asked_when_delegating() -> None:
    """Hand on whatever was cancelled."""
    _plant(_ENDED, "local reason, details = nil, nil", "delegate")


def stop_not_asked_when_extending() -> None:
    """Let whatever was cancelled last longer."""
    _plant(_ENDED, "local reason, details = nil, nil", "extend")


def runs_above_not_asked() -> None:
    """Look at a child's own run only: its parent's cancel does not reach it."""
    _plant(_ENDED, "local reason, details = ended({ RUN_ID }, REST - 1, RUN_ID, OWNERS)", "perform")


def fence_looked_at_before() -> None:
    """Look whether a fence stands over the run, then decide; those of earlier rounds stand over others."""

    async def clear(store: Any, command: Any) -> bool:
        (run,) = await store.runs([command.grant.run_id])
        return not any(set(one.run_marks) <= set(run.marks) for one in await store.fences())

    _decide_after(clear, _FENCED, "if false then", "perform")


def fence_for_those_on_a_list() -> None:
    """Kill the grants that were there when somebody last looked, not those issued since."""
    old, new = "if root_seq >= tonumber(fence.seq) and", "if root_seq >= tonumber(fence.seq) - 24 and"
    _plant(old, new, "perform")


def freeze_not_asked_when_issuing() -> None:
    """Issue what is frozen."""
    _plant("if ANY_FENCE then", "if false then", "issue")


def withdrawal_not_asked_when_committing() -> None:
    """Commit what a person took back."""
    _plant("if state == 'DENIED' then", "if false then", "commit")


def permit_not_asked_when_withdrawing() -> None:
    """Tell a person that it was taken back in time, whether it was or not."""
    changed = _changed(scripts()["deny"], "if state == 'PERMITTED' then", "if false then", 1)
    changed = _changed(changed, "if state ~= 'AWAITING_APPROVAL' and", "if false and", 1)
    _put(scripts() | {"deny": changed})


def budget_looked_at_before() -> None:
    """Look whether anything is left, then take."""

    async def some_left(store: Any, command: Any) -> bool:
        runs = [one for one in await store.runs(command.grant.path) if one]
        return all(budget.left(0) > 0 for run in runs for budget in run.budgets)

    _decide_after(some_left, _SHORT, "if false then", "perform", "spend")


def _decide_after(look: Callable[[Any, Any], Any], old: str, new: str, *verbs: str) -> None:
    """Look first and, if it is well, decide by scripts that do not look."""
    guarded = scripts()
    unguarded = guarded | {verb: _changed(guarded[verb], old, new, 1) for verb in verbs}

    class Careless(redis.RedisStore):
        async def _act(self, verb: str, command: Any, *rest: Any) -> Any:
            well = verb in verbs and await look(self, command)
            # Nothing comes between this line and the choice of the script.
            self._scripts = unguarded if well else guarded
            return await super()._act(verb, command, *rest)

    redis.RedisStore = Careless  # type: ignore[misc]


#: Each defect, with the race that must find it and the rules of which it must break one.
DEFECTS: dict[Callable[[], None], tuple[Callable[[Load, int], Any], tuple[str, ...]]] = {
    stop_not_asked_when_delegating: (authority.delegate_round, ("DELEGATED LATE",)),
    stop_not_asked_when_extending: (authority.extend_round, ("EXTENDED LATE", "AFTER THE CUT")),
    runs_above_not_asked: (authority.delegate_round, ("LATE", "AFTER THE CUT")),
    fence_looked_at_before: (authority.fence_round, ("LATE", "AFTER THE FENCE")),
    fence_for_those_on_a_list: (authority.fence_round, ("LATE", "AFTER THE FENCE")),
    freeze_not_asked_when_issuing: (authority.fence_round, ("ISSUED",)),
    withdrawal_not_asked_when_committing: (authority.approval_round, ("WITHDRAWN",)),
    permit_not_asked_when_withdrawing: (authority.approval_round, ("WITHDRAWN",)),
    budget_looked_at_before: (authority.budget_round, ("RICHER",)),
}

if __name__ == "__main__":
    {defect.__name__: defect for defect in DEFECTS}[sys.argv.pop(1)]()
    sys.exit(live_again_and_again())
