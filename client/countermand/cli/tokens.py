"""Grant tokens in a shell: in a file only their owner can read, never on a command line.

Other users of a machine can read every process's arguments. So a token comes from its file under the home (by
the grant's id), from a file, from standard input or from the environment.
"""

import os
import re
import stat
import sys
import time
from pathlib import Path

import typer

from countermand import SecretToken

VARIABLE = "COUNTERMAND_GRANT_TOKEN"

_SUFFIX = ".token"
_GRANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: How long token files are kept, in seconds: a token outlives its grant to settle what happened under it.
_KEPT_S = 2 * 86_400


def keep(home: Path, grant_id: str, token: SecretToken) -> Path:
    """Keep a grant's token for later commands; answer where."""
    directory = _directory(home)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise typer.BadParameter(
            f"others can enter {directory}, so no token is kept there; run: chmod 700 {directory}",
            param_hint="--home",
        )
    _forget_old(directory)
    path = directory / f"{grant_id}{_SUFFIX}"
    # Written beside and moved in place: no reader ever sees half a token, and a link at the name is replaced.
    draft = directory / f".{grant_id}.{os.getpid()}"
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token.reveal() + "\n")
    os.replace(draft, path)
    return path


def _forget_old(directory: Path) -> None:
    for path in directory.glob(f"*{_SUFFIX}"):
        if path.lstat().st_mtime < time.time() - _KEPT_S:
            path.unlink(missing_ok=True)


def kept_grants(home: Path) -> list[str]:
    """Grants whose tokens are kept, the youngest first."""
    paths = sorted(_directory(home).glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.name.removesuffix(_SUFFIX) for path in paths]


def find(home: Path, told: str | None, hint: str = "--grant") -> SecretToken:
    """Find the token: told is a grant id, @FILE, - for standard input, or None for the environment."""
    if told is None:
        text = os.environ.get(VARIABLE, "")
        if not text:
            raise _wrong(f"say which grant: {hint} GRANT_ID, @FILE or -, or set {VARIABLE}", hint)
        return SecretToken(text.strip())
    if told == "-":
        return SecretToken(sys.stdin.readline().strip())
    if told.startswith("@"):
        return _read(Path(told[1:]).expanduser(), hint)
    if told.count(".") == 2 and told.startswith("eyJ"):
        raise _wrong(
            f"takes no token: others can read a command line; use its id, @FILE, - or {VARIABLE}", hint
        )
    if not _GRANT_ID.fullmatch(told):
        raise _wrong("takes a grant id, @FILE, or - for standard input", hint)
    path = _directory(home) / f"{told}{_SUFFIX}"
    if not path.exists():
        raise _wrong(
            f"no token of grant {told} is kept in {path.parent}; issue it here, or use @FILE or -", hint
        )
    return _read(path, hint)


def _read(path: Path, hint: str) -> SecretToken:
    try:
        return SecretToken(path.read_text(encoding="ascii").strip())
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no token"
        raise _wrong(f"cannot read {path}: {why}", hint) from None


def _directory(home: Path) -> Path:
    return home / "grants"


def _wrong(rule: str, hint: str) -> typer.BadParameter:
    return typer.BadParameter(rule, param_hint=hint)
