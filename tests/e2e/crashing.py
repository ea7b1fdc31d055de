"""A sidecar that dies where it is told to, as by `kill -9`: `python -m tests.e2e.crashing`.

It counts the steps of each decision of the embedded store: taking the call, every statement that writes,
handing the answer back. What is decided says where to die: in the decision on an action or run called
`die.commit.3` a commit ends the process before its step 3, once. `trace.commit.any` tells its steps.
The product knows nothing of this: its store and its connection are wrapped from outside.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from grant_service.store.sqlite import SqliteStore
from tests.support.standby import live_again_and_again

TRACE, _LAST = "steps:", "answered"


class _Steps:
    """The steps of the decision under way. Decisions are made one at a time where this matters."""

    def __init__(self) -> None:
        self._verb, self._fatal, self._tracing = "", -1, False
        self._taken: list[str] = []

    def begin(self, command: Any) -> None:
        """Look whether this decision is one that was told to die, or to be traced."""
        target = getattr(getattr(command, "intent", None), "op_id", None)
        target = target or getattr(command, "op_id", None) or getattr(command, "run_id", "")
        order, verb, rest = [*target.split(".", 2), "", ""][:3]
        ours = verb == type(command).__name__.lower()
        self._tracing, self._taken = ours and order == "trace", []
        self._died = Path(os.environ["COUNTERMAND_HOME"], f"died.{target}")
        dying = ours and order == "die" and not self._died.exists()
        self._fatal = int(rest) if dying else -1

    def meet(self, step: str) -> None:
        """Take a step, or die before it."""
        if len(self._taken) == self._fatal:
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._taken.append(step)
        if step == _LAST:
            if self._tracing:
                print(TRACE, *self._taken, file=sys.stderr, flush=True)
            self._tracing, self._fatal = False, -1


_steps = _Steps()


class _Connection(sqlite3.Connection):
    """Every statement that is not a question is a step."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        words = sql.split()
        if words[0] not in ("SELECT", "PRAGMA"):
            _steps.meet("-".join(words[: words.index("VALUES")] if "VALUES" in words else words[:2]).lower())
        return super().execute(sql, *parameters)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        """One row after the other, so that it can die between two of them."""
        for row in rows:
            self.execute(sql, row)
        return self.cursor()


def _wrap(owner: type, name: str, before: Callable[..., None], after: Callable[[], None]) -> None:
    inner = getattr(owner, name)

    def wrapped(self: Any, *args: Any) -> Any:
        before(*args)
        answer = inner(self, *args)
        after()
        return answer

    setattr(owner, name, wrapped)


def _nothing(*_: object) -> None:
    pass


if __name__ == "__main__":
    sqlite3.connect = partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
    _wrap(
        SqliteStore, "_decide", lambda rule, command: (_steps.begin(command), _steps.meet("taken")), _nothing
    )
    _wrap(SqliteStore, "_answer", lambda *_: _steps.meet("answer"), lambda: _steps.meet(_LAST))
    sys.exit(live_again_and_again())
