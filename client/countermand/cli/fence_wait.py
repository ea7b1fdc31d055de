"""Wait until nothing that a fence hit is in flight any more, and say meanwhile what is."""

import math
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from countermand import Hit, TryAgain
from countermand.cli.call import Call
from countermand.cli.documents import document, dumps
from countermand.cli.output import Output, say
from countermand.cli.words import counted

if TYPE_CHECKING:
    from countermand.sync import Client

#: How often the fence is looked at again, in seconds.
_LOOK_EVERY = 0.25


def is_quiet(hit: Hit) -> bool:
    """Whether it is certain that nothing of it can still land."""
    return hit.complete and not hit.in_flight_count


def until_quiet(call: Call, client: "Client", fence_id: str, hit: Hit, longest: float) -> Hit:
    """Look again until it is quiet or the time is over; answer what was seen last."""
    if is_quiet(hit) or not longest:
        return hit
    ends_at = time.monotonic() + longest
    said: tuple[object, ...] = ()
    with _status(call) as status:
        while (remaining := ends_at - time.monotonic()) > 0:
            if (now := (hit.in_flight_count, hit.complete)) != said or status:
                _tell(call, status, fence_id, hit, remaining)
                said = now
            time.sleep(min(_LOOK_EVERY, remaining))
            hit = _look(client, fence_id, hit, remaining)
            if is_quiet(hit):
                break
    if not _is_shown(call):
        _event(call, fence_id, hit, max(0.0, ends_at - time.monotonic()))
    say(
        "It is quiet: nothing is in flight any more."
        if is_quiet(hit)
        else f"It is not quiet yet: {_left(hit)}."
    )
    return hit


def _is_shown(call: Call) -> bool:
    """Whether progress is a line on a terminal. Elsewhere it is events, a document a line."""
    return call.output is not Output.JSONL and sys.stderr.isatty()


def _status(call: Call) -> Any:
    """A line that is kept up to date, on a terminal."""
    if not _is_shown(call):
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True, highlight=False).status("")


def _tell(call: Call, status: Any, fence_id: str, hit: Hit, remaining: float) -> None:
    if status:
        status.update(f"Waiting: {_left(hit)}; giving up in {math.ceil(remaining)} s", spinner=None)
    else:
        _event(call, fence_id, hit, remaining)


def _event(call: Call, fence_id: str, hit: Hit, remaining: float) -> None:
    """Tell programs: among the documents where there is one a line, else beside the one answer."""
    counts = {"in_flight_count": hit.in_flight_count, "complete": hit.complete, "time": hit.time}
    told = document(
        "waiting",
        fence_id=fence_id,
        **counts,
        actions=_in_flight(hit),
        remaining_seconds=round(remaining, 3),
    )
    print(dumps(told), file=sys.stdout if call.output is Output.JSONL else sys.stderr, flush=True)


def _left(hit: Hit) -> str:
    """What may still land, by action: `3 actions may still land (email.send 2, sms.send 1)`."""
    least = "" if hit.complete else "at least "
    names = ", ".join(f"{action} {number}" for action, number in sorted(_in_flight(hit).items()))
    return f"{least}{counted(hit.in_flight_count, 'action')} may still land" + (
        f" ({names})" if names else ""
    )


def _in_flight(hit: Hit) -> dict[str, int]:
    """How many of each action may still land."""
    each: dict[str, int] = {}
    for row in hit.rows:
        if row.in_flight_count:
            each[row.action] = each.get(row.action, 0) + row.in_flight_count
    return each


def _look(client: "Client", fence_id: str, hit: Hit, remaining: float) -> Hit:
    """Look again; where nobody answers, what was seen before still holds."""
    try:
        return client.auditor.get_fence(fence_id, timeout=max(0.1, remaining)).hit
    except TryAgain:
        return hit
