"""A grant: short-lived authority for a run. Its token is a pointer; the store decides."""

from dataclasses import dataclass

from grant_service.core.budget import Budget
from grant_service.core.scope import Scope

#: How many grants a chain may have, from the one that was issued to the last one delegated from it. A commit
#: checks each of them.
MAX_CHAIN = 8


@dataclass(frozen=True, slots=True)
class GrantRef:
    """What a verified token points to. Verified is not cleared: the store has the last word."""

    grant_id: str
    run_id: str
    ancestors: tuple[str, ...]
    audience: str
    subject: str
    #: The grants it was delegated from, the first one first.
    chain: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The runs that must all be active: the root first, its own last."""
        return (*self.ancestors, self.run_id)

    @property
    def links(self) -> tuple[str, ...]:
        """The grants that must all be alive: the first one first, itself last."""
        return (*self.chain, self.grant_id)


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as the store holds it. `used` counts the commits of each limited scope, in order."""

    grant_id: str
    run_id: str
    ancestors: tuple[str, ...]
    audience: str
    epoch: str
    scopes: tuple[Scope, ...]
    used: tuple[int, ...]
    issue_time: int
    expire_time: int
    issue_seq: int
    #: The length of life asked for: with the scopes, what a repeated request must match.
    ttl_ms: int
    #: The number its authority goes back to: its own, or that of the first grant of its chain. A fence with a
    #: higher number stands over it.
    root_seq: int
    #: The grants it was delegated from, the first one first, and which scope of the last of them each of its
    #: own scopes narrows.
    chain: tuple[str, ...] = ()
    narrows: tuple[int, ...] = ()
    #: It may not be handed on.
    sealed: bool = False
    #: How much may be used under it, and under every grant delegated from it.
    budgets: tuple[Budget, ...] = ()
    #: When and by which entry it was ended, and by which budget; 0 and '' while it was not.
    end_time: int = 0
    end_seq: int = 0
    end_budget: str = ""

    @property
    def path(self) -> tuple[str, ...]:
        """The runs it draws from: the root first, its own last."""
        return (*self.ancestors, self.run_id)

    @property
    def links(self) -> tuple[str, ...]:
        """The grants it draws from: the first one first, itself last."""
        return (*self.chain, self.grant_id)
