"""Kill a process at each of its steps on a key directory and say what a start finds afterwards.

    key_crashes.py load_or_create|rotate DIRECTORY [careless]

DIRECTORY must not exist. Prints one JSON list: for each step, how many keys a start loads and whether its
signing key is new, or the error. `careless` writes files in place, for the control. A program of its own
because it forks, which a process with threads had better not.
"""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grant_service.tokens import keys
from grant_service.tokens.private_dir import KeysUnfit, PrivateDir

#: Everything through which the directory changes, or could.
STEPS = ("mkdir", "open", "fdopen", "read", "fsync", "rename", "unlink", "listdir", "close")
KILLED = 9


def main() -> None:
    """Try with a kill at the first step, the second, and so on, until one run needs no more steps."""
    verb, directory = sys.argv[1], Path(sys.argv[2])
    if "careless" in sys.argv:
        PrivateDir.put = write_in_place  # type: ignore[method-assign]
    if verb == "rotate":
        keys.load_or_create(directory)
    findings = []
    for last in itertools.count(1):
        work = directory.with_name(f"step-{last}")
        if directory.exists():
            shutil.copytree(directory, work)
        if not killed_at(last, verb, work):
            break
        findings.append(found(work, directory))
    print(json.dumps(findings))


def killed_at(last: int, verb: str, work: Path) -> bool:
    """Run the verb in a process that dies before its n-th step; False if it had fewer."""
    child = os.fork()
    if not child:
        steps = itertools.count(1)
        for name in STEPS:
            setattr(os, name, dying(getattr(os, name), steps, last))
        getattr(keys, verb)(work)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def dying(real: Callable[..., Any], steps: "itertools.count[int]", last: int) -> Callable[..., Any]:
    """A step that may be the last."""

    def step(*arguments: Any, **more: Any) -> Any:
        if next(steps) == last:
            os._exit(KILLED)
        return real(*arguments, **more)

    return step


def found(work: Path, before: Path) -> Any:
    """What the next start finds, and one more rotation after it."""
    try:
        keyring = keys.load_or_create(work)
        old = keys.load_or_create(before) if before.exists() else keyring
        if not set(old.verifying) <= set(keyring.verifying):
            return "a key is lost"
        rotated = keys.rotate(work)
    except KeysUnfit as error:
        return str(error)
    if not set(keyring.verifying) < set(rotated.verifying):
        return "rotation lost a key"
    return [len(keyring.verifying), keyring.signing.kid != old.signing.kid]


def write_in_place(self: PrivateDir, name: str, content: bytes) -> None:
    """The mistake that `put` avoids."""
    fd = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main()
