"""Fences, approvals, undos: who may look, and who may decide."""

from collections.abc import Iterable, Mapping

from countermand import _rpcs as rpcs
from countermand import _wire as wire
from countermand._async.door import Door
from countermand._digest import digest as digest_of
from countermand._digest import spelling
from countermand._ids import ids_of, new_id
from countermand._models.approvals import ActionApproved, ActionDenied, ApprovalPage
from countermand._models.duties import ActionResolved, UndoAsked, UndoWithdrawn
from countermand._models.fences import Explanation, Fence, FenceLifted, FenceSet, FenceStanding, Selector
from countermand._span import Span, duration
from countermand._words import ActionState, Outcome, StopReason
from countermand.v1 import control_service_pb2 as control
from countermand.v1 import journal_service_pb2 as journal


class Reader(Door):
    """What those may ask who look into all runs."""

    async def fences(self, *, standing_only: bool = False, timeout: float | None = None) -> tuple[Fence, ...]:
        """List fences, the youngest first."""
        request = journal.ListFencesRequest(standing_only=standing_only)
        return wire.every(wire.fence, (await self._call(rpcs.LIST_FENCES, request, timeout)).message.fences)

    async def get_fence(self, fence_id: str, *, timeout: float | None = None) -> FenceStanding:
        """Tell how a fence stands, and what it stands over now."""
        request = journal.GetFenceRequest(fence_id=fence_id)
        told = (await self._call(rpcs.GET_FENCE, request, timeout)).message
        return FenceStanding(wire.fence(told.fence), wire.hit(told.hit))

    async def approvals(self, *, timeout: float | None = None) -> ApprovalPage:
        """List the actions that wait for a person, the oldest first."""
        told = (await self._call(rpcs.LIST_APPROVALS, journal.ListApprovalsRequest(), timeout)).message
        return ApprovalPage(wire.every(wire.pending_approval, told.approvals), told.more)

    async def why(
        self, run_id: str, *, grant_id: str = "", op_id: str = "", timeout: float | None = None
    ) -> Explanation:
        """Tell which rule refuses a run, one of its grants, or one of its actions, and since when."""
        request = journal.ExplainRefusalRequest(run_id=run_id, grant_id=grant_id, op_id=op_id)
        return wire.explanation((await self._call(rpcs.EXPLAIN, request, timeout)).message)


