"""A tool whose calls travel on a session, and who watches every grant it acts by: for the load of the races.

It answers and refuses as a stub does. What it hears of stops it only counts: no call waits for that.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from countermand._errors import CountermandError
from countermand._rpcs import ABANDON, COMMIT, PERFORM, PREPARE, SETTLE, SPEND, Rpc, Sealed
from countermand._session import AsyncSession
from countermand.v1 import session_service_pb2 as pb
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.rpc.errors import status

_RPCS: dict[str, Rpc[Any, Any]] = {
    one.name: one for one in (PREPARE, COMMIT, PERFORM, SETTLE, ABANDON, SPEND)
}


class SessionTool:
    """Stands in for the stub of ActionService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.session = AsyncSession(channel)
        #: What was told to stop, by its reason; and the grants that are watched.
        self.told: Counter[str] = Counter()
        self.watched: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _RPCS:
            raise AttributeError(name)
        return partial(self._call, _RPCS[name])

    async def _call(self, rpc: Rpc[Any, Any], request: Any, *, timeout: float) -> Any:
        token = request.grant_token
        if token not in self.watched:
            self.watched.add(token)
            self.session.watch(Sealed(pb.WatchRunRequest(grant_token=token)), self._hear)
        try:
            return await self.session.call(rpc, Sealed(request), timeout)
        except CountermandError as error:
            raise _as_alone(error) from error

    def _hear(self, error: CountermandError) -> None:
        self.told[error.reason.value] += 1


def _as_alone(error: CountermandError) -> grpc.aio.AioRpcError:
    """Raise what a call raises that travels alone; what is not the sidecar's word leaves everything open."""
    reason = ErrorReason.__members__.get(error.reason.value)
    if reason is None:
        return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    told = status(Refusal(reason, dict(error.metadata)))
    metadata = grpc.aio.Metadata(*told.trailing_metadata)
    return grpc.aio.AioRpcError(told.code, grpc.aio.Metadata(), metadata, told.details)
