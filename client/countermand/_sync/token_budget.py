# Derived from client/countermand/_async/token_budget.py by scripts/unasync.py. Do not edit.
"""Token budgets: what models take, held against limits here and the budgets of the run."""

from collections.abc import Mapping

from countermand._errors import AuthorityEnded, CountermandError, FixTheCall, Stopped
from countermand._sync.delegation import spend
from countermand._sync.grant import current_grant
from countermand._sync.run import ActiveRun
from countermand._words import StopReason
from countermand._world import log
from countermand.streams.ending import Ends
from countermand.streams.ledger import Ledger, Price
from countermand.streams.listening import Scoped
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
) -> "TokenBudget":
    """Hold what models take against budgets: `input`, `output` and, with a `price`, `cost` are their names.

    `limits` are budgets of this object alone, by name. What is taken is spent under the current grant, too,
    unless it is not `shared`: then those of the run and grant count as well, with all others who use them.
    When one runs out, the scope it is made in is stopped with the reason BUDGET, and so is `of`.
    """
    return TokenBudget(of, Ledger(input, output, cost, price, limits), shared=shared)


class TokenBudget:
    """What models took, and what they may still take."""

    def __init__(
        self, of: Scoped | ActiveRun | CancellationToken | None, ledger: Ledger, *, shared: bool
    ) -> None:
        self._run = of if isinstance(of, ActiveRun) else None
        self._ends = Ends(None if isinstance(of, ActiveRun) else of)
        self._ledger, self._shared = ledger, shared
        self._known: set[str] = set()
        #: Why nothing may be taken any more; None while something may.
        self.stop: Stop | None = None

    def __repr__(self) -> str:
        return f"<TokenBudget {self.stop or self.left or 'without limit'}>"

    @property
    def used(self) -> Usage:
        """What was taken by it."""
        return self._ledger.used

    @property
    def left(self) -> Mapping[str, int]:
        """What is left of each budget, as far as is known; a name that is missing has no known limit."""
        return self._ledger.left

    def check(self) -> None:
        """Raise `Stopped` once a budget ran out, or the run was stopped."""
        if self.stop is not None:
            raise Stopped(self.stop)

    def max_tokens(self, wanted: int, *, input: int = 0, least: int = 1) -> int:
        """Answer how many tokens a request may ask for: what is `wanted`, or less where less is left.

        `input` is what its prompt takes, if that is known. Where not even `least` are left, the budget has
        run out. It holds nothing: requests that run at the same time may take as much as this each.
        """
        self.check()
        self._look()
        self.check()
        room = self._ledger.room(input)
        tightest = min(room, key=lambda name: room[name], default="")
        if tightest and room[tightest] < least:
            raise self._run_out(tightest)
        return min([wanted, *room.values()])

    def take(self, told: object, *, op_id: str | None = None) -> Usage:
        """Take what an answer took, and say how much that was. It has happened, so it is taken in any case.

        `told` is an answer, its usage or the chunks of a stream, as `usage_of` reads them. With an `op_id` it
        is taken of the shared budgets once, however often it is said.
        """
        usage = usage_of(told)
        if usage is None:
            raise FixTheCall(
                f"{type(told).__name__} tells no tokens: ask the provider for them, or pass a Usage "
                "(a chat stream of openai's has them with stream_options={'include_usage': True})"
            )
        try:
            self._look()
        finally:
            short = self._ledger.count(usage)
        if self._shared:
            self._spend(usage, op_id)
        if short:
            raise self._run_out(short)
        return usage

    def _look(self) -> None:
        """Learn once from each grant what it may use, and hear of its end."""
        if not self._shared:
            return
        authority = (grant := current_grant()).authority
        if authority.request_id in self._known:
            return
        try:
            grant.on_stop(self._heard)
        except AuthorityEnded as over:  # before it was issued
            self._heard(over)
            raise
        self._known.add(authority.request_id)
        self._ledger.learn(authority.remaining)

    def _heard(self, why: CountermandError) -> None:
        """The run or grant was stopped; only if that was for a budget does it stop what is at work here."""
        self.stop = self.stop or Stop.of_error(why, self._run_id)
        if self.stop.reason is StopReason.BUDGET:
            self._ends.stop(self.stop)

    def _spend(self, usage: Usage, op_id: str | None) -> None:
        for name, amount in self._ledger.amounts(usage).items():
            try:
                once = None if op_id is None else f"{op_id}.{name}"
                self._ledger.learn(spend(name, amount, incurred=True, op_id=once))
            except AuthorityEnded as over:
                self._heard(over)
                raise

    def _run_out(self, name: str) -> Stopped:
        """Stop what this budget is for, and answer what to raise."""
        note = f"budget {name} ran out: {self._ledger.left.get(name, 0)} left"
        stop = self.stop = self.stop or Stop(StopReason.BUDGET, note, run_id=self._run_id)
        self._ends.stop(stop)
        if self._run is not None:
            try:
                self._run.cancel(reason=stop.reason, note=note)
            except CountermandError as error:
                log.warning("run %s could not be cancelled: %s", self._run.run_id, error)
        return Stopped(stop)

    @property
    def _run_id(self) -> str:
        return self._run.run_id if self._run is not None else ""
