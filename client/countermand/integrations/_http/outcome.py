"""What a status says of a write. In doubt it is unknown: it may have happened."""

from collections.abc import Iterable

from countermand._words import Outcome

#: Statuses whose meaning is not that of their hundred.
_BY_STATUS = {
    101: (Outcome.UNKNOWN, "the connection now speaks another protocol, which is not seen"),
    207: (Outcome.UNKNOWN, "each part of it has a status of its own"),
    303: (Outcome.SUCCEEDED, ""),  # done, and there is something to look at elsewhere
    307: (Outcome.FAILED, "to be sent elsewhere, which is another request"),
    308: (Outcome.FAILED, "to be sent elsewhere, which is another request"),
    # For a request that never arrived whole; but there are servers that mean: I took too long over it.
    408: (Outcome.UNKNOWN, "timed out on the way or in the server"),
}
_BY_HUNDRED = {
    2: (Outcome.SUCCEEDED, ""),
    3: (Outcome.UNKNOWN, "some servers redirect afterwards, some instead"),
    4: (Outcome.FAILED, "refused"),
    # A server that fails may do so at any point, and a gateway says it for a server that it no longer hears.
    5: (Outcome.UNKNOWN, "may have been carried out before or while the server failed"),
}
_NO_ANSWER = (Outcome.UNKNOWN, "is no answer that HTTP knows")

#: Headers with the target's own name for what it did, the best one first.
_RECEIPTS = ("location", "request-id", "x-request-id", "x-amzn-requestid", "x-amz-request-id")


def outcome_of(status: int) -> tuple[Outcome, str]:
    """Answer what became of a write that was answered so, and why that is all one can say."""
    outcome, why = _BY_STATUS.get(status) or _BY_HUNDRED.get(status // 100, _NO_ANSWER)
    return outcome, f"HTTP {status}" + (f": {why}" if why else "")


def receipt_of(status: int, headers: Iterable[tuple[str, str]]) -> str:
    """Answer the target's own name for the effect; its status, if it has none."""
    told = {name.lower(): value for name, value in headers}
    for name in _RECEIPTS:
        if value := told.get(name):
            return value.partition("?")[0]  # a query may hold a secret
    return f"HTTP {status}"
