# Derived from client/countermand/_async/perform.py by scripts/unasync.py. Do not edit.
"""`perform`: the boundary a side effect passes in one step."""

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from countermand._amendment import not_for_perform
from countermand._approval import APPROVAL_TIMEOUT
from countermand._effect import Plan
from countermand._errors import AwaitingApproval, DigestMismatch, TryAgain
from countermand._leaving import leaves_something
from countermand._models.actions import Permit
from countermand._span import Span
from countermand._sync.approval import agreed
from countermand._sync.effect import Effect
from countermand._sync.grant import CurrentGrant, current_grant
from countermand._words import Reversibility
from countermand._world import Shield


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
        self._shield = Shield()

    def __enter__(self) -> Self:
        try:
            self._ask(self._question)
        except BaseException as error:
            if self._may_be_permitted(error) or leaves_something(error, self._waiting.is_on):
                self._give_up(error)
            raise
        self._shield.__enter__()  # from here to the settling no stop cuts it in half
        return self

    @staticmethod
    def _may_be_permitted(error: BaseException) -> bool:
        return isinstance(error, TryAgain) and not isinstance(error, AwaitingApproval)

    def _question(self) -> Permit:
        """Put it on record and ask at once; ask again while a person has to agree."""
        permit: Permit = agreed(self._perform, self._waiting)
        return replace(permit, asked_before=True) if self._waiting.unanswered else permit

    def _perform(self) -> Permit:
        token = self._grant.to_act()
        try:
            return self._grant.tool.perform(
                token, self.intent, use_within=self._use_within, timeout=self._timeout
            )
        except DigestMismatch as error:  # it came with its own digest, so a person agreed to another one
            raise not_for_perform(self.op_id) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._leave(error)
        finally:
            self._shield.__exit__(kind, error, trace)
