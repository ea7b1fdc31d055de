"""Attacks on scope matching: a second spelling of a name, or a name that reads as another, is refused."""

import time
from itertools import product
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grant_service.core.scope import (
    DELIMITERS,
    MAX_ACTION,
    MAX_RESOURCE,
    MAX_SCOPES,
    Reversibility,
    Rule,
    Scope,
    action_fault,
    action_matches,
    action_pattern_fault,
    choose,
    resource_fault,
    resource_matches,
    resource_pattern_fault,
)

IRREVERSIBLE = Reversibility.IRREVERSIBLE


def allows(pattern: str, resource: str) -> bool:
    """What a request goes through: the pattern at issue, the resource at prepare, then the comparison."""
    assert resource_pattern_fault(pattern) is None
    return resource_fault(resource) is None and resource_matches(pattern, resource)


@pytest.mark.parametrize(
    ("pattern", "resource"),
    [
        ("*", ""),
        ("*", "mailto:team@example.com"),
        ("mailto:*@example.com", "mailto:team@example.com"),
        ("mailto:*@example.com", "mailto:first.last+tag@example.com"),
        ("mailto:*", "mailto:a@example.com,b@example.org"),
        ("https://example.com/*", "https://example.com/a/b?q=c%20d#e"),
        ("https://example.com/*/read", "https://example.com/%C3%A9/read"),
        ("https://git@example.com:*/x", "https://git@example.com:8443/x"),
        ("file:///etc/*", "file:///etc/hosts"),
        ("db:orders/*", "db:orders/2024-11"),
        ("a..b/...", "a..b/..."),
    ],
)
def test_what_a_pattern_is_for_is_allowed(pattern: str, resource: str) -> None:
    """The ordinary use of each form works, so that the refusals below mean something."""
    assert allows(pattern, resource)