class Controller(Door):
    """What those may ask who stop more than a run, decide what waits for a person, and have it undone."""

    async def revoke(
        self,
        selector: Selector,
        *,
        reason: StopReason | str,
        actor: str = "",
        note: str = "",
        dry_run: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> FenceSet:
        """Kill what was issued before, by selector. The same `request_id` finds the same fence."""
        request = control.RevokeGrantsRequest(
            request_id=new_id("f") if request_id is None else request_id,
            selector=wire.selector_message(selector),
            reason=wire.number(StopReason(reason)),
            actor=actor,
            note=note,
            validate_only=dry_run,
        )
        return _fence_set((await self._call(rpcs.REVOKE, request, timeout)).message)

    async def freeze(
        self,
        selector: Selector,
        *,
        reason: StopReason | str,
        ttl: Span | None = None,
        actor: str = "",
        note: str = "",
        dry_run: bool = False,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> FenceSet:
        """Kill what was issued before, and block what comes later: for `ttl`, or until it is lifted."""
        request = control.FreezeGrantsRequest(
            request_id=new_id("f") if request_id is None else request_id,
            selector=wire.selector_message(selector),
            reason=wire.number(StopReason(reason)),
            actor=actor,
            note=note,
            ttl=duration(ttl),
            validate_only=dry_run,
        )
        return _fence_set((await self._call(rpcs.FREEZE, request, timeout)).message)

    async def lift(
        self, fence_id: str, *, actor: str = "", note: str = "", timeout: float | None = None
    ) -> FenceLifted:
        """End a freeze. What it killed stays dead: issue new grants."""
        request = control.LiftFenceRequest(fence_id=fence_id, actor=actor, note=note)
        told = (await self._call(rpcs.LIFT, request, timeout)).message
        return FenceLifted(wire.fence(told.fence), told.replayed)

    async def approve(
        self,
        run_id: str,
        op_id: str,
        *,
        digest: bytes,
        amendment: Mapping[str, object] | None = None,
        ttl: Span | None = None,
        actor: str = "",
        note: str = "",
        timeout: float | None = None,
    ) -> ActionApproved:
        """Let an action that waits be committed once, with the arguments of this digest.

        An `amendment` is arguments to use instead. They may only narrow those prepared: the tool's client
        refuses any that do not, and then nothing happens.
        """
        request = control.ApproveActionRequest(
            run_id=run_id, op_id=op_id, digest=digest, actor=actor, note=note, ttl=duration(ttl)
        )
        if amendment is not None:
            request.amendment, request.amended_digest = spelling(amendment), digest_of(amendment)
        told = (await self._call(rpcs.APPROVE, request, timeout)).message
        state = wire.word(ActionState, told.state)
        return ActionApproved(state, told.seq, wire.time(told, "expire_time"), told.replayed)

    async def resolve(
        self,
        run_id: str,
        op_id: str,
        outcome: Outcome | str,
        *,
        evidence: str,
        actor: str = "",
        timeout: float | None = None,
    ) -> ActionResolved:
        """Record what became of an action that nobody settled: SUCCEEDED or FAILED, and how one knows.

        The first word stands. While its permit can be used, nobody can know: that raises `InFlight`.
        """
        what = wire.number(Outcome(outcome))
        request = control.ResolveActionRequest(
            run_id=run_id, op_id=op_id, outcome=what, actor=actor, evidence=evidence
        )
        told = (await self._call(rpcs.RESOLVE, request, timeout)).message
        return ActionResolved(wire.word(ActionState, told.state), told.seq, told.replayed)

    async def undo_run(
        self,
        run_id: str,
        *,
        op_ids: Iterable[str] = (),
        note: str = "",
        actor: str = "",
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> UndoAsked:
        """Ask for what a run that has ended and the runs below it did to be undone, or only these actions.

        Compensators carry it out; the report tells how far they are. Safe to repeat.
        """
        request = control.UndoRunRequest(
            run_id=run_id, op_ids=ids_of(op_ids), note=note, actor=actor, validate_only=dry_run
        )
        return wire.undo_asked((await self._call(rpcs.UNDO_RUN, request, timeout)).message)

    async def withdraw_undo(
        self,
        run_id: str,
        op_ids: Iterable[str],
        *,
        note: str = "",
        actor: str = "",
        timeout: float | None = None,
    ) -> UndoWithdrawn:
        """Take back, for good, the authority to undo these actions of a run, asked for or not."""
        request = control.WithdrawUndoRequest(run_id=run_id, op_ids=ids_of(op_ids), note=note, actor=actor)
        return wire.undo_withdrawn((await self._call(rpcs.WITHDRAW_UNDO, request, timeout)).message)

    async def deny(
        self, run_id: str, op_id: str, *, actor: str = "", note: str = "", timeout: float | None = None
    ) -> ActionDenied:
        """Refuse an action that waits, or take back an approval that was not used yet."""
        request = control.DenyActionRequest(run_id=run_id, op_id=op_id, actor=actor, note=note)
        told = (await self._call(rpcs.DENY, request, timeout)).message
        return ActionDenied(wire.word(ActionState, told.state), told.seq, told.replayed)


def _fence_set(told: control.RevokeGrantsResponse | control.FreezeGrantsResponse) -> FenceSet:
    fence = wire.fence(told.fence) if told.HasField("fence") else None
    return FenceSet(fence, wire.hit(told.hit), told.replayed)
