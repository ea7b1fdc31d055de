"""Journal entries."""

from countermand._models.reports import Entry
from countermand._wire.words import time
from countermand.v1 import journal_service_pb2 as journal


def entry(message: journal.Entry) -> Entry:
    """Read a journal entry."""
    when = time(message, "time")
    return Entry(message.seq, when, message.run_id, message.kind, message.op_id, dict(message.data))
