"""A sink for log lines that neither raises nor blocks: no decision waits for whoever reads the log."""

import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

#: How much memory the lines may take that wait for the stream, in bytes: some 3000 refusals.
_LIMIT = 512 * 1024
#: When a write that failed is tried again: at a full disk, and at a pipe that its owner made non-blocking.
_AGAIN_S, _SOON_S = 1.0, 0.05
#: How long the end of the process waits for the lines that are left.
_GRACE_S = 1.0

#: Writes what it can, and answers how many bytes that was, as os.write does.
Write = Callable[[bytes], int]


class Sink:
    """Takes lines at once, and writes them in their order from a thread of its own.

    What a stuck or failing stream leaves no room for is dropped, and a line in its place tells how much.
    """

    def __init__(self, write: Write, dropped_line: Callable[[int], str]) -> None:
        """Write with `write`; `dropped_line` words how many lines were dropped."""
        self._write, self._dropped_line = write, dropped_line
        self._lines: deque[bytes] = deque()
        self._held = 0  # bytes
        self._dropped = 0
        # Reentrant, as a Condition is by itself: a collection of garbage inside `put` may log, too.
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        # A daemon: stuck in a write, it must not keep the process from its end.
        threading.Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.flush)

    def put(self, text: str) -> None:
        """Take a line, or drop it and count."""
        line = (text + "\n").encode("utf-8", "backslashreplace")
        with self._changed:
            # Once something was dropped, so is all that follows until the reader has caught up: one gap
            # with one line about it, not a gap at every second line.
            if self._dropped or self._held + sys.getsizeof(line) > _LIMIT:
                self._dropped += 1
            else:
                self._append(line)
            self._changed.notify_all()

    def flush(self, seconds: float = _GRACE_S) -> bool:
        """Wait until all is written, but no longer than this; say whether it is."""
        self._hurry.set()
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting(), seconds)

    def _waiting(self) -> bool:
        return bool(self._lines or self._dropped)

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._held += sys.getsizeof(line)

    def _run(self) -> None:
        while True:
            self._write_all(self._next())
            with self._changed:
                # Only now: until it is written it takes room, and a flush waits for it.
                self._held -= sys.getsizeof(self._lines.popleft())
                self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(self._waiting)
            if not self._lines:
                count, self._dropped = self._dropped, 0
                self._append((self._dropped_line(count) + "\n").encode())
            return self._lines[0]

    def _write_all(self, line: bytes) -> None:
        """Write the whole line, however often that fails: half a line would spoil the next one."""
        while line:
            try:
                line = line[self._write(line) :]
            except BlockingIOError:
                time.sleep(_SOON_S)
            except (
                Exception
            ):  # OSError, or ValueError of a closed stream: nobody to tell, and no reason to end
                if self._hurry.wait(_AGAIN_S):
                    self._hurry.clear()


def writer(stream: TextIO | None) -> Write:
    """Write to a stream by its descriptor if it has one.

    The stream's own buffer would keep what could not be written, and its lock would be held by a stuck write:
    the interpreter waits for both, or aborts, at its end.
    """
    if stream is None:  # as Python has it if the descriptor was closed before its start
        _hold_standard_descriptors()
        return len
    try:
        # Of our own, because a closed one's number may soon be that of another file.
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):
        return _by_its_methods(stream)
    return lambda line: os.write(descriptor, line)


def _by_its_methods(stream: TextIO) -> Write:
    def write(line: bytes) -> int:
        stream.write(line.decode())
        stream.flush()
        return len(line)

    return write


def _hold_standard_descriptors() -> None:
    """Keep the numbers 0 to 2 from files to come: libraries in C write to number 2, whatever it is."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