TRICKS = {
    "prefix of a name": ("https://example.com/a", "https://example.com/ab"),
    "name is a prefix": ("https://example.com/ab", "https://example.com/a"),
    "host as a prefix": ("https://example.com/*", "https://example.com.evil.org/x"),
    "host with a dot at its end": ("https://example.com/*", "https://example.com./x"),
    "upper-case path": ("https://example.com/a", "https://example.com/A"),
    "upper-case host": ("https://example.com/*", "https://EXAMPLE.com/x"),
    "upper-case scheme": ("https://example.com/*", "HTTPS://example.com/x"),
    "another scheme": ("https://example.com/*", "http://example.com/x"),
    "another port": ("https://example.com/*", "https://example.com:81/x"),
    "escaped dots, upper": ("https://example.com/a/*", "https://example.com/a/%2E%2E/b"),
    "escaped dots, lower": ("https://example.com/a/*", "https://example.com/a/%2e%2e/b"),
    "twice escaped dots": ("https://example.com/a/*", "https://example.com/a/%252e%252e/b"),
    "escaped letter": ("https://example.com/*", "https://example.com/%61"),
    "escaped slash": ("https://example.com/*/read", "https://example.com/a%2Fb/read"),
    "escaped slash, lower": ("https://example.com/*/read", "https://example.com/a%2fb/read"),
    "escaped backslash": ("https://example.com/*/read", "https://example.com/a%5Cb/read"),
    "escaped question mark": ("https://example.com/*/read", "https://example.com/a%3Fb/read"),
    "escaped zero byte": ("file:///tmp/*", "file:///tmp/a%00.txt"),
    "escaped line break": ("mailto:*@example.com", "mailto:a%0D%0Abcc:b@example.com"),
    "broken escape": ("https://example.com/*", "https://example.com/%"),
    "half an escape": ("https://example.com/*", "https://example.com/%2"),
    "not hexadecimal": ("https://example.com/*", "https://example.com/%G0"),
    "homoglyph": ("https://example.com/*", "https://ex\u0430mple.com/x"),
    "full-width letters": ("email/*", "email/\uff41"),
    "invisible letter": ("https://example.com/*", "https://example.com/a\u200b"),
    "accent composed elsewhere": ("user/*", "user/e\u0301"),
    "right-to-left override": ("file/*", "file/\u202etxt.exe"),
    "trailing slash": ("https://example.com/a", "https://example.com/a/"),
    "nothing below": ("https://example.com/a/*", "https://example.com/a/"),
    "the thing itself is not below it": ("https://example.com/a/*", "https://example.com/a"),
    "dot segments": ("https://example.com/a/*", "https://example.com/a/../b"),
    "dot segment at the end": ("https://example.com/a/*", "https://example.com/a/.."),
    "single dot": ("https://example.com/a/*", "https://example.com/a/./b"),
    "dots before a colon": ("file/a/*", "file/a/..:b"),
    "dots before a semicolon": ("https://example.com/a/*", "https://example.com/a/..;x/b"),
    "dots before a query": ("https://example.com/a/*", "https://example.com/a/..?x"),
    "dots at the start": ("*", "../b"),
    "double slash": ("https://example.com/a/*", "https://example.com/a//b"),
    "double slash later": ("s3/*", "s3/x://b"),
    "three slashes": ("https://example.com/*", "https:////example.com/x"),
    "backslash": ("https://example.com/*", "https://example.com/\\evil.org"),
    "backslash as a separator": ("file/a/*", "file/a/..\\b"),
    "user name that looks like the host": ("https://example.com/*", "https://example.com@evil.org/x"),
    "password that looks like the port": ("https://example.com:*", "https://example.com:443@evil.org/x"),
    "user name": ("https://example.com/*", "https://me@example.com/x"),
    "second recipient after": ("mailto:*@example.com", "mailto:a@example.com,b@evil.org"),
    "second recipient before": ("mailto:*@example.com", "mailto:b@evil.org,a@example.com"),
    "second recipient, semicolon": ("mailto:*@example.com", "mailto:b@evil.org;a@example.com"),
    "second recipient, escaped": ("mailto:*@example.com", "mailto:b%40evil.org%2Ca@example.com"),
    "second recipient, space": ("mailto:*@example.com", "mailto:b@evil.org a@example.com"),
    "copy to another": ("mailto:*@example.com", "mailto:a@example.com?cc=b@evil.org"),
    "copy to another, first": ("mailto:*@example.com", "mailto:?to=b@evil.org&cc=a@example.com"),
    "empty local part": ("mailto:*@example.com", "mailto:@example.com"),
    "domain as a suffix": ("mailto:*@example.com", "mailto:a@evil-example.com"),
    "domain as a prefix": ("mailto:*@example.com", "mailto:a@example.com.evil.org"),
    "segment that is none": ("db/*/read", "db//read"),
    "segment that is two": ("db/*/read", "db/a/b/read"),
    "segment in another place": ("db/*/read", "db/a/read/x"),
    "star as a name": ("db/*", "db/*"),
    "star in a name": ("db/*", "db/a*"),
    "star at once": ("*", "*"),
    "line break": ("db/*", "db/a\n"),
    "tab": ("db/*", "db/a\tb"),
    "space": ("db/*", "db/a b"),
    "zero byte": ("db/*", "db/a\x00"),
    "delete": ("db/*", "db/a\x7f"),
    "empty": ("db/*", ""),
    "a megabyte": ("db/*", "db/" + "a" * 1_000_000),
}


