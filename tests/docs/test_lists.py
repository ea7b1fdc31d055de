"""What the code has, the docs list, and nothing else: both ways."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import countermand
from countermand import _errors as client_errors
from countermand.cli.app import app
from countermand.cli.exit_codes import ExitCode
from countermand.v1 import errors_pb2
from grant_service.core.action import ActionState
from grant_service.core.errors import ErrorReason
from grant_service.core.report import PARTS
from grant_service.core.run import StopReason
from grant_service.core.scope import (
    Reversibility,
    resource_fault,
    resource_matches,
    resource_pattern_fault,
)
from grant_service.core.store import Durability
from grant_service.rpc.action import ActionServicer
from grant_service.rpc.control import ControlServicer
from grant_service.rpc.errors import ALARMS, CODES
from grant_service.rpc.grant import GrantServicer
from grant_service.rpc.journal import JournalServicer
from grant_service.rpc.roles import ALLOWED
from grant_service.settings import Settings, variable
from grant_service.store.keys import LIVES, Life
from tests.docs.pages import ROOT, Page, code, page, pages

SERVICERS = {
    "GrantService": GrantServicer,
    "ActionService": ActionServicer,
    "ControlService": ControlServicer,
    "JournalService": JournalServicer,
}


def is_served(rpc: str) -> bool:
    """Say whether a sidecar answers this RPC."""
    service, _, name = rpc.partition(".")
    return hasattr(SERVICERS[service], name)


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


def test_every_reason_of_a_refusal_is_listed() -> None:
    """docs/errors.md tells for each reason its code, its exception, and whether it is an alarm."""
    listed = {}
    for reason, status, exception, meaning in page("docs/errors.md").table("Reason"):
        assert meaning.endswith("."), f"{reason} does not say what to do"
        listed[code(reason)] = (code(status), code(exception), reason.endswith(" !"))
    assert listed == {
        reason.value: (
            CODES[reason].name,
            client_errors.CLASSES[_in_client(reason)].__name__,
            reason in ALARMS,
        )
        for reason in ErrorReason
    }


def test_reasons_are_listed_under_what_to_do_next() -> None:
    """Each section of docs/errors.md holds the exceptions below the parent in its heading."""
    errors = page("docs/errors.md")
    for heading in re.findall(r"^## (.*\(`.*`\))$", errors.text, re.MULTILINE):
        parent = getattr(client_errors, re.findall(r"`(\w+)`\)", heading)[0])
        below = re.findall(r"^\| `\w+`(?: !)? \| `\w+` \| `(\w+)` \|", errors.under(heading), re.MULTILINE)
        assert below, heading
        wrong = [name for name in below if not issubclass(getattr(client_errors, name), parent)]
        assert not wrong, f"{wrong} are no {parent.__name__}"


def _in_client(reason: ErrorReason) -> Any:
    from countermand._words import ErrorReason as ClientReason

    return ClientReason(reason.value)


def test_every_reason_of_a_stop_is_listed() -> None:
    """docs/concepts.md lists the reasons for which a run is ended, as the contract has them."""
    listed = {code(row[0]) for row in page("docs/concepts.md").table("Reason")}
    names = errors_pb2.StopReason.DESCRIPTOR.values_by_name
    contract = {name.removeprefix("STOP_REASON_") for name in names}
    assert listed == set(StopReason) == contract - {"UNSPECIFIED"}


def test_every_served_rpc_is_listed_with_its_roles() -> None:
    """docs/concepts.md lists who may call what."""
    listed = {code(row[0]): row[1].split(", ") for row in page("docs/concepts.md").table("RPC")}
    assert listed == {rpc: sorted(roles) for rpc, roles in ALLOWED.items() if is_served(rpc)}


def test_every_rpc_that_is_not_served_is_a_limitation() -> None:
    """LIMITATIONS.md lists the RPCs of the contract that are refused with VERB_NOT_SERVED."""
    named = page("LIMITATIONS.md").under("Verbs in the contract that are not served")
    listed = set(re.findall(r"`(\w+Service\.\w+)`", named))
    assert listed == {rpc for rpc in ALLOWED if not is_served(rpc)}


def test_every_part_of_the_report_is_listed_with_its_states() -> None:
    """docs/concepts.md puts each state in the part of the report in which it is told."""
    listed = {code(row[0]): states_in(row[1]) for row in page("docs/concepts.md").table("Part")}
    assert listed == {part: set(states) for part, states in PARTS.items()}


def states_in(cell: str) -> set[str]:
    """The states a cell names."""
    return set(re.findall(r"`([A-Z]+)`", cell)) & set(ActionState)


def test_every_state_of_an_action_is_in_the_picture() -> None:
    """The picture of an action's life has every state."""
    picture = page("docs/concepts.md").blocks[1].text
    assert set(re.findall(r"\b[A-Z]{5,}\b", picture)) == set(ActionState)


