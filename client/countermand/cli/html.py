"""HTML as data: a tree of nodes, written in one place where everything in it is escaped.

No text reaches a page by another way. Letters that nobody sees, and that could make a text look like another
one, are shown by their numbers; what is written is ASCII, so no encoding can change it.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

#: Controls, format characters (the overrides of direction above all), separators of lines, halves of a pair.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})

#: Format characters that whole scripts and emoji need.
_NEEDED = frozenset("\u200c\u200d")

_VOID = frozenset({"meta"})


@dataclass(frozen=True, slots=True)
class Node:
    """An element, with its attributes and what is in it."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple["Node | str", ...] = ()

    def __str__(self) -> str:
        """Write it."""
        told = "".join(f' {name}="{_escaped(value)}"' for name, value in self.attributes.items())
        if self.name in _VOID:
            return f"<{self.name}{told}>"
        return f"<{self.name}{told}>{''.join(map(self._inside, self.children))}</{self.name}>"

    def _inside(self, child: "Node | str") -> str:
        if isinstance(child, Node):
            return str(child)
        return _style(child) if self.name == "style" else _escaped(child)


def node(name: str, /, *children: Node | str, **attributes: str) -> Node:
    """Make an element without empty texts; `data_label` is the attribute data-label, `class_` is class."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    return Node(name, named, tuple(child for child in children if child != ""))


def said(text: str) -> Node | str:
    """Put a text of others, whose direction of writing must not turn what stands around it; '' stays ''."""
    return node("bdi", text) if text else ""


def document(page: Node) -> str:
    """Write a whole page."""
    return f"<!DOCTYPE html>\n{page}\n".encode("ascii", "xmlcharrefreplace").decode("ascii")


def visible(text: str) -> str:
    """Show what could not be seen."""
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    unseen = unicodedata.category(letter) in _UNSEEN and letter not in _NEEDED
    return f"[U+{ord(letter):04X}]" if unseen else letter


def _escaped(text: str) -> str:
    return escape(visible(text), quote=True)


def _style(text: str) -> str:
    """Take a style sheet of ours as it is: there nothing is escaped, so nothing may end it."""
    if "</" in text or not text.isascii():
        raise ValueError("a style sheet must not hold an end tag, nor letters beyond ASCII")
    return text


def table(header: Iterable[str], rows: Iterable[Iterable[Node | str]], label: str, keep: int = 2) -> Node:
    """Make a table; columns that are empty in all rows are left out, except the first `keep`.

    The first cell of a row names it. A narrow screen shows a block for each row, in which each cell has its
    heading; the roles say that it is still a table.
    """
    heads, lines = list(header), [list(row) for row in rows]
    used = [at for at in range(len(heads)) if at < keep or any(row[at] for row in lines)]
    top = [node("th", heads[at], scope="col", role="columnheader") for at in used]
    body = [node("tr", *(_cell(heads[at], row[at], at) for at in used), role="row") for row in lines]
    return node(
        "table",
        node("thead", node("tr", *top, role="row"), role="rowgroup"),
        node("tbody", *body, role="rowgroup"),
        role="table",
        aria_label=label,
    )


def _cell(head: str, content: Node | str, at: int) -> Node:
    if at == 0:
        return node("th", content, scope="row", role="rowheader", data_label=head)
    if not content:
        return node("td", role="cell", class_="empty", data_label=head)
    return node("td", content, role="cell", data_label=head)
