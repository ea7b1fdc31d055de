"""Every command and program a page shows does what the page says it does."""

import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import Block, Page, page, pages
from tests.docs.terminal import Failed, Terminal

#: What may follow a fence. Only `sh` and `python` are run, and `output` is what the block before it says. A
#: command that cannot be run here says why: `sh not-run: it needs a mail server`.
SHOWN_ONLY = frozenset({"output", "text", "json", "lua", "proto", "toml", "ini"})
_NOT_RUN = re.compile(r"(?:sh|python) not-run: \S.{10,}")
_COMMAND = re.compile(
    r"^\s*(?:\$ |(?:make|countermand|pip|python3?|git|export|redis-cli|scripts/\w+) )", re.MULTILINE
)

RUNNING = [one for one in pages() if any(block.runs for block in one.blocks)]


@pytest.mark.parametrize("one", RUNNING, ids=lambda one: one.name)
def test_a_page_does_what_it_says(one: Page) -> None:
    """Its blocks run from top to bottom, and say what the page shows."""
    with Terminal() as terminal:
        if takes_a_sidecar_for_granted(one):
            terminal.serve()
        for block, shown in steps(one):
            check(block, terminal.run(block), shown)


def steps(one: Page) -> Iterator[tuple[Block, str | None]]:
    """The blocks that run, each with the output shown right behind it, if there is one."""
    blocks = one.blocks
    for block, after in zip(blocks, [*blocks[1:], None], strict=True):
        if block.runs:
            yield block, after.text if after and after.language == "output" else None


def takes_a_sidecar_for_granted(one: Page) -> bool:
    """Say whether a page has commands for a sidecar that it does not start itself."""
    commands = "".join(block.text for block, _ in steps(one) if block.language == "sh")
    starts = re.search(r"^(?:make|countermand) serve\b", commands, re.MULTILINE)
    return bool(commands) and starts is None


def check(block: Block, said: str, shown: str | None) -> None:
    """Hold what a block said against what the page shows."""
    if shown is not None and not matches(shown, said):
        raise Failed(f"{block} said:\n{said}\nand not, as shown:\n{shown}")


def matches(shown: str, said: str) -> bool:
    """Compare line by line; `...` stands for any text, and on a line of its own for any lines."""
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r".*?".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ ]*\n"
    return re.fullmatch(pattern, said.rstrip("\n") + "\n") is not None


@pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)
def test_no_command_is_left_out(one: Page) -> None:
    """Every block says whether it is run, and none hides a command that is not."""
    assert [fault for block in one.blocks if (fault := fault_of(block))] == []


def fault_of(block: Block) -> str:
    """Say what is wrong with a block's marking, or ''."""
    if block.runs or _NOT_RUN.fullmatch(block.info):
        return ""
    if block.info not in SHOWN_ONLY:
        marks = ", ".join(["sh", "python", "'sh not-run: why'", *sorted(SHOWN_ONLY)])
        return f"{block}: marked {block.info!r}; use one of {marks}"
    if block.info != "output" and _COMMAND.search(block.text):
        return f"{block}: shows a command that is not run; mark it sh, or 'sh not-run: why'"
    return ""


def test_no_block_is_indented() -> None:
    """A fence within a list would not be found, and so not be run."""
    assert [one.name for one in pages() if re.search(r"^[ \t>]+```", one.text, re.MULTILINE)] == []


def test_the_example_of_the_readme_is_short() -> None:
    """The program a newcomer pastes first fits on a screen: 25 lines, blank ones left aside."""
    programs = [block for block in page("README.md").blocks if block.info == "python"]
    assert len(programs) == 1
    assert len([line for line in programs[0].text.splitlines() if line.strip()]) <= 25


def test_the_readme_shows_the_commands_to_begin_with() -> None:
    """`make serve`, `make demo` and `make test` are there to be pasted."""
    lines = [line for block, _ in steps(page("README.md")) for line in block.text.splitlines()]
    assert {"make serve", "make demo", "make test"} <= set(lines)


def test_output_is_compared() -> None:
    """The comparison lets through what `...` stands for, and nothing else."""
    assert matches("run r-... is open\n", "run r-7 is open\n")
    assert matches("a\n...\nd\n", "a\nb\nc\nd\n")
    assert matches("a\n...\nd\n", "a\nd\n")
    assert not matches("run r-... is open\n", "run r-7 is closed\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a\n...\nd\n", "a\nb\n")


def test_a_page_that_lies_is_caught() -> None:
    """A failing command, other output, or a hidden command does not pass."""
    one = Page("docs/bad.md", "```sh\necho yes\n```\n\n```output\nno\n```\n\n```sh\nexit 3\n```\n")
    with Terminal() as terminal:
        (says, shown), (fails, _) = steps(one)
        with pytest.raises(Failed, match="as shown"):
            check(says, terminal.run(says), shown)
        with pytest.raises(Failed, match="ended with 3"):
            terminal.run(fails)
    assert fault_of(Block("x.md", 1, "bash", "ls\n"))
    assert fault_of(Block("x.md", 1, "", "ls\n"))
    assert fault_of(Block("x.md", 1, "text", "$ countermand cancel r-1\n"))
    assert fault_of(Block("x.md", 1, "sh not-run", "ls\n"))
    assert not fault_of(Block("x.md", 1, "sh not-run: it needs a mail server", "ls\n"))
