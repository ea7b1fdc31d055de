"""What counts a guarded stream against a token budget, while it is read."""

from collections.abc import Callable
from logging import INFO, WARNING
from typing import TYPE_CHECKING

from countermand._errors import AuthorityEnded, CountermandError
from countermand._ids import new_id
from countermand._world import log
from countermand.streams.account import Account
from countermand.streams.ledger import Hold
from countermand.streams.partial import PATIENCE
from countermand.streams.usage import Usage
from countermand.work.stop import Stop

if TYPE_CHECKING:
    from countermand._async.grant import CurrentGrant
    from countermand._async.token_budget import TokenBudget

#: How long the next is tried when telling of one budget has failed, in seconds.
ONCE_MORE = 0.1


class Meter:
    """Counts one stream, and tells the sidecar what it took, however it ended."""

    def __init__(self, budget: "TokenBudget", hold: Hold | None, grant: "CurrentGrant | None" = None) -> None:
        self._budget, self._grant = budget, grant
        self._account = Account(budget._ledger, hold, budget._count)
        self._op_id = new_id("s")
        self._is_over = False
        self._stops: Callable[[Stop], object] | None = None
        #: It was what the budget ran out by.
        self._is_short = False
        #: Why no budget of the run may have what it took; None if they have.
        self.failure: CountermandError | None = None

    @property
    def took(self) -> Usage:
        """What it has taken so far."""
        return self._account.counted

    async def begin(self, stops: Callable[[Stop], object]) -> None:
        """Learn what is left, under the grant that the stream is read under; `stops` ends the stream."""
        self._grant = self._grant or await self._budget._look()
        self._stops = stops
        self._budget._meters[self] = None
        self._budget.check()

    def see(self, chunk: object) -> Stop | None:
        """Count a chunk; answers the stop if the budget ran out by it."""
        return self._stop_if(self._account.see(chunk))

    def heard(self, stop: Stop) -> None:
        """Nothing may be taken any more."""
        if self._stops is not None:
            self._stops(stop)

    def _stop_if(self, short: str) -> Stop | None:
        if not short:
            return None
        self._is_short = True
        return self._budget._run_out(short, " by estimate" if self.took.estimated else "")

    async def settle(self) -> None:
        """It is closed: let go of what is held, and have on record what it took before the run may end."""
        if self._is_over:
            return
        self._is_over = True
        self._budget._meters.pop(self, None)
        self._stop_if(self._account.count())
        self._account.close()
        if self._is_short:  # what others took meanwhile can only be told as long as the run is there
            for other in list(self._budget._meters):
                await other._tell()
        await self._tell()
        if self._is_short:
            await self._budget._end_run()

    async def _tell(self) -> None:
        """Tell the sidecar what it has not been told; never raises."""
        if self._grant is None:
            return
        known_as, amounts = self._account.claim()
        for name, amount in amounts.items():
            op_id, limit = f"{self._op_id}.{known_as}.{name}", ONCE_MORE if self.failure else PATIENCE
            try:
                await self._budget._spend(self._grant, name, amount, op_id, limit)
            except CountermandError as error:
                self.failure = error
                level = INFO if isinstance(error, AuthorityEnded) else WARNING  # then its journal has it
                log.log(level, "a stream took %s %s, which may be in no budget: %s", amount, name, error)
