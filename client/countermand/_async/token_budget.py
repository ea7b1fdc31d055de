"""Token budgets: what models take, held against limits here and the budgets of the run."""

from collections.abc import Mapping

from countermand._async.grant import CurrentGrant, current_grant
from countermand._async.metering import Meter
from countermand._async.run import ActiveRun
from countermand._async.token_request import TokenRequest
from countermand._errors import AuthorityEnded, CountermandError, FixTheCall, Stopped
from countermand._words import StopReason
from countermand._world import log
from countermand.streams.ending import Ends
from countermand.streams.freed import AsyncFreed
from countermand.streams.ledger import Hold, Ledger
from countermand.streams.listening import Scoped
from countermand.streams.price import Price
from countermand.streams.tally import CountsTokens
from countermand.streams.usage import Usage, usage_of
from countermand.work.stop import Stop
from countermand.work.token import CancellationToken


def token_budget(
    of: Scoped | ActiveRun | CancellationToken | None = None,
    *,
    input: str = "tokens_in",
    output: str = "tokens_out",
    cost: str = "usd_micros",
    price: Price | None = None,
    limits: Mapping[str, int] | None = None,
    shared: bool = True,
    count: CountsTokens | None = None,
) -> "TokenBudget":
    """Hold what models take against budgets: `input`, `output` and, with a `price`, `cost` are their names.

    `limits` are budgets of this object alone, by name. What is taken is spent under the current grant, too,
    unless it is not `shared`: then those of the run and grant count as well, with all others who use them.
    When one runs out, the scope it is made in is stopped with the reason BUDGET, and so is `of`. `count`
    answers how many tokens a piece of a stream's text has, where its provider has not told yet.
    """
    return TokenBudget(of, Ledger(input, output, cost, price, limits), shared=shared, count=count)


