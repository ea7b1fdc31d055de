"""The documentation as data: its pages, their fenced blocks, tables, links and words in code style."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)[ ]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the words behind its fence, its text, and the line on which the fence is."""

    page: str
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word behind the fence."""
        return self.info.partition(" ")[0]

    @property
    def runs(self) -> bool:
        """Say whether a reader can paste it, so that the tests do."""
        return self.info in ("sh", "python")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the documentation."""

    name: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        return [
            Block(
                self.name, self.text.count("\n", 0, found.start()) + 1, found["info"].strip(), found["text"]
            )
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """Its text without the fenced blocks; their lines stay, empty, so that line numbers hold."""
        return _FENCE.sub(lambda found: "\n" * found.group().count("\n"), self.text)

    @property
    def code_words(self) -> set[str]:
        """What its prose and tables write in code style."""
        return set(_CODE.findall(self.prose))

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The names its headings have in links."""
        return {_slug(heading) for heading in _HEADING.findall(self.prose)}

    def table(self, first: str) -> list[list[str]]:
        """The rows of all its tables whose first column is headed so."""
        return [row for heads, rows in self._tables() if heads[0] == first for row in rows]

    def under(self, heading: str) -> str:
        """The text from one heading to the next of its rank or higher."""
        found = re.search(rf"^(#+) {re.escape(heading)}[ ]*$", self.prose, re.MULTILINE)
        assert found, f"{self.name} has no heading {heading!r}"
        rest = self.prose[found.end() :]
        return re.split(rf"^#{{1,{len(found[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]

    def _tables(self) -> Iterator[tuple[list[str], list[list[str]]]]:
        for found in re.finditer(r"(?:^\|.*\|[ ]*\n)+", self.prose, re.MULTILINE):
            rows = [_cells(line) for line in found.group().splitlines()]
            yield rows[0], rows[2:]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _slug(heading: str) -> str:
    """Name a heading as Markdown's renderers do."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


def code(cell: str) -> str:
    """The one thing a cell writes in code style."""
    words = _CODE.findall(cell)
    assert len(words) == 1, f"not one word in code style: {cell!r}"
    return str(words[0])


@cache
def page(name: str) -> Page:
    """Read one page."""
    return Page(name, (ROOT / name).read_text("utf-8"))


@cache
def pages() -> tuple[Page, ...]:
    """Read all of them: Markdown beside the README and below docs/."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return tuple(page(path.relative_to(ROOT).as_posix()) for path in sorted(found))
