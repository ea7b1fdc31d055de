"""The help and docs/cli.md list what there is, and nothing else."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from countermand.cli import completion
from countermand.cli.app import verbs
from countermand.cli.exit_codes import ExitCode
from countermand.cli.unbuilt import Unbuilt
from countermand.cli.verb import Panel
from tests.cli.support import Shell

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text("utf-8")
SOURCES = Path(__file__).resolve().parents[2] / "client" / "countermand" / "cli"
GROUPS = {group.name or "": group.typer_instance for group in verbs.registered_groups}
VERBS = {command.name or "" for command in verbs.registered_commands} | {*GROUPS}
#: The verbs that are below another one, each with that in front.
BELOW = {
    f"{name} {command.name}"
    for name, inner in GROUPS.items()
    if inner
    for command in inner.registered_commands
}


def table(first: str) -> list[list[str]]:
    """The rows of the table in docs/cli.md whose first column is headed so."""
    found = re.search(rf"^\| {first} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", DOCS, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found[1].splitlines()]


def test_every_verb_is_documented() -> None:
    """In the table of verbs, once."""
    assert sorted(row[0].strip("`") for row in table("Verb")) == sorted(VERBS)


def test_every_verb_below_another_is_documented() -> None:
    """In a table of its own, once."""
    assert sorted(f"journal {row[0].strip('`')}" for row in table("Below `journal`")) == sorted(BELOW)


def test_every_exit_code_is_documented() -> None:
    """In docs/cli.md with its name, and in the help with its meaning."""
    listed = {int(row[0]): row[1] for row in table("Code")}
    assert listed == {code.value: code.name.lower().replace("_", " ") for code in ExitCode}


def test_every_schema_is_documented() -> None:
    """Each one the sources name is in the table of docs/cli.md, and the other way round."""
    sources = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.py"))
    made = set(re.findall(r'\bdocument\(\s*"(\w+)"', sources)) | {"report_head"}
    listed = {name for row in table("Answer of") for cell in row[1:] for name in re.findall(r"`(\w+)`", cell)}
    assert listed - {"jsonl"} == made


def test_every_reason_of_a_cancel_is_documented() -> None:
    """Those a person may give."""
    assert all(f"`{reason}`" in DOCS for reason in completion.REASONS)


def test_every_option_of_the_docs_exists(shell: Shell) -> None:
    """No page names an option that no verb has."""
    known = {"--help"} | {
        option
        for verb in (VERBS | BELOW) - {"serve"}
        for option in _options(shell(*verb.split(), "--help", COLUMNS="200").out)
    }
    known |= set(_options(shell("--help", COLUMNS="200").out))
    assert set(_options(DOCS)) - known == set()


def _options(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)


def test_the_command_alone_is_the_help_by_who_uses_it(shell: Shell) -> None:
    """Every verb under its group, every group in order, every exit code."""
    done = shell()
    assert done.code == 0
    assert done.out == shell("--help").out
    places = [done.out.index(panel.value) for panel in Panel]
    assert places == sorted(places)
    assert set(re.findall(r"^│ ([a-z]+) ", done.out, re.MULTILINE)) == VERBS
    flowing = " ".join(done.out.split())
    assert all(f"{code.value} {code.meaning}" in flowing for code in ExitCode)


@pytest.mark.parametrize("verb", sorted((VERBS | BELOW) - {"serve", *GROUPS}))
def test_every_verb_explains_itself(shell: Shell, verb: str) -> None:
    """What it does, its options, where the sidecar is, the exit codes."""
    done = shell(*verb.split(), "--help")
    assert done.code == 0
    for told in ("Usage: countermand " + verb, "--output", "--home", "--target", "--timeout", "Exit codes"):
        assert told in done.out


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_verb_with_others_below_it_lists_them(shell: Shell, group: str) -> None:
    """Each of them, and the exit codes."""
    done = shell(group, "--help")
    assert done.code == 0
    listed = re.findall(r"^│ ([a-z]+) ", done.out, re.MULTILINE)
    assert {f"{group} {name}" for name in listed} == BELOW
    assert "Exit codes" in done.out


def test_a_version_is_there_at_once(shell: Shell) -> None:
    """For people, for programs, and as the flag everybody tries."""
    assert shell("version").out.splitlines()[0].split() == ["client", shell("--version").out.strip()]
    assert shell.json("version")["protocol"] == "countermand.v1"
    program = Path(sys.executable).parent / "countermand"
    spent = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([program, "version"], check=True, capture_output=True)
        spent.append(time.monotonic() - began)
    assert min(spent) < 1.5  # 0.3 s on an idle machine


def test_asking_for_a_version_loads_no_page(shell: Shell) -> None:
    """Rich and the demo are loaded when they are needed: every command starts sooner."""
    program = (
        "import sys; from countermand.cli import main; main(['version']); print([*{*sys.modules} & {*%r}])"
    )
    heavy = (
        "rich.table",
        "rich.console",
        "countermand.demo.story",
        "grant_service",
        "redis",
        "jwt",
        "structlog",
    )
    done = subprocess.run(
        [sys.executable, "-c", program % (heavy,)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_missing_extra_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client alone has no command line; the command line alone has no sidecar."""
    from countermand.cli import version

    monkeypatch.setattr(version, "find_spec", lambda name: None if name == "structlog" else name)
    for verb in ("serve", "demo"):
        done = shell(verb)
        assert done.code == ExitCode.ASK_OPERATOR
        assert "pip install 'countermand[service]'" in done.err
    assert "not installed" in shell("version").out
    monkeypatch.setitem(sys.modules, "typer", None)
    for name in [name for name in sys.modules if name.startswith("countermand.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    alone = shell("runs")
    assert alone.code == 1
    assert "pip install 'countermand[cli]'" in alone.err


def test_a_verb_is_built_alone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command starts sooner; the help needs them all."""
    built: list[str] = []
    build = Unbuilt.__getitem__

    def spy(unbuilt: Unbuilt, name: str) -> object:
        built.append(name)
        return build(unbuilt, name)

    monkeypatch.setattr(Unbuilt, "__getitem__", spy)
    shell("version")
    assert built == ["version"]
    shell("--help")
    assert {*built} == VERBS
