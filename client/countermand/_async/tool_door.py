"""The tool's verbs: small frozen values in and out, one call each."""

from collections.abc import Mapping
from typing import TypeVar

from countermand import _rpcs as rpcs
from countermand import _wire as wire
from countermand._async.connection import Answer
from countermand._async.door import Delegator
from countermand._errors import AskOperator, CountermandError
from countermand._events import CommitRefused, tell
from countermand._ids import new_id
from countermand._models.actions import Abandoned, Intent, Permit, Prepared, Settled, Spent
from countermand._models.budgets import amount as amount_of
from countermand._rpcs import Q, R, Rpc
from countermand._secret import SecretToken
from countermand._span import Span, duration
from countermand._words import ActionState, Outcome
from countermand.v1 import action_service_pb2 as actions

Permitting = TypeVar("Permitting", actions.CommitActionResponse, actions.PerformActionResponse)


class Tool(Delegator):
    """What a tool may ask: with a grant token, about its own actions."""

    async def prepare(
        self,
        token: SecretToken | str,
        intent: Intent,
        *,
        ttl: Span | None = None,
        timeout: float | None = None,
    ) -> Prepared:
        """Put an intended action on record. Nothing may happen yet; a person may have to agree first."""
        request = actions.PrepareActionRequest(intent=wire.intent_message(intent), ttl=duration(ttl))
        told = (await self._call(rpcs.PREPARE, request, timeout, token)).message
        return Prepared(
            op_id=told.op_id,
            seq=told.seq,
            expire_time=wire.time(told, "expire_time"),
            state=wire.word(ActionState, told.state),
            replayed=told.replayed,
            approval=wire.approval(told.approval) if told.HasField("approval") else None,
            remaining=dict(told.remaining),
            undo_until_time=wire.time(told, "undo_until_time"),
        )

    async def commit(
        self,
        token: SecretToken | str,
        op_id: str,
        digest: bytes,
        *,
        use_within: Span | None = None,
        timeout: float | None = None,
    ) -> Permit:
        """Ask whether a prepared action may happen now. If this raises, it must not."""
        request = actions.CommitActionRequest(op_id=op_id, digest=digest, use_within=duration(use_within))
        answer = await self._ask_permit(rpcs.COMMIT, request, timeout, token)
        return self._permit(op_id, answer)

    async def perform(
        self,
        token: SecretToken | str,
        intent: Intent,
        *,
        use_within: Span | None = None,
        timeout: float | None = None,
    ) -> Permit:
        """Put an action on record and ask whether it may happen now, at once. If this raises, it must not."""
        request = actions.PerformActionRequest(
            intent=wire.intent_message(intent), use_within=duration(use_within)
        )
        answer = await self._ask_permit(rpcs.PERFORM, request, timeout, token)
        return self._permit(intent.op_id, answer)

    async def _ask_permit(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None, token: SecretToken | str
    ) -> Answer[R]:
        try:
            return await self._call(rpc, request, timeout, token)
        except CountermandError as refusal:
            tell(CommitRefused(refusal))
            raise

    def _permit(self, op_id: str, answer: Answer[Permitting]) -> Permit:
        told = answer.message.permit
        if told.op_id != op_id:
            raise AskOperator(f"the sidecar answered for action {told.op_id}, not {op_id}: do not act")
        return Permit(
            op_id=told.op_id,
            fence=told.fence,
            use_by_time=wire.time(told, "use_by_time"),
            replayed=told.replayed,
            ends_at=answer.sent_at + told.use_within.ToMicroseconds() / 1e6,
            asked_before=answer.asked_before,
            clock=self.clock,
            remaining_budgets=dict(answer.message.remaining),
        )

    async def settle(
        self,
        token: SecretToken | str,
        op_id: str,
        outcome: Outcome | str,
        *,
        receipt: str = "",
        note: str = "",
        compensation_args: Mapping[str, object] | None = None,
        handle: str = "",
        canceller: str = "",
        timeout: float | None = None,
    ) -> Settled:
        """Tell what became of a permitted action. Accepted after a cancel too, as information.

        `compensation_args` are what only the result told, added to those of prepare. `handle` is what the
        outside world calls a job that it has only accepted, `canceller` who can call that off.
        """
        request = actions.SettleActionRequest(
            op_id=op_id,
            outcome=wire.number(Outcome(outcome)),
            receipt=receipt,
            note=note,
            compensation_args=wire.args_text("compensation_args", compensation_args),
            handle=handle,
            canceller=canceller,
        )
        told = (await self._call(rpcs.SETTLE, request, timeout, token)).message
        state = wire.word(ActionState, told.state)
        known = (told.op_id, told.seq, state, told.after_cut, told.replayed)
        return Settled(*known, dict(told.remaining), told.why_not_called_off)

    async def abandon(
        self, token: SecretToken | str, op_id: str, *, note: str = "", timeout: float | None = None
    ) -> Abandoned:
        """Give up a prepared action."""
        request = actions.AbandonActionRequest(op_id=op_id, note=note)
        told = (await self._call(rpcs.ABANDON, request, timeout, token)).message
        return Abandoned(told.op_id, told.seq, told.replayed, dict(told.remaining))

    async def spend(
        self,
        token: SecretToken | str,
        budget: str,
        amount: int,
        *,
        incurred: bool = False,
        op_id: str | None = None,
        timeout: float | None = None,
    ) -> Spent:
        """Take an amount for what is no action; what was `incurred` already is taken whatever is left.

        The same `op_id` takes it once. Actions and spendings have op_ids of their own.
        """
        request = actions.SpendBudgetRequest(
            op_id=new_id("s") if op_id is None else op_id,
            budget=budget,
            amount=amount_of("amount", amount),
            incurred=incurred,
        )
        told = (await self._call(rpcs.SPEND, request, timeout, token)).message
        return Spent(told.op_id, told.seq, dict(told.remaining_by_name), told.replayed)
