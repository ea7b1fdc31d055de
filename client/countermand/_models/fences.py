"""Fences: standing revocations over everything a selector names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from countermand._words import ErrorReason, FenceKind, FenceState, StopReason

if TYPE_CHECKING:
    from countermand._models.reports import Entry


@dataclass(frozen=True, slots=True)
class Selector:
    """What a fence stands over: all that is given must match, each on the run itself or a run above it.

    `grant_id` takes every grant delegated from it along; `action` is a pattern as in scopes; `all` is
    everything, and stands alone.
    """

    run_id: str = ""
    grant_id: str = ""
    subject: str = ""
    agent: str = ""
    tenant: str = ""
    action: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    all: bool = False


@dataclass(frozen=True, slots=True)
class Fence:
    """A standing revocation."""

    fence_id: str
    kind: FenceKind
    selector: Selector
    reason: StopReason
    actor: str
    note: str
    #: Its journal entry: what was issued under a lower number is dead.
    seq: int
    time: datetime | None
    #: When a freeze ends by itself, if it does.
    expire_time: datetime | None
    state: FenceState
    lift_actor: str
    lift_note: str
    lift_time: datetime | None


@dataclass(frozen=True, slots=True)
class HitRow:
    """How many actions of one name in one tenant are hit."""

    tenant: str
    action: str
    prepared_count: int
    in_flight_count: int


@dataclass(frozen=True, slots=True)
class HitRun:
    """One run that is hit."""

    run_id: str
    subject: str
    agent: str
    tenant: str
    grant_count: int
    prepared_count: int
    in_flight_count: int


@dataclass(frozen=True, slots=True)
class Hit:
    """What a fence stands over at one moment."""

    #: Runs with live grants and those, ended ones too, of which something may still land; live grants;
    #: actions that are prepared, and those whose permit may still be used.
    run_count: int
    grant_count: int
    prepared_count: int
    in_flight_count: int
    #: The same by tenant and action.
    rows: tuple[HitRow, ...]
    #: Some of the runs, those with most in flight first.
    samples: tuple[HitRun, ...]
    #: False if not every run was looked at: then all counts are lower bounds.
    complete: bool
    time: datetime | None


@dataclass(frozen=True, slots=True)
class FenceSet:
    """The fence stands, or, of a dry run, would: then there is none."""

    fence: Fence | None
    hit: Hit
    replayed: bool


@dataclass(frozen=True, slots=True)
class FenceStanding:
    """How a fence stands, and what it stands over now."""

    fence: Fence
    hit: Hit


@dataclass(frozen=True, slots=True)
class FenceLifted:
    """The freeze blocks nothing any more; what it killed stays dead."""

    fence: Fence
    replayed: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call would be refused now; the reason is UNSPECIFIED if it would not be."""

    reason: ErrorReason
    since_time: datetime | None
    text: str
    #: Every value of the text.
    details: Mapping[str, str]
    #: The fence that refuses, if one does.
    fence: Fence | None
    #: Of an action: its journal entries, and those that ended what it acted by, in order.
    story: "tuple[Entry, ...]" = ()
