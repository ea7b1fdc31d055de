"""A stop in the database against a COMMIT that has its permit: whoever is first wins, and both know it.

Each race is played without fence rows as well: then what was stopped lands, or the race shows nothing.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

import countermand
import countermand.sync
from countermand.integrations.sqlalchemy import FenceRows, guard_sessions
from countermand.testing import Sidecar
from tests.integrations.database.seams import FENCES, Base, Order, Postgres, Sqlite
from tests.support.postgres_server import PostgresServer

fenced = pytest.mark.parametrize("fences", [FENCES, None], ids=["fence rows", "none"])


@dataclass
class Stage:
    """A database, and a run that acts."""

    database: Sqlite | Postgres
    engine: Engine
    client: countermand.sync.Client
    run: countermand.sync.ActiveRun
    grant: countermand.sync.CurrentGrant

    @property
    def is_postgres(self) -> bool:
        return isinstance(self.database, Postgres)

    def sessions(self, fences: FenceRows | None, **how: Any) -> sessionmaker[Session]:
        sessions = sessionmaker(self.engine)
        guard_sessions(sessions, "crm.write", fences=fences, **how)
        return sessions

    def stop(self, run_id: str = "", **how: Any) -> None:
        with self.engine.begin() as connection:
            FENCES.stop(connection, run_id or self.run.run_id, **how)

    def landed(self) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(Order)) or 0

    def waiting(self) -> int:
        """How many wait for a lock; SQLite does not tell."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with self.engine.connect() as connection:
            return connection.scalar(text(query)) or 0


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, real: Sidecar) -> Iterator[Stage]:
    """Both databases."""
    if request.param == "sqlite":
        database: Sqlite | Postgres = Sqlite()
    else:
        database = Postgres(request.getfixturevalue("postgres"))
    yield from staged(database, real)


@pytest.fixture
def on_postgres(postgres: PostgresServer, real: Sidecar) -> Iterator[Stage]:
    """PostgreSQL only."""
    yield from staged(Postgres(postgres), real)


def staged(database: Sqlite | Postgres, real: Sidecar) -> Iterator[Stage]:
    engine = create_engine(database.url(database.blocking), connect_args=database.arguments)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        client = real.connect_sync()
        with client as cm, cm.open_run(agent="clerk") as run, run.grant(scopes=["*"]) as grant:
            yield Stage(database, engine, cm, run, grant)
    finally:
        engine.dispose()
        database.close()


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.01)


@fenced
def test_a_stop_that_is_first_wins(stage: Stage, fences: FenceRows | None) -> None:
    """The sidecar has said yes, or will; the database says no, and nothing lands."""
    with stage.sessions(fences)() as session:
        session.add(Order(key="a"))
        if stage.is_postgres:
            session.flush()  # SQLite has one lock for all: there, a stop has to come before the first write
        stage.stop()
        if fences is None:
            session.commit()
        else:
            with pytest.raises(countermand.Fenced, match="was stopped in the database: do not act"):
                session.commit()
    assert stage.landed() == (1 if fences is None else 0)
    report = stage.run.report()
    told = report.done if fences is None else report.not_done
    assert [str(one.state) for one in told] == ["SUCCEEDED" if fences is None else "FAILED"]


@fenced
def test_a_write_that_is_first_wins_and_the_stop_waits_for_it(
    on_postgres: Stage, fences: FenceRows | None
) -> None:
    """When the stop returns, what it could not stop has landed: nothing lands later."""
    stage, seen = on_postgres, []
    with ThreadPoolExecutor(1) as pool:

        def stop_and_look() -> None:
            stage.stop()
            seen.append(stage.landed())

        def begin_to_stop() -> None:
            stopping.append(pool.submit(stop_and_look))
            until(lambda: stopping[0].done() or stage.waiting() == 1)

        stopping: list[Any] = []
        with stage.sessions(fences)() as session:
            session.add(Order(key="a"))
            event.listen(stage.engine, "commit", _once(begin_to_stop))
            session.commit()
        stopping[0].result(30)
    assert stage.landed() == 1
    assert seen == [1 if fences else 0]


