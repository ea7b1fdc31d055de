"""Health: `` for the sidecar and `store` for the store, by the standard protocol, on every listener."""

import asyncio
from contextlib import suppress

import structlog
from grpc_health.v1.health import aio as grpc_health
from grpc_health.v1.health_pb2 import HealthCheckResponse

from grant_service.core.errors import Refused, explain
from grant_service.core.store import Standing, Store

_INTERVAL_S = 1.0
#: A store that does not answer for so long is not well: it must not look well because it fell silent.
_PATIENCE_S = 2.0
_log = structlog.get_logger()

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING


class Health:
    """Asks the store how it stands, once a second, and tells whoever asks. Not ready until it answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._well: bool | None = None
        #: How the store stood when it last answered, and how many epochs it has shown.
        self.standing: Standing | None = None
        self.epochs = 0
        self._draining = False
        self.servicer = grpc_health.HealthServicer()

    async def watch(self) -> None:
        """Keep looking until cancelled: whoever stopped looking would go on telling what it saw last."""
        while True:
            try:
                await self.look()
            except Exception as defect:
                with suppress(Exception):
                    _log.error("health", exc_info=defect)
            await asyncio.sleep(_INTERVAL_S)

    async def look(self) -> None:
        """Look once, and tell."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                standing = await self._store.standing()
        except TimeoutError:
            await self._tell(False, f"the store did not answer in {_PATIENCE_S:g} s")
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            await self._tell(False, "the store gave up")
        except Refused as refused:
            await self._tell(False, explain(refused.refusal))
        except Exception as defect:
            await self._tell(False, repr(defect))
        else:
            self._note(standing)
            await self._tell(not standing.trouble, standing.trouble)

    @property
    def is_well(self) -> bool:
        """Whether the store was well when it was last looked at."""
        return bool(self._well)

    def _note(self, standing: Standing) -> None:
        if self.standing is None or self.standing.epoch != standing.epoch:
            self.epochs += 1
        self.standing = standing

    async def drain(self) -> None:
        """Say `not ready` from now on, whatever the store says."""
        self._draining = True
        await self._set()

    async def _tell(self, well: bool, why: str) -> None:
        # That it is well at the first look is no news: the sidecar starts, and says so itself.
        changed = well != self._well and not (well and self._well is None)
        self._well = well
        # Before it is logged, and whether or not it changed: a setting that failed is made up for.
        await self._set()
        if changed:
            (_log.info if well else _log.error)("store", well=well, why=why)

    async def _set(self) -> None:
        store = _SERVING if self._well else _NOT_SERVING
        await self.servicer.set("store", store)
        await self.servicer.set("", _NOT_SERVING if self._draining else store)


def _is_cancelled() -> bool:
    """Say whether this task is to end; the store may also cancel something of its own that we wait for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
