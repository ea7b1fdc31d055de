"""What a grant allows. A scope answers "do you forbid this?" and gives the rule; doubt forbids.

Names and patterns are compared byte for byte in a canonical ASCII form: what is not canonical is refused
before it is compared, so no second spelling of a name exists. Matching walks both texts once.
"""

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_ACTION = 128
MAX_RESOURCE = 512
MAX_SCOPES = 16

_SEGMENT = r"[a-z0-9][a-z0-9_-]*"
_ACTION = re.compile(rf"{_SEGMENT}(?:\.{_SEGMENT})*")
_PRINTABLE = re.compile(r"[\x21-\x7e]*")
_ESCAPE = re.compile(r"%([0-9A-F]{2})?")
_ESCAPED_ESCAPE = re.compile(r"%25[0-9A-Fa-f]{2}")
_SCHEME = re.compile(r"\A[a-z][a-z0-9+.-]*://")
_PASSWORD = re.compile(r"\A[a-z][a-z0-9+.-]*://[^/?#:]*:[^/?#]*@")

#: Characters that end a segment of a resource.
DELIMITERS = "/:@,;?#&="
_DOT_SEGMENT = re.compile(rf"(?:\A|[{DELIMITERS}])\.{{1,2}}(?:\Z|[{DELIMITERS}])")
_NEVER_ESCAPED = frozenset(f"{string.ascii_letters}{string.digits}-._~\\{DELIMITERS}")


class Reversibility(StrEnum):
    """What can be done about an effect afterwards, from easiest to hardest."""

    READ_ONLY = "READ_ONLY"
    REVERSIBLE = "REVERSIBLE"
    COMPENSABLE = "COMPENSABLE"
    IRREVERSIBLE = "IRREVERSIBLE"

    @property
    def rank(self) -> int:
        """Order the classes: a scope allows those up to its ceiling."""
        return _RANKS[self]


_RANKS = {member: rank for rank, member in enumerate(Reversibility)}

#: Why an effect of these classes cannot be undone.
NOT_UNDOABLE = {
    Reversibility.READ_ONLY: "there is nothing to undo",
    Reversibility.IRREVERSIBLE: "it is irreversible",
}

#: Why an effect cannot be undone whose permit, if there was one, the store may have lost.
PERMIT_MAY_BE_LOST = "nobody knows whether it happened: resolve it first"


class Rule(StrEnum):
    """The rule of a scope that forbids, in the order in which they are asked."""

    ACTION = "action"
    RESOURCE = "resource"
    CEILING = "ceiling"
    USES = "uses"


_RULES = tuple(Rule)


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing a grant allows. `max_uses` 0 is any number of commits.

    From the class `approval_from` on, a person has to agree to each; None is never.
    """

    action: str
    resource: str = "*"
    max_uses: int = 0
    ceiling: Reversibility = Reversibility.IRREVERSIBLE
    approval_from: Reversibility | None = None

    def forbids(self, action: str, resource: str, reversibility: Reversibility, used: int) -> Rule | None:
        """Name the first rule that forbids this, or None if the scope allows it."""
        if not action_matches(self.action, action):
            return Rule.ACTION
        if not resource_matches(self.resource, resource):
            return Rule.RESOURCE
        if reversibility.rank > self.ceiling.rank:
            return Rule.CEILING
        if self.max_uses and used >= self.max_uses:
            return Rule.USES
        return None

    def demands_approval(self, reversibility: Reversibility) -> bool:
        """Say whether a person has to agree first."""
        return self.approval_from is not None and reversibility.rank >= self.approval_from.rank

    def narrowed(self, asked: "Scope") -> "Scope | Rule":
        """Answer what of this scope may be handed on when `asked` is asked for, or the rule that forbids it.

        More of anything that is named is refused. Of the ceilings, and of what people have to agree to, the
        stricter holds.
        """
        if not action_covers(self.action, asked.action):
            return Rule.ACTION
        if not resource_covers(self.resource, asked.resource):
            return Rule.RESOURCE
        if self.max_uses and asked.max_uses > self.max_uses:
            return Rule.USES
        ceiling = min(self.ceiling, asked.ceiling, key=lambda one: one.rank)
        uses = asked.max_uses or self.max_uses
        return Scope(asked.action, asked.resource, uses, ceiling, asked.with_approval_of(self).approval_from)

    def with_approval_of(self, other: "Scope") -> "Scope":
        """Ask a person wherever the other scope would, too."""
        demands = [one for one in (self.approval_from, other.approval_from) if one]
        return replace(self, approval_from=min(demands, key=lambda one: one.rank, default=None))


def choose(
    scopes: tuple[Scope, ...], used: tuple[int, ...], action: str, resource: str, reversibility: Reversibility
) -> int | Rule:
    """Find the first scope that does not forbid this, or the rule of the scope that came closest."""
    closest = 0
    for index, scope in enumerate(scopes):
        rule = scope.forbids(action, resource, reversibility, used[index])
        if rule is None:
            return index
        closest = max(closest, _RULES.index(rule))
    return _RULES[closest]


def action_matches(pattern: str, action: str) -> bool:
    """Say whether a valid pattern covers a valid action name."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return action.startswith(pattern[:-1])
    return action == pattern


