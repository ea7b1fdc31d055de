"""What a scope hands on: never more than it allows itself, by a definition that knows nothing of the code."""

import re
import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grant_service.core.scope import (
    DELIMITERS,
    Reversibility,
    Rule,
    Scope,
    action_covers,
    action_fault,
    action_matches,
    action_pattern_fault,
    resource_covers,
    resource_fault,
    resource_matches,
    resource_pattern_fault,
)
from tests.core.scope_cases import pattern_and_action, pattern_and_resource
from tests.core.test_scope_tricks import TRICKS

#: Every text of so many of these letters: two segments that differ, two delimiters, and a star.
LETTERS, PATTERN_LENGTH, RESOURCE_LENGTH = "ab/:", 4, 6


def texts(letters: str, longest: int) -> list[str]:
    """All texts of these letters."""
    return ["".join(some) for length in range(longest + 1) for some in product(letters, repeat=length)]


def meaning(pattern: str) -> re.Pattern[str]:
    """What a resource pattern means, as a regular expression: a second way to say it."""
    if pattern == "*":
        return re.compile(r".*", re.DOTALL)
    segment = f"[^{re.escape(DELIMITERS)}]+"
    body = "".join(segment if letter == "*" else re.escape(letter) for letter in pattern.removesuffix("*"))
    return re.compile(body + (".+" if pattern.endswith("*") else ""), re.DOTALL)


PATTERNS = [text for text in texts(LETTERS + "*", PATTERN_LENGTH) if resource_pattern_fault(text) is None]
RESOURCES = [text for text in texts(LETTERS, RESOURCE_LENGTH) if resource_fault(text) is None]


def meant(pattern: str) -> int:
    """The resources a pattern means, as the bits of one number."""
    means = meaning(pattern).fullmatch
    return sum(1 << at for at, text in enumerate(RESOURCES) if means(text))


@pytest.fixture(scope="module")
def every_meaning() -> dict[str, int]:
    """What each pattern means; it takes too long for everyone who only imports this file."""
    return {pattern: meant(pattern) for pattern in PATTERNS}


def test_there_are_enough_short_patterns(every_meaning: dict[str, int]) -> None:
    """The two tests below try what they seem to."""
    assert len(PATTERNS) > 200
    assert len(RESOURCES) > 1000
    assert sum(map(bool, every_meaning.values())) == len(PATTERNS)


def test_a_pattern_matches_what_it_means(every_meaning: dict[str, int]) -> None:
    """On every short pattern and resource the matcher and the regular expression agree."""
    for pattern, wanted in every_meaning.items():
        matched = sum(1 << at for at, text in enumerate(RESOURCES) if resource_matches(pattern, text))
        assert matched == wanted, pattern


def test_a_pattern_covers_exactly_those_that_mean_no_more(every_meaning: dict[str, int]) -> None:
    """On all pairs of short patterns: it covers another if and only if it matches all that one matches."""
    for wide, narrow in product(PATTERNS, repeat=2):
        means_no_more = not every_meaning[narrow] & ~every_meaning[wide]
        assert resource_covers(wide, narrow) == means_no_more, (wide, narrow)


NAMES = [".".join(some) for length in (1, 2, 3) for some in product(["a", "ab", "b"], repeat=length)]
ACTION_PATTERNS = ["*", *NAMES, *(f"{name}.*" for name in NAMES)]


def below(pattern: str, name: str) -> bool:
    """What an action pattern means, said in segments."""
    wanted, found = pattern.split("."), name.split(".")
    if wanted[-1] != "*":
        return wanted == found
    return len(found) >= len(wanted) and found[: len(wanted) - 1] == wanted[:-1]


def test_an_action_pattern_matches_what_it_means() -> None:
    """On every short pattern and name the matcher and the definition in segments agree."""
    for pattern, name in product(ACTION_PATTERNS, NAMES):
        assert action_matches(pattern, name) == below(pattern, name), (pattern, name)


def test_an_action_pattern_covers_exactly_those_that_mean_no_more() -> None:
    """On all pairs of short patterns, with names one segment longer than any of them as witnesses."""
    names = [*NAMES, *(f"{name}.{end}" for name in NAMES for end in ("a", "x"))]
    for wide, narrow in product(ACTION_PATTERNS, repeat=2):
        means_no_more = all(below(wide, name) for name in names if below(narrow, name))
        assert action_covers(wide, narrow) == means_no_more, (wide, narrow)


