"""Setting up is quick when there is nothing to do, and a failure is one line that says what to do."""

import time
from pathlib import Path

import pytest

from tests.build.support import ROOT, bare_machine, program, run, script, write

ENSURE_REDIS = ROOT / "scripts/ensure_redis"
ENSURE_POSTGRES = ROOT / "scripts/ensure_postgres"
BOOTSTRAP = ROOT / "scripts/bootstrap"
OLD = 'echo "Redis server v=6.2.14 sha=0:0 malloc=libc bits=64 build=0"'
NEW = 'echo "Valkey server v=8.1.0 sha=0:0 malloc=libc bits=64 build=0"'


def one_line(text: str) -> str:
    """The text, which must be a single line."""
    assert text.count("\n") == 1, text
    return text


def test_a_second_bootstrap_is_quick_and_quiet() -> None:
    """An up-to-date environment costs well under a second."""
    run(BOOTSTRAP)
    began = time.monotonic()
    done = run(BOOTSTRAP)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 1


def test_bootstrap_without_a_new_enough_python_says_so(tmp_path: Path) -> None:
    """An old Python, or none, ends in one line that names the way out."""
    bootstrap = program(tmp_path / "fresh/scripts", "bootstrap", BOOTSTRAP.read_text())
    path = bare_machine(tmp_path / "bin", "sh", "dirname")
    program(tmp_path / "bin", "python3", "exit 1")
    done = run(bootstrap, PATH=path, PYTHON="")
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in one_line(done.stderr)


def test_bootstrap_with_a_wrong_python_does_not_take_another() -> None:
    """PYTHON= is an order, not a hint."""
    done = run(BOOTSTRAP, PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert "at /nowhere/python3" in one_line(done.stderr)


def test_a_python_without_venv_names_the_package_to_install(tmp_path: Path) -> None:
    """Debian ships Python without ensurepip; the line names the package that brings it."""
    code = (
        "import importlib.util as u, sys; sys.path.insert(0, 'scripts'); real = u.find_spec;"
        "u.find_spec = lambda name: None if name == 'ensurepip' else real(name);"
        f"sys.argv = ['', {str(tmp_path / 'env')!r}, 'requirements/uv.txt'];"
        "import locked_venv; sys.exit(locked_venv.main())"
    )
    done = run(ROOT / ".venv/bin/python", "-c", code)
    assert done.returncode == 1
    assert "apt-get install python3." in one_line(done.stderr.partition("\n")[2])


def test_an_interrupted_set_up_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    """The stamp is written last, so a failed installation is tried again."""
    write(tmp_path, "lock.txt", f"nothing @ file://{tmp_path}/missing.whl --hash=sha256:{'0' * 64}\n")
    for _ in range(2):
        done = script("locked_venv.py", tmp_path / "env", tmp_path / "lock.txt")
        assert done.returncode == 1
        assert "this step failed" in done.stderr


def test_redis_is_found_quickly() -> None:
    """With a server installed, the script prints its path and nothing else."""
    began = time.monotonic()
    done = run(ENSURE_REDIS)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(one_line(done.stdout).strip()).is_file()
    assert time.monotonic() - began < 1


def test_a_valkey_server_will_do(tmp_path: Path) -> None:
    """Either name is accepted; an old redis-server beside it is passed over."""
    path = bare_machine(tmp_path, "sh", "sed")
    program(tmp_path, "redis-server", OLD)
    valkey = program(tmp_path, "valkey-server", NEW)
    assert run(ENSURE_REDIS, PATH=path, REDIS_SERVER="").stdout == f"{valkey}\n"


@pytest.mark.parametrize("server", ["old", "absent", "not-a-server"])
def test_a_named_server_that_will_not_do_is_refused(tmp_path: Path, server: str) -> None:
    """REDIS_SERVER= is an order: nothing else is taken, nothing is installed."""
    program(tmp_path, "old", OLD)
    program(tmp_path, "not-a-server", "echo hello")
    done = run(ENSURE_REDIS, REDIS_SERVER=str(tmp_path / server))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"REDIS_SERVER={tmp_path / server} is not a " in one_line(done.stderr)


def test_without_a_package_manager_it_says_what_to_do(tmp_path: Path) -> None:
    """No server and no way to get one is a failure, never a silent skip."""
    done = run(ENSURE_REDIS, PATH=bare_machine(tmp_path, "sh", "sed"), REDIS_SERVER="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "set REDIS_SERVER=" in one_line(done.stderr)


def test_without_root_it_gives_the_line_to_run(tmp_path: Path) -> None:
    """A user who may not install gets the command to hand to somebody who may."""
    path = bare_machine(tmp_path, "sh", "sed")
    program(tmp_path, "id", "echo 1000")
    program(tmp_path, "dnf", "exit 0")
    done = run(ENSURE_REDIS, PATH=path, REDIS_SERVER="")
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done.stderr).endswith("run: sudo dnf install -y valkey\n")


def test_it_installs_saying_so_and_shows_what_went_wrong(tmp_path: Path) -> None:
    """Each package is announced; when none helps, the manager's own words are shown and the script fails."""
    path = bare_machine(tmp_path, "sh", "sed", "mktemp", "cat", "rm")
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "apk", "echo no such package: $2; exit 1")
    done = run(ENSURE_REDIS, PATH=path, REDIS_SERVER="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "installing: apk add redis\nno such package: redis\n" in done.stderr
    assert "installing: apk add valkey\nno such package: valkey\n" in done.stderr


def test_a_server_just_installed_is_used(tmp_path: Path) -> None:
    """After an installation the path of the new server is the only thing on stdout."""
    path = bare_machine(tmp_path, "sh", "sed", "mktemp", "cat", "rm", "chmod")
    program(tmp_path, "id", "echo 0")
    made = tmp_path / "redis-server"
    program(tmp_path, "apk", f"printf '#!/bin/sh\\n%s\\n' '{NEW}' >{made}; chmod +x {made}; echo talk")
    done = run(ENSURE_REDIS, PATH=path, REDIS_SERVER="")
    assert (done.returncode, done.stdout) == (0, f"{made}\n")
    assert "talk" not in done.stderr


def test_postgres_is_found_quickly(tmp_path: Path) -> None:
    """With a server on PATH, the script prints the directory of its programs and nothing else."""
    path = bare_machine(tmp_path, "sh", "sed", "dirname")
    program(tmp_path, "initdb", "exit 1")
    program(tmp_path, "postgres", 'echo "postgres (PostgreSQL) 16.2"')
    done = run(ENSURE_POSTGRES, PATH=path, POSTGRES_BIN="")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}\n", "")


@pytest.mark.parametrize("version", ["echo 'postgres (PostgreSQL) 12.9'", "echo hello", None])
def test_a_named_postgres_that_will_not_do_is_refused(tmp_path: Path, version: str | None) -> None:
    """POSTGRES_BIN= is an order: nothing else is taken, nothing is installed."""
    if version:
        program(tmp_path, "initdb", "exit 1")
        program(tmp_path, "postgres", version)
    done = run(ENSURE_POSTGRES, POSTGRES_BIN=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"POSTGRES_BIN={tmp_path} has no initdb and postgres >= 13" in one_line(done.stderr)
