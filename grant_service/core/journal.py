"""The journal: one line for each decision, in the order in which the store made them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a line of the journal says."""

    OPENED = "OPENED"
    CHILD_OPENED = "CHILD_OPENED"
    ISSUED = "ISSUED"
    DELEGATED = "DELEGATED"
    EXTENDED = "EXTENDED"
    PREPARED = "PREPARED"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    PERMITTED = "PERMITTED"
    SETTLED = "SETTLED"
    ABANDONED = "ABANDONED"
    CANCELLED = "CANCELLED"
    FINISHED = "FINISHED"
    REFUSED = "REFUSED"
    SPENT = "SPENT"
    EXHAUSTED = "EXHAUSTED"
    REVOKED = "REVOKED"
    FROZEN = "FROZEN"
    LIFTED = "LIFTED"
    RESOLVED = "RESOLVED"
    UNDO_ASKED = "UNDO_ASKED"
    UNDO_WITHDRAWN = "UNDO_WITHDRAWN"
    CLAIMED = "CLAIMED"
    TRIED = "TRIED"
    UNDONE = "UNDONE"
    UNDO_FAILED = "UNDO_FAILED"
    CALLED_OFF = "CALLED_OFF"
    UNANSWERED = "UNANSWERED"


#: What ends authority of others than the caller.
STOPS = frozenset({Kind.CANCELLED, Kind.FINISHED, Kind.EXHAUSTED, Kind.REVOKED, Kind.FROZEN})

#: What happened to duties.
ABOUT_DUTIES = frozenset(
    {
        Kind.UNDO_ASKED,
        Kind.UNDO_WITHDRAWN,
        Kind.CLAIMED,
        Kind.TRIED,
        Kind.UNDONE,
        Kind.UNDO_FAILED,
        Kind.CALLED_OFF,
        Kind.UNANSWERED,
    }
)

#: A run's refusals are journalled up to this number and only counted beyond it, so that a tool that keeps
#: asking cannot fill the store.
MAX_REFUSALS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: its number in the whole store, its time by the store's clock, and the particulars as text."""

    seq: int
    time: int
    run_id: str
    kind: Kind
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def op_id(self) -> str:
        """The action it is about, or ''."""
        return self.data.get("op", "")


class Journals(Protocol):
    """Reads journals a page at a time."""

    async def journal(self, run_id: str, after_seq: int, limit: int) -> list[Entry]: ...


#: How many entries are read at a time.
_PAGE = 1000


async def journal_pages(journals: Journals, run_id: str) -> AsyncIterator[list[Entry]]:
    """Read all of a run's entries, a page at a time."""
    after_seq = 0
    while page := await journals.journal(run_id, after_seq, _PAGE):
        yield page
        if len(page) < _PAGE:
            return
        after_seq = page[-1].seq


async def whole_journal(journals: Journals, run_id: str) -> list[Entry]:
    """Read all of a run's entries."""
    return [entry async for page in journal_pages(journals, run_id) for entry in page]
