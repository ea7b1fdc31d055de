"""The file in which whoever integrates tools registers them: read and checked once, at start.

One table for each action, by its exact name:

    [tools."email.send"]
    reversibility = "COMPENSABLE"
    compensation = "email.recall"
"""

import os
import shlex
import stat
import tomllib
from pathlib import Path
from typing import Any

from grant_service.core.scope import Reversibility, action_fault
from grant_service.core.tools import Tool, Tools
from grant_service.rpc.limits import id_fault
from grant_service.settings import Settings

#: A thousand tools at their longest.
_MAX_BYTES = 1 << 20

_NAMES = ("compensation", "canceller", "probe")
_KEYS = ("reversibility", *_NAMES)


class ToolsUnfit(Exception):
    """The tools cannot be registered; the message is one line: file, table, key, and the rule."""


def read_tools(settings: Settings) -> Tools:
    """Read what is registered; without a file nothing is, and everything may be said."""
    if not settings.tools:
        if settings.tools_only:
            raise ToolsUnfit("COUNTERMAND_TOOLS_ONLY needs a tools file; name one in COUNTERMAND_TOOLS")
        return Tools()
    path = Path(settings.tools)
    try:
        tables = _tables(_content(path))
        return Tools({action: _tool(action, told) for action, told in tables.items()}, settings.tools_only)
    except OSError as error:
        raise ToolsUnfit(f"{path} cannot be read ({error.strerror}); see COUNTERMAND_TOOLS") from error
    except (ValueError, RecursionError) as error:
        raise ToolsUnfit(f"{path}: {' '.join(str(error).split())}") from error


def _content(path: Path) -> str:
    """Read the file, unless others could change it: it says what may undo what."""
    with open(path, "rb", opener=_without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            raise ValueError(f"must be a plain file of at most {_MAX_BYTES} bytes")
        if found.st_uid not in (os.getuid(), 0):
            raise ValueError("belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o022:
            raise ValueError(f"can be changed by others; run: chmod go-w {shlex.quote(str(path))}")
        return file.read(_MAX_BYTES).decode("utf-8")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would keep the start waiting for a writer


def _tables(content: str) -> dict[str, Any]:
    told = tomllib.loads(content)
    for other in told.keys() - {"tools"}:
        raise ValueError(f'{other} is unknown here; every table is [tools."ACTION"]')
    tables = told.get("tools")
    if not isinstance(tables, dict) or not tables:
        raise ValueError('must hold a table for each action, such as [tools."email.send"]')
    return tables


def _tool(action: str, told: Any) -> Tool:
    table = f'[tools."{action}"]'
    if not isinstance(told, dict):
        raise ValueError(f"{table} must be a table")
    if fault := action_fault(action):
        raise ValueError(f"{table}: the name {fault}")
    for key, value in told.items():
        if isinstance(value, dict):
            raise ValueError(
                f'{table}: {key} is a table; write the action in quotes: [tools."{action}.{key}"]'
            )
        if key not in _KEYS:
            raise ValueError(f"{table}: {key} is unknown; the keys are {', '.join(_KEYS)}")
        if fault := _fault(key, value):
            raise ValueError(f"{table}: {key} {fault}")
    names = {key: told.get(key, "") for key in _NAMES}
    tool = Tool(action, Reversibility(told["reversibility"]) if "reversibility" in told else None, **names)
    if tool.fault:
        key, rule = tool.fault
        raise ValueError(f"{table}: {key} {rule}")
    return tool


def _fault(key: str, value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a text in quotes"
    if key == "reversibility":
        return None if value in set(Reversibility) else f"must be one of {', '.join(Reversibility)}"
    return id_fault(value)
