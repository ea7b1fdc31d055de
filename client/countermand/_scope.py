"""What a grant allows, as its issuer writes it. Whether a pattern is valid is for the sidecar to say."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from countermand._errors import InvalidRequest
from countermand._words import Reversibility

_OPTION = re.compile(r"(uses|ceiling|approval)=(\S+)")
_GRAMMAR = "ACTION [RESOURCE] [uses=N] [ceiling=CLASS] [approval=CLASS]"


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing a grant allows.

    `action` is an action (`email.send`), all below a name (`email.*`), or all (`*`). In `resource` a `*`
    stands for one whole segment, and at the end for all that follows. `max_uses` 0 is any number of commits;
    `ceiling` is the least reversible class of effects it allows, UNSPECIFIED any. From the class
    `approval_from` on, a person has to agree to each: IRREVERSIBLE is those alone, UNSPECIFIED none.
    """

    action: str
    resource: str = "*"
    max_uses: int = 0
    ceiling: Reversibility = Reversibility.UNSPECIFIED
    approval_from: Reversibility = Reversibility.UNSPECIFIED

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form, such as `email.send mailto:*@example.com uses=3 approval=irreversible`."""
        action, *words = text.split() or [""]
        resource = words.pop(0) if words and not _OPTION.fullmatch(words[0]) else "*"
        options = {match[1]: match[2] for word in words if (match := _OPTION.fullmatch(word))}
        if not action or len(options) != len(words):
            raise _refused(text, f"must read {_GRAMMAR}")
        classes = (_class(text, options, "ceiling"), _class(text, options, "approval"))
        return cls(action, resource, _uses(text, options), *classes)

    def __str__(self) -> str:
        """Write the text form."""
        uses = f" uses={self.max_uses}" if self.max_uses else ""
        classes = {"ceiling": self.ceiling, "approval": self.approval_from}
        said = [f" {name}={one.lower()}" for name, one in classes.items() if one != Reversibility.UNSPECIFIED]
        return f"{self.action} {self.resource}{uses}{''.join(said)}"


def _uses(text: str, options: dict[str, str]) -> int:
    uses = options.get("uses", "0")
    if not re.fullmatch("[0-9]{1,9}", uses):
        raise _refused(text, "must have a number in uses=N")
    return int(uses)


def _class(text: str, options: dict[str, str], option: str) -> Reversibility:
    name = options.get(option, "unspecified").upper().replace("-", "_")
    if name not in Reversibility.__members__:
        classes = ", ".join(member.lower() for member in Reversibility if member != "UNSPECIFIED")
        raise _refused(text, f"must have one of {classes} in {option}=CLASS")
    return Reversibility(name)


def scopes_of(scopes: Iterable[Scope | str]) -> tuple[Scope, ...]:
    """Read a mix of scopes and texts."""
    if isinstance(scopes, str):
        raise _refused(scopes, "must come in a list, even if there is only one")
    return tuple(Scope.parse(scope) if isinstance(scope, str) else scope for scope in scopes)


def _refused(text: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"a scope {rule}; not {text!r}", metadata={"field": "scopes", "rule": rule})
