"""The program that becomes a command once it is told to. Imports nothing of countermand.

It is started before the permit is asked for, so that nothing but `exec` lies between the permit and the
command. Whoever started it writes the environment into a pipe; if that pipe ends empty, nothing is to be run.
"""

import json
import os
import signal
import sys


def main(go: int, told: int, command: list[str]) -> None:
    """Wait for the word, become the command, or write why that cannot be."""
    with open(go, "rb") as pipe:
        word = pipe.read()
    if not word:
        os._exit(0)
    os.set_inheritable(told, False)  # so that it closes when the command begins
    for name in ("SIGPIPE", "SIGXFSZ", "SIGTTOU"):  # what Python, or who started it, ignores
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, json.loads(word))  # noqa: S606 - the command is the owner's own
    except OSError as error:
        os.write(told, str(error.errno).encode())
        os._exit(127)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
