"""The checker of histories is checked: every bad history is caught for its own fault, no good one is."""

import math
from dataclasses import replace

import pytest

from tests.races.checker import LOST, PERMITTED, REVOKED, Attempt, Cancel, Round, Telling, faults, overlaps

CUT = 50
#: The cancel of every history below is under way from 100 to 200.
BEFORE, DURING, AFTER = (10, 20), (90, 210), (300, 310)


def permitted(op: str, when: tuple[float, float], fence: int, replayed: bool = False) -> Attempt:
    """A commit that got a permit."""
    return Attempt(op, "commit", *when, PERMITTED, fence, replayed)


def revoked(op: str, when: tuple[float, float], prior: bool = False) -> Attempt:
    """A commit that was refused because of the cancel."""
    return Attempt(op, "commit", *when, REVOKED, prior=prior)


def lost(op: str, when: tuple[float, float] = (90, math.inf)) -> Attempt:
    """A commit whose answer never came."""
    return Attempt(op, "commit", *when, LOST)


def history(
    *attempts: Attempt,
    permitted: dict[str, int] | None = None,
    stopped: str = "",
    late: dict[str, int] | None = None,
    run: str = "r",
    cut: int = CUT,
) -> Round:
    """A run with one cancel; all that was tried had been prepared, the last report has what was late."""
    told = Telling(cut, permitted or {}, frozenset(stopped))
    prepared = frozenset(attempt.op for attempt in attempts) | frozenset(stopped)
    return Round(run, prepared, attempts, (Cancel(100, 200, told),), replace(told, late=late or {}))


DOUBT = Telling(CUT, {}, doubtful=frozenset("a"))

GOOD = {
    "nothing was tried": history(),
    "a permit before the cancel": history(permitted("a", BEFORE, 7), permitted={"a": 7}),
    "a permit during the cancel": history(permitted("a", DURING, 7), permitted={"a": 7}),
    "a refusal during the cancel": history(revoked("a", DURING), stopped="a", late={"a": 1}),
    "a refusal after the cancel": history(revoked("a", AFTER), stopped="a", late={"a": 1}),
    "one of each": history(
        permitted("a", DURING, 7), revoked("b", DURING), permitted={"a": 7}, stopped="b", late={"b": 1}
    ),
    "a permit repeated": history(
        permitted("a", DURING, 7), permitted("a", DURING, 7, replayed=True), permitted={"a": 7}
    ),
    "a permit asked for again after the cancel": history(
        permitted("a", DURING, 7), revoked("a", AFTER, prior=True), permitted={"a": 7}, late={"a": 1}
    ),
    "a lost answer that had been yes": history(lost("a"), permitted={"a": 7}),
    "a lost answer that had been no": history(lost("a"), stopped="a", late={"a": 1}),
    "a lost call that never arrived": history(lost("a"), stopped="a"),
    "a lost answer, then the permit repeated": history(
        lost("a"), permitted("a", DURING, 7, replayed=True), permitted={"a": 7}
    ),
    "prepared and never tried": history(stopped="a"),
    "a perform that was refused leaves nothing to stop": replace(
        history(Attempt("a", "perform", *DURING, REVOKED), late={"a": 1}), prepared=frozenset()
    ),
    "in doubt, and told so": replace(
        history(run="r"),
        prepared=frozenset("a"),
        final=DOUBT,
        cancels=(Cancel(100, 200, DOUBT),),
        in_doubt=True,
    ),
    "refused by a cancel whose answer was lost": replace(
        history(revoked("a", (50, 60)), stopped="a", late={"a": 1}),
        cancels=(Cancel(100, 200, Telling(CUT, {}, frozenset("a")), replayed=True),),
        lost_cancels=(40,),
    ),
    "refused twice, listed twice": history(
        revoked("a", DURING), revoked("a", AFTER), stopped="a", late={"a": 2}
    ),
}

