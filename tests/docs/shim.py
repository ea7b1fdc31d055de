"""Stands for `make` and `countermand` on the path of a reader's terminal; see terminal.py.

A program of its own, with the standard library only: what a reader leaves running goes to the background, and
targets of make that take minutes are only planned.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

#: Targets that are run for real. The others take long, need the network, or take the environment away. What
#: `make demo` runs is run for real on the page of the command line.
_QUICK = frozenset({"help", "setup", "serve"})
_READY = "Countermand is ready"
_SECONDS = 60.0


def real(name: str, arguments: list[str]) -> list[str]:
    """The command line of the program itself."""
    shims = os.environ["DOCS_SHIMS"]
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != shims)
    program = shutil.which(name, path=path)
    if program is None:
        sys.exit(f"{name}: not found")
    if name != "make":
        return [program, *arguments]
    planned = [] if set(arguments) <= _QUICK else ["-n"]
    return [program, "--no-print-directory", "-C", os.environ["DOCS_ROOT"], *planned, *arguments]


def leave_running(command: list[str]) -> int:
    """Start it in a session of its own and wait until it is ready; its process id is left in a file."""
    pids = Path(os.environ["DOCS_PIDS"])
    log = pids.with_name("serve.log")
    with log.open("wb") as output:
        left = subprocess.Popen(command, start_new_session=True, stdout=output, stderr=subprocess.STDOUT)
    with pids.open("a") as file:
        file.write(f"{left.pid}\n")
    deadline = time.monotonic() + _SECONDS
    while _READY not in (said := log.read_text("utf-8")):
        if left.poll() is not None or time.monotonic() > deadline:
            print(said)
            return 1
        time.sleep(0.02)
    return 0


def main(name: str, arguments: list[str]) -> int:
    """Run one command of a page."""
    command = real(name, arguments)
    if arguments[:1] != ["serve"] or {"--help", "-h"} & set(arguments):
        os.execv(command[0], command)  # noqa: S606 - becomes the program itself
    return leave_running(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
