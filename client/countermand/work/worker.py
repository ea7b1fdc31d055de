"""The program of a worker process: calls one function, answers, ends. Imports nothing of countermand.

Started as a file of its own, so that it is there in milliseconds and has nothing of grpc in it.
"""

import os
import pickle
import struct
import sys
import traceback
from typing import Any

LENGTH = struct.Struct("!Q")


def main(request: int, answer: int) -> None:
    """Read the call, make it, and write what came of it."""
    told = _read(request)
    os.set_inheritable(answer, False)  # what the function starts must not keep it open
    _write(answer, _answer(told))
    sys.stdout.flush()
    os._exit(0)  # not by way of what the function has left running


def _read(source: int) -> dict[str, Any]:
    with open(source, "rb") as pipe:
        (length,) = LENGTH.unpack(_exactly(pipe, LENGTH.size))
        told: dict[str, Any] = pickle.loads(_exactly(pipe, length))  # noqa: S301 - from who started it
    return told


def _exactly(pipe: Any, length: int) -> bytes:
    read: bytes = pipe.read(length)
    if len(read) < length:
        os._exit(1)  # who started it is gone
    return read


def _answer(told: dict[str, Any]) -> bytes:
    try:
        function, args = _load(told)
    except BaseException as error:
        return _fault(f"cannot be loaded in a worker process: {type(error).__qualname__}: {error}")
    try:
        result = function(*args)
    except SystemExit as error:
        return pickle.dumps(("exit", error.code if isinstance(error.code, int) else 1))
    except BaseException as error:
        return _raised(error)
    try:
        return pickle.dumps(("result", result))
    except Exception as error:
        return _fault(f"has a result that cannot be sent back: {type(error).__qualname__}: {error}")


def _load(told: dict[str, Any]) -> Any:
    sys.path[:] = told["path"]
    if told["main"] is not None:
        sys.modules["countermand_worker_starts"] = sys.modules["__main__"]  # to be asked for by offload
        _import_main(*told["main"])
        del sys.modules["countermand_worker_starts"]
    return pickle.loads(told["call"])  # noqa: S301 - from who started it


def _import_main(how: str, where: str) -> None:
    """Import the program that the function is written in, under another name, so that it does not start."""
    import runpy
    import types

    module = types.ModuleType("__mp_main__")
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    if how == "module":
        names = runpy.run_module(where, run_name="__mp_main__", alter_sys=True)
    else:
        names = runpy.run_path(where, run_name="__mp_main__")
    module.__dict__.update(names)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _raised(error: BaseException) -> bytes:
    trace = "".join(traceback.format_exception(error))
    try:
        sent = pickle.dumps(("error", error, trace))
        pickle.loads(sent)  # noqa: S301 - our own: some can be written and not read
    except Exception:
        return pickle.dumps(("text", f"{type(error).__qualname__}: {error}", trace))
    return sent


def _fault(what: str) -> bytes:
    return pickle.dumps(("fault", what))


def _write(target: int, answer: bytes) -> None:
    with open(target, "wb", closefd=False) as pipe:
        pipe.write(LENGTH.pack(len(answer)) + answer)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
