"""Database transactions under a permit: nothing reaches the database unless the grant commits, too.

    from countermand.integrations.sqlalchemy import guard_sessions

    Session = sessionmaker(engine)  # or async_sessionmaker
    guard_sessions(Session, "crm.write", resource="db:crm")

Grade B: the permit is asked for right before COMMIT. With `FenceRows`, grade A: whether the run was stopped
is read in the same transaction.
"""

from countermand.integrations.sqlalchemy.fences import FenceRows
from countermand.integrations.sqlalchemy.sessions import action_of, guard_sessions

__all__ = ["FenceRows", "action_of", "guard_sessions"]
