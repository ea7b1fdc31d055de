"""What a guarded session asks, when, and what is on record of each way in which a transaction ends."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import countermand
import countermand.sync
from countermand.integrations.sqlalchemy import FenceRows, action_of, guard_sessions
from countermand.testing import Sidecar
from tests.integrations.database.seams import FENCES, Base, Customer, Order

Run = countermand.sync.ActiveRun


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database in a file."""
    engine = create_engine(f"sqlite:///{tmp_path}/orders.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """Guarded sessions."""
    sessions = sessionmaker(engine)
    guard_sessions(sessions, "crm.write", resource="db:crm")
    return sessions


@pytest.fixture
def run(real: Sidecar) -> Iterator[Run]:
    """A run, and a grant that is current."""
    with real.connect_sync() as cm, cm.open_run(agent="clerk") as run, run.grant(scopes=["crm.*"]):
        yield run


def landed(engine: Engine) -> list[str]:
    """The orders that are in the database."""
    with engine.connect() as connection:
        return list(connection.scalars(select(Order.key).order_by(Order.key)))


def landed_with_the_next(engine: Engine) -> list[str]:
    """The same, after somebody else has written and committed on the connection that was used."""
    with engine.begin() as connection:
        connection.execute(insert(Order).values(key="next"))
    return landed(engine)


def on_record(run: Run) -> dict[str, list[str]]:
    """The parts of the report that hold actions, and their states."""
    report = run.report()
    parts = ("done", "interrupted", "in_flight", "unknown", "not_done", "pending")
    told = {part: [str(one.state) for one in getattr(report, part)] for part in parts}
    return {part: states for part, states in told.items() if states}


def test_a_transaction_is_one_action(sessions: Any, engine: Engine, run: Run) -> None:
    """However many writes it has; its receipt is said in it."""
    with sessions() as session, session.begin():
        assert action_of(session) is None
        session.add(Order(key="a"))
        session.flush()
        session.execute(insert(Order).values(key="b"))
        action_of(session).receipt = "orders a, b"
    [done] = run.report().done
    assert (done.action, done.resource, done.receipt) == ("crm.write", "db:crm", "orders a, b")
    assert landed(engine) == ["a", "b"]


def test_a_cancel_before_the_commit_says_interrupted(sessions: Any, engine: Engine, run: Run) -> None:
    """What was flushed never lands, and the report knew that at once."""
    with sessions() as session:
        session.add(Order(key="a"))
        session.flush()
        assert [one.state for one in run.cancel().interrupted] == ["INTERRUPTED"]
        with pytest.raises(countermand.Revoked):
            session.commit()
        with pytest.raises(countermand.FixTheCall, match="roll it back"):
            session.commit()
    assert landed(engine) == []
    assert on_record(run) == {"interrupted": ["INTERRUPTED"]}


def leave_by_an_exception(session: Session) -> None:
    with pytest.raises(ValueError, match="no"), session.begin():
        session.add(Order(key="a"))
        session.flush()
        raise ValueError("no")


def roll_back(session: Session) -> None:
    session.add(Order(key="a"))
    session.flush()
    session.rollback()


def close(session: Session) -> None:
    session.add(Order(key="a"))
    session.flush()
    session.close()


def break_a_rule(session: Session) -> None:
    session.execute(insert(Order).values(key="a"))
    session.add(Order(key="a"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()


@pytest.mark.parametrize("way", [leave_by_an_exception, roll_back, close, break_a_rule])
def test_what_is_rolled_back_is_abandoned(
    way: Callable[[Session], None], sessions: Any, engine: Engine, run: Run
) -> None:
    """It never had a permit."""
    with sessions() as session:
        way(session)
        assert on_record(run) == {"not_done": ["ABANDONED"]}
        session.add(Order(key="b"))  # the session's next transaction is another action
        session.commit()
    assert landed(engine) == ["b"]
    assert on_record(run) == {"done": ["SUCCEEDED"], "not_done": ["ABANDONED"]}


def test_reading_asks_nobody_unless_it_commits(sessions: Any, run: Run) -> None:
    """A read that is closed is not on record; one that is committed is, for nobody knows what it did."""
    with sessions() as session:
        assert session.scalars(select(Order)).all() == []
    assert on_record(run) == {}
    with sessions() as session:
        session.commit()  # of nothing at all
    assert on_record(run) == {}
    with sessions() as session:
        session.connection().execute(insert(Order).values(key="a"))
        session.commit()
    assert on_record(run) == {"done": ["SUCCEEDED"]}


@pytest.mark.parametrize(
    "write", [insert(Order).values(key="a"), text("INSERT INTO orders (key) VALUES ('a')")]
)
def test_a_statement_is_prepared_as_objects_are(write: Any, sessions: Any, run: Run) -> None:
    """So a cancel after it says interrupted."""
    with sessions() as session:
        session.execute(write)
        assert len(run.cancel().interrupted) == 1


def test_a_query_that_flushes_prepares(sessions: Any, run: Run) -> None:
    """Autoflush is a write as any other."""
    with sessions() as session:
        session.add(Order(key="a"))
        assert session.scalar(select(func.count()).select_from(Order)) == 1
        assert len(run.cancel().interrupted) == 1


def test_savepoints_ask_nobody(sessions: Any, engine: Engine, run: Run) -> None:
    """What they release lands with the transaction, what they roll back does not."""
    with sessions() as session, session.begin():
        with session.begin_nested():
            session.add(Order(key="a"))
        assert on_record(run) == {"pending": ["PREPARED"]}
        with pytest.raises(ValueError, match="no"), session.begin_nested():
            session.add(Order(key="b"))
            session.flush()
            raise ValueError("no")
    assert landed(engine) == ["a"]
    assert on_record(run) == {"done": ["SUCCEEDED"]}


def commit_the_connection(session: Session) -> None:
    session.execute(insert(Order).values(key="a"))
    session.connection().commit()


def commit_over_a_savepoint(session: Session) -> None:
    with session.begin():
        session.execute(insert(Order).values(key="a"))
        session.begin_nested()


@pytest.mark.parametrize("way", [commit_the_connection, commit_over_a_savepoint])
def test_a_commit_that_nobody_asked_for_is_refused(
    way: Callable[[Session], None], sessions: Any, engine: Engine, run: Run
) -> None:
    """Right before it would be sent; and nobody who gets the connection next commits it."""
    with sessions() as session, pytest.raises(countermand.FixTheCall, match="nobody asked for this COMMIT"):
        way(session)
    assert on_record(run) == {"not_done": ["ABANDONED"]}
    assert landed_with_the_next(engine) == ["next"]


def in_autocommit(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))


def in_the_drivers_autocommit(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(create_engine(engine.url, connect_args={"isolation_level": None}))


def on_a_lent_connection(engine: Engine) -> sessionmaker[Session]:
    connection = engine.connect()
    connection.begin()
    return sessionmaker(connection)


@pytest.mark.parametrize("way", [in_autocommit, in_the_drivers_autocommit, on_a_lent_connection])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_held_back_is_refused(
    way: Callable[[Engine], sessionmaker[Session]], engine: Engine, run: Run
) -> None:
    """Before anything is written."""
    sessions = way(engine)
    guard_sessions(sessions, "crm.write")
    with sessions() as session, pytest.raises(countermand.FixTheCall):
        session.add(Order(key="a"))
        session.commit()
    assert landed(engine) == []
    assert on_record(run) == {"not_done": ["ABANDONED"]}


def test_without_a_grant_nothing_is_written(sessions: Any, engine: Engine) -> None:
    """Nor flushed."""
    with sessions() as session, pytest.raises(countermand.NoGrant):
        session.add(Order(key="a"))
        session.flush()
    assert landed(engine) == []


def test_a_permit_that_lapses_before_commit_is_not_used(
    sessions: Any, engine: Engine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line looks at the time once more; nothing was sent, so it has failed for certain."""
    with sessions() as session:
        session.add(Order(key="a"))
        session.flush()
        monkeypatch.setattr(countermand.Permit, "remaining", property(_first_then_none()))
        with pytest.raises(countermand.PermitLapsed):
            session.commit()
    assert on_record(run) == {"not_done": ["FAILED"]}
    assert landed_with_the_next(engine) == ["next"]


def test_a_commit_that_the_database_refuses_is_rolled_back(sessions: Any, engine: Engine, run: Run) -> None:
    """It has failed for certain: nobody who gets the connection next commits it."""
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
    engine.dispose()
    with sessions() as session, pytest.raises(IntegrityError):
        session.add(Order(key="a", customer=7))
        session.commit()
    assert on_record(run) == {"not_done": ["FAILED"]}
    with engine.begin() as connection:
        connection.execute(insert(Customer).values(id=7))
    assert landed(engine) == []


def test_what_one_of_two_databases_refuses_is_unknown(engine: Engine, tmp_path: Path, run: Run) -> None:
    """The other may have taken its part: that the refused one did not is not the whole truth."""
    other = create_engine(f"sqlite:///{tmp_path}/customers.db")
    Base.metadata.create_all(other)
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
    engine.dispose()
    sessions = sessionmaker(binds={Order: engine, Customer: other})
    guard_sessions(sessions, "crm.write")
    with sessions() as session, pytest.raises(IntegrityError):
        session.add_all([Order(key="a", customer=7), Customer(id=8)])
        session.commit()
    assert on_record(run) == {"unknown": ["UNKNOWN"]}
    assert landed(engine) == []
    other.dispose()


def test_fence_rows_of_two_databases_are_refused(engine: Engine, tmp_path: Path, run: Run) -> None:
    """A row in one of them says nothing of the other."""
    other = create_engine(f"sqlite:///{tmp_path}/customers.db")
    Base.metadata.create_all(other)
    sessions = sessionmaker(binds={Order: engine, Customer: other})
    guard_sessions(sessions, "crm.write", fences=FENCES)
    with sessions() as session, pytest.raises(countermand.FixTheCall, match="guards one database"):
        session.add_all([Order(key="a"), Customer(id=8)])
        session.commit()
    assert landed(engine) == []
    assert on_record(run) == {"not_done": ["ABANDONED"]}
    other.dispose()


def _first_then_none() -> Callable[[Any], float]:
    left = [5.0]
    return lambda permit: left.pop() if left else 0.0


def test_what_it_acts_on_may_be_a_function_of_the_session(engine: Engine, run: Run) -> None:
    """Which `info` tells what it needs."""
    sessions = sessionmaker(engine)
    guard_sessions(sessions, "crm.write", resource=lambda session: f"customer:{session.info['customer']}")
    with sessions(info={"customer": 7}) as session, session.begin():
        session.add(Order(key="a"))
    assert [one.resource for one in run.report().done] == ["customer:7"]


def test_a_connection_lent_for_one_statement_is_refused(sessions: Any, engine: Engine, run: Run) -> None:
    """Its owner would commit what nobody asked for."""
    with engine.connect() as lent:
        with sessions() as session, pytest.raises(countermand.FixTheCall, match="somebody else's"):
            session.execute(insert(Order).values(key="a"), bind_arguments={"bind": lent})
        lent.commit()
    assert landed(engine) == []
    assert on_record(run) == {"not_done": ["ABANDONED"]}


@pytest.mark.parametrize("of", ["a class", "a registry of them"])
def test_any_maker_of_sessions_can_be_guarded(of: str, engine: Engine, run: Run) -> None:
    """As SQLAlchemy's own events take them."""

    class Own(Session):
        pass

    if of == "a class":
        guard_sessions(Own, "crm.write")
        session = Own(engine)
    else:
        registry = scoped_session(sessionmaker(engine))
        guard_sessions(registry, "crm.write")
        session = registry()
    with session, session.begin():
        session.add(Order(key="a"))
    assert on_record(run) == {"done": ["SUCCEEDED"]}


async def test_async_sessions_of_others_stay_as_they_were(real: Sidecar, tmp_path: Path) -> None:
    """Guarding one maker touches no other; without a grant the unguarded one still writes."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    guarded, free = async_sessionmaker(engine), async_sessionmaker(engine)
    guard_sessions(guarded, "crm.write")
    async with free() as session, session.begin():
        session.add(Order(key="free"))
    with pytest.raises(countermand.NoGrant):
        async with guarded() as session, session.begin():
            session.add(Order(key="guarded"))
    async with real.connect() as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["crm.*"]):
            async with guarded() as session:
                session.add(Order(key="a"))
                await session.flush()
                report = await run.cancel()
                with pytest.raises(countermand.Revoked):
                    await session.commit()
    assert len(report.interrupted) == 1
    registry = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    guard_sessions(registry, "crm.write")
    with pytest.raises(countermand.NoGrant):
        async with registry() as session, session.begin():
            session.add(Order(key="scoped"))
    async with free() as session:
        assert list(await session.scalars(select(Order.key))) == ["free"]
    await engine.dispose()


def test_fence_rows_are_for_databases_that_are_known(run: Run) -> None:
    """Elsewhere nobody has seen that the lock holds."""
    from sqlalchemy.dialects import mysql

    class Connection:
        dialect = mysql.dialect()

    fences = FenceRows(type(Base.metadata)())
    with pytest.raises(countermand.FixTheCall, match="for PostgreSQL and SQLite, not mysql"):
        fences.stop(Connection(), run.run_id)  # type: ignore[arg-type]
