"""Budgets in words: what there was, what is left, what is held."""

from collections.abc import Mapping

from countermand import BudgetStanding, Exhaustion


def budget_lines(standings: Mapping[str, BudgetStanding]) -> list[str]:
    """Tell how budgets stand, a line each."""
    return [f"budget {standing(name, one)}" for name, one in sorted(standings.items())]


def standing(name: str, one: BudgetStanding) -> str:
    """Tell how a budget stands: `tokens_out: 120 of 2000 left, 80 held`."""
    held = f", {one.reserved} held for prepared actions" if one.reserved else ""
    policy = ", refuses only" if one.on_exhausted is Exhaustion.REFUSE else ""
    return f"{name}: {one.remaining} of {one.limit} left{held}{policy}"


def left_over(remaining: Mapping[str, int]) -> str:
    """Tell what is left after a call, as a sentence to put behind another; '' where there is no budget."""
    return f" Left: {amounts(remaining)}." if remaining else ""


def amounts(named: Mapping[str, int]) -> str:
    """Tell amounts by name: `tokens_out 120, usd_cents 40`."""
    return ", ".join(f"{name} {amount}" for name, amount in sorted(named.items()))