@settings(max_examples=1000)
@given(pattern_and_resource(), pattern_and_resource())
def test_what_the_narrow_pattern_matches_the_wide_one_does(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """For long and strange patterns too: nothing gets through the covered one that the cover refuses."""
    (wide, first), (narrow, second) = one, other
    for pattern in (narrow, first, second):
        if resource_pattern_fault(pattern) is None and resource_covers(wide, pattern):
            for resource in (first, second):
                if resource_fault(resource) is None and resource_matches(pattern, resource):
                    assert resource_matches(wide, resource)


@settings(max_examples=500)
@given(pattern_and_resource(), pattern_and_action())
def test_a_name_is_covered_if_it_is_matched(resources: tuple[str, str], actions: tuple[str, str]) -> None:
    """A text without a star means itself alone, so covering it and matching it are one."""
    pattern, resource = resources
    if resource and "*" not in resource and resource_pattern_fault(resource) is None:
        assert resource_covers(pattern, resource) == resource_matches(pattern, resource)
    assert action_covers(*actions) == action_matches(*actions)


@settings(max_examples=500)
@given(pattern_and_resource(), pattern_and_action())
def test_every_pattern_covers_itself_and_is_covered_by_the_star(
    resources: tuple[str, str], actions: tuple[str, str]
) -> None:
    """A grant can be handed on as it is."""
    assert resource_covers(resources[0], resources[0])
    assert resource_covers("*", resources[0])
    assert action_covers(actions[0], actions[0])
    assert action_covers("*", actions[0])


STARLESS = {name: pair for name, pair in TRICKS.items() if "*" not in pair[1]}


@pytest.mark.parametrize(("pattern", "trick"), STARLESS.values(), ids=STARLESS.keys())
def test_a_trick_is_not_handed_on(pattern: str, trick: str) -> None:
    """What only looks covered, or is written in a second way, is no pattern at all or is not covered."""
    assert resource_pattern_fault(trick) or not resource_covers(pattern, trick)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("db/*/read", "db/*"),
        ("db/*/read", "*"),
        ("db/*/*", "db/*"),
        ("db/*", "*"),
        ("db/*", "db*"),
        ("db/*", "*/db"),
        ("db/a", "db/*"),
        ("*/*", "*"),
        ("*:*", "*/*"),
        ("*@example.com", "*"),
        ("mailto:*@example.com", "mailto:*"),
        ("mailto:*@example.com", "mailto:*@*"),
        ("https://example.com/*", "https://*"),
        ("https://example.com/*/read", "https://example.com/*"),
    ],
)
def test_a_star_stands_for_no_more_below_than_above(wide: str, narrow: str) -> None:
    """One segment does not become any number of them, nor a name a star."""
    assert resource_pattern_fault(narrow) or not resource_covers(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("email.*", "*"),
        ("email.*", "email"),
        ("email.*", "emails.*"),
        ("email.send", "email.*"),
        ("email.send", "email.send.*"),
        ("email.send", "email.sends"),
        ("email.send.*", "email.*"),
        ("email.send.*", "email.send"),
        ("e.*", "email.*"),
        ("email.*", "EMAIL.*"),
        ("email.*", "email..*"),
        ("email.*", "em\u0430il.*"),
        ("email.*", "email%2esend"),
    ],
)
def test_an_action_that_only_begins_alike_is_not_handed_on(wide: str, narrow: str) -> None:
    """A prefix of the text is no prefix of the name, and a second spelling is no pattern."""
    assert action_pattern_fault(narrow) or not action_covers(wide, narrow)


def test_covering_is_one_walk() -> None:
    """A megabyte of stars costs no more than reading it."""
    wide, narrow = "*/" * 250_000 + "*", "a/" * 250_000 + "*"
    began = time.process_time()
    assert resource_covers(wide, narrow)
    assert not resource_covers(wide, narrow[:-2])
    assert not resource_covers("*/" * 250_000 + "b", wide)
    assert time.process_time() - began < 2


classes = st.sampled_from(Reversibility)
actions = st.sampled_from(["*", "a", "a.*", "a.b", "a.b.*", "b.*"])
resources = st.sampled_from(["*", "x", "x/*", "x/*/y", "x/z/y", "*:*", "*/*"])
scopes = st.builds(Scope, actions, resources, st.integers(0, 3), classes, st.none() | classes)
CALLS = list(
    product(["a", "a.b", "a.b.a", "b.a"], ["", "x", "x/z", "x/z/y", "x/z/y/y", "q:r"], list(Reversibility))
)


@settings(max_examples=500)
@given(scopes, scopes)
def test_what_is_handed_on_allows_nothing_the_scope_above_forbids(wide: Scope, asked: Scope) -> None:
    """For every call and any number of uses; nor more than was asked for, with fewer people to agree."""
    narrow = wide.narrowed(asked)
    if isinstance(narrow, Rule):
        return
    assert (narrow.action, narrow.resource) == (asked.action, asked.resource)
    for action, resource, reversibility in CALLS:
        for used in range(4):
            if narrow.forbids(action, resource, reversibility, used) is None:
                assert wide.forbids(action, resource, reversibility, used) is None
                assert asked.forbids(action, resource, reversibility, used) is None
        demanded = wide.demands_approval(reversibility) or asked.demands_approval(reversibility)
        assert narrow.demands_approval(reversibility) == demanded


@settings(max_examples=500)
@given(scopes, scopes)
def test_a_refused_narrowing_names_what_is_more(wide: Scope, asked: Scope) -> None:
    """The first of action, resource and uses that is more than there is; ceilings and people never refuse."""
    more = [
        rule
        for rule, is_more in [
            (Rule.ACTION, not action_covers(wide.action, asked.action)),
            (Rule.RESOURCE, not resource_covers(wide.resource, asked.resource)),
            (Rule.USES, 0 < wide.max_uses < asked.max_uses),
        ]
        if is_more
    ]
    narrow = wide.narrowed(asked)
    assert (narrow if isinstance(narrow, Rule) else None) == (more[0] if more else None)


@settings(max_examples=500)
@given(scopes, scopes, scopes)
def test_narrowing_twice_is_narrowing_once(first: Scope, second: Scope, third: Scope) -> None:
    """What comes through two hands comes through one; what came through can be handed on as it is."""
    once = first.narrowed(second)
    if isinstance(once, Rule):
        return
    assert first.narrowed(once) == once == once.narrowed(once)
    twice = once.narrowed(third)
    if isinstance(twice, Scope):
        assert first.narrowed(twice) == twice


def test_every_short_name_used_here_is_a_name() -> None:
    """The definitions above are about what the doors let in."""
    assert all(action_fault(name) is None for name in NAMES)
    assert all(action_pattern_fault(pattern) is None for pattern in ACTION_PATTERNS)