@pytest.mark.parametrize(("pattern", "resource"), TRICKS.values(), ids=TRICKS.keys())
def test_a_trick_is_refused(pattern: str, resource: str) -> None:
    """A resource that only looks allowed, or is written in a second way, is not allowed."""
    assert not allows(pattern, resource)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "**",
        "a*",
        "*a",
        "a/b*",
        "a/*b/c",
        "mailto:*.com",
        "mailto:a*@example.com",
        "https://*.example.com/x",
        "https://example.com/%2e%2e/*",
        "https://example.com/../*",
        "https://example.com/a//*",
        "https://me:secret@example.com/*",
        "a\\*",
        "caf\u00e9/*",
        "a b/*",
        "*\n",
        "a" * (MAX_RESOURCE + 1),
        "*/" * 500_000,
        "a" * 1_000_000,
    ],
)
def test_a_pattern_that_says_less_than_it_seems_is_refused(pattern: str) -> None:
    """A star inside a word, or a pattern nothing canonical can match, is an error at issue."""
    assert resource_pattern_fault(pattern)


@pytest.mark.parametrize(
    ("pattern", "action"),
    [
        ("email.send", "email.sends"),
        ("email.send", "email"),
        ("email.*", "email"),
        ("email.*", "emails.send"),
        ("email.*", "emailsend"),
        ("email.send.*", "email.send"),
        ("e.*", "email.send"),
    ],
)
def test_an_action_that_only_begins_alike_is_refused(pattern: str, action: str) -> None:
    """An action pattern covers whole names."""
    assert action_pattern_fault(pattern) is None
    assert action_fault(action) is None
    assert not action_matches(pattern, action)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "Email.send",
        "email.Send",
        "email..send",
        ".email",
        "email.",
        "email send",
        "email/send",
        "email%2esend",
        "email.send\n",
        "\nemail.send",
        "em\u0430il.send",
        "email.\uff53end",
        "email.s\u0131nd",
        "-a",
        "_a",
        "a.-b",
        "a" * (MAX_ACTION + 1),
        "a." * 500_000 + "a",
    ],
)
def test_an_action_has_one_spelling(name: str) -> None:
    """An action is lower-case segments and nothing else, in names and in patterns."""
    assert action_fault(name)
    assert action_pattern_fault(name)
    assert action_pattern_fault(f"{name}.*")


@pytest.mark.parametrize(
    "pattern", [".*", "*.*", "email.*.*", "*.send", "email.*.send", "email*", "**", "*."]
)
def test_an_action_pattern_ends_in_its_only_star(pattern: str) -> None:
    """A star anywhere else is refused at issue."""
    assert action_pattern_fault(pattern)


@pytest.mark.parametrize("name", ["a", "email.send", "a-b_c.d0", "0", "a" * MAX_ACTION])
def test_ordinary_actions_are_names_and_patterns(name: str) -> None:
    """A name is a pattern that covers itself alone."""
    assert action_fault(name) is None
    assert action_pattern_fault(name) is None
    assert action_matches(name, name)


def test_the_longest_texts_are_accepted_and_one_more_letter_is_not() -> None:
    """The limits are the documented ones."""
    assert resource_fault("a" * MAX_RESOURCE) is None
    assert resource_fault("a" * (MAX_RESOURCE + 1))
    assert resource_pattern_fault("a" * (MAX_RESOURCE - 2) + "/*") is None
    assert resource_pattern_fault("a" * (MAX_RESOURCE - 1) + "/*")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "%" * 1_000_000,
        "a:" * 500_000,
        "*/" * 500_000,
        "../" * 300_000,
        "http://" + ":" * 1_000_000,
        "a." * 500_000,
    ],
)
def test_a_megabyte_is_refused_at_once(text: str) -> None:
    """Size is asked first, so hostile text costs no more than reading its length."""
    began = time.process_time()
    assert resource_fault(text)
    assert resource_pattern_fault(text)
    assert action_fault(text)
    assert action_pattern_fault(text)
    assert time.process_time() - began < 0.2


PARTS = st.sampled_from(
    [*DELIMITERS, "..", ".", "%2E", "%2C", "%20", "%25", "2e", "\\", "*", "a", "B", " ", "\u00e9"]
)


