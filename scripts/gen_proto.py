"""Generate client/countermand/v1 from proto/countermand/v1, or with --check say which files are stale.

The path of a proto package equals the path of its Python package, so the imports in generated code are right
as they come. The generator is older than the libraries this project runs on, on purpose: generated code
refuses any grpcio or protobuf older than its generator, so requirements/proto.in sets the project's floors.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import locked_venv

ROOT = locked_venv.ROOT
SOURCE = ROOT / "proto"
PACKAGE = Path("countermand/v1")
TARGET = ROOT / "client" / PACKAGE
# protoc plugin -> its option. The stubs (.pyi) are what makes messages and services checkable by mypy.
PLUGINS = {"python": "", "grpc_python": "", "mypy": "quiet:", "mypy_grpc": "quiet:"}
INIT = '"""Generated from proto/countermand/v1 by scripts/gen_proto.py. Do not edit."""\n'


def generate(source: Path, out: Path) -> None:
    """Write the package for every proto under `source` below `out`."""
    python = locked_venv.ensure(ROOT / ".venv-proto", ROOT / "requirements" / "proto.txt")
    protos = sorted((source / PACKAGE).glob("*.proto"))
    if not protos:
        sys.exit(f"gen_proto: no .proto files in {source / PACKAGE}")
    (out / PACKAGE).mkdir(parents=True, exist_ok=True)
    outputs = [f"--{plugin}_out={option}{out}" for plugin, option in PLUGINS.items()]
    subprocess.run(
        [python, "-m", "grpc_tools.protoc", f"-I{source}", *outputs, *map(str, protos)],
        check=True,
        env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
    )
    (out / PACKAGE / "__init__.py").write_text(INIT)


def stale(fresh: Path, committed: Path) -> list[str]:
    """Name the files that are in only one of the two folders or differ in any byte."""
    names = {path.name for folder in (fresh, committed) for path in folder.glob("*.py*")}
    return sorted(name for name in names if not _same(fresh / name, committed / name))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def replace(fresh: Path, committed: Path) -> None:
    """Make `committed` hold exactly the fresh files."""
    committed.mkdir(parents=True, exist_ok=True)
    for old in committed.glob("*.py*"):
        old.unlink()
    for new in fresh.iterdir():
        shutil.copyfile(new, committed / new.name)


def main() -> int:
    """Command line: generate, or only compare."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail and name the files that are stale"
    )
    parser.add_argument(
        "--source", type=Path, default=SOURCE, help="folder of the .proto files (default: proto)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            generate(arguments.source.resolve(), Path(temporary))
        except (locked_venv.SetUpFailed, subprocess.CalledProcessError) as failure:
            print(f"gen_proto: {failure}", file=sys.stderr)
            return 1
        fresh = Path(temporary) / PACKAGE
        if not arguments.check:
            replace(fresh, TARGET)
            return 0
        names = stale(fresh, TARGET)
    for name in names:
        print(f"gen_proto: {TARGET.relative_to(ROOT) / name} is stale: run 'make gen'", file=sys.stderr)
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
