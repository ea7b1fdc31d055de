"""`make test` runs everything, says no if anything failed, and hands on what narrows it."""

from pathlib import Path

import pytest

from tests.build.support import ROOT, program, run
from tests.conftest import FIRST

SHARED = "-m pytest -n 3 --dist loadfile --no-loadscope-reorder -m not alone"
ALONE = "-m pytest -m alone tests/races/test_some.py"
CHOSEN = "-m pytest -k two words tests/cli"


def started(tree: Path, failing: str, *arguments: str) -> tuple[int, list[str]]:
    """Run the script where Python only says what it was told, and fails if it was told `failing`."""
    script = program(tree / "scripts", "test", (ROOT / "scripts/test").read_text())
    program(tree / "scripts", "ensure_redis", "echo /a/redis-server")
    for path, mark in {"races/test_some.py": "alone", "cli/test_other.py": "parametrize"}.items():
        (tree / "tests" / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / "tests" / path).write_text(f"pytestmark = pytest.mark.{mark}\n")
    program(tree / ".venv/bin", "python", f'echo "$REDIS_SERVER $*"; test "$*" != "{failing}"')
    done = run(script, *arguments)
    told = [line.removeprefix("/a/redis-server ") for line in done.stdout.splitlines()]
    return done.returncode, told


def test_all_of_them_run_in_two_turns(tmp_path: Path) -> None:
    """What shares the machine and what wants it alone: together that is everything."""
    assert started(tmp_path, "") == (0, [SHARED, ALONE])


@pytest.mark.parametrize("failing", [SHARED, ALONE])
def test_a_failure_in_either_turn_is_one_of_the_whole(tmp_path: Path, failing: str) -> None:
    """And the other turn is run all the same."""
    assert started(tmp_path, failing) == (1, [SHARED, ALONE])


@pytest.mark.parametrize(("failing", "code"), [("", 0), (CHOSEN, 1)])
def test_what_narrows_goes_to_one_plain_pytest(tmp_path: Path, failing: str, code: int) -> None:
    """As it was written, and its exit code is that of the whole."""
    assert started(tmp_path, failing, "-k", "two words", "tests/cli") == (code, [CHOSEN])


def test_without_a_redis_nothing_runs(tmp_path: Path) -> None:
    """A run without it would have to skip what needs it."""
    script = program(tmp_path / "scripts", "test", (ROOT / "scripts/test").read_text())
    program(tmp_path / "scripts", "ensure_redis", "exit 1")
    assert run(script).returncode == 1
    assert run(script).stdout == ""


def test_what_is_to_begin_first_is_there() -> None:
    """A file that was renamed would go to the end."""
    assert all((ROOT / name).is_file() for name in FIRST)
