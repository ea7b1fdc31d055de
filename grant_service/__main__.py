"""Run the sidecar: `countermand serve`, or `python -m grant_service`."""

import asyncio
import contextlib
import resource
import signal
import sys

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from grant_service.app import Sidecar
from grant_service.core.errors import Refused, explain
from grant_service.log import configure
from grant_service.rpc.listener import Unlistenable
from grant_service.settings import Settings, variable
from grant_service.tokens.private_dir import KeysUnfit
from grant_service.tools_file import ToolsUnfit
from grant_service.welcome import welcome

#: Far above what the slots need, so that connections nobody uses do not keep anybody out.
_DESCRIPTORS = 65_536


def take_descriptors() -> None:
    """Raise the number of open files to what the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sidecar = await Sidecar.start(settings)
    print(welcome(sidecar), flush=True)
    await stop.wait()
    await sidecar.stop()


def main(arguments: list[str] | None = None) -> int:
    """Read the settings, run, and say in one line what went wrong if it did not."""
    try:
        settings = CliApp.run(Settings, cli_args=sys.argv[1:] if arguments is None else arguments)
    except ValidationError as error:
        for fault in error.errors():
            name = variable("_".join(str(part) for part in fault["loc"]))
            print(f"countermand serve: {name}: {fault['msg']}", file=sys.stderr)
        return 2
    configure(settings.log_level)
    take_descriptors()
    try:
        uvloop.run(serve(settings))
    except Refused as refused:
        return _cannot_start(explain(refused.refusal))
    except (Unlistenable, KeysUnfit, ToolsUnfit, OSError) as error:
        return _cannot_start(str(error))
    return 0


def _cannot_start(why: str) -> int:
    print(f"countermand serve: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
