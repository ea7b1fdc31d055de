"""`perform`: the boundary a side effect passes in one step."""

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from countermand._amendment import not_for_perform
from countermand._approval import APPROVAL_TIMEOUT
from countermand._async.approval import agreed
from countermand._async.effect import Effect
from countermand._async.grant import CurrentGrant, current_grant
from countermand._effect import Plan
from countermand._errors import AwaitingApproval, DigestMismatch, TryAgain
from countermand._leaving import leaves_something
from countermand._models.actions import Permit
from countermand._span import Span
from countermand._words import Reversibility
from countermand._world import AsyncShield


def perform(
    name: str,
    *,
    resource: str = "",
    args: Mapping[str, object] | None = None,
    op_id: str | None = None,
    reversibility: Reversibility = Reversibility.UNSPECIFIED,
    compensation: str = "",
    compensation_args: Mapping[str, object] | None = None,
    probe: str = "",
    costs: Mapping[str, int] | None = None,
    summary: str = "",
    use_within: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
) -> "Performance":
    """Do a side effect that needs no preparation: permitted on entry, settled on exit, one call each.

    Its arguments are as in `action`. Where a person has to agree first, entering waits for them; an agreement
    to narrower arguments is refused, because only `action` hands those on.
    """
    plan = Plan.of(
        name,
        args,
        op_id,
        timeout,
        approval_timeout,
        resource=resource,
        reversibility=reversibility,
        compensation=compensation,
        compensation_args=compensation_args,
        probe=probe,
        costs=costs,
        summary=summary,
    )
    return Performance(current_grant(), plan, use_within)


class Performance(Effect):
    """An action that is permitted when its block begins and settled when it ends."""

    def __init__(self, grant: CurrentGrant, plan: Plan, use_within: Span | None) -> None:
        super().__init__(grant, plan)
        self._use_within = use_within
        self._shield = AsyncShield()

    async def __aenter__(self) -> Self:
        try:
            await self._ask(self._question)
        except BaseException as error:
            if self._may_be_permitted(error) or leaves_something(error, self._waiting.is_on):
                await self._give_up(error)
            raise
        await self._shield.__aenter__()  # from here to the settling no stop cuts it in half
        return self

    @staticmethod
    def _may_be_permitted(error: BaseException) -> bool:
        return isinstance(error, TryAgain) and not isinstance(error, AwaitingApproval)

    async def _question(self) -> Permit:
        """Put it on record and ask at once; ask again while a person has to agree."""
        permit: Permit = await agreed(self._perform, self._waiting)
        return replace(permit, asked_before=True) if self._waiting.unanswered else permit

    async def _perform(self) -> Permit:
        token = await self._grant.to_act()
        try:
            return await self._grant.tool.perform(
                token, self.intent, use_within=self._use_within, timeout=self._timeout
            )
        except DigestMismatch as error:  # it came with its own digest, so a person agreed to another one
            raise not_for_perform(self.op_id) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._leave(error)
        finally:
            await self._shield.__aexit__(kind, error, trace)
