"""A command and whatever it starts, as one process group: held back, begun, stopped, and gone in the end."""

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

_PROGRAM = str(Path(__file__).with_name("launcher.py"))
#: Waits until the process that started it is gone, by `kill -9` too; then nobody owns that group any more.
_KEEPER = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"
#: What is passed on to the command.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Child:
    """One command. Use it in a `with` block: at its end nothing of its process group is left."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._old: dict[int, object] = {}
        self._stop_asked = False
        self._kill_at: float | None = None
        self._has_begun = False
        self._terminal = _Terminal()

    def __enter__(self) -> "Child":
        go, self._go = os.pipe()
        self._told, told = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _PROGRAM, str(go), str(told), *self._command],
                pass_fds=(go, told),
                process_group=0,
            )
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _KEEPER, str(self._process.pid)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        finally:
            os.close(go)
            os.close(told)
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what is left of the group, and wait for it. Its number is nobody else's until then."""
        self._forget_to_go()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with self._keeper:
            self._keeper.kill()
        self._process.wait()
        self._terminal.take_back()
        signal.set_wakeup_fd(-1)
        for number, old in self._old.items():
            signal.signal(number, old)  # type: ignore[arg-type]
        for pipe in (self._told, self._woken, self._wake):
            os.close(pipe)

    def begin(self, environment: Mapping[str, str]) -> OSError | None:
        """Let the command begin; answer why it could not, if so."""
        self._has_begun = True
        self._terminal.give_to(self._process.pid)
        with suppress(BrokenPipeError), open(self._go, "wb", closefd=False) as pipe:
            pipe.write(json.dumps(dict(environment)).encode())
        self._forget_to_go()
        with open(self._told, "rb", closefd=False) as pipe:
            said = pipe.read()  # ends when the command begins
        return OSError(int(said), os.strerror(int(said))) if said else None

    def _forget_to_go(self) -> None:
        if self._go >= 0:
            os.close(self._go)
            self._go = -1

    def stop(self) -> None:
        """Have it stopped by whoever waits; from any thread, once or more."""
        self._stop_asked = True
        with suppress(BlockingIOError, OSError):
            os.write(self._wake, b".")

    @property
    def was_stopped(self) -> bool:
        """Whether it was sent a signal for a stop: one that came after its end does not count."""
        return self._kill_at is not None

    def wait(self, grace: float) -> int:
        """Wait until it has ended; answer its code, negative for a signal. A stop has `grace` seconds."""
        while (code := self._ended()) is None:
            if self._stop_asked:
                self._end_it(grace)
            left = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            select.select([self._woken], [], [], left)
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
        self._send(signal.SIGKILL)  # what it left behind belongs to nobody any more
        return code

    def _end_it(self, grace: float) -> None:
        """Ask the group to end, and kill it when its time is over."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)  # what is suspended hears nothing
        elif time.monotonic() >= self._kill_at:
            self._kill_at = time.monotonic() + 1  # what the kernel holds fast may take its time
            self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _ended(self) -> int | None:
        """Look whether it has ended, and leave it unburied: so nobody else is given its number."""
        seen = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            if os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOHANG) and not self._stop_asked:
                self._terminal.suspend(self._process.pid)
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def _listen(self) -> None:
        """Be woken by its end and by signals, and pass on those that are meant for the command."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._old[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup: the command ignores it, too
                self._old[number] = signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if not self._has_begun:
            raise SystemExit(128 + number)  # nothing has begun, and nothing will
        self._send(number)
        self._send(signal.SIGCONT)


class _Terminal:
    """The terminal, if this command has it: Ctrl-C and Ctrl-Z are for whoever has it."""

    def __init__(self) -> None:
        self._is_ours = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
        self._is_lent = False

    def give_to(self, group: int) -> None:
        """Lend it to a group."""
        if self._is_ours:
            self._old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or taking it back would suspend us
            self._is_lent = True
            os.tcsetpgrp(0, group)

    def take_back(self) -> None:
        """Have it again."""
        if self._is_lent:
            self._is_lent = False
            with suppress(OSError):
                os.tcsetpgrp(0, os.getpgrp())
            signal.signal(signal.SIGTTOU, self._old)

    def suspend(self, group: int) -> None:
        """Be suspended as the group is, and go on with it."""
        if not self._is_lent:
            return
        self.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)  # here the shell goes on, until `fg` or `bg`
        if os.tcgetpgrp(0) == os.getpgrp():
            self.give_to(group)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)


def could_not_begin(error: OSError) -> str:
    """Say why, in words."""
    return "no such command" if error.errno == errno.ENOENT else str(error.strerror).lower()
