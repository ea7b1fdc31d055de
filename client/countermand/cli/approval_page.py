"""What waits for a person, for that person: what it is, for whom, what it costs, how long it can wait."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from countermand import PendingApproval, Reversibility
from countermand.cli.budgets import amounts
from countermand.cli.report_parts import paint
from countermand.cli.words import ago, clock_time, left

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

_UNDO = {
    Reversibility.READ_ONLY: "only reads",
    Reversibility.REVERSIBLE: "can be undone",
    Reversibility.COMPENSABLE: "can be compensated, a trace remains",
    Reversibility.IRREVERSIBLE: "cannot be undone",
}


def print_approvals(console: "Console", waiting: Sequence[PendingApproval], now: "datetime") -> None:
    """Show each as a block: a person reads it before agreeing, and copies one of its last lines."""
    for at, one in enumerate(waiting):
        if at:
            console.print()
        print_one(console, one, now)
        paint(console, f"to agree:  countermand approve {one.run_id} {one.op_id}", "dim", indent=2)
        paint(console, f"to refuse: countermand deny {one.run_id} {one.op_id} --note WHY", "dim", indent=2)


def print_one(
    console: "Console", one: PendingApproval, now: "datetime", amendment: Mapping[str, Any] | None = None
) -> None:
    """Show one action, and the arguments that are to replace its own."""
    paint(console, f"{one.action} {one.resource}".strip(), "bold")
    paint(console, f"“{one.summary}”" if one.summary else "(the tool left no summary)", indent=2)
    people = (("for", one.subject), ("agent", one.agent), ("tenant", one.tenant))
    whose = [f"{name} {value}" for name, value in people if value]
    paint(console, ", ".join([*whose, f"run {one.run_id}", f"action {one.op_id}"]), indent=2)
    costs = amounts(one.costs)
    undo = _UNDO.get(one.reversibility, "nobody said whether it can be undone")
    paint(console, f"{undo}{f'; costs {costs}' if costs else ''}", indent=2)
    waits = f"waits since {clock_time(one.prepare_time, now)}, {ago(one.prepare_time, now)}"
    paint(console, f"{waits}; it can wait for {left(one.expire_time, now)} more", "yellow", indent=2)
    paint(console, f"digest of its arguments: {one.digest.hex()}", indent=2)
    if amendment is not None:
        import json

        told = json.dumps(amendment, ensure_ascii=False)
        paint(console, f"with these arguments instead: {told}", "bold", indent=2)
