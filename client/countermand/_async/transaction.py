"""`transaction`: writes that are staged, then done together under one permit, or not at all."""

from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec

from countermand._approval import APPROVAL_TIMEOUT
from countermand._async.action import Action
from countermand._async.grant import CurrentGrant, current_grant
from countermand._effect import Plan
from countermand._errors import FixTheCall, PermitLapsed
from countermand._models.actions import Permit
from countermand._span import Span
from countermand._text import kind_of
from countermand._tool import refuse_work_to_do
from countermand._words import Reversibility
from countermand._world import AsyncWorld

P = ParamSpec("P")


def transaction(
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
    ttl: Span | None = None,
    use_within: Span | None = None,
    approval_timeout: Span | None = APPROVAL_TIMEOUT,
    timeout: float | None = None,
) -> "Transaction":
    """Do several writes as one action: staged in the block, done in their order once it has ended well.

    None is done if the block is left by an exception, or if the run was cancelled meanwhile: the report then
    says interrupted. The arguments are as in `action`; `use_within` is how long the permit should last.
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
    return Transaction(current_grant(), plan, ttl, use_within)


class Transaction(Action):
    """A prepared action whose writes wait for its permit. What is staged has not happened."""

    def __init__(self, grant: CurrentGrant, plan: Plan, ttl: Span | None, use_within: Span | None) -> None:
        super().__init__(grant, plan, ttl)
        #: What each write came to, in their order, once they are done.
        self.results: list[Any] = []
        self._use_within = use_within
        self._writes: list[Callable[[], Any]] = []
        self._is_open = True

    def stage(self, write: Callable[P, object], /, *args: P.args, **named: P.kwargs) -> None:
        """Have `write` called with these arguments at the end of the block, if it comes to that."""
        if not self._is_open:
            raise FixTheCall(
                f"transaction {self.op_id} takes no more writes: stage them inside its block, "
                "or open a new transaction"
            )
        self._writes.append(partial(write, *args, **named))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if error is None and self._writes:
            try:
                await self._write()
            except BaseException as failure:
                await super().__aexit__(type(failure), failure, failure.__traceback__)
                raise
        await super().__aexit__(kind, error, trace)

    async def _write(self) -> None:
        """Ask for the permit, and do all writes under it; say how far they came if one fails."""
        async with self.commit(use_within=self._use_within) as permit:
            for write in self._writes:
                try:
                    await self._do(write, permit)
                except BaseException as failure:
                    self._say_how_far(failure)
                    raise

    async def _do(self, write: Callable[[], Any], permit: Permit) -> None:
        if permit.remaining <= 0:
            raise PermitLapsed(
                f"the permit of transaction {self.op_id} lapsed after {len(self.results)} of "
                f"{len(self._writes)} writes: the rest did not happen",
                metadata={"op": self.op_id},
            )
        result = await AsyncWorld.result(write())
        refuse_work_to_do(write, result, self)
        self.results.append(result)

    def _say_how_far(self, failure: BaseException) -> None:
        """Say what a failure leaves behind; one of the first write is for the exception itself to say."""
        if self._word.outcome is not None:
            return
        done, cause = len(self.results), kind_of(failure)
        if done:
            self.unknown(f"{done} of {len(self._writes)} writes done, then left by {cause}")
        elif isinstance(failure, PermitLapsed):
            self.failed("permit lapsed before the first write")
