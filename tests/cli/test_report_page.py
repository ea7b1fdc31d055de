"""The report for people: complete, true to the last word, and readable where it is read."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from countermand import (
    ActionState,
    BudgetStanding,
    Durability,
    End,
    ErrorReason,
    Exhaustion,
    Fence,
    FenceKind,
    FenceState,
    LateAttempt,
    Report,
    ReportedAction,
    Reversibility,
    Run,
    RunState,
    Selector,
    StopReason,
    Undo,
)
from countermand.cli.report_page import print_report, verdict
from countermand.cli.words import left, span

NOW = datetime(2026, 3, 4, 12, 0, 10, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """A time counted from the report's."""
    return NOW + timedelta(seconds=seconds)


END = End(StopReason.USER_STOP, "operator:ada", "wrong list", "", after(-5), 7, "r-1")
RUN = Run(
    "r-1", "", (), "u-7", "mailer", "", {}, RunState.CANCELLED, after(-60), after(60), END, 3, 1, "e", {}
)
BUDGET = BudgetStanding(10, Exhaustion.REFUSE, taken=5, reserved=2, remaining=3)
NO_UNDO = Undo(False, "", "it is irreversible", Reversibility.IRREVERSIBLE)
ACT = ReportedAction(
    "o-1",
    "r-1",
    "email.send",
    "mailto:team@example.com",
    ActionState.SUCCEEDED,
    "m-1",
    "",
    after(-9),
    after(-8),
    after(-3),
    after(-7),
    4,
    False,
    NO_UNDO,
)
LATE = LateAttempt(9, after(-1), "r-1", "commit", "o-2", "email.send", "mailto:b", ErrorReason.REVOKED, None)


def report(**parts: object) -> Report:
    """A report of a stopped run with nothing in it but `parts`."""
    empty: dict[str, tuple[ReportedAction, ...]] = dict.fromkeys(
        ("done", "interrupted", "in_flight", "unknown", "not_done", "pending"), ()
    )
    whole: dict[str, object] = {
        "run": RUN,
        "descendant_run_ids": (),
        "cut_seq": 7,
        "last_seq": 9,
        "time": NOW,
        "store_epoch": "e",
        "durability": Durability.SYNCED,
        "quiesced": not parts.get("in_flight"),
        "complete": True,
        "gaps": (),
        **empty,
        "late_attempts": (),
        "late_attempt_count": 0,
        "small_print": ("Nothing is promised.",),
        "fences": (),
    }
    return Report(**(whole | parts))  # type: ignore[arg-type]


