"""What a user or developer can set and call, the docs list, and nothing else: both ways."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer

from countermand.cli.app import app
from countermand.cli.exit_codes import ExitCode
from grant_service.settings import Settings, variable
from tests.docs.pages import ROOT, Page, code, page, pages


def test_every_setting_is_listed_with_its_option_and_default() -> None:
    """docs/settings.md has one row for each setting, and no other."""
    rows = page("docs/settings.md").table("Variable")
    listed = {code(row[0]): (code(row[1]), row[2]) for row in rows if len(row) == 4}
    assert listed == {
        variable(name): (f"--{name.replace('_', '-')}", written_default(name, field.default))
        for name, field in Settings.model_fields.items()
    }


def written_default(name: str, default: Any) -> str:
    """A default as the docs write it."""
    if name == "home":
        return "`$XDG_STATE_HOME/countermand`, or `~/.local/state/countermand`"
    if isinstance(default, int | float):
        return f"{default:g}" if default < 100_000 else str(int(default))
    return f"`{default}`" if default else "(none)"


def test_the_variables_of_the_client_are_listed() -> None:
    """docs/settings.md names the variables the client reads, docs/cli.md those of the command line alone."""
    rows = page("docs/settings.md").table("Variable")
    listed = {code(row[0]) for row in rows if len(row) == 2}
    client = ROOT / "client" / "countermand"
    of_the_cli = _variables_in(sorted(client.glob("cli/*.py")))
    of_the_client = _variables_in(sorted({*client.rglob("*.py")} - {*client.glob("cli/*.py")}))
    assert listed <= of_the_client <= listed | settings_variables()  # those it gives to a sidecar it starts
    assert of_the_cli - listed <= _variables_said_in(page("docs/cli.md"))
    assert _variables_said_in(page("docs/cli.md")) <= of_the_cli | listed | settings_variables()


def settings_variables() -> set[str]:
    """The variables of the sidecar."""
    return {variable(name) for name in Settings.model_fields}


def _variables_in(files: list[Path]) -> set[str]:
    """The variables that some sources name in a string of their own."""
    return {name for file in files for name in re.findall(r'"(COUNTERMAND_\w+)"', file.read_text("utf-8"))}


def _variables_said_in(one: Page) -> set[str]:
    return set(re.findall(r"\bCOUNTERMAND_[A-Z_]+\b", one.text))


def test_every_target_of_make_is_listed() -> None:
    """docs/development.md lists the targets of the Makefile."""
    listed = {code(row[0]).removeprefix("make ") for row in page("docs/development.md").table("Command")}
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert listed == set(targets)


def test_every_verb_of_the_command_line_is_shown() -> None:
    """docs/cli.md lists each verb, and no page shows one that does not exist."""
    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    rows = page("docs/cli.md").table("Verb")
    assert {code(row[0]) for row in rows if len(row) == 2} == verbs
    assert [(one.name, wrong) for one in pages() if (wrong := _shown(one, "countermand") - verbs)] == []


def test_every_exit_code_is_listed() -> None:
    """docs/cli.md lists the exit codes by number and name."""
    listed = {int(row[0]): row[1].upper().replace(" ", "_") for row in page("docs/cli.md").table("Code")}
    assert listed == {one.value: one.name for one in ExitCode}


def test_every_target_that_is_shown_exists() -> None:
    """No page shows a target that the Makefile lacks."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert [(one.name, wrong) for one in pages() if (wrong := _shown(one, "make") - targets)] == []


def _shown(one: Page, program: str) -> set[str]:
    """The first words behind a program's name, in the blocks that are commands and in code style."""
    commands = [line for block in one.blocks if block.language == "sh" for line in block.text.splitlines()]
    lines = [*commands, *one.code_words]
    return {word for line in lines for word in re.findall(rf"(?<![\w/.-]){program} +([a-z][\w-]*)", line)}


def test_every_folder_of_tests_is_listed() -> None:
    """docs/development.md says what each folder of tests holds."""
    listed = {code(row[0]).removeprefix("tests/") for row in page("docs/development.md").table("Folder")}
    assert listed == {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}


def test_no_folder_of_tests_is_left_out(pytestconfig: pytest.Config) -> None:
    """pytest passes over some names, such as `build`, and says nothing."""
    passed_over = pytestconfig.getini("norecursedirs")
    folders = {
        one for path in (ROOT / "tests").rglob("test_*.py") for one in path.relative_to(ROOT).parts[:-1]
    }
    assert {one for one in folders if any(fnmatch(one, pattern) for pattern in passed_over)} == set()


def test_every_dependency_is_listed_where_it_belongs() -> None:
    """docs/dependencies.md lists what pyproject.toml asks for, in the sections of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    sections = {"`pip install countermand` (the client)": project["dependencies"]}
    headings = {
        "cli": "the command line",
        "verify": "verifying evidence",
        "service": "the sidecar",
        "dev": "this checkout",
    }
    for extra, asked in project["optional-dependencies"].items():
        if extra in headings:
            sections[f"`countermand[{extra}]` ({headings[extra]})"] = asked
        else:  # an adapter's, with the library it adapts
            sections["The extras of adapters"] = [*sections.get("The extras of adapters", []), *asked]
    for heading, asked in sections.items():
        names = {re.split(r"[\[><=]", one)[0] for one in asked} - {"countermand"}
        rows = re.findall(r"^\| (`.*?) \| ", page("docs/dependencies.md").under(heading), re.MULTILINE)
        assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == names, heading
