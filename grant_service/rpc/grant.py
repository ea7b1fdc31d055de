"""GrantService: what the owner of a run may ask."""

from collections.abc import Callable

from countermand.v1 import grant_service_pb2 as pb
from grant_service.core.errors import granted
from grant_service.core.listing import find_run
from grant_service.core.store import Store
from grant_service.core.verbs import Issued
from grant_service.rpc import encode
from grant_service.rpc.decode import Decoder
from grant_service.tokens.secret import SecretToken

Mint = Callable[[Issued], SecretToken]


class GrantServicer:
    """Opens runs, issues grants, finishes runs."""

    def __init__(self, store: Store, decode: Decoder, mint: Mint) -> None:
        self._store, self._decode, self._mint = store, decode, mint

    async def OpenRun(self, request: pb.OpenRunRequest) -> pb.OpenRunResponse:
        """Open a run."""
        opened = granted(await self._store.open(self._decode.open(request)))
        return pb.OpenRunResponse(run=encode.run(opened.run, None), replayed=opened.replayed)

    async def IssueGrant(self, request: pb.IssueGrantRequest) -> pb.IssueGrantResponse:
        """Issue a grant; the same request gets the same token, letter for letter."""
        issued = granted(await self._store.issue(self._decode.issue(request)))
        return pb.IssueGrantResponse(
            grant=encode.grant(issued.grant),
            grant_token=self._mint(issued).reveal(),
            replayed=issued.replayed,
        )

    async def FinishRun(self, request: pb.FinishRunRequest) -> pb.FinishRunResponse:
        """End a run that did its work."""
        finished = granted(await self._store.finish(self._decode.finish(request)))
        run, end = await find_run(self._store, finished.run.run_id)
        return pb.FinishRunResponse(run=encode.run(run, end), replayed=finished.replayed)
