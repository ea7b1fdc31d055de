"""Guarded sessions as the conformance suite sees them: blocking and async, on SQLite and PostgreSQL."""

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, ForeignKey, create_engine, event, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.util import await_only

from countermand.integrations.sqlalchemy import FenceRows, guard_sessions
from countermand.testing.conformance import BlockingSeam, Fault, Grade, Seam
from tests.support.postgres_server import SOCKET, PostgresServer
from tests.support.proxy import Proxy


class Base(DeclarativeBase):
    """The tables of these tests."""


class Order(Base):
    """What is written. Its customer is looked for at COMMIT only."""

    __tablename__ = "orders"

    key: Mapped[str] = mapped_column(primary_key=True)
    customer: Mapped[int | None] = mapped_column(
        ForeignKey("customers.id", deferrable=True, initially="DEFERRED")
    )


class Customer(Base):
    """Nobody, so that an order of one is refused at COMMIT."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)


FENCES = FenceRows(Base.metadata)


class Sqlite:
    """A database in a file, and a COMMIT whose answer can be lost."""

    blocking, async_ = "sqlite", "sqlite+aiosqlite"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cm-sqlite-"))
        self.loses = loses = threading.Event()

        class Losing(sqlite3.Connection):
            def commit(self) -> None:
                super().commit()
                if loses.is_set():
                    raise sqlite3.OperationalError("disk I/O error")

        self.arguments = {"factory": Losing, "timeout": 30}

    def url(self, driver: str) -> str:
        return f"{driver}:///{self.folder}/orders.db"

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def prepare(self, engine: Any) -> None:
        """Have SQLite look at foreign keys."""
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))


class Postgres:
    """A real server, behind a connection that can be lost right after COMMIT."""

    blocking, async_ = "postgresql+psycopg", "postgresql+psycopg"
    arguments: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._proxy = Proxy(server.socket)
        self.loses = _Trap(self._proxy)
        # PostgreSQL's clients look for a socket of this name.
        self._folder = Path(tempfile.mkdtemp(prefix="cm-way-", dir="/tmp"))
        (self._folder / SOCKET).symlink_to(self._proxy.socket)

    def url(self, driver: str) -> str:
        return f"{driver}://test@/postgres?host={self._folder}"

    def prepare(self, engine: Any) -> None:
        """It is ready as it is."""

    def close(self) -> None:
        self._proxy.close()
        shutil.rmtree(self._folder)


class _Trap:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def set(self) -> None:
        self._proxy.trap("COMMIT", "after")

    def clear(self) -> None:
        pass


class OnDatabase(Seam):
    """What both worlds of sessions have in common."""

    grade = Grade.B
    action = "crm.write"
    raised = Seam.raised.FAILED  # the database says itself that it rolled back
    fences: FenceRows | None = None

    def __init__(self, database: Sqlite | Postgres) -> None:
        self.database = database
        self._held = ""
        self._released: set[str] = set()

    async def start(self) -> None:
        self._look = create_engine(
            self.database.url(self.database.blocking), connect_args=self.database.arguments
        )
        Base.metadata.drop_all(self._look)
        Base.metadata.create_all(self._look)

    async def close(self) -> None:
        self._look.dispose()
        self.database.close()

    def order(self, key: str, fault: Fault | None) -> Order:
        self._held = key if fault is Fault.HELD else ""
        if fault is Fault.LOST:
            self.database.loses.set()
        return Order(key=key, customer=7 if fault is Fault.RAISED else None)

    def happened(self, key: str) -> int:
        with self._look.connect() as connection:
            found = select(func.count()).where(Order.key == key)
            return connection.execute(found).scalar_one()

    def release(self, key: str) -> None:
        self._released.add(key)

    @property
    def is_held(self) -> bool:
        """Whether the attempt that is under way stays inside."""
        return bool(self._held) and self._held not in self._released


class Blocking(OnDatabase, BlockingSeam):
    """Sessions that block."""

    name = "countermand.integrations.sqlalchemy"

    async def start(self) -> None:
        await super().start()
        self.engine = create_engine(
            self.database.url(self.database.blocking), connect_args=self.database.arguments
        )
        self.database.prepare(self.engine)
        event.listen(self.engine, "commit", self._hold)
        self.sessions = sessionmaker(self.engine)
        guard_sessions(self.sessions, self.action, fences=self.fences)

    async def close(self) -> None:
        self.engine.dispose()
        await super().close()

    def act(self, key: str, fault: Fault | None) -> None:
        try:
            with self.sessions() as session, session.begin():
                session.add(self.order(key, fault))
        finally:
            self.database.loses.clear()

    def act_late(self, key: str, stop: Callable[[], None]) -> None:
        with self.sessions() as session, session.begin():
            session.add(self.order(key, None))
            session.flush()
            stop()

    def _hold(self, _: Connection) -> None:
        while self.is_held:
            time.sleep(0.01)


class Async(OnDatabase):
    """Sessions on an event loop."""

    name = "countermand.integrations.sqlalchemy, async"

    async def start(self) -> None:
        await super().start()
        self.engine = create_async_engine(
            self.database.url(self.database.async_), connect_args=self.database.arguments
        )
        self.database.prepare(self.engine.sync_engine)
        event.listen(self.engine.sync_engine, "commit", self._hold)
        self.sessions = async_sessionmaker(self.engine)
        guard_sessions(self.sessions, self.action, fences=self.fences)

    async def close(self) -> None:
        await self.engine.dispose()
        await super().close()

    async def attempt(self, key: str, fault: Fault | None = None) -> None:
        try:
            async with self.sessions() as session, session.begin():
                session.add(self.order(key, fault))
        finally:
            self.database.loses.clear()

    async def late(self, key: str, stop: Callable[[], Awaitable[Any]]) -> None:
        async with self.sessions() as session, session.begin():
            session.add(self.order(key, None))
            await session.flush()
            await stop()

    def _hold(self, _: Connection) -> None:
        while self.is_held:
            await_only(asyncio.sleep(0.01))


class Fenced(OnDatabase):
    """What fence rows add: the database can be told to stop."""

    grade = Grade.A
    fences = FENCES

    async def stop_target(self, run_id: str) -> None:
        def stop() -> None:
            with self._look.begin() as connection:
                FENCES.stop(connection, run_id)

        await asyncio.to_thread(stop)


class FencedBlocking(Fenced, Blocking):
    """With fence rows."""


class FencedAsync(Fenced, Async):
    """With fence rows."""