class Unqueued(FenceRows):
    """Where those who write let each other in before a stop."""

    def _queue(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("kind", [FenceRows, Unqueued])
def test_a_stop_waits_for_nobody_who_comes_after_it(on_postgres: Stage, kind: type[FenceRows]) -> None:
    """Else a run that writes all the time could keep its stop waiting for ever."""
    stage, fences = on_postgres, kind(MetaData())
    sessions = stage.sessions(fences)
    with sessions() as session, session.begin():
        session.add(Order(key="before"))  # the run's row is there
    with ThreadPoolExecutor(2) as pool:
        stopping: list[Any] = []
        writing: list[Any] = []

        def stop() -> None:
            with stage.engine.begin() as connection:
                fences.stop(connection, stage.run.run_id)

        def write_later() -> None:
            with stage.client.use_token(stage.grant.token()), sessions() as session, session.begin():
                session.add(Order(key="later"))

        def begin_both() -> None:
            stopping.append(pool.submit(stop))
            until(lambda: stage.waiting() == 1)
            writing.append(pool.submit(write_later))
            until(lambda: stage.waiting() == 2 or writing[0].done())

        with sessions() as session:
            session.add(Order(key="first"))
            event.listen(stage.engine, "commit", _once(begin_both))
            session.commit()
        stopping[0].result(30)
        refused = writing[0].exception(30)
    assert isinstance(refused, countermand.Fenced) == (kind is FenceRows)
    assert stage.landed() == (2 if kind is FenceRows else 3)


@fenced
async def test_a_stop_that_is_first_wins_over_an_async_session(
    postgres: PostgresServer, real: Sidecar, fences: FenceRows | None
) -> None:
    """The same in the other world."""
    engine = create_async_engine(postgres.url())
    sessions = async_sessionmaker(engine)
    guard_sessions(sessions, "crm.write", fences=fences)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with real.connect() as cm, cm.open_run(agent="clerk") as run, sessions() as session:
        with run.grant(scopes=["*"]):
            session.add(Order(key="a"))
            await session.flush()
            async with engine.begin() as connection:
                await connection.run_sync(FENCES.stop, run.run_id)
            with pytest.raises(countermand.Fenced) if fences else nullcontext():
                await session.commit()
    async with engine.connect() as connection:
        landed = await connection.scalar(select(func.count()).select_from(Order))
    assert landed == (0 if fences else 1)
    await engine.dispose()


def _once(call: Callable[[], None]) -> Callable[[Connection], None]:
    calls = [call]
    return lambda _: calls.pop()() if calls else None


@fenced
def test_nothing_lands_after_a_stop_has_returned(stage: Stage, fences: FenceRows | None) -> None:
    """Three who write as fast as they can, and a stop in their midst."""
    sessions, refused = stage.sessions(fences), []
    busy, stopped = threading.Barrier(4), threading.Event()

    def write(who: int) -> None:
        with stage.client.use_token(stage.grant.token()):
            for number in count():
                if number == 5:
                    busy.wait(30)
                is_after = stopped.is_set()
                try:
                    with sessions() as session, session.begin():
                        session.add(Order(key=f"{who}-{number}"))
                except countermand.Fenced as refusal:
                    refused.append(refusal)
                    return
                if is_after:
                    return

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, who) for who in range(3)]
        busy.wait(30)
        stage.stop()
        at_stop = stage.landed()
        stopped.set()
        for writer in writers:
            writer.result(60)
    if fences:
        assert len(refused) == 3
        assert stage.landed() == at_stop
    else:
        assert stage.landed() >= at_stop + 3
    assert len(stage.run.report().done) == stage.landed()


def test_a_stop_of_a_run_reaches_those_below_it(stage: Stage) -> None:
    """As a cancel does; and no other run."""
    sessions = stage.sessions(FENCES)
    with stage.run.child(agent="helper") as child, child.grant(scopes=["*"]):
        with sessions() as session, session.begin():
            session.add(Order(key="a"))
        stage.stop()
        with sessions() as session, pytest.raises(countermand.Fenced):
            session.add(Order(key="b"))
            session.commit()
    another = stage.client.open_run(agent="another")
    with another, another.grant(scopes=["*"]), sessions() as session, session.begin():
        session.add(Order(key="c"))
    assert stage.landed() == 2


