"""ControlService: what an operator may ask."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as pb
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refusal, Refused, granted
from grant_service.core.journal import Kind
from grant_service.core.report import PARTS, Report, ReportedAction
from grant_service.core.store import Store
from grant_service.core.sweep import Hit
from grant_service.core.verbs import Cancelled, Fenced, Undo, UndoAsked
from grant_service.rpc import encode, limits
from grant_service.rpc.decode import Decoder
from grant_service.rpc.heads import HeadSigner
from grant_service.rpc.journal import report_message
from grant_service.rpc.line import Line, patience
from grant_service.rpc.tally import Tally

_log = structlog.get_logger()

#: How many undos are asked for in one turn: an operator's cancel comes in between.
_UNDOS_AT_ONCE = 256

#: What the store said to asking for an undo; None if it was not asked.
Answer = UndoAsked | Refusal | None


class ControlServicer:
    """Stops runs, sets and lifts fences, agrees to actions and refuses them."""

    def __init__(
        self, store: Store, decode: Decoder, counts: Line, signer: HeadSigner, tally: Tally, timeout: float
    ) -> None:
        self._store, self._decode, self._counts, self._timeout = store, decode, counts, timeout
        self._signer, self._tally = signer, tally

    async def CancelRun(self, request: pb.CancelRunRequest) -> pb.CancelRunResponse:
        """Stop first, then compile the report: nothing accepted before the cut can be missing from it."""
        command = self._decode.cancel(request)
        cancelled = await self._store.cancel(command)
        self._tally.cancelled(command, cancelled)
        # The answer that the run is stopped must still get out.
        seconds = patience(self._timeout)
        try:
            async with asyncio.timeout(seconds):
                report = granted(await compile_report(self._store, cancelled.run_id))
                message = await report_message(report, self._signer)
        except Refused as unread:
            raise _stopped_but(unread, cancelled) from unread
        except TimeoutError as late:
            cause = f"it took longer than {seconds:.2g} s"
            raise _stopped_but(Refused(ErrorReason.STORE_UNAVAILABLE, cause=cause), cancelled) from late
        except Exception as defect:
            raise _stopped_but(Refused(ErrorReason.INTERNAL), cancelled) from defect
        return pb.CancelRunResponse(report=message, replayed=cancelled.replayed, known=cancelled.known)

    async def RevokeGrants(self, request: pb.RevokeGrantsRequest) -> pb.RevokeGrantsResponse:
        """Fence first, then count what it stands over: a grant issued meanwhile cannot slip through."""
        command = self._decode.revoke(request)
        if request.validate_only:
            hit = await self._counts.count(self._store, command.selector)
            return pb.RevokeGrantsResponse(run_count=hit.run_count, hit=encode.hit(hit))
        fenced = granted(await self._store.revoke(command))
        self._tally.fenced(Kind.REVOKED, fenced.fence, replayed=fenced.replayed)
        return pb.RevokeGrantsResponse(**await self._told(fenced))

    async def FreezeGrants(self, request: pb.FreezeGrantsRequest) -> pb.FreezeGrantsResponse:
        """The same, with a fence that also blocks what comes later."""
        command = self._decode.freeze(request)
        if request.validate_only:
            hit = await self._counts.count(self._store, command.selector)
            return pb.FreezeGrantsResponse(run_count=hit.run_count, hit=encode.hit(hit))
        fenced = granted(await self._store.freeze(command))
        self._tally.fenced(Kind.FROZEN, fenced.fence, replayed=fenced.replayed)
        return pb.FreezeGrantsResponse(**await self._told(fenced))

    async def _told(self, fenced: Fenced) -> dict[str, Any]:
        """Count what a fence stands over. However little of that can be read: it stands."""
        fence = fenced.fence
        try:
            hit = await self._counts.count(self._store, fence.selector, fence.seq)
        except Exception as defect:
            _log.error("failed", fence=fence.fence_id, cause="its count", exc_info=defect)
            hit = Hit()
        return {
            "fence_id": fence.fence_id,
            "run_count": hit.run_count,
            "fence": encode.fence(fence, max(hit.time, fence.time)),
            "hit": encode.hit(hit),
            "replayed": fenced.replayed,
        }

    async def LiftFence(self, request: pb.LiftFenceRequest) -> pb.LiftFenceResponse:
        """End a freeze."""
        lifted = granted(await self._store.lift(self._decode.lift(request)))
        fence = encode.fence(lifted.fence, lifted.fence.lift_time)
        return pb.LiftFenceResponse(replayed=lifted.replayed, fence=fence)

    async def ApproveAction(self, request: pb.ApproveActionRequest) -> pb.ApproveActionResponse:
        """Agree to an action that waits for a person."""
        approved = granted(await self._store.approve(self._decode.approve(request)))
        return pb.ApproveActionResponse(
            state=action_pb.ACTION_STATE_PREPARED,
            seq=approved.seq,
            expire_time=encode.moment(approved.until),
            replayed=approved.replayed,
        )

    async def DenyAction(self, request: pb.DenyActionRequest) -> pb.DenyActionResponse:
        """Refuse an action, or take back an approval that was not used yet."""
        denied = granted(await self._store.deny(self._decode.deny(request)))
        return pb.DenyActionResponse(
            state=action_pb.ACTION_STATE_DENIED, seq=denied.seq, replayed=denied.replayed
        )

    async def ResolveAction(self, request: pb.ResolveActionRequest) -> pb.ResolveActionResponse:
        """Record what became of an action whose outcome is unknown."""
        resolved = granted(await self._store.resolve(self._decode.resolve(request)))
        state = encode.action_state(resolved.state)
        return pb.ResolveActionResponse(state=state, seq=resolved.seq, replayed=resolved.replayed)

    async def UndoRun(self, request: pb.UndoRunRequest) -> pb.UndoRunResponse:
        """Ask for what can be undone, each effect a decision of its own; say why the others cannot."""
        run_id = limits.identifier("run_id", request.run_id)
        named = [limits.identifier("op_ids", op_id) for op_id in request.op_ids]
        async with asyncio.timeout(patience(self._timeout)):
            report = granted(await compile_report(self._store, run_id))
        effects = _effects(report, named)
        asked: list[Answer] = [None] * len(effects)
        if not request.validate_only:
            asked = await self._ask(self._decode.undo(request, one.run_id, one.op_id) for one in effects)
            _raise_if_all_refused(report, asked)
        steps = [encode.undo_step(*step, report.time) for step in zip(effects, asked, strict=True)]
        due = [one.op_id for one in steps if not one.why_not and one.state != action_pb.ACTION_STATE_UNDONE]
        return pb.UndoRunResponse(op_ids=due, steps=steps)

    async def _ask(self, told: Iterable[Undo]) -> list[Answer]:
        """Ask for undos in the order told, while the caller waits; repeated, the call goes on from there."""
        left, asked = list(told), list[Answer]()
        while left:
            if not patience(self._timeout):
                raise Refused(ErrorReason.TIMED_OUT)
            asked += await asyncio.gather(*map(self._store.undo, left[:_UNDOS_AT_ONCE]))
            del left[:_UNDOS_AT_ONCE]
        return asked

    async def WithdrawUndo(self, request: pb.WithdrawUndoRequest) -> pb.WithdrawUndoResponse:
        """Take back authority to undo."""
        told = await asyncio.gather(*map(self._store.withdraw, self._decode.withdraw(request)))
        withdrawn = [granted(one) for one in told]
        busy_until = max(one.lease_until for one in withdrawn)
        return pb.WithdrawUndoResponse(
            seqs=[one.seq for one in withdrawn], busy_until_time=encode.moment(busy_until)
        )


def _effects(report: Report, op_ids: Sequence[str]) -> list[ReportedAction]:
    """Find what happened or may have, of each run the last effect first; every op_id named must be one."""
    happened = report.in_state(*PARTS["done"], *PARTS["in_flight"], *PARTS["unknown"])
    named = set(op_ids)
    for missing in sorted(named - {one.op_id for one in happened}):
        raise Refused(
            ErrorReason.NOT_UNDOABLE,
            run=report.run.run_id,
            op=missing,
            rule="no such action happened, or may have",
        )
    chosen = [one for one in happened if not named or one.op_id in named]
    return sorted(chosen, key=lambda one: one.fence, reverse=True)


def _raise_if_all_refused(report: Report, asked: Sequence[Answer]) -> None:
    """Refuse the whole where every part was refused for what is no matter of the single effect."""
    for one in asked:
        if not isinstance(one, Refusal) or one.reason is ErrorReason.NOT_UNDOABLE:
            return
    for one in asked:
        granted(one)


def _stopped_but(unread: Refused, cancelled: Cancelled) -> Refused:
    """Refuse the report, and still tell that the run is stopped: the two must not be confused."""
    details = dict(unread.refusal.details, run=cancelled.run_id, seq=str(cancelled.seq))
    stopped = f"run {cancelled.run_id} is {cancelled.state.lower()} since entry {cancelled.seq}"
    details["cause"] = f"{stopped}, only its report could not be read: {details.get('cause', 'no answer')}"
    return Refused(unread.refusal.reason, **details)
