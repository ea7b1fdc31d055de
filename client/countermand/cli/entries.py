"""Reading a run's journal, page by page."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from countermand import Entry

if TYPE_CHECKING:
    from countermand.sync import Client

_PAGE = 1000


def pages(client: "Client", run: str, after: int = 0) -> Iterator[Entry]:
    """Read the entries with a higher number than `after`, in order."""
    while True:
        page = client.auditor.entries(run, after_seq=after, page_size=_PAGE)
        yield from page.entries
        if not page.more:
            return
        after = page.entries[-1].seq
