"""Runs and grants."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from countermand._models.budgets import Budgets, BudgetStanding
from countermand._scope import Scope
from countermand._secret import SecretToken
from countermand._span import Span
from countermand._words import RunState, StopReason


@dataclass(frozen=True, slots=True)
class End:
    """How, when and by whom a run was ended."""

    reason: StopReason
    actor: str
    note: str
    tag: str
    time: datetime | None
    #: The number of the journal entry that ended it: the cut. 0 where none did (deadline, epoch).
    seq: int
    #: The run that was ended: this one, or one above it.
    run_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """One agent run."""

    run_id: str
    parent_run_id: str
    #: All runs above it, the root first.
    ancestor_run_ids: tuple[str, ...]
    subject: str
    agent: str
    tenant: str
    labels: Mapping[str, str]
    state: RunState
    open_time: datetime | None
    deadline_time: datetime | None
    end: End | None
    action_count: int
    refusal_count: int
    store_epoch: str
    #: Its own budgets, by name.
    budgets: Mapping[str, BudgetStanding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, the youngest first; `next_page_token` is empty on the last page."""

    runs: tuple[Run, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The run is open; `replayed` if it had been opened before, with the same content."""

    run: Run
    replayed: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over; `replayed` if it had been finished before."""

    run: Run
    replayed: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """Short-lived authority for a run."""

    grant_id: str
    run_id: str
    audience: str
    scopes: tuple[Scope, ...]
    issue_time: datetime | None
    expire_time: datetime | None
    #: The grants it was delegated from, the first one issued first; empty if it was issued.
    chain: tuple[str, ...] = ()
    #: It may not be handed on.
    sealed: bool = False
    #: Its own budgets, by name.
    budgets: Mapping[str, BudgetStanding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issued:
    """The grant, and the token that points to it."""

    grant: Grant
    token: SecretToken
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Extended:
    """The grant as it is now, and a new token; `replayed` if it lasted that long already, or as it may."""

    grant: Grant
    token: SecretToken
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run to open for a delegated grant, below the run of the grant it comes from.

    Subject and tenant are those of the run above; it lasts as long as that if no `ttl` is given.
    """

    agent: str = ""
    labels: Mapping[str, str] | None = None
    ttl: Span | None = None
    budgets: Budgets | None = None
    #: Chosen before the call if not given.
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delegated:
    """The narrower grant, the token that points to it, and the run that was opened for it, if one was."""

    grant: Grant
    token: SecretToken
    run: Run | None
    replayed: bool
    #: What is left in each budget that applies to the grant.
    remaining: Mapping[str, int] = field(default_factory=dict, hash=False)
