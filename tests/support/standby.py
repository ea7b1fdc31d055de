"""A sidecar that is there again a moment after it died: `python -m tests.support.standby`.

A process that has everything imported stands by and forks the next life as soon as one is killed, so that a
test can crash it a hundred times. It ends when a life ends by itself, or when it is told to (SIGTERM);
then the life under way ends first.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from grant_service.__main__ import main
from tests.support.sidecar import SidecarProcess, start_sidecar

PROGRAM = ("-m", "tests.support.standby")


def live_again_and_again() -> int:
    """Serve; killed, serve again; answer the exit code of the life that ended otherwise."""
    held, left = os.pipe()
    while True:
        life = os.fork()
        if life == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(left)
            threading.Thread(target=_end_with, args=(held,), daemon=True).start()
            return main([])
        signal.signal(signal.SIGTERM, partial(_end, life))
        _, status = os.waitpid(life, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != -signal.SIGKILL:
            return code


def _end(life: int, *_: object) -> None:
    os.kill(life, signal.SIGKILL)
    os.waitpid(life, 0)
    os._exit(0)


def _end_with(pipe: int) -> None:
    """End this process when nobody holds the other end of the pipe: the one standing by was killed."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGKILL)


class Lives:
    """The lives of one sidecar, one after another on the same data."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.sidecar, self.pid = sidecar, _holder(sidecar)

    def kill(self) -> None:
        """End the life under way as a crash would (SIGKILL)."""
        os.kill(self.pid, signal.SIGKILL)

    def wait_for_next(self, seconds: float = 20.0) -> None:
        """Wait until the next life is ready; the last one must have ended, or be about to."""
        end = time.monotonic() + seconds
        while _holder(self.sidecar) in (0, self.pid):
            assert time.monotonic() < end, f"no next life after {seconds:g} s: {self.sidecar.err}"
            time.sleep(0.002)
        self.sidecar.wait_ready()
        self.pid = _holder(self.sidecar)


def _holder(sidecar: SidecarProcess) -> int:
    """The process that serves now, by its lock; 0 while one is taking it."""
    return int((sidecar.home / "run" / "lock").read_text() or 0)


@contextmanager
def lives_of_a_sidecar(program: Sequence[str] = PROGRAM, **settings: object) -> Iterator[Lives]:
    """Start a sidecar that comes back for a `with` block."""
    sidecar = start_sidecar(None, program, **settings)
    try:
        yield Lives(sidecar)
    finally:
        if sidecar.running:
            sidecar.terminate()
        sidecar.close()


if __name__ == "__main__":
    sys.exit(live_again_and_again())
