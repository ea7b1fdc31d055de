"""Settings: one frozen object, a variable and an option for each; nothing else reads the environment."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from grant_service.__main__ import main
from grant_service.settings import Settings, default_home, variable

ROOT = Path(__file__).resolve().parents[2]
FIELDS = list(Settings.model_fields)

#: Another good value than the default, for every field.
OTHER: dict[str, tuple[str, Any]] = {
    "home": ("/somewhere/else", Path("/somewhere/else")),
    "store": ("memory", "memory"),
    "accept_durability": ("EVERY_SECOND", "EVERY_SECOND"),
    "tools": ("/etc/tools.toml", "/etc/tools.toml"),
    "tools_only": ("true", True),
    "insecure_dev_tcp": ("127.0.0.1:7420", "127.0.0.1:7420"),
    "metrics_listen": ("[::1]:7430", "[::1]:7430"),
    "grant_ttl": ("12.5", 12.5),
    "grant_ttl_max": ("600", 600),
    "run_ttl": ("7", 7),
    "run_ttl_max": ("90000", 90_000),
    "keep": ("8", 8),
    "prepare_ttl": ("9", 9),
    "prepare_ttl_max": ("99", 99),
    "approval_wait": ("450", 450),
    "approval_use": ("45", 45),
    "permit_use": ("1.5", 1.5),
    "permit_use_max": ("10", 10),
    "archive": ("off", "off"),
    "archive_directory": ("/somewhere/cold", Path("/somewhere/cold")),
    "archive_after": ("1000", 1000),
    "archive_keep": ("5000", 5000),
    "undo_ttl": ("86400", 86_400),
    "undo_lease": ("31", 31),
    "undo_lease_max": ("600", 600),
    "undo_attempts": ("3", 3),
    "undo_retry": ("2.5", 2.5),
    "max_actions": ("11", 11),
    "max_delegations": ("10", 10),
    "decision_timeout": ("0.5", 0.5),
    "operator_timeout": ("12", 12),
    "max_calls": ("13", 13),
    "max_operator_calls": ("14", 14),
    "drain_timeout": ("15", 15),
    "token_cache": ("0", 0),
    "log_level": ("debug", "debug"),
}

BAD = [
    ("home", ""),
    ("home", "~/countermand"),
    ("store", "postgres://x"),
    ("accept_durability", "MOSTLY"),
    ("insecure_dev_tcp", "0.0.0.0:7420"),
    ("insecure_dev_tcp", "192.168.1.5:7420"),
    ("insecure_dev_tcp", "[::]:7420"),
    ("insecure_dev_tcp", "localhost:7420"),
    ("insecure_dev_tcp", "127.0.0.1"),
    ("insecure_dev_tcp", "127.0.0.1:0"),
    ("insecure_dev_tcp", "127.0.0.1:65532"),
    ("metrics_listen", "0.0.0.0:7430"),
    ("metrics_listen", "127.0.0.1"),
    ("metrics_listen", "127.0.0.1:0"),
    ("metrics_listen", "127.0.0.1:65536"),
    ("metrics_listen", "metrics.sock"),
    ("tools_only", "perhaps"),
    ("grant_ttl", "0"),
    ("grant_ttl", "-1"),
    ("grant_ttl", "five minutes"),
    ("grant_ttl", ""),
    ("grant_ttl_max", "901"),
    ("grant_ttl_max", "299"),
    ("archive", "perhaps"),
    ("archive_after", "899"),
    ("archive_keep", "-1"),
    ("run_ttl_max", "inf"),
    ("run_ttl_max", "60"),
    ("keep", "nan"),
    ("prepare_ttl_max", "59"),
    ("permit_use_max", "4"),
    ("approval_wait", "0"),
    ("approval_use", "inf"),
    ("undo_ttl", "0"),
    ("undo_lease", "-1"),
    ("undo_lease_max", "29"),
    ("undo_attempts", "0"),
    ("undo_attempts", "101"),
    ("undo_retry", "nan"),
    ("max_actions", "0"),
    ("max_delegations", "0"),
    ("max_calls", "1.5"),
    ("max_operator_calls", "-3"),
    ("token_cache", "-1"),
    ("drain_timeout", "inf"),
    ("log_level", "chatty"),
]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours in the environment but what a test puts there."""
    for name in [name for name in os.environ if name.startswith("COUNTERMAND")]:
        monkeypatch.delenv(name)


