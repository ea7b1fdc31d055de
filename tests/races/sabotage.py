"""Sidecars with a planted defect, for the checker to find: `python -m tests.races.sabotage NAME`.

Each is the real sidecar with one guard taken out, started as a process like the real one. The product has no
switch for any of this: the guards are replaced from outside, before it starts.
"""

import hashlib
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from countermand.v1 import control_service_pb2 as pb
from grant_service import app
from grant_service.core import verbs
from grant_service.core.compile import compile_report
from grant_service.core.errors import granted
from grant_service.core.journal import Entry
from grant_service.core.lifecycle import questions
from grant_service.core.run import Run, RunState
from grant_service.core.store import State
from grant_service.rpc.control import ControlServicer
from grant_service.rpc.journal import report_message
from grant_service.store import redis, sqlite
from grant_service.store.scripts import Script, scripts
from tests.support.standby import live_again_and_again

_PERMITTING = ("commit", "perform")
_LOOK = "local reason, details = ended(PATH, RUNS_AT, RUN_ID, OWNERS)"


def run_checked_before() -> None:
    """Look whether the run is active, then decide: what a flag in front of the store would do."""
    guarded = scripts()
    unguarded = guarded | _without(guarded, _LOOK, "local reason, details = nil, nil", *_PERMITTING)

    class Careless(redis.RedisStore):
        async def _act(self, verb: str, command: Any, *rest: Any) -> Any:
            active = verb in _PERMITTING and _active(await self.runs(_path(command)))
            # Nothing comes between this line and the choice of the script.
            self._scripts = unguarded if active else guarded
            return await super()._act(verb, command, *rest)

    redis.RedisStore = Careless  # type: ignore[misc]


def run_checked_before_on_sqlite() -> None:
    """The same on the embedded store."""

    class Careless(sqlite.SqliteStore):
        async def _decide(self, rule: Callable[[State, Any], Any], command: Any) -> Any:
            permitting = isinstance(command, verbs.Commit | verbs.Perform)
            if permitting and _active(await self.runs(_path(command))):
                rule = _unguarded(rule)
            return await super()._decide(rule, command)

    app.SqliteStore = Careless  # type: ignore[misc]


def _unguarded(rule: Callable[[State, Any], Any]) -> Callable[[State, Any], Any]:
    """A rule that does not look at runs. Rules run in one thread, one after another."""

    def decide(state: State, command: Any) -> Any:
        kept, questions.ended = questions.ended, lambda *_: None
        try:
            return rule(state, command)
        finally:
            questions.ended = kept

    return decide


def _path(command: Any) -> tuple[str, ...]:
    return (*command.grant.ancestors, command.grant.run_id)


def _active(runs: list[Run | None]) -> bool:
    return all(run is not None and run.state is RunState.ACTIVE for run in runs)


def ancestors_forgotten() -> None:
    """Look at the action's own run only, not at those above it."""
    own = "local reason, details = ended({ RUN_ID }, REST - 1, RUN_ID, OWNERS)"
    _plant(_LOOK, own, *_PERMITTING)


def permit_given_twice() -> None:
    """Forget, when asked again, that there is a permit already."""
    asked = ("if action.state == 'PERMITTED' then", "if state == 'PERMITTED' then")
    changed = {name: scripts()[name] for name in _PERMITTING}
    for guard in asked:
        changed = _without(changed, guard, "if false then", *_PERMITTING)
    _put(scripts() | changed)


def late_attempts_forgotten() -> None:
    """Refuse, and leave no line in the journal."""
    _plant("append(JOURNAL, 'REFUSED', unpack(data))", "", *_PERMITTING)


def report_read_before_the_cut() -> None:
    """Read the journal first and cancel then: what is permitted in between is missing from the report."""

    class Stale:
        def __init__(self, store: Any, run_id: str, entries: list[Entry]) -> None:
            self._store, self._run_id, self._entries = store, run_id, entries

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def journal(self, run_id: str, *rest: int) -> list[Entry]:
            return self._entries if run_id == self._run_id else await self._store.journal(run_id, *rest)

    async def careless(self: Any, request: pb.CancelRunRequest) -> pb.CancelRunResponse:
        command = self._decode.cancel(request)
        entries = await self._store.journal(command.run_id, 0, 999)
        cancelled = await self._store.cancel(command)
        stale: Any = Stale(self._store, command.run_id, entries)
        report = granted(await compile_report(stale, command.run_id))
        message = await report_message(report, self._signer)
        return pb.CancelRunResponse(report=message, replayed=cancelled.replayed, known=cancelled.known)

    ControlServicer.CancelRun = careless  # type: ignore[method-assign]


def answered_before_it_is_durable() -> None:
    """Leave each transaction open until the next one: what was answered last is lost with the process."""

    class Lazy(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                return super().execute("SELECT 0")
            if sql.startswith("BEGIN") and self.in_transaction:
                super().execute("COMMIT")
            return super().execute(sql, *parameters)

    sqlite3.connect = partial(sqlite3.connect, factory=Lazy)  # type: ignore[assignment]


def _plant(old: str, new: str, *in_scripts: str, times: int = 1) -> None:
    """Put the text `new` in the place of `old` in some scripts of every store."""
    _put(scripts() | _without(scripts(), old, new, *in_scripts, times=times))


def _put(planted: dict[str, Script]) -> None:
    """Have every store use these scripts."""
    redis.scripts = lambda host=None: planted  # type: ignore[misc,assignment]


def _without(given: dict[str, Script], old: str, new: str, *names: str, times: int = 1) -> dict[str, Script]:
    return {name: _changed(given[name], old, new, times) for name in names}


def _changed(script: Script, old: str, new: str, times: int) -> Script:
    """The guard must be there to be taken out, or this would test nothing."""
    assert script.text.count(old) == times, f"{old!r} is in {script.name} {script.text.count(old)} times"
    text = script.text.replace(old, new)
    return replace(script, text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


#: Defects that show in a race, each with the rules of the checker of which it must break one.
DEFECTS: dict[Callable[[], None], tuple[str, ...]] = {
    run_checked_before: ("LATE", "UNLISTED", "AFTER THE CUT"),
    run_checked_before_on_sqlite: ("LATE", "UNLISTED", "AFTER THE CUT"),
    ancestors_forgotten: ("LATE",),
    permit_given_twice: ("TWICE",),
    late_attempts_forgotten: ("LATE ATTEMPTS",),
    report_read_before_the_cut: ("UNLISTED",),
}

if __name__ == "__main__":
    {defect.__name__: defect for defect in (*DEFECTS, answered_before_it_is_durable)}[sys.argv.pop(1)]()
    sys.exit(live_again_and_again())
