"""Work in a process: a loop that never looks up cannot be told to stop, so it is killed.

The process is started anew and never forked: one that has imported grpc must not be. It has a process group
of its own, which is killed with it; and a keeper beside it, which does so if this process dies.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from countermand._errors import FixTheCall, Stopped, WorkerDied
from countermand.work.names import name_of
from countermand.work.token import CancellationToken
from countermand.work.worker import LENGTH

#: Started with -P: else the folder it lies in would come first where its imports are looked for.
_PROGRAM = str(Path(__file__).with_name("worker.py"))
#: Waits until the process that started it is gone; then nobody waits for an answer of that group any more.
_KEEPER = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"


def packed(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Answer a call as it is sent to a worker process; refused where it cannot be."""
    name = name_of(function)
    if "countermand_worker_starts" in sys.modules:
        raise FixTheCall(
            f"{name} is offloaded while a worker process imports this program: "
            "start the program below 'if __name__ == \"__main__\":'"
        )
    if not sys.executable:
        raise FixTheCall(f"{name} cannot be offloaded: there is no Python to start, sys.executable is empty")
    try:
        call = pickle.dumps((function, args))
    except Exception as error:
        raise FixTheCall(
            f"{name} cannot be sent to a worker process: {error}; "
            "offload a function from the top of a module, with arguments that can be pickled"
        ) from error
    main = _main_program() if b"__main__" in call else None
    told = pickle.dumps({"path": sys.path, "main": main, "call": call})
    return LENGTH.pack(len(told)) + told


def _main_program() -> tuple[str, str] | None:
    """Say how the running program can be imported."""
    main = sys.modules["__main__"]
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return "module", spec.name
    return ("path", str(Path(path).absolute())) if path else None


def call_in_process(token: CancellationToken, call: bytes, name: str) -> Any:
    """Make a call in a new process and answer its result; the stop kills the process. Blocks."""
    token.check()
    worker = _Worker()
    forget = token.on_cancel(lambda _: worker.kill())
    try:
        answer = worker.ask(call)
    finally:
        code = worker.end()
        forget()
    if answer is None:
        if token.stop is not None:
            raise Stopped(token.stop)
        raise WorkerDied(f"the worker process of {name} ended without an answer: {_ending(code)}")
    return _opened(answer, name)


class _Worker:
    """One process, from its start until it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_gone = False
        request, self._request = os.pipe()
        self._answer, answer = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", _PROGRAM, str(request), str(answer)],
                stdin=subprocess.DEVNULL,
                pass_fds=(request, answer),
                process_group=0,
            )
            # Before the call is sent: without one, a worker whose parent dies ends by itself.
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _KEEPER, str(self._process.pid)],
                stdin=subprocess.PIPE,
                process_group=0,
            )
        except BaseException:
            os.close(self._request)
            os.close(self._answer)
            raise
        finally:
            os.close(request)
            os.close(answer)

    def ask(self, call: bytes) -> bytes | None:
        """Send the call and wait for the answer; None if there is none."""
        with suppress(BrokenPipeError), open(self._request, "wb", closefd=False) as pipe:
            pipe.write(call)
        with open(self._answer, "rb", closefd=False) as source:
            head = source.read(LENGTH.size)
            if len(head) < LENGTH.size:
                return None
            (length,) = LENGTH.unpack(head)
            answer = source.read(length)
        return answer if len(answer) == length else None

    def kill(self) -> None:
        """Kill it, and what it started. Its number cannot be another's: nobody else waits for it."""
        with self._lock:
            if not self._is_gone:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int:
        """Make sure that it is gone, and answer how it ended."""
        self.kill()
        with self._keeper:  # it goes first: while the worker is not waited for, its number is nobody else's
            self._keeper.kill()
        with self._lock:
            code = self._process.wait()
            self._is_gone = True
        os.close(self._request)
        os.close(self._answer)
        return code


def _opened(answer: bytes, name: str) -> Any:
    """Answer the result, or raise what the function raised, with the place where it did."""
    sys.modules.setdefault("__mp_main__", sys.modules["__main__"])  # as the worker calls this program
    try:
        what, *told = pickle.loads(answer)  # noqa: S301 - from a process of our own
    except Exception as error:
        raise FixTheCall(f"what {name} answered cannot be read here: {error}") from error
    if what == "result":
        return told[0]
    if what == "fault":
        raise FixTheCall(f"{name} {told[0]}")
    if what == "exit":
        raise WorkerDied(f"the worker process of {name} ended itself with code {told[0]}")
    failure = told[0] if what == "error" else RuntimeError(told[0])
    failure.add_note(f"countermand: in a worker process:\n{told[1]}")
    raise failure if isinstance(failure, Exception) else WorkerDied(f"{name}: {type(failure).__qualname__}")


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"it was killed by {signal.Signals(-code).name}"
    return f"it ended with code {code}"
