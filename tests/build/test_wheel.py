"""The wheel holds what users install, and nothing that would collide with theirs."""

import zipfile

import pytest

from tests.build.support import ROOT, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built without the network."""
    out = tmp_path_factory.mktemp("wheel")
    done = run(ROOT / ".venv/bin/python", "-m", "hatchling", "build", "-t", "wheel", "-d", out)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_installs_two_packages(wheel: zipfile.ZipFile) -> None:
    """`client/` is a source root: no top-level `client` reaches site-packages."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"countermand", "grant_service", "countermand-0.1.0.dist-info"}


def test_the_wheel_ships_every_module_script_and_marker(wheel: zipfile.ZipFile) -> None:
    """All Python and Lua files, style sheets and py.typed are in it, stubs included."""
    kinds = ("*.py", "*.pyi", "*.lua", "*.css", "py.typed")
    sources = {
        path.relative_to(root).as_posix()
        for root, package in ((ROOT, "grant_service"), (ROOT / "client", "countermand"))
        for kind in kinds
        for path in (root / package).rglob(kind)
    }
    assert "countermand/py.typed" in sources
    assert sources <= set(wheel.namelist())


def test_the_wheel_needs_little_without_extras(wheel: zipfile.ZipFile) -> None:
    """A tool that installs the client gets grpcio and protobuf, and keeps its own redis."""
    metadata = wheel.read("countermand-0.1.0.dist-info/METADATA").decode()
    needs = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    assert sorted(line.split()[1].partition(">")[0] for line in needs) == [
        "grpcio",
        "grpcio-status",
        "protobuf",
    ]
    assert (ROOT / "LICENSE").read_bytes() == wheel.read("countermand-0.1.0.dist-info/licenses/LICENSE")
