"""One database transaction and its action: prepared with its first write, permitted right before COMMIT."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import IntegrityError

from countermand._errors import FixTheCall, PermitLapsed
from countermand._models.actions import Permit
from countermand.integrations.sqlalchemy.fences import FenceRows
from countermand.integrations.sqlalchemy.worlds import World, this_world

_writings: WeakKeyDictionary[Connection, "Writing"] = WeakKeyDictionary()


class Writing:
    """What is on record of one transaction, from its first write to its end."""

    def __init__(self, told: Mapping[str, Any], use_within: Any, fences: FenceRows | None) -> None:
        self.act: Any = None
        self._told, self._use_within, self._fences = told, use_within, fences
        self._world: World = this_world()
        self._grant: Any = None
        self._connections: set[Connection] = set()
        self._block: Any = None
        self._asked = False
        self._permit: Permit | None = None  # once it may be used
        #: Whether COMMIT was sent, or may have been.
        self.is_sent = False
        self._said_no: bool | None = None
        self._committed = False

    def join(self, connection: Connection) -> None:
        """Take in a connection that the transaction writes on."""
        if _commits_by_itself(connection):
            raise FixTheCall(
                "a connection in AUTOCOMMIT writes before anybody can be asked: guard sessions of an engine "
                "with transactions"
            )
        self._connections.add(connection)
        if self._fences and len(self._connections) > 1:
            raise FixTheCall("a fence row guards one database: guard these sessions without fence rows")
        _writings[connection] = self
        _watch(connection.engine)

    def prepare(self) -> None:
        """Put on record what is intended, once: a cancel from here on says interrupted."""
        if self.act is None:
            self._grant = self._world.current_grant()
            act = self._world.action(**self._told)
            self._world.enter(act)
            self.act = act

    def permit(self) -> None:
        """Ask for the permit, and have the database's own word on it. If this raises, roll back."""
        if not self._connections:
            return  # nothing was read or written
        if self._asked:
            raise FixTheCall(
                "this transaction has asked for its permit before: roll it back, begin a new one"
            )
        self._asked = True
        self.prepare()
        block = self.act.commit(use_within=self._use_within)
        permit = self._world.enter(block)
        self._block = block
        if self._fences:
            [connection] = self._connections
            self._fences.check(connection, self._world.done(self._grant.token()), permit)
        self._permit = permit

    def send(self) -> None:
        """COMMIT is about to be sent: refuse it if nobody asked, as where the session was passed by."""
        if self._permit is None:
            raise FixTheCall(
                "nobody asked for this COMMIT: commit the session, not its connection, and after every "
                "savepoint in it has ended"
            )
        if self._permit.remaining <= 0:
            raise PermitLapsed(
                f"the permit of action {self.act.op_id} lapsed before COMMIT: it did not happen; do it again "
                "as a new action",
                metadata={"op": self.act.op_id},
            )
        self.is_sent = True

    def failed(self, context: ExceptionContext) -> None:
        """Note that the answer to COMMIT was an error."""
        if self._said_no is None:
            self._said_no = not context.is_disconnect and _says_rolled_back(context)

    def committed(self) -> None:
        """COMMIT was answered."""
        self._committed = True
        self.over()

    def over(self) -> None:
        """The transaction has ended: put on record how."""
        for connection in self._connections:
            _writings.pop(connection, None)
        act, self.act = self.act, None
        if act is None:
            return
        if self._block is not None:
            if self._certainly_not():
                act.failed("rolled back")
            elif not self._committed:
                act.unknown("COMMIT was sent, its answer was lost")
            self._world.leave(self._block)
        self._world.leave(act)

    def _certainly_not(self) -> bool:
        if self._committed:
            return False
        return not self.is_sent or bool(self._said_no and len(self._connections) == 1)


def _commits_by_itself(connection: Connection) -> bool:
    options, dialect, raw = connection.get_execution_options(), connection.dialect, connection.connection
    level = options.get("isolation_level", getattr(dialect, "_on_connect_isolation_level", None))
    driver: Any = raw.dbapi_connection
    # What was said to the driver itself, as in connect_args: PostgreSQL's have `autocommit`, SQLite's None.
    by_driver = getattr(driver, "autocommit", False) is True
    by_sqlite = dialect.name == "sqlite" and driver.isolation_level is None
    return level == "AUTOCOMMIT" or by_driver or by_sqlite


def _says_rolled_back(context: ExceptionContext) -> bool:
    """Say whether the database itself said so: a constraint that is checked late, or a conflict.

    Class 40 is "transaction rollback", but for 40003: there the database does not know either.
    """
    original = context.original_exception
    state = str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")
    return isinstance(context.sqlalchemy_exception, IntegrityError) or (
        state[:2] in ("23", "40") and state != "40003"
    )


def _watch(engine: Engine) -> None:
    """Be asked before each COMMIT of an engine, and told of each error."""
    if not event.contains(engine, "commit", _on_commit):
        event.listen(engine, "commit", _on_commit)
        event.listen(engine, "handle_error", _on_error)


def _on_commit(connection: Connection) -> None:
    if writing := _writings.get(connection):
        try:
            writing.send()
        except BaseException:
            _roll_back(connection)
            raise


def _on_error(context: ExceptionContext) -> None:
    connection = context.connection
    if connection is not None and (writing := _writings.get(connection)) and writing.is_sent:
        writing.failed(context)
        if not context.is_disconnect:
            _roll_back(connection)


def _roll_back(connection: Connection) -> None:
    """End the transaction in the database itself.

    SQLAlchemy takes one whose COMMIT raised for ended: it would go back to the pool as it is, and whoever
    gets that connection next would commit what was refused here.
    """
    try:
        connection.connection.rollback()
    except Exception:
        connection.invalidate()
