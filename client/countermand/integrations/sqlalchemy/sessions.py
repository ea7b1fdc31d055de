"""Sessions whose transactions ask before they reach the database, blocking and async."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from countermand._approval import APPROVAL_TIMEOUT
from countermand._errors import FixTheCall
from countermand._span import Span
from countermand._words import Reversibility
from countermand.integrations.sqlalchemy.fences import FenceRows
from countermand.integrations.sqlalchemy.worlds import makes_async_sessions
from countermand.integrations.sqlalchemy.writing import Writing

_WRITING = "countermand.writing"


def guard_sessions(
    sessions: Any,
    action: str,
    *,
    resource: str | Callable[[Session], str] = "",
    args: Mapping[str, object] | Callable[[Session], Mapping[str, object]] | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    probe: str = "",
    costs: Mapping[str, int] | None = None,
    summary: str = "",
    use_within: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
    fences: FenceRows | None = None,
) -> None:
    """Let the transactions of these sessions reach the database only under a permit for `action`.

    `sessions` is a `sessionmaker`, an `async_sessionmaker`, a scoped session of either, or a class. An
    action is prepared with the first write of a transaction, and permitted right before its COMMIT; what is
    rolled back is abandoned. A transaction that only reads asks as well, if it is committed.

    `resource` and `args` may be functions of the session, asked when its transaction begins; `session.info`
    is a place for what they need. The others are as in `countermand.action`. With `fences` the database
    itself is asked, too.
    """
    told = {
        "name": action,
        "reversibility": reversibility,
        "compensation": compensation,
        "probe": probe,
        "costs": costs,
        "summary": summary,
        "approval_timeout": approval_timeout,
        "timeout": timeout,
    }
    guard = _Guard(told, resource, args, use_within, fences)
    maker = getattr(sessions, "session_factory", sessions)  # of a scoped session, of either world
    target = _own_class(maker) if makes_async_sessions(maker) else maker
    for name in _HOOKS:
        event.listen(target, name, getattr(guard, name))


def action_of(session: Any) -> Any:
    """Answer the action of a session's transaction, to say its `receipt`; None before it writes."""
    writing = getattr(session, "sync_session", session).info.get(_WRITING)
    return writing.act if writing else None


def _own_class(sessions: Any) -> type[Session]:
    """Give an async sessionmaker a class of sessions of its own, as a blocking one has."""
    kind = sessions.kw.get("sync_session_class") or sessions.class_.sync_session_class
    own = type(kind.__name__, (kind,), {})
    sessions.configure(sync_session_class=own)
    return own


_HOOKS = (
    "after_begin",
    "before_flush",
    "do_orm_execute",
    "before_commit",
    "after_commit",
    "after_transaction_end",
)


class _Guard:
    """The hooks of guarded sessions; a `Writing` in the session's info is what they share."""

    def __init__(
        self,
        told: Mapping[str, Any],
        resource: str | Callable[[Session], str],
        args: Mapping[str, object] | Callable[[Session], Mapping[str, object]] | None,
        use_within: Span | None,
        fences: FenceRows | None,
    ) -> None:
        self._told, self._resource, self._args = told, resource, args
        self._use_within, self._fences = use_within, fences

    def after_begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        """The session's transaction has begun on a connection."""
        if session.twophase:
            raise FixTheCall("a two-phase commit may land long after its permit: guard sessions without")
        if _is_lent(transaction, connection):
            raise FixTheCall(
                "this session writes in a transaction of somebody else's, who commits it unasked: "
                "bind it to an engine"
            )
        self._writing(session).join(connection)

    def before_flush(self, session: Session, *_: Any) -> None:
        """Objects are about to be written."""
        self._writing(session).prepare()

    def do_orm_execute(self, state: ORMExecuteState) -> None:
        """A statement is about to be executed; what is no select may write."""
        if not state.is_select:
            self._writing(state.session).prepare()

    def before_commit(self, session: Session) -> None:
        """The session commits. What a savepoint releases stays in the transaction, so nobody is asked."""
        if session.in_nested_transaction():
            return
        session.flush()  # all that will be written is written before it is asked for
        if writing := session.info.get(_WRITING):
            writing.permit()

    def after_commit(self, session: Session) -> None:
        """The database has answered COMMIT."""
        if not session.in_nested_transaction() and (writing := session.info.get(_WRITING)):
            writing.committed()

    def after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        """A transaction has ended, one way or another."""
        if transaction.parent is None and (writing := session.info.pop(_WRITING, None)):
            writing.over()

    def _writing(self, session: Session) -> Writing:
        writing: Writing | None = session.info.get(_WRITING)
        if writing is None:
            told = {**self._told, "resource": self._resource, "args": self._args}
            told = {name: value(session) if callable(value) else value for name, value in told.items()}
            writing = session.info[_WRITING] = Writing(told, self._use_within, self._fences)
        return writing


def _is_lent(transaction: SessionTransaction, connection: Connection) -> bool:
    """Say whether somebody else's connection was given to the session, and with it the transaction on it."""
    *_, is_own = transaction._connections[connection]  # whether the session closes it
    return not is_own
