"""Patterns with names that match them, or almost do: for the matcher in Python and for the one in Lua."""

from collections.abc import Sequence
from itertools import product

from hypothesis import strategies as st

from grant_service.core.scope import DELIMITERS


def evenly(parts: Sequence[str], longest: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Lists of these, each length as often as any other, in one draw: draws are what a case costs."""
    each = [list(product(parts, repeat=length)) for length in range(1, longest + 1)]
    return st.sampled_from([some for lists in each for some in lists * (len(each[-1]) // len(lists))])


# Made once and not in each draw, for the same reason.
WORD = evenly("ab%2", 3).map("".join)
PARTS = evenly(["*", "*", "word"], 5)
DELIMITER, FIRST = st.sampled_from(DELIMITERS), st.sampled_from(["", "", "/"])
KEPT = st.sampled_from([True, True, True, False])
TAIL = st.sampled_from(["", "", "/", "/a", "b", ",a@b"])
EDIT = st.sampled_from(["none", "drop", "insert", "replace", "upper"])
PLACE, LETTER = st.integers(0, 20), st.sampled_from("abA/:@,")
ENDS = st.sampled_from(["as it is", "as it is", "with a tail", "empty"])

WORDS = evenly(["a", "ab", "b"], 4)
EITHER = st.booleans()


@st.composite
def pattern_and_resource(draw: st.DrawFn) -> tuple[str, str]:
    """A valid pattern, and a resource that often almost matches it: each * filled in, then one edit."""
    pattern = resource = ""
    for index, part in enumerate(draw(PARTS)):
        joint = draw(DELIMITER if index else FIRST)
        word = draw(WORD)
        pattern += joint + ("*" if part == "*" else word)
        resource += joint + (word if draw(KEPT) else "")
    resource = _edited(resource, draw(EDIT), draw(PLACE) % (len(resource) + 1), draw(LETTER))
    tail = draw(TAIL)
    return pattern, {"as it is": resource, "with a tail": resource + tail, "empty": ""}[draw(ENDS)]


def _edited(resource: str, edit: str, at: int, letter: str) -> str:
    match edit:
        case "drop":
            return resource[:at] + resource[at + 1 :]
        case "insert":
            return resource[:at] + letter + resource[at:]
        case "replace":
            return resource[:at] + letter + resource[at + 1 :]
        case "upper":
            return resource.upper()
    return resource


@st.composite
def pattern_and_action(draw: st.DrawFn) -> tuple[str, str]:
    """A valid action pattern, and an action that shares a beginning with it."""
    wanted = draw(WORDS)
    found = (wanted if draw(EITHER) else wanted[:-1] or wanted) + (draw(WORDS) if draw(EITHER) else ())
    pattern = ".".join(wanted) + (".*" if draw(EITHER) else "")
    return pattern if draw(EITHER) else "*", ".".join(found)
