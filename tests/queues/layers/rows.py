"""The table that the gateway and the worker write to, through guarded sessions, with fence rows."""

from sqlalchemy import Engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from countermand.integrations.sqlalchemy import FenceRows, guard_sessions

ACTION = "rows.write"


class Base(DeclarativeBase):
    """The tables."""


class Row(Base):
    """What was written. Nothing keeps one from being written twice."""

    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]


FENCES = FenceRows(Base.metadata)


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Answer sessions that say in their `info` which row they are for."""
    made = sessionmaker(engine)
    guard_sessions(made, ACTION, resource=lambda session: f"row:{session.info['key']}", fences=FENCES)
    return made


def stage(session: Session, key: str) -> None:
    """Write a row in a transaction that is not yet committed."""
    session.info["key"] = key
    session.add(Row(key=key))
    session.flush()


def landed(engine: Engine) -> list[str]:
    """Look from outside at what is in the database."""
    with engine.connect() as connection:
        return list(connection.scalars(select(Row.key).order_by(Row.key)))