@settings(max_examples=1000)
@given(st.lists(PARTS | st.characters(), max_size=8).map("".join))
def test_decoding_a_canonical_resource_moves_no_boundary(resource: str) -> None:
    """A tool that decodes percent-escapes before it splits finds the segments the matcher found."""
    if resource_fault(resource):
        return
    decoded = unquote(resource, encoding="latin-1")
    assert [c for c in decoded if c in DELIMITERS] == [c for c in resource if c in DELIMITERS]
    assert "\\" not in decoded
    assert unquote(decoded, encoding="latin-1") == decoded or "%" in decoded
    assert not {"", ".", ".."} & set(decoded.split("/")[1:-1]) or "://" in resource


@settings(max_examples=500)
@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_gets_an_answer(pattern: str, text: str) -> None:
    """No text, however strange, makes a fault or a comparison raise."""
    for fault in (action_fault, action_pattern_fault, resource_fault, resource_pattern_fault):
        assert fault(text) is None or fault(text)
    assert action_matches(pattern, text) in (True, False)
    assert resource_matches(pattern, text) in (True, False)


@settings(max_examples=500)
@given(st.text(DELIMITERS + "ab.%2", max_size=12))
def test_a_canonical_resource_is_covered_by_itself(resource: str) -> None:
    """A pattern without a star covers the one resource it spells."""
    if resource and resource_fault(resource) is None:
        assert allows(resource, resource)
        assert not resource_matches(resource, resource + "a")


@pytest.mark.parametrize(("ceiling", "asked"), list(product(Reversibility, repeat=2)))
def test_a_ceiling_allows_what_is_easier_to_take_back(ceiling: Reversibility, asked: Reversibility) -> None:
    """READ_ONLY, REVERSIBLE, COMPENSABLE, IRREVERSIBLE: a scope allows up to its ceiling."""
    order = ["READ_ONLY", "REVERSIBLE", "COMPENSABLE", "IRREVERSIBLE"]
    forbidden = order.index(asked) > order.index(ceiling)
    rule = Scope("*", ceiling=ceiling).forbids("a", "", asked, 0)
    assert rule is (Rule.CEILING if forbidden else None)


def test_uses_forbid_only_when_they_are_limited_and_taken() -> None:
    """No maximum is any number; a maximum of two allows two."""
    assert Scope("*").forbids("a", "", IRREVERSIBLE, 10**9) is None
    assert Scope("*", max_uses=2).forbids("a", "", IRREVERSIBLE, 1) is None
    assert Scope("*", max_uses=2).forbids("a", "", IRREVERSIBLE, 2) is Rule.USES


def test_the_first_scope_that_allows_is_chosen() -> None:
    """Scopes are alternatives, asked in order; a later one stands in for one that is used up."""
    scopes = (Scope("b"), Scope("a", max_uses=1), Scope("a"))
    assert choose(scopes, (0, 0, 0), "a", "", IRREVERSIBLE) == 1
    assert choose(scopes, (0, 1, 0), "a", "", IRREVERSIBLE) == 2


def test_a_refusal_names_the_rule_of_the_scope_that_came_closest() -> None:
    """Who has a scope for the action but not for the resource is told about the resource."""
    scopes = (Scope("b"), Scope("a", "x/*"), Scope("a", "y/*", ceiling=Reversibility.READ_ONLY))
    assert choose(scopes, (0, 0, 0), "c", "", IRREVERSIBLE) is Rule.ACTION
    assert choose(scopes, (0, 0, 0), "a", "z/1", IRREVERSIBLE) is Rule.RESOURCE
    assert choose(scopes, (0, 0, 0), "a", "y/1", IRREVERSIBLE) is Rule.CEILING
    assert choose((), (), "a", "", IRREVERSIBLE) is Rule.ACTION
    used_up = tuple(Scope("a", max_uses=1) for _ in range(MAX_SCOPES))
    assert choose(used_up, (1,) * MAX_SCOPES, "a", "", IRREVERSIBLE) is Rule.USES
