"""What must be true of any history of permits asked for and a run cancelled. It knows nothing of the service.

Times are nanoseconds of one monotonic clock. `invoke` is taken before a call is made, `back` after its answer
came, so an interval is never shorter than the call: what is found here to be late was late.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

PERMITTED, REVOKED, LOST = "PERMITTED", "REVOKED", "LOST"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that asked for a permit. `word`: PERMITTED, the reason of its refusal, or LOST if none came."""

    op: str
    verb: str
    invoke: float
    back: float
    word: str
    fence: int = 0
    replayed: bool = False
    #: A refusal that says that there had been a permit before.
    prior: bool = False


@dataclass(frozen=True, slots=True)
class Telling:
    """A report, as far as it can be held against what callers saw."""

    cut: int
    #: What it lists as in flight, done or unknown, with the fencing numbers; and what as interrupted.
    permitted: Mapping[str, int]
    stopped: frozenset[str] = frozenset()
    #: What it lists as unknown though no permit is on record: facts may have been lost.
    doubtful: frozenset[str] = frozenset()
    #: What it lists in any other part.
    elsewhere: frozenset[str] = frozenset()
    #: How often each action is among the late attempts.
    late: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel:
    """A cancel that was answered."""

    invoke: float
    back: float
    report: Telling
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """One run: what was prepared beforehand, what was tried, how it was cancelled, what was told last."""

    run: str
    prepared: frozenset[str]
    attempts: tuple[Attempt, ...]
    cancels: tuple[Cancel, ...]
    final: Telling
    #: When cancels were made whose answer never came.
    lost_cancels: tuple[float, ...] = ()
    #: The store had lost its memory of whether it lost something: what was prepared may be told as unknown.
    in_doubt: bool = False


def faults(history: Iterable[Round]) -> list[str]:
    """Name everything that is wrong with a history: rule, run, action."""
    rounds = list(history)
    found = [f"{fault} (run {one.run})" for one in rounds for fault in _of_round(one)]
    return found + list(_of_numbers(rounds))


def _of_round(one: Round) -> Iterator[str]:
    yield from _of_cancels(one)
    yield from _of_time(one)
    for op in sorted({attempt.op for attempt in one.attempts} | one.prepared):
        yield from _of_action(op, [a for a in one.attempts if a.op == op])
    for report in (*(cancel.report for cancel in one.cancels), one.final):
        yield from _of_report(one, report)
    yield from _of_late_attempts(one)


def _of_cancels(one: Round) -> Iterator[str]:
    """One cancel made the cut; all others found it."""
    fresh = sum(not cancel.replayed for cancel in one.cancels)
    if fresh > 1 or (fresh == 0 and not one.lost_cancels):
        yield f"CUT: {fresh} cancels say that they made it"
    if len({cancel.report.cut for cancel in one.cancels} | {one.final.cut}) != 1:
        yield "CUT: it moved"


def _of_time(one: Round) -> Iterator[str]:
    """Nothing begun after a cancel was answered is permitted; nothing ended before it is refused."""
    stopped = min((cancel.back for cancel in one.cancels), default=math.inf)
    asked = min((*(cancel.invoke for cancel in one.cancels), *one.lost_cancels), default=math.inf)
    for attempt in one.attempts:
        if attempt.word == PERMITTED and attempt.invoke > stopped:
            yield f"LATE: {attempt.verb} of {attempt.op} began after the cancel was answered and got a permit"
        if attempt.word == REVOKED and attempt.back < asked:
            yield f"EARLY: {attempt.verb} of {attempt.op} was revoked before anybody cancelled"
        if attempt.word not in (PERMITTED, REVOKED, LOST):
            yield f"REASON: {attempt.verb} of {attempt.op} was refused as {attempt.word}"


def _of_action(op: str, attempts: list[Attempt]) -> Iterator[str]:
    """One action, one permit: who asks again gets the same one, or is told that there was one."""
    given = [attempt for attempt in attempts if attempt.word == PERMITTED]
    fresh = [attempt for attempt in given if not attempt.replayed]
    lost = any(attempt.word == LOST for attempt in attempts)
    if len(fresh) > 1 or len({attempt.fence for attempt in given}) > 1:
        yield f"TWICE: {op} got more than one permit"
    if given and not fresh and not lost:
        yield f"REPLAY: {op} had its permit repeated, and nobody had got it"
    for attempt in attempts:
        if attempt.word == REVOKED and not lost and attempt.prior != bool(given):
            yield f"PRIOR: {attempt.verb} of {op} was told a wrong story of what was decided before"


def _of_report(one: Round, report: Telling) -> Iterator[str]:
    """A report lists what was permitted, all of it and nothing else, and calls the rest interrupted."""
    given = {attempt.op: attempt.fence for attempt in one.attempts if attempt.word == PERMITTED}
    lost = {attempt.op for attempt in one.attempts if attempt.word == LOST}
    for op, fence in given.items():
        if op not in report.permitted:
            yield f"UNLISTED: {op} was permitted and the report does not say so"
        elif report.permitted[op] != fence:
            yield f"FENCE: {op} has number {fence} and the report says {report.permitted[op]}"
    for op, fence in report.permitted.items():
        if op not in given and op not in lost:
            yield f"GHOST: {op} was never permitted and the report says it was"
        if not fence < report.cut:
            yield f"AFTER THE CUT: {op} has number {fence}, the cut {report.cut}"
    doubtful = report.doubtful if one.in_doubt else frozenset()
    for op in one.prepared - given.keys() - lost - report.stopped - doubtful:
        yield f"NOT STOPPED: {op} was prepared, never permitted, and the report does not call it interrupted"
    for op in report.stopped & (report.permitted.keys() | (given.keys())):
        yield f"STOPPED: {op} was permitted and the report calls it interrupted"
    stray = (report.stopped | report.doubtful) - one.prepared - lost
    for op in stray | report.elsewhere | (report.doubtful - doubtful):
        yield f"STRAY: {op} is in a part of the report where it has no business"


def _of_late_attempts(one: Round) -> Iterator[str]:
    """Every call that was revoked is on record, as often as it was tried; an earlier report lists no more."""
    tried = Counter(attempt.op for attempt in one.attempts if attempt.word == REVOKED)
    maybe = Counter(attempt.op for attempt in one.attempts if attempt.word == LOST)
    for op in tried.keys() | one.final.late.keys():
        listed = one.final.late.get(op, 0)
        if not tried[op] <= listed <= tried[op] + maybe[op]:
            yield f"LATE ATTEMPTS: {op} was revoked {tried[op]} times and is listed {listed} times"
    for cancel in one.cancels:
        for op, times in cancel.report.late.items():
            if times > one.final.late.get(op, 0):
                yield f"LATE ATTEMPTS: {op} was listed {times} times and later less often"


def _of_numbers(rounds: list[Round]) -> Iterator[str]:
    """A number of the store is given once: no two permits, and no permit and a cut, have the same."""
    owners: dict[int, str] = {}
    for one in rounds:
        given = {(a.op, a.fence) for a in one.attempts if a.word == PERMITTED}
        numbers = [(f"{one.run}/{op}", fence) for op, fence in given] + [
            (f"the cut of {one.run}", one.final.cut)
        ]
        for owner, number in sorted(numbers):
            if owners.setdefault(number, owner) != owner:
                yield f"NUMBER: {number} was given to {owners[number]} and to {owner}"


def overlaps(one: Round, attempt: Attempt) -> bool:
    """Say whether a call and a cancel were truly under way at the same time."""
    return any(attempt.invoke <= cancel.back and cancel.invoke <= attempt.back for cancel in one.cancels)
