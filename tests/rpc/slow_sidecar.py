"""The real sidecar on the real embedded store, only that each commit takes a while: run with `python -m`.

COUNTERMAND_TEST_PAUSE tells how long, in seconds.
"""

import asyncio
import os
import sys

from grant_service import __main__
from grant_service.core import verbs
from grant_service.core.errors import Refusal
from grant_service.store.sqlite import SqliteStore

_PAUSE = float(os.environ.get("COUNTERMAND_TEST_PAUSE", "0.8"))
_commit = SqliteStore.commit


async def _slow_commit(self: SqliteStore, command: verbs.Commit) -> verbs.Permitted | Refusal:
    await asyncio.sleep(_PAUSE)
    return await _commit(self, command)


if __name__ == "__main__":
    SqliteStore.commit = _slow_commit  # type: ignore[method-assign]
    sys.exit(__main__.main())
