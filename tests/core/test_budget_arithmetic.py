"""The arithmetic of budgets: held to a second, taken for good, and never below nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grant_service.core.budget import (
    MAX_AMOUNT,
    Budget,
    Exhaustion,
    budgets_text,
    charges,
    costs_of,
    costs_text,
    name_fault,
    remaining,
    wider,
)

SECOND = 1000
amounts = st.sampled_from([0, 1, 2, 5, MAX_AMOUNT])
small = st.integers(0, 9)
times = st.integers(0, 5 * SECOND)
#: (what to do, how much, until how long from now)
moves = st.tuples(st.sampled_from(["reserve", "give back", "take", "wait"]), small, times)


def second_after(time: int) -> int:
    """The end of the second in which something expires; what expires at its end expires in it."""
    return (time + SECOND - 1) // SECOND * SECOND


@settings(max_examples=500)
@given(st.integers(0, 50), st.lists(moves, max_size=20))
def test_a_budget_counts_as_a_list_of_what_is_held_would(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    """Held is what was reserved, not given back and not expired; left is the rest, or nothing."""
    budget, now, taken = Budget("usd", limit), 0, 0
    held: list[tuple[int, int]] = []
    for what, amount, ms in steps:
        if what == "wait":
            now += ms
        elif what == "take":
            before = budget.taken
            budget, taken = budget.take(amount), taken + amount
            assert budget.taken >= before
        elif what == "reserve":
            budget = budget.reserve(amount, now + ms, now)
            held.append((now + ms, amount))
        elif held:
            until, amount = held.pop(amount % len(held))
            budget = budget.give_back(amount, until, now)
        live = sum(amount for until, amount in held if second_after(until) > now)
        assert (budget.taken, budget.held(now)) == (taken, live)
        assert budget.left(now) == max(0, limit - taken - live)
        if taken + live <= limit:
            assert budget.left(now) + budget.taken + budget.held(now) == limit


@settings(max_examples=300)
@given(st.lists(st.tuples(small, times), max_size=8), small, times, times)
def test_giving_back_what_was_reserved_changes_nothing(
    before: list[tuple[int, int]], amount: int, until: int, now: int
) -> None:
    """Of whatever else is held, nothing is lost or gained; what has lapsed meanwhile is let go."""
    budget = Budget("usd", 100)
    for held, time in before:
        budget = budget.reserve(held, time, 0)
    again = budget.reserve(amount, until, now).give_back(amount, until, now)
    assert again.held(now) == budget.held(now)
    assert again.reserved == tuple(slot for slot in budget.reserved if slot[0] > now)


@settings(max_examples=300)
@given(st.lists(st.tuples(small, times), max_size=12), times)
def test_what_is_held_is_kept_as_few_numbers_by_time(held: list[tuple[int, int]], now: int) -> None:
    """One number for each second at most, in order, none of them nothing, none of them over."""
    budget = Budget("usd", 100)
    for amount, until in held:
        budget = budget.reserve(amount, until, 0)
    budget = budget.reserve(1, now + 1, now)
    ends = [end for end, _ in budget.reserved]
    assert ends == sorted(set(ends))
    assert all(end % SECOND == 0 and end > now for end in ends)
    assert all(amount > 0 for _, amount in budget.reserved)
    assert len(ends) <= 7


@given(small, times, st.integers(0, 10 * SECOND))
def test_giving_back_too_much_or_too_late_takes_from_nobody(amount: int, until: int, now: int) -> None:
    """Held is never less than nothing."""
    budget = Budget("usd", 100).reserve(2, until, 0).give_back(amount, until, now)
    assert 0 <= budget.held(now) <= 2
    assert all(held > 0 for _, held in budget.reserved)


@pytest.mark.parametrize(
    ("until", "free_at"), [(1, 1000), (999, 1000), (1000, 1000), (1001, 2000), (1999, 2000), (2000, 2000)]
)
def test_an_amount_is_held_to_the_end_of_its_second(until: int, free_at: int) -> None:
    """Never shorter than the action lives, and less than a second longer."""
    budget = Budget("usd", 5).reserve(5, until, 0)
    assert (budget.left(free_at - 1), budget.left(free_at)) == (0, 5)


@given(st.lists(amounts, max_size=30))
def test_what_is_taken_only_grows_and_stays_a_whole_number_everywhere(taken: list[int]) -> None:
    """A double counts it, whatever was told as used up."""
    budget = Budget("usd", 1)
    for amount in taken:
        after = budget.take(amount)
        assert after.taken >= budget.taken
        budget = after
    assert budget.taken == min(sum(taken), 4 * MAX_AMOUNT)
    assert budget.taken + 2 * MAX_AMOUNT < 2**53


def test_a_budget_is_asked_for_without_what_was_used() -> None:
    """What a repeated request must match is the name, the limit and what happens."""
    budget = Budget("usd", 5, Exhaustion.REFUSE)
    assert budget.take(1).reserve(2, 500, 0).asked == budget


budgets = st.lists(st.builds(Budget, st.sampled_from(["eur", "usd"]), small), max_size=6)


@given(budgets)
def test_the_least_of_a_name_is_left(some: list[Budget]) -> None:
    """Each name once, in order."""
    left = remaining(some, 0)
    assert list(left) == sorted({one.name for one in some})
    assert left == {name: min(one.limit for one in some if one.name == name) for name in left}


@given(budgets, budgets)
def test_a_budget_is_wider_than_the_least_above(asked: list[Budget], above: list[Budget]) -> None:
    """Where nobody above limits a name, anything may be asked for."""
    named = [
        one.name for one in asked if any(one.limit > other.limit for other in above if one.name == other.name)
    ]
    assert list(wider(asked, above)) == named


def test_an_action_costs_a_tool_call_unless_it_says_otherwise() -> None:
    """Any other cost is beside it."""
    assert charges(()) == {"tool_calls": 1}
    assert charges((("usd", 5),)) == {"tool_calls": 1, "usd": 5}
    assert charges((("tool_calls", 0),)) == {"tool_calls": 0}


def test_costs_and_budgets_have_one_spelling() -> None:
    """Costs by name; budgets in the order asked for."""
    costs = costs_of({"usd": 5, "eur": 1})
    assert costs == (("eur", 1), ("usd", 5))
    assert costs_text(costs) == "eur=1,usd=5"
    assert (
        budgets_text([Budget("usd", 5), Budget("eur", 1, Exhaustion.REFUSE)]) == "usd 5 CANCEL;eur 1 REFUSE"
    )


@pytest.mark.parametrize("name", ["usd", "tool_calls", "a", "llm.tokens-in_0", "a" * 64])
def test_ordinary_names_are_names(name: str) -> None:
    """Lower-case letters and digits with a few joints."""
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name", ["", "USD", "1usd", "_a", "a b", "a=b", "a;b", "a,b", "a:b", "a\n", "\u00e4", "a" * 65]
)
def test_a_name_forges_no_field(name: str) -> None:
    """None of the letters by which the stores keep amounts apart is in one."""
    assert name_fault(name)
