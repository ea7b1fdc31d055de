"""Matching patterns: held against a second matcher that is slow, obvious and written on its own."""

import fnmatch
import re
import sys
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import Phase, find, given, settings

from grant_service.core import scope
from grant_service.core.scope import DELIMITERS, action_matches, resource_matches
from tests.core.scope_cases import pattern_and_action, pattern_and_resource

Matcher = Callable[[str, str], bool]

#: For looking for one example, which nobody needs in its shortest form.
# The same draws each time: whether a mistake is found must not depend on the day.
QUICK = settings(max_examples=20_000, database=None, phases=[Phase.generate], derandomize=True)


def naive_resource(pattern: str, resource: str) -> bool:
    """A lone * is everything; otherwise try every way to read the pattern."""
    return pattern == "*" or _reads(pattern, resource)


def _reads(pattern: str, resource: str) -> bool:
    """Letter by letter; a * is one whole segment, or all the rest if it comes last."""
    if not pattern:
        return not resource
    first, rest = pattern[0], pattern[1:]
    if first != "*":
        return resource[:1] == first and _reads(rest, resource[1:])
    if not rest:
        return resource != ""
    lengths = range(1, len(resource) + 1)
    return any(not set(resource[:n]) & set(DELIMITERS) and _reads(rest, resource[n:]) for n in lengths)


def naive_action(pattern: str, action: str) -> bool:
    """Compare name by name; a * at the end is one or more further names."""
    wanted, found = pattern.split("."), action.split(".")
    if wanted == ["*"]:
        return True
    if wanted[-1] == "*":
        return found[: len(wanted) - 1] == wanted[:-1] and len(found) >= len(wanted)
    return found == wanted


@settings(max_examples=1000)
@given(pattern_and_resource())
def test_resources_match_as_the_naive_matcher_says(case: tuple[str, str]) -> None:
    """One walk over both texts answers what trying everything answers."""
    assert resource_matches(*case) == naive_resource(*case)


@settings(max_examples=500)
@given(pattern_and_action())
def test_actions_match_as_the_naive_matcher_says(case: tuple[str, str]) -> None:
    """Comparing text answers what comparing name by name answers."""
    assert action_matches(*case) == naive_action(*case)


def _differs(case: tuple[str, str], wrong: Matcher, right: Matcher) -> bool:
    return wrong(*case) != right(*case)


def _prefix_is_enough(pattern: str, resource: str) -> bool:
    return any(resource_matches(pattern, resource[:n]) for n in range(len(resource) + 1))


def _star_crosses_delimiters(pattern: str, resource: str) -> bool:
    return fnmatch.fnmatchcase(resource, pattern)


def _last_star_is_one_segment(pattern: str, resource: str) -> bool:
    matched = resource_matches(pattern, resource)
    rest = resource[pattern.rfind("*") :] if pattern.endswith("*") and pattern.count("*") == 1 else ""
    return matched and not set(rest) & set(DELIMITERS)


def _star_may_be_nothing(pattern: str, resource: str) -> bool:
    ends = [".*" if part == "*" else re.escape(part) for part in re.split("([*])", pattern)]
    parts = [f"[^{DELIMITERS}]*" if end == ".*" and n < len(ends) - 2 else end for n, end in enumerate(ends)]
    return re.fullmatch("".join(parts), resource) is not None


WRONG_MATCHERS: list[Matcher] = [
    _star_may_be_nothing,
    _prefix_is_enough,
    _star_crosses_delimiters,
    _last_star_is_one_segment,
    lambda pattern, resource: resource_matches(pattern.lower(), resource.lower()),
    lambda pattern, resource: resource_matches(pattern, resource.rstrip("/")),
    lambda pattern, resource: pattern != "*" and resource_matches(pattern, resource),
    lambda pattern, resource: pattern.endswith("*") or resource_matches(pattern, resource),
]


@pytest.mark.parametrize("wrong", WRONG_MATCHERS)
def test_the_comparison_catches_a_wrong_matcher(wrong: Matcher) -> None:
    """Negative control: the cases drawn above tell each of these mistakes from the real thing."""
    find(
        pattern_and_resource(),
        partial(_differs, wrong=wrong, right=naive_resource),
        settings=QUICK,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        lambda pattern, action: action.startswith(pattern.removesuffix("*")),
        lambda pattern, action: action.startswith(pattern.removesuffix(".*")),
        lambda pattern, action: action_matches(pattern, action) or pattern == f"{action}.*",
    ],
)
def test_the_comparison_catches_a_wrong_action_matcher(wrong: Matcher) -> None:
    """Negative control: a prefix of letters is not a prefix of names."""
    find(pattern_and_action(), partial(_differs, wrong=wrong, right=naive_action), settings=QUICK)


def test_the_comparison_is_not_trivial() -> None:
    """The cases drawn above hold both matches and near misses of patterns with two stars."""
    for wanted in (True, False):
        find(
            pattern_and_resource(),
            lambda case, wanted=wanted: (
                case[0].count("*") >= 2 and len(case[1]) > 4 and resource_matches(*case) is wanted
            ),
            settings=QUICK,
        )


def steps(matcher: Matcher, pattern: str, resource: str) -> int:
    """Count the lines of scope.py that run: a cost that does not depend on the machine's load."""
    count = 0

    def trace(frame, event, _):  # type: ignore[no-untyped-def]
        nonlocal count
        if frame.f_code.co_filename != scope.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        matcher(pattern, resource)
    finally:
        sys.settrace(before)
    return count


ADVERSARIAL: list[Callable[[int], tuple[str, str]]] = [
    lambda n: ("*/" * n + "b", "a/" * n + "c"),
    lambda n: ("*/" * n + "*", "a/" * n),
    lambda n: ("*/*", "a" * n),
    lambda n: ("*,*", "a" * n + ","),
    lambda n: ("a/" * n + "*", "a/" * n + "a" * n),
    lambda n: ("a" * n, "a" * n + "b"),
    lambda n: ("*/a" * n, "aa/a" * n),
]


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_matching_takes_linear_time(case: Callable[[int], tuple[str, str]]) -> None:
    """Twice the text costs at most twice the steps, whatever the pattern."""
    small, large = steps(resource_matches, *case(400)), steps(resource_matches, *case(800))
    assert small > 0
    assert large <= 2.1 * small + 20


def test_the_step_count_sees_a_slow_matcher() -> None:
    """Negative control: trying every split of the text takes more than twice the steps."""

    def slow(pattern: str, resource: str) -> bool:
        return any(resource_matches(pattern, resource[:n]) for n in range(len(resource)))

    assert steps(slow, *ADVERSARIAL[0](80)) > 3 * steps(slow, *ADVERSARIAL[0](40))
