"""Derive the sync client from the async one, or with --check say which derived files are stale.

Async is written once; the table below is all there is between the two. Substitutions apply in order, to code
and to tests alike. One that is never used is an error, so the table cannot rot. Shorter words change line
breaks and the order of imports, so ruff puts the result in shape.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREES = {  # written -> derived
    "client/countermand/_async": "client/countermand/_sync",
    "client/countermand/__init__.py": "client/countermand/sync.py",
    "tests/client/_async": "tests/client/_sync",
}
HEADER = "# Derived from {} by scripts/unasync.py. Do not edit.\n"

SUBSTITUTIONS = [
    # the language
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\baclosing\b", "closing"),
    # our own names
    (r"\b_async\b", "_sync"),
    (r"\basync_lock\b", "lock"),
    (r"\bAsync([A-Z]\w*)\b", r"\1"),
    (r"\bwork\.scope\b", "work.blocking"),
    # tests
    (r"(?m)^import countermand$", "import countermand.sync as countermand"),
]


class Substitutions:
    """Applies the table and remembers which rows did something."""

    def __init__(self, table: list[tuple[str, str]]) -> None:
        self._table = [(re.compile(pattern), replacement) for pattern, replacement in table]
        self._used: set[str] = set()

    def apply(self, text: str) -> str:
        """The sync text of an async one."""
        for pattern, replacement in self._table:
            text, count = pattern.subn(replacement, text)
            if count:
                self._used.add(pattern.pattern)
        return text

    def unused(self) -> list[str]:
        """The patterns that matched nowhere so far."""
        return [pattern.pattern for pattern, _ in self._table if pattern.pattern not in self._used]


def derive(root: Path, substitutions: Substitutions) -> dict[Path, str]:
    """Every derived file, by its path below `root`, with its whole text."""
    derived = {}
    for written, target in TREES.items():
        for source in _files(root / written):
            header = HEADER.format(source.relative_to(root).as_posix())
            path = Path(target) / source.relative_to(root / written)
            derived[path] = header + substitutions.apply(source.read_text(encoding="utf-8"))
    return _in_shape(derived)


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _in_shape(derived: dict[Path, str]) -> dict[Path, str]:
    """The same files with imports sorted and lines broken the way the rest of the tree has them."""
    with tempfile.TemporaryDirectory() as temporary:
        _save(Path(temporary), derived)
        for step in (["check", "--quiet", "--select=I", "--fix"], ["format", "--quiet"]):
            ruff = [sys.executable, "-m", "ruff", *step, f"--config={ROOT / 'pyproject.toml'}", "--no-cache"]
            subprocess.run([*ruff, temporary], check=True)
        return {path: (Path(temporary) / path).read_text(encoding="utf-8") for path in derived}


def _save(root: Path, files: dict[Path, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())


def present(root: Path) -> set[Path]:
    """The derived files that are there now, by their path below `root`."""
    return {path.relative_to(root) for target in TREES.values() for path in _files(root / target)}


def stale(root: Path, derived: dict[Path, str]) -> list[Path]:
    """The files that are missing, left over, or different in any byte."""
    missing = derived.keys() ^ present(root)
    different = {
        path for path in derived.keys() - missing if (root / path).read_bytes() != derived[path].encode()
    }
    return sorted(missing | different)


def write(root: Path, derived: dict[Path, str]) -> None:
    """Make the derived trees hold exactly `derived`."""
    for left_over in present(root) - derived.keys():
        (root / left_over).unlink()
    _save(root, derived)


def main() -> int:
    """Command line: derive, or only compare."""
    parser = argparse.ArgumentParser(description="Derive the sync client from the async one.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail and name the files that are stale"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    arguments = parser.parse_args()
    problems = run(arguments.root, arguments.check)
    for problem in problems:
        print(f"unasync: {problem}", file=sys.stderr)
    return int(bool(problems))


def run(root: Path, check: bool) -> list[str]:
    """Derive (or compare) and return what is wrong, a line each."""
    substitutions = Substitutions(SUBSTITUTIONS)
    derived = derive(root, substitutions)
    problems = []
    if derived:  # before there is a client, no substitution can be in use
        problems += [
            f"substitution {pattern!r} is never used: remove it" for pattern in substitutions.unused()
        ]
    if check:
        problems += [f"{path.as_posix()} is stale: run 'make gen'" for path in stale(root, derived)]
    else:
        write(root, derived)
    return problems


if __name__ == "__main__":
    sys.exit(main())
