"""A page of HTML as a reader's program sees it: well formed or not, its elements, its text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self

VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})
_HEADINGS = ("h1", "h2", "h3", "h4")


@dataclass
class Element:
    """One element: its attributes, its text with all that is in it, and what it is in."""

    name: str
    attributes: dict[str, str]
    above: "Element | None"
    text: str = ""
    inside: list["Element"] = field(default_factory=list)

    def all(self, *names: str) -> list["Element"]:
        """All elements in it of these names; of every name if none is given."""
        found = [self] if not names or self.name in names else []
        return found + [one for child in self.inside for one in child.all(*names)]

    def column(self, head: str) -> list[str]:
        """The texts of a table's cells under a heading; empty ones too."""
        cells = self.all("tbody")[0].all("td", "th")
        return [one.text for one in cells if one.attributes["data-label"] == head]


class PageReader(HTMLParser):
    """Reads a page, and writes down what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.top = Element("", {}, None)
        self._at = self.top
        self.feed(text)
        self.close()
        if self._at is not self.top:
            self.faults.append(f"<{self._at.name}> is not closed")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter an element."""
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"<{tag}> repeats an attribute")
        one = Element(tag, {name: value or "" for name, value in attrs}, self._at)
        self._at.inside.append(one)
        if tag not in VOID:
            self._at = one

    def handle_endtag(self, tag: str) -> None:
        """Leave one."""
        if self._at.name != tag or self._at.above is None:
            self.faults.append(f"</{tag}> where <{self._at.name}> is open")
            return
        self._at = self._at.above

    def handle_data(self, data: str) -> None:
        """Take a text."""
        one: Element | None = self._at
        while one is not None:
            one.text += data
            one = one.above

    def handle_comment(self, data: str) -> None:
        """There is none."""
        self.faults.append(f"a comment: {data!r}")

    def unknown_decl(self, data: str) -> None:
        """There is none."""
        self.faults.append(f"a declaration: {data!r}")


@dataclass(frozen=True)
class Page:
    """A page that was read."""

    source: str
    top: Element
    faults: tuple[str, ...]

    @classmethod
    def of(cls, source: str) -> Self:
        """Read it."""
        reader = PageReader(source)
        return cls(source, reader.top, tuple(reader.faults))

    def all(self, *names: str) -> list[Element]:
        """All elements of these names."""
        return [one for one in self.top.all(*names) if one.name]

    def section(self, name: str) -> Element:
        """The section that can be led to by this name."""
        [found] = [one for one in self.all("section") if one.attributes.get("id") == name]
        return found

    @property
    def text(self) -> str:
        """All that a reader sees, without the style sheet."""
        return self.all("body")[0].text

    def ranks(self) -> list[int]:
        """The ranks of its headings, in order."""
        return [int(one.name[1]) for one in self.all(*_HEADINGS)]
