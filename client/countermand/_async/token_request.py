"""One request to a model, and what is held of a budget until its answer has come."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from countermand._async.metering import Meter
from countermand._errors import FixTheCall
from countermand.streams.ledger import Hold
from countermand.streams.usage import Usage

if TYPE_CHECKING:
    from countermand._async.grant import CurrentGrant
    from countermand._async.token_budget import TokenBudget


class TokenRequest:
    """Holds what a request may take from the beginning of its block until its answer has come, or its end."""

    def __init__(self, budget: "TokenBudget", wanted: int, input: int, least: int) -> None:
        if wanted < 1 or input < 0:
            raise FixTheCall(
                f"a request is for tokens, wanted=1 or more; not {wanted}, after {input} of input"
            )
        self._budget, self._wanted, self._input, self._least = budget, wanted, input, least
        self._hold: Hold | None = None
        self._grant: CurrentGrant | None = None
        self._is_answered = False

    def __repr__(self) -> str:
        return f"<TokenRequest for {self._hold.max_tokens if self._hold else self._wanted} tokens>"

    @property
    def max_tokens(self) -> int:
        """How many tokens it may ask for."""
        return self._held.max_tokens

    @property
    def _held(self) -> Hold:
        if self._hold is None:
            raise FixTheCall("nothing is held for this request: use 'with tokens.request(...) as request'")
        return self._hold

    async def __aenter__(self) -> Self:
        if self._hold is not None:
            raise FixTheCall("a request is made once: ask tokens.request(...) for another")
        self._budget.check()
        self._grant = await self._budget._look()
        self._hold = await self._budget._reserve(self._wanted, self._input, self._least)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hold is not None:
            self._budget._ledger.release(self._hold)

    async def take(self, told: object, *, op_id: str | None = None) -> Usage:
        """Take what its answer took, as `TokenBudget.take` does; nothing is held for it any more."""
        hold = self._answered()
        try:
            return await self._budget._take(told, op_id, hold)
        finally:
            self._budget._ledger.release(hold)

    def _meter(self) -> Meter:
        """Answer what counts the stream that it is answered with."""
        return Meter(self._budget, self._answered(), self._grant)

    def _answered(self) -> Hold:
        if self._is_answered:
            raise FixTheCall(
                "this request has its answer, which is counted: ask tokens.request(...) for another"
            )
        hold = self._held
        self._is_answered = True
        return hold
