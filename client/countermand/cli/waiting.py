"""Wait until nothing of a stopped run is in flight any more, and say meanwhile what is."""

import sys
import time
from typing import TYPE_CHECKING

from countermand import Report, TryAgain
from countermand.cli.output import say
from countermand.cli.report_page import verdict
from countermand.cli.words import counted, left

if TYPE_CHECKING:
    from countermand.sync import Client

#: How often the report is read again, in seconds.
_LOOK_EVERY = 0.25


def patience(told: str | None) -> float:
    """How many seconds to wait; 0 for not at all."""
    from countermand._span import seconds

    return 0 if told is None else seconds(told)


def until_quiet(client: "Client", report: Report, longest: float) -> Report:
    """Read the report again until it is quiet or the time is over; answer the last one that could be read."""
    ends_at = time.monotonic() + longest
    if report.quiesced or not longest:
        return report
    said = ""
    while (remaining := ends_at - time.monotonic()) > 0:
        said = _progress(report, remaining, said)
        time.sleep(min(_LOOK_EVERY, remaining))
        report = _read_again(client, report, remaining)
        if report.quiesced:
            break
    _clear()
    say(f"It is quiet. {verdict(report)}" if report.quiesced else f"It is not quiet yet. {verdict(report)}")
    return report


def _read_again(client: "Client", report: Report, remaining: float) -> Report:
    """Read the report; where nobody answers, the one before it still holds, as far as it went."""
    try:
        return client.auditor.report(report.run.run_id, timeout=max(0.1, remaining))
    except TryAgain:
        return report


def _progress(report: Report, remaining: float, said: str) -> str:
    """Show what is waited for: a line kept up to date on a terminal, elsewhere a line at each change."""
    until = max((one.use_by_time for one in report.in_flight if one.use_by_time), default=None)
    count = counted(len(report.in_flight), "action")
    told = f"Waiting: {count} may still land, for {left(until, report.time)} more"
    if sys.stderr.isatty():
        _clear()
        sys.stderr.write(f"{told}; giving up in {remaining:.0f} s ")
        sys.stderr.flush()
    elif count != said:
        say(f"{told}.")
    return count


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
