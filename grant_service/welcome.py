"""What `countermand serve` prints when it is ready."""

import os
import shutil
import sys
from pathlib import Path

from grant_service.app import Sidecar
from grant_service.settings import default_home


def welcome(sidecar: Sidecar) -> str:
    """Say where it listens, for whom, and what to try next."""
    settings = sidecar.settings
    store = settings.store if "://" not in settings.store else "redis"
    lines = [f"Countermand is ready. Store: {store}. Home: {settings.home}", ""]
    lines += [f"  {role:<11} {address}" for role, address in sidecar.addresses.items()]
    if sidecar.metrics_address:
        lines.append(f"  {'metrics':<11} {sidecar.metrics_address}")
    lines += ["", "Try next, in another terminal:", ""]
    command = _prefix(settings.home) + _command()
    lines += [f"  {command} {words}" for words in _TRY]
    lines += ["", "Stop it with Ctrl-C."]
    return "\n".join(lines)


_TRY = (
    "demo                                      # the whole story in ten seconds",
    "open --run r-1 --agent mailer             # open a run",
    "cancel r-1 --reason user_stop             # stop it, and see the report",
)


def _command() -> str:
    """Name the command so that it can be pasted: by its path if it is not on the PATH."""
    if shutil.which("countermand"):
        return "countermand"
    installed = Path(sys.executable).parent / "countermand"
    here = Path.cwd()
    return os.fspath(installed.relative_to(here) if installed.is_relative_to(here) else installed)


def _prefix(home: os.PathLike[str]) -> str:
    return "" if os.fspath(home) == os.fspath(default_home()) else f"COUNTERMAND_HOME={home} "
