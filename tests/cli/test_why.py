"""Why something is refused: the rule, since when, by whom, and the way out, in one line."""

import pytest

from countermand import (
    ErrorReason,
    Explanation,
    Fence,
    FenceKind,
    FenceState,
    NotFound,
    Selector,
    StopReason,
)
from countermand._sync.doors import Auditor
from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock
from tests.cli.support import Shell, one_line


def test_nothing_refuses_what_is_alive(granted: Shell) -> None:
    """A run, a grant and an action, each found by its name alone."""
    granted("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    assert granted("why", "r-1").out == "Nothing refuses run r-1.\n"
    assert granted("why", "g-1").out == "Nothing refuses grant g-1.\n"
    told, story = granted("why", "r-1/o-1").out.splitlines()
    assert told == "Nothing refuses action o-1 of run r-1."
    assert "PREPARED    the tool, under grant g-1" in story
    document = granted.json("why", "g-1")
    assert (document["schema"], document["refused"], document["next"]) == ("countermand.why/v1", False, "OK")


def test_a_cancel_is_told_with_who_and_why(granted: Shell, clock: ManualClock) -> None:
    """For the run, its grant and its action."""
    granted("prepare", "a.b", "--op", "o-1", "--grant", "g-1")
    granted("cancel", "r-1", "--reason", "user_stop", "--note", "wrong list")
    for name in ("r-1", "g-1", "r-1/o-1"):
        done = granted("why", name)
        assert done.code == ExitCode.STOP_THE_RUN
        first, *story = done.out.splitlines()
        assert len(story) == (2 if "/" in name else 0)
        assert all(told in first for told in ("ada", "USER_STOP", "wrong list", "since ", "[REVOKED]"))
    told = granted("why", "r-1", "--output", "json")
    assert told.code == ExitCode.STOP_THE_RUN
    assert told.document["details"]["stop_reason"] == "USER_STOP"
    assert told.document["next"] == "STOP_THE_RUN"


def test_a_grant_that_is_over_is_told(granted: Shell, clock: ManualClock) -> None:
    """Its time is a rule like any other."""
    granted("issue", "r-1", "--grant", "g-2", "--scope", "*", "--ttl", "10s")
    clock.advance("11s")
    assert "[GRANT_EXPIRED]" in granted("why", "g-2").out
    assert granted("why", "r-1").code == ExitCode.OK


def test_what_happened_before_is_no_permission(granted: Shell) -> None:
    """An action that had its permit is refused another one: the call is wrong, not the authority."""
    granted("perform", "a.b", "--op", "o-1", "--grant", "g-1")
    done = granted("why", "r-1/o-1")
    assert done.code == ExitCode.FIX_THE_CALL
    assert "[ALREADY_PERMITTED]" in done.out


def test_a_fence_that_was_lifted_still_explains(granted: Shell) -> None:
    """What it killed stays dead: the line says to issue a new grant."""
    granted("freeze", "--run", "r-1", "--reason", "incident", "--id", "f-1", "--yes", "--for", "2h")
    during = granted("why", "g-1").out
    assert "lift f-1 --note WHY" in during
    assert "it ends by itself at" in during
    assert "a freeze of everything of run r-1" in granted("why", "r-1").out
    granted("lift", "f-1", "--note", "over")
    assert "issue a new grant" in granted("why", "g-1").out


FENCE = Fence(
    *("f-1", FenceKind.FREEZE, Selector(action="a.*"), StopReason.INCIDENT, "operator:ada", "", 7),
    *(None, None, FenceState.STANDING, "", "", None),
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nothing refuses it", "Nothing refuses grant g-1."),
        (
            "nothing refuses it, but fence f-1 (action=a.*) stands over part of it",
            "Nothing refuses grant g-1, but fence f-1 (action=a.*) stands over part of it.",
        ),
        ("fence f-1 stands over part of it.", "Nothing refuses grant g-1: fence f-1 stands over part of it."),
    ],
)
def test_what_a_fence_is_about_only_in_part_is_not_refused(
    granted: Shell, monkeypatch: pytest.MonkeyPatch, text: str, line: str
) -> None:
    """The sidecar's remark is passed on, with its fence for programs; the exit code is 0."""

    def told(_: object, run_id: str, **__: object) -> Explanation:
        if run_id:
            raise NotFound("no such run", reason=ErrorReason.RUN_UNKNOWN)
        return Explanation(ErrorReason.UNSPECIFIED, None, text, {}, FENCE)

    monkeypatch.setattr(Auditor, "why", told)
    done = granted("why", "g-1")
    assert (done.code, done.out) == (ExitCode.OK, f"{line}\n")
    document = granted.json("why", "g-1")
    assert (document["refused"], document["fence"]["fence_id"]) == (False, "f-1")


def test_what_is_not_known_is_a_mistake(granted: Shell) -> None:
    """In one line, with where to look."""
    for name, told in (
        ("nope", "no run and no grant nope"),
        ("r-1/nope", "ACTION_UNKNOWN"),
        ("no/o-1", "o-1"),
    ):
        done = granted("why", name)
        assert done.code == ExitCode.FIX_THE_CALL
        assert done.out == ""
        assert one_line(done.err)
        assert told in done.err