def printed(told: Report, width: int = 4000, terminal: bool = False) -> str:
    """What a reader sees, on a terminal or through a pipe."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=terminal, no_color=True, markup=False, highlight=False
    )
    print_report(console, told)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def test_nothing_that_may_still_land_is_called_stopped() -> None:
    """In flight and unknown are said at the top, before any list."""
    flying = replace(ACT, state=ActionState.PERMITTED, use_by_time=after(3.2), receipt="")
    told = printed(report(in_flight=(flying,)))
    assert "1 action may still land: permits can be used for 4 s more." in told.splitlines()[2]
    assert "Nothing is in flight" not in told
    unknown = report(unknown=(replace(ACT, state=ActionState.UNKNOWN),))
    assert verdict(unknown) == "No new commit is accepted. 1 action may have happened: nobody has said yet."
    assert verdict(report()).endswith("Nothing is in flight, nothing is unknown.")


def test_an_active_run_is_called_active() -> None:
    """And the command that stops it is named."""
    told = printed(report(run=replace(RUN, end=None, state=RunState.ACTIVE), cut_seq=0, pending=(ACT,)))
    assert told.startswith("Run r-1 is active: nothing has stopped it.")
    assert "countermand cancel r-1 --reason" in told
    assert "Not decided yet (1)" in told


FENCE = Fence(
    fence_id="f-1",
    kind=FenceKind.FREEZE,
    selector=Selector(tenant="acme", action="email.*"),
    reason=StopReason.INCIDENT,
    actor="operator:ada",
    note="wrong template",
    seq=8,
    time=after(-4),
    expire_time=None,
    state=FenceState.STANDING,
    lift_actor="",
    lift_note="",
    lift_time=None,
)


def test_a_run_under_a_fence_is_not_called_free() -> None:
    """It is active, and what the fence stands over is refused; both are said before any list."""
    active = replace(RUN, end=None, state=RunState.ACTIVE, budgets={"tokens": BUDGET})
    told = printed(report(run=active, fences=(FENCE,), cut_seq=0))
    assert told.startswith("Run r-1 is active, but 1 fence stands over it.\nWhat it stands over is refused")
    assert "nothing has stopped it" not in told
    assert "Fences over it (1)" in told
    assert "email.* of tenant acme" in told
    assert "by ada (operator)" not in printed(report(run=active, cut_seq=0))
    assert "budget tokens: 3 of 10 left, 2 held for prepared actions, refuses only" in told


def test_a_fence_that_did_nothing_to_a_run_is_left_out() -> None:
    """One that was over before the run began; one that was lifted since is told, and no longer stands."""
    active = replace(RUN, end=None, state=RunState.ACTIVE)
    lifted = replace(FENCE, state=FenceState.LIFTED, lift_actor="operator:bob", lift_time=after(-1))
    told = printed(report(run=active, fences=(lifted,), cut_seq=0))
    assert told.startswith("Run r-1 is active: nothing has stopped it.")
    assert "by bob (operator)" in told
    before = replace(lifted, time=after(-600))
    assert "Fences" not in printed(report(run=active, fences=(before,), cut_seq=0))


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_fence_is_read_on_a_narrow_terminal(width: int) -> None:
    """A block each, with the line to copy."""
    told = printed(report(fences=(FENCE,)), width=width, terminal=True)
    flat = "".join(told.split())
    for text in ("f-1freezeofemail.*oftenantacme", "INCIDENT“wrongtemplate”", "countermandliftf-1--noteWHY"):
        assert text in flat


def test_what_waits_for_a_person_and_what_was_denied_are_told_apart() -> None:
    """In the parts where they belong, with the reason of a late attempt that met a fence."""
    waits = replace(ACT, state=ActionState.AWAITING_APPROVAL)
    denied = replace(ACT, state=ActionState.DENIED)
    late = tuple(replace(LATE, reason=reason, op_id=reason) for reason in ("FENCED", "GRANT_ENDED"))
    told = printed(report(pending=(waits,), not_done=(denied,), late_attempts=late, late_attempt_count=2))
    assert "a person to agree" in told
    assert "a person said no, nobody in time, or the approval was not used in time" in told
    assert "a fence stands over it" in told
    assert "its grant's budget had run out" in told


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (END, "Run r-1 was stopped 5 s ago, at 12:00:05, by ada (operator): USER_STOP."),
        (replace(END, actor="issuer"), "Run r-1 was stopped 5 s ago, at 12:00:05, by the issuer: USER_STOP."),
        (replace(END, run_id="r-0"), "by ada (operator), through run r-0 above it: USER_STOP."),
        (
            replace(END, seq=0, actor="", reason=StopReason.DEADLINE),
            "is stopped: its deadline passed 5 s ago",
        ),
        (
            replace(END, seq=0, actor="", reason=StopReason.STORE_EPOCH, time=None),
            "an earlier epoch of the store",
        ),
    ],
)
def test_the_headline_says_who_when_and_why(end: End, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every way in which a run ends."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert told in printed(report(run=replace(RUN, end=end))).splitlines()[0]
    monkeypatch.undo()
    time.tzset()


def test_what_can_be_undone_is_told_with_every_effect() -> None:
    """How, or why not."""
    undone = replace(ACT, undo=Undo(True, "email.recall", "", Reversibility.COMPENSABLE))
    told = printed(report(done=(ACT, undone)))
    assert "no: it is irreversible" in told
    assert "yes: email.recall, a trace remains" in told


def test_an_outcome_told_after_the_stop_is_marked() -> None:
    """It was permitted before; only its word came later."""
    assert "after the stop" in printed(report(done=(replace(ACT, settled_after_cut=True),)))
    assert "after the stop" not in printed(report(done=(ACT,)))


def test_a_tool_that_kept_asking_gets_one_row() -> None:
    """Its attempts are counted, and those that are not listed are counted too."""
    again = tuple(replace(LATE, seq=9 + number) for number in range(40))
    told = printed(report(late_attempts=(*again, replace(LATE, op_id="o-3")), late_attempt_count=1500))
    assert "commit, 40 times" in told
    assert "and 1459 more, counted but not listed" in told
    assert "1500 late attempts refused" in told
    assert told.count("the run was stopped") == 2


def test_a_late_attempt_that_had_its_permit_may_have_happened() -> None:
    """That is said in its row."""
    permitted = replace(LATE, prior_decision=ActionState.PERMITTED)
    told = printed(report(late_attempts=(permitted,), late_attempt_count=1))
    assert "had its permit: may have happened" in told


def test_gaps_and_a_forgetful_store_are_said() -> None:
    """A reader knows what the report cannot know."""
    told = printed(
        report(complete=False, gaps=("part of the journal was lost",), durability=Durability.VOLATILE)
    )
    assert "This report has gaps" in told
    assert "part of the journal was lost" in told
    assert "a power cut may lose all of it" in told
    assert "This report has gaps" not in printed(report())


def test_gaps_are_said_at_the_top_and_nothing_is_called_quiet_that_may_not_be() -> None:
    """Where the store may have lost a permit, an empty list of what is in flight proves nothing."""
    lost = report(complete=False, gaps=("it was restarted",), quiesced=False)
    assert verdict(lost) == (
        "No new commit is accepted. "
        "Nothing is known to be in flight, but this report has gaps: something may still land."
    )
    top = printed(lost).splitlines()[:5]
    assert "Something may be missing from this report: see its gaps at the end." in top
    assert "Something may be missing" not in printed(report())


def test_what_can_be_undone_is_counted() -> None:
    """Of what happened and of what may have; what only read is told apart."""
    undoable = replace(ACT, undo=Undo(True, "email.recall", "", Reversibility.COMPENSABLE))
    read = replace(ACT, undo=Undo(False, "", "there is nothing to undo", Reversibility.READ_ONLY))
    told = printed(report(done=(ACT, undoable, read), unknown=(undoable,), interrupted=(ACT,)))
    assert "Of what happened or may have: 2 can be undone, 1 cannot be undone, 1 only read" in told
    assert "Of what happened" not in printed(report(interrupted=(ACT,)))


@pytest.mark.parametrize(
    ("tier", "survives"),
    [
        (Durability.SYNCED, "loses nothing it acknowledged"),
        (Durability.EVERY_SECOND, "may lose up to a second of it"),
        (Durability.VOLATILE, "may lose all of it"),
        (Durability.UNSPECIFIED, "may lose all of it"),
    ],
)
def test_what_a_report_rests_on_is_said(tier: Durability, survives: str) -> None:
    """Cut, epoch, durability, whether it is quiesced, and when, with the zone."""
    told = printed(report(durability=tier))
    assert f"The store is {tier}: a power cut {survives}." in told
    zone = NOW.astimezone().strftime("%Z")
    assert f" {zone}: stopped at entry 7, quiesced, last entry 9, store epoch e." in told.splitlines()[-1]
    active = printed(report(run=replace(RUN, end=None), cut_seq=0, quiesced=False)).splitlines()[-1]
    assert "not stopped by an entry, not quiesced" in active


def test_the_run_is_named_where_there_are_several() -> None:
    """A column of equal ids helps nobody."""
    assert "run " not in printed(report(done=(ACT,))).split("Done")[1].splitlines()[1]
    below = printed(report(done=(replace(ACT, run_id="r-1.sub"),), descendant_run_ids=("r-1.sub",)))
    assert "r-1.sub" in below.split("Done")[1]


def test_every_action_of_a_long_report_is_listed() -> None:
    """People page; nothing is cut off."""
    many = tuple(replace(ACT, op_id=f"o-{number}") for number in range(700))
    told = printed(report(done=many))
    assert "Done (700)" in told
    assert all(f"o-{number} " in told or f"o-{number}\n" in told for number in range(700))


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_nothing_is_lost_on_a_narrow_terminal(width: int) -> None:
    """Whatever does not fit is folded or told in blocks; no line is wider than the terminal."""
    long = "https://files.example.com/a/very/long/path/that/fits/on/no/narrow/terminal.pdf"
    told = printed(report(done=(replace(ACT, resource=long),)), width=width, terminal=True)
    assert all(len(line.rstrip()) <= width for line in told.splitlines())
    flat = "".join("".join(line.split()) for line in told.splitlines())
    for text in ("email.send", "m-1", "irreversible", "o-1"):
        assert text in flat
    if width < 80:
        assert long in flat


def test_a_pipe_gets_whole_rows() -> None:
    """One line for each action, so that grep sees it whole; no colours, no boxes."""
    long = "https://files.example.com/" + "x" * 480
    told = printed(report(done=(replace(ACT, resource=long),)))
    [row] = [line for line in told.splitlines() if long in line]
    assert "o-1" in row
    assert "─" not in told


def test_texts_of_others_are_shown_as_they_are() -> None:
    """Square brackets in a receipt or a note are no markup, colons no emoji."""
    strange = replace(ACT, receipt="[red]x[/red]", note=":boom: [/]")
    told = printed(
        report(done=(strange,), run=replace(RUN, end=replace(END, note="[bold]stop[/bold]"))), 120, True
    )
    for text in ("[red]x[/red]", ":boom: [/]", "[bold]stop[/bold]"):
        assert text in told


def test_lengths_of_time_are_never_shortened_to_nothing() -> None:
    """What may still happen is rounded up, what has passed is rounded down."""
    assert left(after(0.2), NOW) == "1 s"
    assert left(after(3.0), NOW) == "3 s"
    assert left(after(-1), NOW) == "0 s"
    assert span(timedelta(seconds=59.9)) == "59 s"
    assert span(3725) == "1 h 2 min"
    assert span(86_400 * 3) == "3 d"
