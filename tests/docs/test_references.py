"""What the docs point to is there: links, files, tests, names. What must not be published is not."""

import ast
import re
import subprocess
from functools import cache

import pytest

from grant_service.settings import Settings, variable
from tests.docs.pages import ROOT, Page, page, pages

#: Where a path written in the docs may begin.
_BASES = (
    "",
    "grant_service",
    "client/countermand",
    "tests",
    "docs",
    "client/countermand/_async",
    "grant_service/store/lua",
)
_PATH = re.compile(r"[\w.-]+(?:/[\w.<>-]+)+/?|[\w-]+\.(?:py|lua|md|proto|conf|toml)")
_NAME = re.compile(r"[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)*(?:\(\))?")

#: Paths that are not in the checkout: those below COUNTERMAND_HOME, a reader's own, and patterns of names.
_NOT_IN_CHECKOUT = re.compile(r"(?:run|data|keys|grants|~?/?\.local|\$\w+)/.*|conftest\.py|.*[<>*].*")
#: The name of a document the command line prints; it looks like a path.
_SCHEMA = re.compile(r"countermand\.(\w+)/v\d+")
#: A path of some machine: a reader has another one.
_MACHINE = re.compile(r"(?<![\w.:/$~-])/(?:work|root|home|Users|tmp|opt|mnt|usr|var)/\w")
_HOST = re.compile(r"https?://(?!(?:[\w-]+\.)?example\.(?:com|org)\b)[\w.-]+", re.IGNORECASE)

every_page = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)


@every_page
def test_links_lead_somewhere(one: Page) -> None:
    """Every link has a file at its end, and a heading if it names one."""
    assert [fault for link in one.links if (fault := link_fault(one, link))] == []


def link_fault(one: Page, link: str) -> str:
    """Say what is wrong with a link, or ''."""
    if ":" in link.partition("#")[0]:
        return f"{link}: leads out of the project"
    target, _, anchor = link.partition("#")
    path = (ROOT / one.name).parent / target if target else ROOT / one.name
    if not path.exists():
        return f"{link}: no such file"
    if anchor and anchor not in page(path.resolve().relative_to(ROOT).as_posix()).anchors:
        return f"{link}: no such heading"
    return ""


@every_page
def test_files_and_tests_that_are_named_exist(one: Page) -> None:
    """A path in code style is a path of the checkout; `file::test` is a test."""
    assert [word for word in sorted(one.code_words) if not resolves(word)] == []


def resolves(word: str) -> bool:
    """Say whether a word is no path, or one that is there."""
    path, _, test = word.partition("::")
    if schema := _SCHEMA.fullmatch(word):
        return schema[1] in source_words()
    if not _PATH.fullmatch(path) or _NOT_IN_CHECKOUT.fullmatch(path):
        return True
    found = [ROOT / base / path for base in _BASES if (ROOT / base / path).exists()]
    if not test or not found:
        return bool(found)
    tree = ast.parse(found[0].read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, functions) and node.name == test for node in ast.walk(tree))


@every_page
def test_names_exist(one: Page) -> None:
    """A name in code style is a word of the sources: nothing is documented that does not exist."""
    assert [word for word in sorted(one.code_words) if not is_known(word)] == []


def is_known(word: str) -> bool:
    """Say whether a word is no name, or one that the sources use."""
    if not _NAME.fullmatch(word) or resolves_as_file(word):
        return True
    last = word.removesuffix("()").rpartition(".")[2]
    return last in source_words() or word.replace("_", "-") in source_words()


def resolves_as_file(word: str) -> bool:
    """Say whether a word is the name of a file."""
    return bool(_PATH.fullmatch(word))


@cache
def source_words() -> frozenset[str]:
    """Every word of the sources, tests and their own docs left aside."""
    suffixes = {".py", ".lua", ".proto", ".toml", ".conf", ".sh", ".txt", ".json", ""}
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(git, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    words = {variable(name) for name in Settings.model_fields}
    for name in names:
        path = ROOT / name
        if name and not name.startswith("tests/docs/") and path.suffix in suffixes and path.is_file():
            words.update(re.findall(r"[A-Za-z_]\w*", path.read_text("utf-8", errors="replace")))
    return frozenset(words)


@every_page
def test_no_machine_and_no_host_is_named(one: Page) -> None:
    """The docs hold no path of a machine and no address but those reserved for examples."""
    assert _MACHINE.findall(one.text) + _HOST.findall(one.text) == []


def test_these_checks_can_fail() -> None:
    """Each check catches the mistake it is for."""
    bad = Page("docs/bad.md", "# A head\n`tests/nowhere.py` `core/run.py` `NoSuchThing` `StopReason`\n")
    assert link_fault(bad, "nowhere.md")
    assert link_fault(bad, "concepts.md#no-such-heading")
    assert link_fault(bad, "https://example.com")
    assert not link_fault(bad, "concepts.md#roles")
    assert not resolves("tests/nowhere.py")
    assert not resolves("countermand.nosuchdocument/v1")
    assert resolves("core/run.py")
    assert not resolves("tests/store/test_cancel.py::test_that_nobody_wrote")
    assert resolves("tests/store/test_cancel.py::test_cancel_beats_a_late_commit")
    assert not is_known("NoSuchThing")
    assert is_known("StopReason")
    assert _MACHINE.search("see " + "/".join(("", "home", "ann", "x")))
    assert not _MACHINE.search("~/.local and https://api.example.com/var/x")
    assert _HOST.search("https://github.invalid/x")
    assert not _HOST.search("https://api.example.com/v1")