TOLD = Telling(CUT, {})
BAD = {
    "permitted after the cancel was answered": (
        "LATE",
        history(permitted("a", AFTER, 7), permitted={"a": 7}),
    ),
    "permitted and not listed": ("UNLISTED", history(permitted("a", DURING, 7))),
    "permitted and called interrupted": ("STOPPED", history(permitted("a", DURING, 7), stopped="a")),
    "listed and never permitted": (
        "GHOST",
        history(revoked("a", DURING), permitted={"a": 7}, stopped="a", late={"a": 1}),
    ),
    "listed with another number": ("FENCE", history(permitted("a", DURING, 7), permitted={"a": 8})),
    "numbered after the cut": ("AFTER THE CUT", history(permitted("a", DURING, 51), permitted={"a": 51})),
    "numbered as the cut": ("AFTER THE CUT", history(permitted("a", DURING, CUT), permitted={"a": CUT})),
    "two permits": (
        "TWICE",
        history(permitted("a", BEFORE, 7), permitted("a", DURING, 8), permitted={"a": 8}),
    ),
    "the same permit given twice as new": (
        "TWICE",
        history(permitted("a", BEFORE, 7), permitted("a", DURING, 7), permitted={"a": 7}),
    ),
    "a permit repeated that nobody had got": (
        "REPLAY",
        history(permitted("a", DURING, 7, replayed=True), permitted={"a": 7}),
    ),
    "revoked before anybody cancelled": ("EARLY", history(revoked("a", BEFORE), stopped="a", late={"a": 1})),
    "refused for another reason": (
        "REASON",
        history(Attempt("a", "commit", *DURING, "INTERNAL"), stopped="a"),
    ),
    "prepared and in no part": ("NOT STOPPED", history(revoked("a", DURING), late={"a": 1})),
    "a late attempt that is not listed": ("LATE ATTEMPTS", history(revoked("a", AFTER), stopped="a")),
    "a late attempt listed twice": (
        "LATE ATTEMPTS",
        history(revoked("a", AFTER), stopped="a", late={"a": 2}),
    ),
    "a late attempt nobody made": ("LATE ATTEMPTS", history(late={"a": 1})),
    "told that nothing was permitted before": (
        "PRIOR",
        history(permitted("a", DURING, 7), revoked("a", AFTER), permitted={"a": 7}, late={"a": 1}),
    ),
    "told of a permit that never was": (
        "PRIOR",
        history(revoked("a", AFTER, prior=True), stopped="a", late={"a": 1}),
    ),
    "two cancels that both made the cut": (
        "CUT",
        replace(history(), cancels=(Cancel(100, 200, TOLD), Cancel(100, 200, TOLD))),
    ),
    "revoked before anybody cancelled, in vain or not": (
        "EARLY",
        replace(history(revoked("a", BEFORE), stopped="a", late={"a": 1}), lost_cancels=(40,)),
    ),
    "in doubt without reason": (
        "STRAY",
        replace(history(), prepared=frozenset("a"), final=DOUBT, cancels=(Cancel(100, 200, DOUBT),)),
    ),
    "in doubt about what nobody prepared": (
        "STRAY",
        replace(history(), final=DOUBT, cancels=(Cancel(100, 200, DOUBT),), in_doubt=True),
    ),
    "permitted, and told as doubtful": (
        "UNLISTED",
        replace(history(permitted("a", DURING, 7), permitted={"a": 7}), final=DOUBT, in_doubt=True),
    ),
    "nobody made the cut": ("CUT", replace(history(), cancels=(Cancel(100, 200, TOLD, replayed=True),))),
    "the cut moved": ("CUT", replace(history(), final=Telling(CUT + 1, {}))),
    "a refused perform in a part of the report": (
        "STRAY",
        replace(
            history(Attempt("a", "perform", *DURING, REVOKED), stopped="a", late={"a": 1}),
            prepared=frozenset(),
        ),
    ),
    "in a part where nothing should be": (
        "STRAY",
        replace(history(), final=Telling(CUT, {}, elsewhere=frozenset("a"))),
    ),
    "permitted in the first report, forgotten in the last": (
        "UNLISTED",
        replace(history(permitted("a", DURING, 7), permitted={"a": 7}), final=Telling(CUT, {})),
    ),
    "late after the first of two answers, before the second": (
        "LATE",
        replace(
            history(permitted("a", (150, 160), 7), permitted={"a": 7}),
            cancels=(
                Cancel(100, 120, Telling(CUT, {"a": 7})),
                Cancel(100, 200, Telling(CUT, {"a": 7}), True),
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_left_alone(name: str) -> None:
    """A checker that cries wolf would soon be switched off."""
    assert faults([GOOD[name]]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_caught_for_what_is_wrong_with_it(name: str) -> None:
    """Each rule catches the history that breaks it."""
    rule, bad = BAD[name]
    assert any(fault.startswith(f"{rule}: ") for fault in faults([bad])), faults([bad])


@pytest.mark.parametrize(
    "other",
    [
        history(permitted("a", BEFORE, 7), permitted={"a": 7}, run="other", cut=CUT + 1),
        history(run="other", cut=7),
        history(run="other"),
    ],
    ids=["two permits", "a permit and a cut", "two cuts"],
)
def test_a_number_given_twice_is_caught_across_runs(other: Round) -> None:
    """Fencing numbers order the effects of all runs, so no two may share one."""
    first = history(permitted("a", BEFORE, 7), permitted={"a": 7})
    assert faults([first]) == faults([other]) == []
    assert [fault.partition(":")[0] for fault in faults([first, other])] == ["NUMBER"]


def test_good_histories_stay_good_together() -> None:
    """Runs that have nothing in common do not accuse each other."""
    first = history(permitted("a", BEFORE, 7), permitted={"a": 7})
    second = history(permitted("a", BEFORE, 8), permitted={"a": 8}, run="other", cut=CUT + 1)
    assert faults([first, second]) == []


@pytest.mark.parametrize(
    ("when", "true"), [(BEFORE, False), (DURING, True), (AFTER, False), ((150, 160), True), ((10, 100), True)]
)
def test_only_what_is_under_way_at_the_same_time_overlaps(when: tuple[float, float], true: bool) -> None:
    """A race is counted as one only if neither side had ended when the other began."""
    one = history(permitted("a", when, 7), permitted={"a": 7})
    assert overlaps(one, one.attempts[0]) is true
