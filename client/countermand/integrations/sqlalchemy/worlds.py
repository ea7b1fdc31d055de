"""SQLAlchemy's hooks are plain functions in both of its worlds; in the async one they can wait.

The async one needs greenlet, with which SQLAlchemy comes only if it is asked for: nothing here imports it.
"""

import sys
from typing import Any

from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

import countermand
import countermand.sync


class Blocking:
    """For a hook of a blocking session."""

    action = staticmethod(countermand.sync.action)
    current_grant = staticmethod(countermand.sync.current_grant)

    @staticmethod
    def done(answered: Any) -> Any:
        """Answer what a call came to."""
        return answered

    def enter(self, block: Any) -> Any:
        """Begin a block."""
        return block.__enter__()

    def leave(self, block: Any) -> None:
        """End a block."""
        block.__exit__(None, None, None)


class InGreenlet:
    """For a hook of an async session: it runs in a greenlet, whose loop it can wait on."""

    action = staticmethod(countermand.action)
    current_grant = staticmethod(countermand.current_grant)

    @staticmethod
    def done(answered: Any) -> Any:
        """Answer what a call came to."""
        return await_only(answered)

    def enter(self, block: Any) -> Any:
        """Begin a block."""
        return await_only(block.__aenter__())

    def leave(self, block: Any) -> None:
        """End a block."""
        await_only(block.__aexit__(None, None, None))


World = Blocking | InGreenlet


def this_world() -> World:
    """Answer the world of the hook that asks."""
    return InGreenlet() if "greenlet" in sys.modules and in_greenlet() else Blocking()


def makes_async_sessions(maker: Any) -> bool:
    """Say whether it is an async sessionmaker; whoever has made one has imported its module."""
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and isinstance(maker, module.async_sessionmaker)
