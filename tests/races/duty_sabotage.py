"""Sidecars that hand out duties carelessly: `python -m tests.races.duty_sabotage NAME`.

As in sabotage.py: the real sidecar, on Redis, with one guard taken out from outside before it starts.
"""

import sys
from collections.abc import Callable
from typing import Any

from grant_service.core.action import ActionState
from grant_service.rpc import undo
from grant_service.store import redis
from grant_service.store.scripts import scripts
from tests.races import duties
from tests.races.load import Load
from tests.races.sabotage import _changed, _plant, _put
from tests.support.standby import live_again_and_again


def outcome_not_asked_when_claiming() -> None:
    """Undo whatever was asked for, whether it happened or not."""

    async def all_of_them(_: object, duties: list[Any], __: object) -> list[Any]:
        return duties

    undo.UndoServicer._to_be_undone = all_of_them  # type: ignore[method-assign]
    _plant("if action.state ~= 'SUCCEEDED' then", "if false then", "claim")


def lease_looked_at_before() -> None:
    """Look whether anybody is at it, as the service does anyway, and then just take it."""
    _plant("if ms_left > 0 then", "if false then", "claim")


def lease_not_asked_when_completing() -> None:
    """Take it from anybody who ever had it, and as often as they say so."""
    _plant("if duty.lease ~= LEASE then", "if false then", "complete")


def withdrawal_looked_at_before() -> None:
    """Look for what is open, as the service does anyway, and then just take it."""
    changed = _changed(scripts()["claim"], "local refusal = not_open(duty)", "local refusal = nil", 1)
    changed = _changed(changed, "if last[1] ~= OP then", "if last[1] and last[1] ~= OP then", 1)
    _put(scripts() | {"claim": changed})


def order_looked_at_before() -> None:
    """Look which effect is the last, as the service does anyway, and then just take it."""
    _plant("if last[1] ~= OP then", "if false then", "claim")


def end_not_asked_when_undoing() -> None:
    """Undo what a run does while it does more."""
    _plant("if there and not ended(PATH, RUNS_AT, RUN_ID) then", "if false then", "undo")


def stop_not_asked_when_calling_off() -> None:
    """Call off what runs began that nobody has stopped."""
    known = scripts()
    late = "look_below(CUTS, path, after_cut == '1' and AT_ONCE or deadline)"
    settle = _changed(known["settle"], late, "look_below(CUTS, path, text(NOW))", 1)
    call_off = _changed(known["call_off"], "stopped, below = was_cut_off(there)", "stopped, below = true", 1)
    claim = _changed(known["claim"], "if not was_cut_off(there) then", "if false then", 1)
    _put(known | {"settle": settle, "call_off": call_off, "claim": claim})


def outcome_looked_at_before_resolving() -> None:
    """Look whether anybody knows, then write what an operator says."""
    guarded = scripts()
    changed = _changed(
        guarded["resolve"], "if state == 'SUCCEEDED' or state == 'FAILED' then", "if false then", 1
    )
    changed = _changed(changed, "if state ~= 'PERMITTED' and state ~= 'UNKNOWN' then", "if false then", 1)
    unguarded = guarded | {"resolve": changed}

    class Careless(redis.RedisStore):
        async def resolve(self, command: Any) -> Any:
            (action,) = await self.actions([(command.run_id, command.op_id)])
            unknown = action is not None and action.state is ActionState.UNKNOWN
            # Nothing comes between this line and the choice of the script.
            self._scripts = unguarded if unknown else guarded
            return await super().resolve(command)

    redis.RedisStore = Careless  # type: ignore[misc]


def outcome_not_asked_when_a_probe_answers() -> None:
    """Believe a probe, whatever anybody else has said meanwhile."""
    _plant("if duty.state == 'MOOT' or (KIND == 'ASK' and known) then", "if false then", "complete")


#: Each defect, with the race that must find it and the rules of which it must break one.
DEFECTS: dict[Callable[[], None], tuple[Callable[[Load, int], Any], tuple[str, ...]]] = {
    outcome_not_asked_when_claiming: (duties.late_settle_round, ("UNKNOWN", "NOTHING")),
    lease_looked_at_before: (duties.claims_round, ("TWICE",)),
    lease_not_asked_when_completing: (duties.claims_round, ("STALE",)),
    withdrawal_looked_at_before: (duties.withdraw_round, ("WITHDRAWN",)),
    order_looked_at_before: (duties.order_round, ("ORDER",)),
    end_not_asked_when_undoing: (duties.cancel_round, ("AT WORK", "AFTER THE UNDO")),
    stop_not_asked_when_calling_off: (duties.cancel_round, ("GOES ON",)),
    outcome_looked_at_before_resolving: (duties.resolve_round, ("TWO WORDS",)),
    outcome_not_asked_when_a_probe_answers: (duties.resolve_round, ("TWO WORDS",)),
}

if __name__ == "__main__":
    {defect.__name__: defect for defect in DEFECTS}[sys.argv.pop(1)]()
    sys.exit(live_again_and_again())