def resource_matches(pattern: str, resource: str) -> bool:
    """Say whether a valid pattern covers a canonical resource, in one walk over both."""
    if pattern == "*":
        return True
    at = 0
    for position, letter in enumerate(pattern):
        if letter == "*":
            if position == len(pattern) - 1:
                return at < len(resource)
            end = _segment_end(resource, at)
            if end == at:
                return False
            at = end
        elif resource[at : at + 1] == letter:
            at += 1
        else:
            return False
    return at == len(resource)


def action_covers(pattern: str, other: str) -> bool:
    """Say whether a valid pattern covers every action that another valid pattern covers."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return other.startswith(pattern[:-1])
    return other == pattern


def actions_meet(pattern: str, other: str) -> bool:
    """Say whether some action is covered by both of two valid patterns."""
    return action_covers(pattern, other) or action_covers(other, pattern)


def resource_covers(pattern: str, other: str) -> bool:
    """Say whether a valid pattern covers every resource that another valid pattern covers.

    One walk over both. A `*` in the middle covers a segment that is written out, or one `*` in the middle;
    only one at the end covers one at the end, which stands for any number of segments.
    """
    if pattern == "*":
        return True
    if other == "*":
        return False  # it covers the empty resource, which no other pattern does
    at = 0
    for position, letter in enumerate(pattern):
        if letter == "*":
            if position == len(pattern) - 1:
                return at < len(other)
            end = _segment_end(other, at)
            if end == at or (other[end - 1] == "*" and end == len(other)):
                return False
            at = end
        elif other[at : at + 1] == letter:
            at += 1
        else:
            return False
    return at == len(other)


def scopes_text(scopes: tuple[Scope, ...]) -> str:
    """Write scopes in the one way all stores keep them."""
    rows = [
        [one.action, one.resource, one.max_uses, one.ceiling.value, one.approval_from or ""] for one in scopes
    ]
    return json.dumps(rows, separators=(",", ":"))


def _segment_end(text: str, start: int) -> int:
    while start < len(text) and text[start] not in DELIMITERS:
        start += 1
    return start


def action_fault(name: str) -> str | None:
    """Say why this is no action name, or None if it is one."""
    if len(name) > MAX_ACTION:
        return f"must have at most {MAX_ACTION} characters"
    if not _ACTION.fullmatch(name):
        return "must be lower-case segments of a-z, 0-9, _ and -, joined by dots, such as email.send"
    return None


def action_pattern_fault(pattern: str) -> str | None:
    """Say why this is no action pattern, or None if it is one."""
    if pattern == "*":
        return None
    name = pattern.removesuffix(".*")
    if action_fault(name):
        return "must be an action (email.send), all below a name (email.*), or *"
    return None


def resource_fault(resource: str) -> str | None:
    """Say why this resource is not canonical, or None if it is."""
    if "*" in resource:
        return "must not hold a *; only patterns do"
    return next(_faults(resource), None)


def resource_pattern_fault(pattern: str) -> str | None:
    """Say why this is no resource pattern, or None if it is one."""
    if len(pattern) > MAX_RESOURCE:
        return f"must have at most {MAX_RESOURCE} characters"
    for position, letter in enumerate(pattern):
        if letter == "*" and not _stands_alone(pattern, position):
            return "must have each * as a whole segment, between delimiters (/ : @ , ; ? # & =) or the ends"
    return next(_faults(pattern.replace("*", "x")), None) if pattern else "must not be empty; use * for all"


def _stands_alone(pattern: str, position: int) -> bool:
    before = pattern[position - 1 : position]
    after = pattern[position + 1 : position + 2]
    return (not before or before in DELIMITERS) and (not after or after in DELIMITERS)


def _faults(text: str) -> Iterator[str]:
    if len(text) > MAX_RESOURCE:
        yield f"must have at most {MAX_RESOURCE} characters"
    if not _PRINTABLE.fullmatch(text):
        yield "must be printable ASCII without spaces; percent-encode anything else"
    if "\\" in text:
        yield "must not hold a backslash"
    if any(not _escape_is_canonical(match) for match in _ESCAPE.finditer(text)):
        yield f"must percent-encode in upper case, never controls, letters, digits, - . _ ~ \\ {DELIMITERS}"
    if _ESCAPED_ESCAPE.search(text):
        yield "must not percent-encode what is already percent-encoded"
    if "//" in _SCHEME.sub("", text):
        yield "must not hold // except after the scheme"
    if _PASSWORD.search(text):
        yield "must not hold a password (user:password@) before the host"
    if _DOT_SEGMENT.search(text):
        yield "must not hold . or .. as a segment"


def _escape_is_canonical(match: re.Match[str]) -> bool:
    """Allow an escape only where it cannot hide a letter, or a boundary a tool finds once it decodes."""
    if match.group(1) is None:
        return False
    letter = chr(int(match.group(1), 16))
    return letter not in _NEVER_ESCAPED and ord(letter) > 0x1F and ord(letter) != 0x7F
