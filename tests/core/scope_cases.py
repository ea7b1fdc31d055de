"""Patterns with names that match them, or almost do: for the matcher in Python and for the one in Lua."""

from hypothesis import strategies as st

from grant_service.core.scope import DELIMITERS

WORD = st.text("ab%2", min_size=1, max_size=3)
DELIMITER = st.sampled_from(DELIMITERS)


@st.composite
def pattern_and_resource(draw: st.DrawFn) -> tuple[str, str]:
    """A valid pattern, and a resource that often almost matches it: each * filled in, then one edit."""
    parts = draw(st.lists(st.sampled_from(["*", "*", "word"]), min_size=1, max_size=5))
    pattern = resource = ""
    for index, part in enumerate(parts):
        joint = draw(DELIMITER) if index else draw(st.sampled_from(["", "", "/"]))
        word = draw(WORD)
        pattern += joint + ("*" if part == "*" else word)
        resource += joint + draw(st.sampled_from([word, word, word, ""]))
    tail = draw(st.sampled_from(["", "", "/", "/a", "b", ",a@b"]))
    edit = draw(st.sampled_from(["none", "drop", "insert", "replace", "upper"]))
    at = draw(st.integers(0, len(resource)))
    letter = draw(st.sampled_from("abA/:@,"))
    resource = {
        "none": resource,
        "drop": resource[:at] + resource[at + 1 :],
        "insert": resource[:at] + letter + resource[at:],
        "replace": resource[:at] + letter + resource[at + 1 :],
        "upper": resource.upper(),
    }[edit]
    return pattern, draw(st.sampled_from([resource, resource, resource + tail, ""]))


@st.composite
def pattern_and_action(draw: st.DrawFn) -> tuple[str, str]:
    """A valid action pattern, and an action that shares a beginning with it."""
    words = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=4)
    wanted = draw(words)
    found = draw(st.sampled_from([wanted, wanted[:-1] or wanted])) + draw(st.one_of(st.just([]), words))
    ending = draw(st.sampled_from(["", ".*"]))
    pattern = draw(st.sampled_from([".".join(wanted) + ending, "*"]))
    return pattern, ".".join(found)
