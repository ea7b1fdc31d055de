"""Times, lengths of time and names as people read them."""

from datetime import UTC, datetime, timedelta

from countermand import End, Run, RunState, StopReason


def now() -> datetime:
    """The time here: for ages on a page only, nothing depends on it."""
    return datetime.now(UTC)


def clock_time(moment: datetime | None, now: datetime | None = None) -> str:
    """A time in the reader's own zone: without the date if it is today's."""
    if moment is None:
        return ""
    local = moment.astimezone()
    today = now is not None and local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def zone(moment: datetime | None) -> str:
    """The reader's own zone at that time, such as CET."""
    return moment.astimezone().strftime("%Z") if moment else ""


def span(length: timedelta | float) -> str:
    """A length of time in one or two units, rounded down: `4 s`, `3 min 5 s`, `2 h 10 min`, `5 d 3 h`."""
    seconds = max(0, int(length.total_seconds() if isinstance(length, timedelta) else length))
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for index, (size, name) in enumerate(units[:-1]):
        if seconds >= size:
            rest_size, rest_name = units[index + 1]
            rest = seconds % size // rest_size
            return f"{seconds // size} {name}" + (f" {rest} {rest_name}" if rest else "")
    return f"{seconds} s"


def left(until: datetime | None, now: datetime | None) -> str:
    """How long it is until then, rounded up: what may still happen is never called over too early."""
    if until is None or now is None:
        return "?"
    return span(max(0.0, -((now - until).total_seconds() // 1)))


def ago(moment: datetime | None, now: datetime | None) -> str:
    """How long ago it was, or '' if nobody knows."""
    if moment is None or now is None:
        return ""
    told = span(now - moment)
    return "just now" if told == "0 s" else f"{told} ago"


def who(actor: str) -> str:
    """An actor as people name it: `operator:ada` is ada, who came in as operator."""
    role, named, name = actor.partition(":")
    return f"{name} ({role})" if named else f"the {role}" if role else "nobody in particular"


def how_it_ended(run: Run, now: datetime | None) -> str:
    """One sentence on how a run stands."""
    end = run.end
    if end is None:
        return f"Run {run.run_id} is active: nothing has stopped it."
    since = f"{ago(end.time, now)}, at {clock_time(end.time, now)}" if end.time else ""
    if run.open_time is None:
        return f"Run {run.run_id} was never opened. Barred {since}, by {who(end.actor)}: {end.reason}."
    through = f", through run {end.run_id} above it" if end.run_id not in ("", run.run_id) else ""
    if end.seq == 0:
        return f"Run {run.run_id} is stopped{through}: {by_itself(end)}{f' {since}' if since else ''}."
    if run.state is RunState.FINISHED:
        return f"Run {run.run_id} finished {since}{through}."
    return f"Run {run.run_id} was stopped {since}, by {who(end.actor)}{through}: {end.reason}."


def by_itself(end: End) -> str:
    """What ended a run when no entry of the journal did."""
    if end.reason is StopReason.DEADLINE:
        return "its deadline passed"
    return "it belongs to an earlier epoch of the store, which may have lost facts since"


def counted(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"
