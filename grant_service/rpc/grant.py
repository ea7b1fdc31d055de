"""GrantService: what the owner of a run may ask."""

from collections.abc import Callable

from countermand.v1 import grant_service_pb2 as pb
from grant_service.core.errors import granted
from grant_service.core.grant import Grant
from grant_service.core.listing import find_run
from grant_service.core.run import Run
from grant_service.core.store import Store
from grant_service.core.verbs import Delegated, Extended, Issued
from grant_service.rpc import encode
from grant_service.rpc.decode import Decoder
from grant_service.rpc.tally import Tally
from grant_service.tokens.secret import SecretToken

Mint = Callable[[Issued | Delegated | Extended], SecretToken]


class GrantServicer:
    """Opens runs, issues and extends grants, finishes runs."""

    def __init__(self, store: Store, decode: Decoder, mint: Mint, tally: Tally) -> None:
        self._store, self._decode, self._mint, self._tally = store, decode, mint, tally

    async def OpenRun(self, request: pb.OpenRunRequest) -> pb.OpenRunResponse:
        """Open a run."""
        opened = granted(await self._store.open(self._decode.open(request)))
        now = await self._now(opened.run, opened.run.open_time)
        return pb.OpenRunResponse(run=encode.run(opened.run, None, now), replayed=opened.replayed)

    async def IssueGrant(self, request: pb.IssueGrantRequest) -> pb.IssueGrantResponse:
        """Issue a grant; the same request gets the same token, letter for letter."""
        issued = granted(await self._store.issue(self._decode.issue(request)))
        return pb.IssueGrantResponse(
            grant=encode.grant(issued.grant, await self._now(issued.grant, issued.grant.issue_time)),
            grant_token=self._mint(issued).reveal(),
            replayed=issued.replayed,
            remaining=issued.remaining,
        )

    async def DelegateGrant(self, request: pb.DelegateGrantRequest) -> pb.DelegateGrantResponse:
        """Hand on part of a grant."""
        delegated = granted(await self._store.delegate(self._decode.delegate(request)))
        now = await self._now(delegated.grant, delegated.grant.issue_time)
        return pb.DelegateGrantResponse(
            grant=encode.grant(delegated.grant, now),
            grant_token=self._mint(delegated).reveal(),
            replayed=delegated.replayed,
            remaining=delegated.remaining,
            run=await self._child(delegated.run, delegated.replayed, now) if delegated.run else None,
        )

    async def _child(self, run: Run, replayed: bool, now: int) -> pb.Run:
        """Write the run that was opened; one that was opened before may have ended since."""
        told = await find_run(self._store, run.run_id) if replayed else (run, None, now)
        return encode.run(*told)

    async def ExtendGrant(self, request: pb.ExtendGrantRequest) -> pb.ExtendGrantResponse:
        """Let a grant last longer."""
        extended = granted(await self._store.extend(self._decode.extend(request)))
        return pb.ExtendGrantResponse(
            grant=encode.grant(extended.grant, await self._now(extended.grant, extended.grant.issue_time)),
            grant_token=self._mint(extended).reveal(),
            replayed=extended.replayed,
            remaining=extended.remaining,
        )

    async def FinishRun(self, request: pb.FinishRunRequest) -> pb.FinishRunResponse:
        """End a run that did its work."""
        finished = granted(await self._store.finish(self._decode.finish(request)))
        self._tally.finished(finished.run, replayed=finished.replayed)
        run, end, now = await find_run(self._store, finished.run.run_id)
        return pb.FinishRunResponse(run=encode.run(run, end, now), replayed=finished.replayed)

    async def _now(self, told: Run | Grant, then: int) -> int:
        """Tell the time by which budgets stand: that of the decision, unless they were used since."""
        used = any(one.reserved for one in told.budgets)
        return (await self._store.standing()).now if used else then
