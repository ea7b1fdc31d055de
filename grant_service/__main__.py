"""Run the sidecar: `countermand serve`, or `python -m grant_service`."""

import asyncio
import signal
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from grant_service.app import Sidecar
from grant_service.core.errors import Refused, explain
from grant_service.log import configure
from grant_service.settings import Settings, variable
from grant_service.welcome import welcome


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
    try:
        asyncio.run(serve(settings))
    except Refused as refused:
        print(f"countermand serve: {explain(refused.refusal)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