class TokenBudget:
    """What models took, and what they may still take."""

    def __init__(
        self,
        of: Scoped | ActiveRun | CancellationToken | None,
        ledger: Ledger,
        *,
        shared: bool,
        count: CountsTokens | None,
    ) -> None:
        self._run = of if isinstance(of, ActiveRun) else None
        self._ends = Ends(None if isinstance(of, ActiveRun) else of)
        self._ledger, self._shared, self._count = ledger, shared, count
        self._known: set[str] = set()
        self._meters: dict[Meter, None] = {}
        #: Why nothing may be taken any more; None while something may.
        self.stop: Stop | None = None

    def __repr__(self) -> str:
        return f"<TokenBudget {self.stop or self.left or 'without limit'}>"

    @property
    def used(self) -> Usage:
        """What was taken by it, and how much of that is estimated."""
        return self._ledger.used

    @property
    def left(self) -> Mapping[str, int]:
        """What is left of each budget, as far as is known; a name that is missing has no known limit."""
        return self._ledger.left

    @property
    def held(self) -> Mapping[str, int]:
        """What of that is held for requests whose answers have not come."""
        return self._ledger.held

    def check(self) -> None:
        """Raise `Stopped` once a budget ran out, or the run was stopped."""
        if self.stop is not None:
            raise Stopped(self.stop)

    def request(self, wanted: int, *, input: int = 0, least: int = 1) -> TokenRequest:
        """Hold what a request may take while its block lasts: `async with tokens.request(4096) as request`.

        Its `max_tokens` are what is `wanted`, or less where less is left that no other request holds; where
        others hold so much that not even `least` are free, it waits for them. Where they are not left, the
        budget has run out. `input` is what its prompt takes, if that is known.
        """
        return TokenRequest(self, wanted, input, least)

    async def take(self, told: object, *, op_id: str | None = None) -> Usage:
        """Take what an answer took, and say how much that was. It has happened, so it is taken in any case.

        `told` is an answer, its usage or the chunks of a stream, as `usage_of` reads them. With an `op_id` it
        is taken of the shared budgets once, however often it is said.
        """
        return await self._take(told, op_id, None)

    async def _take(self, told: object, op_id: str | None, hold: Hold | None) -> Usage:
        if getattr(told, "took", None) is not None:
            raise FixTheCall("this stream was counted while it was read: its `took` says what it took")
        usage = usage_of(told)
        if usage is None:
            raise FixTheCall(
                f"{type(told).__name__} tells no tokens: ask the provider for them, or pass a Usage "
                "(a chat stream of openai's has them with stream_options={'include_usage': True})"
            )
        try:
            grant = await self._look()
        finally:
            short = self._ledger.count(usage, hold=hold)
        if grant is not None:
            for name, amount in self._ledger.amounts(usage).items():
                await self._spend(grant, name, amount, None if op_id is None else f"{op_id}.{name}")
        if short:
            stop = self._run_out(short)
            await self._end_run()
            raise Stopped(stop)
        return usage

    async def _reserve(self, wanted: int, input: int, least: int) -> Hold:
        """Hold what a request may take, once it is free."""
        while True:
            with AsyncFreed(self._ledger) as freed:
                self.check()
                hold = self._ledger.reserve(wanted, input, min(least, wanted), freed.who)
                if isinstance(hold, Hold):
                    return hold
                if hold:
                    stop = self._run_out(hold)
                    await self._end_run()
                    raise Stopped(stop)
                await freed.wait()

    async def _look(self) -> CurrentGrant | None:
        """Answer the grant whose budgets are shared; learn once from each what it may use, and of its end."""
        if not self._shared:
            return None
        authority = (grant := current_grant()).authority
        if authority.request_id in self._known:
            return grant
        try:
            await grant.on_stop(self._heard)
        except AuthorityEnded as over:  # before it was issued
            self._heard(over)
            raise
        self._known.add(authority.request_id)
        self._ledger.learn(authority.remaining)
        return grant

    def _heard(self, why: CountermandError) -> None:
        """The run or grant was stopped; only if that was for a budget does it stop what is at work here."""
        self.stop = self.stop or Stop.of_error(why, self._run_id)
        if self.stop.reason is StopReason.BUDGET:
            self._ends.stop(self.stop)
        self._tell_readers(self.stop)

    async def _spend(
        self, grant: CurrentGrant, name: str, amount: int, op_id: str | None, timeout: float | None = None
    ) -> None:
        """Tell the sidecar what was taken."""
        remaining: Mapping[str, int] | None = None
        try:
            token = await grant.token()
            told = await grant.tool.spend(token, name, amount, incurred=True, op_id=op_id, timeout=timeout)
            remaining = told.remaining
        except AuthorityEnded as over:
            self._heard(over)
            raise
        finally:
            self._ledger.told(name, amount, remaining)

    def _run_out(self, name: str, note: str = "") -> Stop:
        """Stop what this budget is for in this process, and answer why."""
        note = f"budget {name} ran out: {self._ledger.left.get(name, 0)} left{note}"
        stop = self.stop = self.stop or Stop(StopReason.BUDGET, note, run_id=self._run_id)
        self._ends.stop(stop)
        self._tell_readers(stop)
        return stop

    def _tell_readers(self, stop: Stop) -> None:
        """End the streams that are read under it, and whoever waits for more of it."""
        for meter in list(self._meters):
            meter.heard(stop)
        self._ledger.wake()

    async def _end_run(self) -> None:
        """Cancel the run it is for, when what was taken is on record: nothing can be spent after that."""
        if self._run is None or self.stop is None:
            return
        try:
            await self._run.cancel(reason=self.stop.reason, note=self.stop.note)
        except CountermandError as error:
            log.warning("run %s could not be cancelled: %s", self._run.run_id, error)

    @property
    def _run_id(self) -> str:
        return self._run.run_id if self._run is not None else ""

    def _meter(self) -> Meter:
        """Answer what counts a stream."""
        return Meter(self, None)
