"""Refuse files that hold a key, a token, a path of somebody's machine, or the address of a package index.

Looks at what git tracks and at what it would track. The patterns are written so as not to match themselves.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PATTERNS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a JSON Web Token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "an access key": r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{30}|xox[abp]-[\w-]{10}|sk-[\w-]{32})",
    "a path of one machine": r"(?<![\w.:/-])/(?:work|root|(?:home|Users)/\w[\w.-]*)/\w",
    "the address of a package index": r"\b(?:pypi|pythonhosted|npmjs|proxy\.golang)\.org\b",
    "an option that names a package index": r"--(?:extra-)?index-(?:url)|--find-(?:links)[ =]",
}
SECRET_NAMES = re.compile(r"\.(?:pem|key|p12|pfx)$|(?:^|/)id_(?:rsa|ecdsa|ed25519)$|(?:^|/)\.env$")


def tracked(root: Path) -> list[str]:
    """The files git tracks, and the new ones it does not ignore."""
    # In a container the checkout often belongs to another user; reading its file names is safe all the same.
    git = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(git, check=True, stdout=subprocess.PIPE).stdout.decode()
    return sorted(name for name in names.split("\0") if name and (root / name).is_file())


def findings(root: Path) -> Iterator[str]:
    """One line for each thing that must not be published; the thing itself is not repeated."""
    patterns = {what: re.compile(pattern) for what, pattern in PATTERNS.items()}
    for name in tracked(root):
        if SECRET_NAMES.search(name):
            yield f"{name}: the name of a secret file"
        for number, line in enumerate(
            (root / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            yield from (
                f"{name}:{number}: {what}" for what, pattern in patterns.items() if pattern.search(line)
            )


def main() -> int:
    """Command line: the checkout to look at (default: this one)."""
    problems = list(findings(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    for problem in problems:
        print(f"check_secrets: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