def test_a_stop_below_a_number_stops_older_permits_only(stage: Stage) -> None:
    """And one with a lower number takes nothing back."""
    token = stage.grant.token()
    old, new = (stage.client.tool.perform(token, countermand.Intent.of("crm.write")) for _ in range(2))
    stage.stop(below=new.fence)
    stage.stop(below=1)
    with stage.engine.begin() as connection:
        FENCES.check(connection, token, new)
        with pytest.raises(countermand.Fenced):
            FENCES.check(connection, token, old)


def test_a_snapshot_from_before_the_stop_does_not_hide_it(on_postgres: Stage) -> None:
    """Where a transaction sees the past only, the database refuses what it cannot put in order."""
    stage = on_postgres
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        engine = stage.engine.execution_options(isolation_level=level)
        sessions = sessionmaker(engine)
        guard_sessions(sessions, "crm.write", fences=FENCES)
        with stage.client.open_run(agent="clerk") as run, run.grant(scopes=["*"]):
            with sessions() as session:
                session.add(Order(key=level))
                session.flush()
                stage.stop(run.run_id)
                with pytest.raises(OperationalError, match="could not serialize"):
                    session.commit()
            assert [str(one.state) for one in run.report().not_done] == ["FAILED"]
    assert stage.landed() == 0


@fenced
def test_who_stalls_before_commit_is_cut_off_with_the_permit(
    on_postgres: Stage, fences: FenceRows | None
) -> None:
    """By the server, whose clock goes on; without fence rows the COMMIT lands after the permit's end."""
    stage, lapsed = on_postgres, []
    sessions = stage.sessions(fences, use_within="3s")
    with sessions() as session, session.begin():
        session.add(Order(key="a"))  # from now on our own last look comes before what is listened for here
    with sessions() as session:
        session.add(Order(key="b"))
        session.flush()
        process = session.scalar(text("SELECT pg_backend_pid()"))
        began = time.monotonic()

        def stall() -> None:
            until(lambda: time.monotonic() - began > 3.0)
            if fences:
                until(lambda: not _is_there(stage, process))
            lapsed.append(time.monotonic() - began)

        event.listen(stage.engine, "commit", _once(stall))
        if fences:
            with pytest.raises(DBAPIError):
                session.commit()
        else:
            session.commit()
    assert lapsed
    assert stage.landed() == (1 if fences else 2)
    assert [str(one.state) for one in stage.run.report().unknown] == (["UNKNOWN"] if fences else [])


def _is_there(stage: Stage, process: int) -> bool:
    with stage.engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        return bool(connection.scalar(query, {"pid": process}))


def test_the_databases_clock_ends_a_permit(on_postgres: Stage) -> None:
    """A client whose clock stood still asks the database as well."""
    stage, token = on_postgres, on_postgres.grant.token()
    permit = stage.client.tool.perform(token, countermand.Intent.of("crm.write"))
    with stage.engine.begin() as connection:
        FENCES.check(connection, token, permit)
    ended = replace(permit, use_by_time=datetime.now(UTC) - timedelta(milliseconds=1))
    with (
        stage.engine.begin() as connection,
        pytest.raises(countermand.PermitLapsed, match="database's clock"),
    ):
        FENCES.check(connection, token, ended)


def test_a_two_phase_commit_is_refused(on_postgres: Stage) -> None:
    """What is prepared in the database may be committed long after the permit."""
    sessions = sessionmaker(on_postgres.engine, twophase=True)
    guard_sessions(sessions, "crm.write")
    with sessions() as session, pytest.raises(countermand.FixTheCall, match="two-phase"):
        session.add(Order(key="a"))
        session.flush()
    assert on_postgres.landed() == 0


def test_a_missing_table_refuses(stage: Stage) -> None:
    """Fence rows that are not there are no permission."""
    FENCES.table.drop(stage.engine)
    with stage.sessions(FENCES)() as session, pytest.raises(DBAPIError):
        session.add(Order(key="a"))
        session.commit()
    assert stage.landed() == 0
