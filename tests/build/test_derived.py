"""Generated and derived files are fresh, and a stale one is noticed down to the byte."""

import shutil
from pathlib import Path

import pytest

from tests.build.support import ROOT, run, script, write

ASYNC = "client/countermand/_async/client.py"
SYNC = "client/countermand/_sync/client.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with one async file and the sync one just derived from it."""
    write(tmp_path, ASYNC, "async def f():\n    await g(\n        1\n    )\n")
    script("unasync.py", "--root", tmp_path)
    return tmp_path


def stale(tree: Path) -> set[str]:
    """The files that `unasync --check` calls stale."""
    lines = script("unasync.py", "--check", "--root", tree).stderr.splitlines()
    return {line.split()[1] for line in lines if "is stale" in line}


def test_the_sync_text_is_derived_and_put_in_shape(tree: Path) -> None:
    """No word of async is left, lines are broken as usual, and the header says where the text came from."""
    assert (tree / SYNC).read_text() == (
        f"# Derived from {ASYNC} by scripts/unasync.py. Do not edit.\ndef f():\n    g(1)\n"
    )


def test_fresh_sync_files_pass(tree: Path) -> None:
    """The check is quiet about what was just derived."""
    assert stale(tree) == set()


def test_a_changed_byte_is_stale(tree: Path) -> None:
    """An edit of a derived file is named, even one that no formatter would see."""
    (tree / SYNC).write_bytes((tree / SYNC).read_bytes() + b"\n")
    assert stale(tree) == {SYNC}


def test_a_truncated_file_is_stale(tree: Path) -> None:
    """Whole texts are compared, so a file that merely stops early does not pass."""
    (tree / SYNC).write_bytes((tree / SYNC).read_bytes()[:-5])
    assert stale(tree) == {SYNC}


def test_missing_and_left_over_files_are_stale(tree: Path) -> None:
    """Each derived file has exactly one source, and each source its derived file."""
    (tree / SYNC).unlink()
    write(tree, "client/countermand/_sync/gone.py", "")
    assert stale(tree) == {SYNC, "client/countermand/_sync/gone.py"}


def test_the_names_of_the_package_are_written_once(tree: Path) -> None:
    """The blocking module is derived from the package's own: a name that is added there is missed here."""
    package, blocking = "client/countermand/__init__.py", "client/countermand/sync.py"
    write(tree, package, 'from countermand._async.client import Client\n\n__all__ = ["Client"]\n')
    assert stale(tree) == {blocking}
    script("unasync.py", "--root", tree)
    assert stale(tree) == set()
    assert (tree / blocking).read_text() == (
        f"# Derived from {package} by scripts/unasync.py. Do not edit.\n"
        'from countermand._sync.client import Client\n\n__all__ = ["Client"]\n'
    )


def test_an_unused_substitution_is_an_error(tmp_path: Path) -> None:
    """The table cannot rot: a row that matches nowhere must go."""
    write(tmp_path, ASYNC, "x = 1\n")
    done = script("unasync.py", "--root", tmp_path)
    assert done.returncode == 1
    assert "is never used: remove it" in done.stderr


@pytest.mark.parametrize("name", ["unasync.py", "gen_proto.py"])
def test_the_committed_files_are_fresh(name: str) -> None:
    """What is committed is what the generators write."""
    done = script(name, "--check")  # the first time, this makes the environment of the generator and says so
    assert done.returncode == 0, done.stderr


def test_a_changed_proto_makes_its_code_stale(tmp_path: Path) -> None:
    """One more field in a message is noticed, and only its files are named."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    proto = tmp_path / "proto/countermand/v1/errors.proto"
    proto.write_text(proto.read_text() + "message Planted {}\n")
    done = script("gen_proto.py", "--check", "--source", tmp_path / "proto")
    assert done.returncode == 1
    assert {line.split()[1] for line in done.stderr.splitlines() if "is stale" in line} == {
        "client/countermand/v1/errors_pb2.py",
        "client/countermand/v1/errors_pb2.pyi",
    }


@pytest.mark.parametrize("python", [".venv/bin/python", ".venv-proto/bin/python"], ids=["newest", "floor"])
def test_the_client_imports_on_the_newest_and_the_oldest_libraries(python: str) -> None:
    """The floors of pyproject.toml are true: .venv-proto holds exactly those versions."""
    script("gen_proto.py", "--check")  # makes .venv-proto
    names = [path.stem for path in sorted((ROOT / "client/countermand/v1").glob("*_pb2*.py"))]
    modules = ["countermand", "grpc_status.rpc_status", *(f"countermand.v1.{name}" for name in names)]
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    done = run(ROOT / python, "-W", "error", "-c", code, PYTHONPATH=str(ROOT / "client"))
    assert (done.returncode, done.stderr) == (0, "")
