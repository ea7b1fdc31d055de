"""ActionService: what a tool may ask. The hot path of the product."""

from dataclasses import replace
from typing import TypeVar

import structlog

from countermand.v1 import action_service_pb2 as pb
from grant_service.core.errors import Refusal, granted
from grant_service.core.store import Store
from grant_service.core.verbs import Settle
from grant_service.rpc import encode
from grant_service.rpc.decode import Decoder
from grant_service.rpc.tally import Tally

T = TypeVar("T")

_log = structlog.get_logger()

_OVERTAKEN = "its outcome came before its action was on record: say it again"


class ActionServicer:
    """Prepares, commits, performs, settles and abandons actions; spends budgets."""

    def __init__(self, store: Store, decode: Decoder, tally: Tally) -> None:
        self._store, self._decode, self._tally = store, decode, tally

    def _granted(self, answer: T | Refusal) -> T:
        """Take the answer to what may run a budget out, or raise its refusal."""
        if isinstance(answer, Refusal):
            self._tally.looked_at(answer)
        return granted(answer)

    async def PrepareAction(self, request: pb.PrepareActionRequest) -> pb.PrepareActionResponse:
        """Record an intended action."""
        prepared = self._granted(await self._store.prepare(self._decode.prepare(request)))
        return pb.PrepareActionResponse(
            op_id=prepared.op_id,
            seq=prepared.seq,
            expire_time=encode.moment(prepared.expire_time),
            state=encode.action_state(prepared.state),
            replayed=prepared.replayed,
            remaining=prepared.remaining,
            approval=encode.approval(prepared.approval),
            undo_until_time=encode.moment(prepared.undo_until),
        )

    async def CommitAction(self, request: pb.CommitActionRequest) -> pb.CommitActionResponse:
        """Answer whether the action may happen now."""
        permitted = granted(await self._store.commit(self._decode.commit(request)))
        return pb.CommitActionResponse(permit=encode.permit(permitted), remaining=permitted.remaining or None)

    async def PerformAction(self, request: pb.PerformActionRequest) -> pb.PerformActionResponse:
        """Record an action and answer whether it may happen now."""
        permitted = self._granted(await self._store.perform(self._decode.perform(request)))
        return pb.PerformActionResponse(permit=encode.permit(permitted), remaining=permitted.remaining)

    async def SettleAction(self, request: pb.SettleActionRequest) -> pb.SettleActionResponse:
        """Record what became of a permitted action."""
        command = self._decode.settle(request)
        if command.handle and self._decode.tools.registered:
            command = await self._with_canceller(command)
        settled = granted(await self._store.settle(command))
        if settled.why_not and not settled.replayed:
            run, op = command.grant.run_id, settled.op_id
            _log.warning("a job cannot be called off", run=run, op=op, why=settled.why_not)
        return pb.SettleActionResponse(
            op_id=settled.op_id,
            seq=settled.seq,
            state=encode.action_state(settled.state),
            after_cut=settled.after_cut,
            replayed=settled.replayed,
            remaining=settled.remaining,
            why_not_called_off=settled.why_not,
        )

    async def _with_canceller(self, command: Settle) -> Settle:
        """Have what was begun called off only by the canceller that is registered for its action."""
        grant = command.grant
        (action,) = await self._store.actions([(grant.run_id, command.op_id)])
        if action is None or action.grant_id != grant.grant_id:
            # The store refuses that. By nobody, in case the action is being put on record just now.
            return replace(command, canceller="", why_not=_OVERTAKEN)
        canceller, why_not = self._decode.tools.canceller(action.intent.action, command.canceller)
        return replace(command, canceller=canceller, why_not=why_not)

    async def AbandonAction(self, request: pb.AbandonActionRequest) -> pb.AbandonActionResponse:
        """Give up a prepared action."""
        abandoned = granted(await self._store.abandon(self._decode.abandon(request)))
        return pb.AbandonActionResponse(
            op_id=abandoned.op_id,
            seq=abandoned.seq,
            replayed=abandoned.replayed,
            remaining=abandoned.remaining,
        )

    async def SpendBudget(self, request: pb.SpendBudgetRequest) -> pb.SpendBudgetResponse:
        """Take from a budget for what is no action."""
        spent = self._granted(await self._store.spend(self._decode.spend(request)))
        return pb.SpendBudgetResponse(
            op_id=spent.op_id,
            seq=spent.seq,
            remaining=spent.remaining.get(request.budget, 0),
            remaining_by_name=spent.remaining,
            replayed=spent.replayed,
        )
