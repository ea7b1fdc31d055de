"""Fence rows: what a database itself knows of stops, read in the transaction that writes."""

import base64
import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    MetaData,
    String,
    Table,
    case,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from countermand._errors import Fenced, FixTheCall, PermitLapsed
from countermand._models.actions import Permit
from countermand._secret import SecretToken
from countermand._words import ErrorReason

#: Above every fencing number: no permit of the run may be used any more.
_ALL = 2**63 - 1
_INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class FenceRows:
    """A table with one row for each run: permits whose fencing number is below its `fence` are refused.

    The row is read in the transaction that writes, under a lock that a stop has to wait for: either the stop
    comes first and nothing is written, or what was written came before the stop.
    """

    def __init__(self, metadata: MetaData, name: str = "countermand_fences") -> None:
        #: Create it with the other tables of `metadata`, in the database that the sessions write to.
        self.table = Table(
            name,
            metadata,
            Column("run_id", String(64), primary_key=True),
            Column("fence", BigInteger, nullable=False),
            Column("change_time", DateTime(timezone=True), nullable=False),
        )

    def stop(self, connection: Connection, run_id: str, *, below: int = _ALL) -> None:
        """Let nothing more be written for a run and the runs below it, once this transaction is committed.

        With `below`, only permits with lower fencing numbers are refused, such as those of a worker whose
        job was given to another. A stop is never taken back.
        """
        self._queue(connection, [run_id], "pg_advisory_xact_lock")
        table = self.table
        new = self._insert(connection).values(run_id=run_id, fence=below, change_time=func.now())
        higher = case((table.c.fence > new.excluded.fence, table.c.fence), else_=new.excluded.fence)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=[table.c.run_id], set_={"fence": higher, "change_time": func.now()}
            )
        )

    def check(self, connection: Connection, token: SecretToken, permit: Permit) -> None:
        """Raise unless the permit may be used in this transaction; what is read stays so until its end."""
        runs = _unverified_runs(token)
        self._queue(connection, runs, "pg_advisory_xact_lock_shared")
        new = [{"run_id": run_id, "fence": 0, "change_time": func.now()} for run_id in runs]
        connection.execute(self._insert(connection).values(new).on_conflict_do_nothing())
        known = {row.run_id: row for row in connection.execute(self._locking(connection, runs, permit))}
        for run_id in runs:
            if run_id not in known or known[run_id].fence > permit.fence:
                raise Fenced(
                    f"run {run_id} was stopped in the database: do not act; its transaction is rolled back",
                    reason=ErrorReason.FENCED,
                    metadata={"run": run_id, "op": permit.op_id},
                )
        if any(row.late for row in known.values()):
            raise PermitLapsed(
                f"the permit of action {permit.op_id} lapsed by the database's clock before COMMIT: it did "
                "not happen; do it again as a new action",
                metadata={"op": permit.op_id},
            )

    def _queue(self, connection: Connection, runs: list[str], lock: str) -> None:
        """Wait in turn, in PostgreSQL: those who share a row's lock would let each other in before a stop."""
        if connection.dialect.name != "postgresql":
            return
        for run_id in runs:  # sorted, so that nobody waits for each other in a ring
            connection.execute(
                select(getattr(func, lock)(func.hashtextextended(f"{self.table}:{run_id}", 0)))
            )

    def _insert(self, connection: Connection) -> Any:
        insert = _INSERTS.get(connection.dialect.name)
        if insert is None:
            raise FixTheCall(
                f"fence rows are for PostgreSQL and SQLite, not {connection.dialect.name}: guard these "
                "sessions without them"
            )
        return insert(self.table)

    def _locking(self, connection: Connection, runs: list[str], permit: Permit) -> Any:
        """Read the rows under a lock. SQLite has one for all, which the insert took."""
        table = self.table
        late: Any = literal(False)
        idle: Any = null()
        if connection.dialect.name == "postgresql":
            late = func.clock_timestamp() >= permit.use_by_time
            # The server cuts off whoever stalls between here and COMMIT for longer than the permit lasts.
            left = str(max(1, round(permit.remaining * 1000)))
            idle = func.set_config("idle_in_transaction_session_timeout", left, True)
        columns = (table.c.run_id, table.c.fence, late.label("late"), idle.label("idle"))
        rows = select(*columns).where(table.c.run_id.in_(runs)).order_by(table.c.run_id)
        return rows.with_for_update(read=True)


def _unverified_runs(token: SecretToken) -> list[str]:
    """Read from a token which runs it is for: its own and those above it.

    The sidecar has verified it when it gave the permit; nothing is decided here by a token that it has not.
    """
    payload = token.reveal().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return sorted({claims["run"], *claims["anc"]})