def test_this_test_knows_every_field() -> None:
    """A new setting needs a row here."""
    assert OTHER.keys() == set(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_its_variable(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only that one changes with it."""
    text, value = OTHER[field]
    assert getattr(Settings(), field) != value
    monkeypatch.setenv(variable(field), text)
    found = Settings()
    assert getattr(found, field) == value
    assert {
        name for name in FIELDS if getattr(found, name) != getattr(Settings(**{field: _default(field)}), name)
    } == {field}


def _default(field: str) -> Any:
    return Settings.model_fields[field].get_default(call_default_factory=True)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_has_its_option_and_the_option_wins(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--grant-ttl 12.5` beats COUNTERMAND_GRANT_TTL."""
    text, value = OTHER[field]
    monkeypatch.setenv(variable(field), str(getattr(Settings(), field)))
    option = f"--{field.replace('_', '-')}"
    assert getattr(CliApp.run(Settings, cli_args=[option, text]), field) == value


def test_help_names_every_option_and_every_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever runs it needs no other page to find a setting."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    said = "".join(capsys.readouterr().out.split())  # the terminal's width may break any line
    for field in FIELDS:
        assert f"--{field.replace('_', '-')}" in said
        assert f"[{variable(field)}]" in said


@pytest.mark.parametrize(("field", "text"), BAD, ids=[f"{field}={text}" for field, text in BAD])
@pytest.mark.parametrize("way", ["variable", "option"])
def test_a_bad_value_is_one_line_that_names_the_variable(
    field: str, text: str, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, nothing on standard output, no traceback."""
    if way == "variable":
        monkeypatch.setenv(variable(field), text)
    arguments = [f"--{field.replace('_', '-')}={text}"] if way == "option" else []
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"countermand serve: {variable(field)}: ")
    assert said.err.count("\n") == 1


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 as well."""
    with pytest.raises(SystemExit) as caught:
        main(["--grant-tll", "5"])
    assert caught.value.code == 2
    assert "--grant-tll" in capsys.readouterr().err


def test_settings_are_frozen_and_know_no_other_field() -> None:
    """What was checked at the start stays so."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.grant_ttl = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Settings(grant_tll=1)  # type: ignore[call-arg]


def test_a_default_is_never_above_its_own_limit() -> None:
    """Otherwise a call that says nothing would get what no call may ask for."""
    with pytest.raises(ValidationError, match="COUNTERMAND_GRANT_TTL, which is 600"):
        Settings(grant_ttl=600, grant_ttl_max=500)
    assert Settings(grant_ttl=600, grant_ttl_max=600).grant_ttl_max == 600


def test_the_home_follows_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_STATE_HOME, or what stands for it."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_home() == Path("/state/countermand")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/u")
    assert default_home() == Path("/home/u/.local/state/countermand")


def test_nothing_else_reads_the_environment() -> None:
    """One place: whoever wants to know what a sidecar depends on reads settings.py."""
    readers = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("grant_service/**/*.py") if _reads(path)
    }
    assert readers == {"grant_service/settings.py"}


def _reads(path: Path) -> bool:
    names = ("environ", "environb", "getenv", "getenvb", "putenv", "expandvars", "expanduser")
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in names:
            return True
        imports = isinstance(node, ast.ImportFrom) and node.module in ("os", "os.path")
        if imports and any(alias.name in names for alias in node.names):
            return True
    return False


@pytest.mark.parametrize(
    "code", ["from os import environ", "import os\nos.getenv('A')", "import os as o\no.environ"]
)
def test_the_search_for_readers_finds_them(code: str, tmp_path: Path) -> None:
    """The control of the test above."""
    (tmp_path / "reader.py").write_text(code)
    assert _reads(tmp_path / "reader.py")


def test_a_start_that_cannot_be_is_one_line_too(tmp_path: Path) -> None:
    """Exit 1, what is wrong and what to do, no traceback: a real process."""
    (tmp_path / "file").write_text("in the way")
    environment = {"PATH": os.environ["PATH"], "COUNTERMAND_HOME": str(tmp_path / "file")}
    command = [sys.executable, "-m", "grant_service"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("countermand serve: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("choose another COUNTERMAND_HOME\n")