def test_every_class_of_reversibility_is_listed_in_order() -> None:
    """docs/concepts.md lists the classes from the easiest to the hardest."""
    assert [code(row[0]) for row in page("docs/concepts.md").table("Class")] == list(Reversibility)


def test_every_tier_of_durability_is_listed() -> None:
    """docs/design.md lists what an acknowledged decision survives."""
    assert {code(row[0]) for row in page("docs/design.md").table("Tier")} == set(Durability)


def test_every_redis_key_is_listed_with_its_life() -> None:
    """docs/design.md names every key; what is said to live for ever does."""
    rows = page("docs/design.md").table("Key (after `cm:{p0}:`)")
    listed = {code(row[0]).partition(":")[0]: row[2] for row in rows}
    assert listed.keys() == LIVES.keys()
    for name, life in LIVES.items():
        assert listed[name].startswith("for ever") == (life is Life.PERMANENT), name


def test_every_target_of_make_is_listed() -> None:
    """docs/development.md lists the targets of the Makefile."""
    listed = {code(row[0]).removeprefix("make ") for row in page("docs/development.md").table("Command")}
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
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
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert [(one.name, wrong) for one in pages() if (wrong := _shown(one, "make") - targets)] == []


def _shown(one: Page, program: str) -> set[str]:
    """The first words behind a program's name, in the blocks that are commands and in code style."""
    commands = [line for block in one.blocks if block.language == "sh" for line in block.text.splitlines()]
    lines = [*commands, *one.code_words]
    return {word for line in lines for word in re.findall(rf"(?<![\w/.-]){program} +([a-z]\w*)", line)}


def test_every_folder_of_tests_is_listed() -> None:
    """docs/development.md says what each folder of tests holds."""
    listed = {code(row[0]).removeprefix("tests/") for row in page("docs/development.md").table("Folder")}
    assert listed == {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}


def test_every_dependency_is_listed_where_it_belongs() -> None:
    """docs/dependencies.md lists what pyproject.toml asks for, in the sections of its extras."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    sections = {"`pip install countermand` (the client)": project["dependencies"]}
    headings = {"cli": "the command line", "service": "the sidecar", "dev": "this checkout"}
    for extra, asked in project["optional-dependencies"].items():
        sections[f"`countermand[{extra}]` ({headings[extra]})"] = asked
    for heading, asked in sections.items():
        names = {re.split(r"[\[><=]", one)[0] for one in asked} - {"countermand"}
        rows = re.findall(r"^\| (`.*?) \| ", page("docs/dependencies.md").under(heading), re.MULTILINE)
        assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == names, heading


@pytest.mark.parametrize("row", page("docs/concepts.md").table("Pattern"), ids=lambda row: row[0])
def test_examples_of_patterns_are_true(row: list[str]) -> None:
    """The examples of resource patterns allow and forbid what docs/concepts.md says."""
    pattern = code(row[0])
    assert resource_pattern_fault(pattern) is None
    allowed, forbidden = (re.findall(r"`([^`]+)`", cell) for cell in row[1:])
    assert allowed
    assert forbidden
    for resource in (*allowed, *forbidden):
        assert resource_fault(resource) is None
    assert all(resource_matches(pattern, resource) for resource in allowed)
    assert not any(resource_matches(pattern, resource) for resource in forbidden)


def test_the_exceptions_named_are_exported() -> None:
    """A reader can import every exception that docs/errors.md names."""
    named = {code(row[2]) for row in page("docs/errors.md").table("Reason")}
    assert named <= set(countermand.__all__)
