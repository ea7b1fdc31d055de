"""Revoke, freeze, fences and lift: what they take, what they ask, and what they say when nobody answers."""

import json
import time
from typing import Any

import pytest

from countermand import Hit
from countermand.cli import confirming, fence_wait
from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock, Sidecar
from tests.cli.support import Shell, one_line

FREEZE = ("freeze", "--reason", "incident", "--id", "f-1")


@pytest.fixture
def three(real: Sidecar, shell: Shell) -> Shell:
    """Three runs of one tenant, each with a grant."""
    for number in range(3):
        shell("open", "--run", f"r-{number}", "--tenant", "acme", "--agent", "a", "--label", "team=x")
        shell("issue", f"r-{number}", "--grant", f"g-{number}", "--scope", "a.*")
    return shell


@pytest.mark.parametrize(
    ("selector", "runs"),
    [
        (["--run", "r-1"], {"r-1"}),
        (["--grant", "g-2"], {"r-2"}),
        (["--subject", "ann"], {"r-s"}),
        (["--agent", "a"], {"r-0", "r-1", "r-2"}),
        (["--tenant", "acme", "--run", "r-0"], {"r-0"}),
        (["--action", "a.b"], {"r-0", "r-1", "r-2", "r-s"}),
        (["--label", "team=x", "--agent", "a"], {"r-0", "r-1", "r-2"}),
        (["--label", "team=x", "--agent", "b"], set()),
        (["--all"], {"r-0", "r-1", "r-2", "r-s"}),
    ],
)
def test_all_selectors_that_are_given_must_match(three: Shell, selector: list[str], runs: set[str]) -> None:
    """Each of them reaches the service as it was said."""
    three("open", "--run", "r-s", "--subject", "ann")
    three("issue", "r-s", "--scope", "a.b")
    done = three("revoke", *selector, "--reason", "policy", "--dry-run", "--output", "json")
    assert {one["run_id"] for one in done.document["hit"]["samples"]} == runs
    assert done.code == (ExitCode.OK if runs else ExitCode.NOTHING_HIT)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["freeze", "--reason", "incident"], "say what to hit"),
        (["revoke", "--all", "--tenant", "acme", "--reason", "incident"], "stands alone"),
        (["freeze", "--tenant", "acme"], "--reason"),
        (["freeze", "--tenant", "acme", "--reason", "because"], "none of"),
        (["freeze", "--label", "team", "--reason", "incident"], "NAME=VALUE"),
        (["freeze", "--all", "--reason", "incident", "--yes", "--expect", "some"], "number of runs"),
        (["revoke", "--all", "--reason", "incident", "--for", "2h"], "--for"),
        (["lift", "f-1"], "--note"),
    ],
)
def test_a_mistake_stops_nothing(three: Shell, arguments: list[str], told: str) -> None:
    """One line, exit code 2, and no fence stands."""
    done = three(*arguments)
    assert done.code == ExitCode.USAGE
    assert one_line(done.err)
    assert told in done.err
    assert three.json("fences", "--all")["fences"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--action", "Email!", "--yes"],
        ["--tenant", "acme", "--for", "soon", "--yes"],
        ["--tenant", "acme", "--wait", "soon", "--yes"],
        ["--tenant", "acme", "--for", "4000d", "--yes"],
    ],
)
def test_what_the_service_would_refuse_stops_nothing(three: Shell, arguments: list[str]) -> None:
    """Exit code 4, and no fence stands."""
    done = three("freeze", "--reason", "incident", *arguments)
    assert done.code == ExitCode.FIX_THE_CALL
    assert three.json("fences", "--all")["fences"] == []


def test_without_a_terminal_nothing_is_done_unless_told_yes(three: Shell) -> None:
    """A clear line, an exit code of its own, and the way on."""
    done = three(*FREEZE, "--tenant", "acme")
    assert done.code == ExitCode.NOT_CONFIRMED
    assert one_line(done.err)
    assert "--dry-run" in done.err
    assert "--yes" in done.err
    assert "NOTHING WAS DONE" in done.err
    assert three.json("fences")["fences"] == []


def test_many_runs_want_their_number(three: Shell) -> None:
    """Above the limit --yes alone does nothing; --expect says how many may be hit at the most."""
    above = (*FREEZE, "--tenant", "acme", "--confirm-above", "2", "--yes")
    done = three(*above)
    assert done.code == ExitCode.NOT_CONFIRMED
    assert "3 runs, more than 2" in done.err
    assert "--expect 3" in done.err
    few = three(*above, "--expect", "2")
    assert few.code == ExitCode.NOT_CONFIRMED
    assert "2 were expected at the most" in few.err
    assert three.json("fences")["fences"] == []
    assert three(*above, "--expect", "3").code == ExitCode.OK


def test_an_emergency_need_not_count_first(three: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--yes --expect any` sends one request."""
    monkeypatch.setattr(confirming, "there_is_a_terminal", lambda: pytest.fail("asked"))
    assert three(*FREEZE, "--all", "--yes", "--expect", "any").code == ExitCode.OK


def test_an_uncertain_count_is_a_large_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Where not every run was looked at, nobody knows how many would be hit."""
    import typer

    some = Hit(3, 3, 0, 0, (), (), False, None)
    for asking in (confirming.Asking(yes=True), confirming.Asking(yes=True, expect="500")):
        with pytest.raises(typer.Exit) as refused:
            confirming.confirm("freeze", "everything", asking, lambda: some, lambda _: None)
        assert refused.value.exit_code == ExitCode.NOT_CONFIRMED
        assert "or more" in capsys.readouterr().err
    confirming.confirm(
        "freeze", "everything", confirming.Asking(yes=True, expect="any"), lambda: some, lambda _: None
    )


def test_a_fence_said_again_is_the_same_fence(three: Shell) -> None:
    """After a lost answer the same id is safe; with other content it is refused."""
    first = three.json(*FREEZE, "--tenant", "acme", "--yes")
    again = three(*FREEZE, "--tenant", "acme", "--yes")
    assert again.code == ExitCode.OK
    assert "had been set before" in again.err
    assert three.json(*FREEZE, "--tenant", "acme", "--yes")["fence"]["seq"] == first["fence"]["seq"]
    other = three(*FREEZE, "--tenant", "globex", "--yes")
    assert other.code == ExitCode.FIX_THE_CALL
    assert "FENCE_EXISTS" in other.err
    assert "NOT FROZEN" in other.err


@pytest.mark.parametrize("over", ["lifted", "expired"])
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_freeze_that_is_over_is_not_set_again_by_its_id(
    three: Shell, clock: ManualClock, over: str, output: str
) -> None:
    """It freezes nothing, so it must not look like a success; another id does."""
    freeze = ("freeze", "--tenant", "acme", "--for", "1m", "--reason", "incident", "--yes")
    assert three(*freeze, "--id", "f-1").code == ExitCode.OK
    if over == "lifted":
        three("lift", "f-1", "--note", "all clear")
    else:
        clock.advance("2m")
    again = three(*freeze, "--id", "f-1", "--output", output)
    assert again.code == ExitCode.FIX_THE_CALL
    assert "NOT FROZEN" in again.err
    assert "FENCE_EXISTS" in again.err
    assert "rozen" not in again.out
    assert three("issue", "r-0", "--scope", "a.*").code == ExitCode.OK
    assert three(*freeze, "--id", "f-2").code == ExitCode.OK


def test_a_revoke_that_cannot_be_set_is_told_as_such(three: Shell) -> None:
    """Under an id that another fence has, nothing is revoked."""
    three(*FREEZE, "--tenant", "acme", "--yes")
    done = three("revoke", "--tenant", "acme", "--reason", "incident", "--id", "f-1", "--yes")
    assert done.code == ExitCode.FIX_THE_CALL
    assert "NOT REVOKED" in done.err


def test_a_lost_answer_is_told_with_the_id_to_repeat(shell: Shell, tmp_path: object) -> None:
    """The id is printed before anything is sent, and the line says that the fence may not stand."""
    lost = ("--yes", "--expect", "any", "--home", str(tmp_path), "--reason", "incident", "--all")
    done = shell("freeze", *lost)
    assert done.code == ExitCode.TRY_AGAIN
    first, last = done.err.splitlines()
    fence = first.removeprefix("Fence ")
    assert f"--id {fence}" in last
    assert "may NOT stand" in last
    assert shell("revoke", *lost, "--id", "f-mine").err.startswith("Fence f-mine\n")


def test_a_count_that_is_not_answered_stops_nothing(shell: Shell, tmp_path: object) -> None:
    """The line says so, and how to set the fence without counting."""
    done = shell("freeze", "--all", "--reason", "incident", "--yes", "--home", str(tmp_path))
    assert done.code == ExitCode.TRY_AGAIN
    assert one_line(done.err)
    assert "NOTHING IS STOPPED" in done.err
    assert "--expect any" in done.err


def test_nothing_that_matches_is_told_apart(three: Shell) -> None:
    """A mistyped tenant must not look like success; a freeze still blocks what comes."""
    done = three("revoke", "--tenant", "acne", "--reason", "incident", "--yes")
    assert done.code == ExitCode.NOTHING_HIT
    assert "NOTHING WAS STOPPED" in done.err
    frozen = three("freeze", "--tenant", "acne", "--reason", "incident", "--yes")
    assert frozen.code == ExitCode.NOTHING_HIT
    assert "What comes later is blocked" in frozen.err
    three("open", "--run", "r-late", "--tenant", "acne")
    assert three("issue", "r-late", "--scope", "a.*").code == ExitCode.STOP_THE_RUN


def test_a_run_that_has_ended_counts_while_something_of_it_may_land(three: Shell) -> None:
    """It is called a run, and not an active one."""
    three("perform", "a.b", "--grant", "g-1", "--use-within", "60s")
    three("finish", "r-1")
    told = three("revoke", "--run", "r-1", "--reason", "policy", "--dry-run")
    assert told.code == ExitCode.OK
    assert "It would hit 1 run with 0 live grants. 1 action in flight may still land." in told.out
    assert "active" not in told.out + told.err


def test_waits_until_nothing_it_hit_is_in_flight(
    three: Shell, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says meanwhile what is; with jsonl as events."""
    for number in range(2):
        three("perform", "a.b", "--op", "o", "--grant", f"g-{number}", "--use-within", f"{2 + number}s")
    monkeypatch.setattr(fence_wait.time, "sleep", lambda _: clock.advance("1s"))
    done = three(*FREEZE, "--tenant", "acme", "--yes", "--wait", "1h", "--output", "jsonl")
    assert done.code == ExitCode.OK
    *events, last = done.lines
    assert {one["schema"] for one in events} == {"countermand.waiting/v1"}
    assert [one["in_flight_count"] for one in events] == [2, 1, 0]
    assert last["schema"] == "countermand.fenced/v1"
    assert last["quiet"] is True
    assert "It is quiet" in done.err


@pytest.mark.parametrize("output", ["table", "json"])
def test_progress_is_events_where_there_is_no_terminal(
    three: Shell, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """Beside the answer, on standard error: a document for each change, the last one when it is quiet."""
    for number in range(2):
        three("perform", "a.b", "--op", "o", "--grant", f"g-{number}", "--use-within", f"{2 + number}s")
    monkeypatch.setattr(fence_wait.time, "sleep", lambda _: clock.advance("1s"))
    done = three(*FREEZE, "--tenant", "acme", "--yes", "--wait", "1h", "--output", output)
    assert done.code == ExitCode.OK
    told = events(done.err)
    assert {(one["schema"], one["fence_id"]) for one in told} == {("countermand.waiting/v1", "f-1")}
    assert [one["in_flight_count"] for one in told] == [2, 1, 0]
    assert [one["actions"] for one in told] == [{"a.b": 2}, {"a.b": 1}, {}]
    assert "countermand.waiting" not in done.out


def events(said: str) -> list[dict[str, Any]]:
    """The documents among the lines of standard error."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_gives_up_and_says_what_is_left(three: Shell) -> None:
    """The clock stands still, so it never gets quiet: an exit code of its own."""
    three("perform", "a.b", "--op", "o", "--grant", "g-1")
    done = three(*FREEZE, "--tenant", "acme", "--yes", "--wait", "100ms")
    assert done.code == ExitCode.NOT_QUIET
    (event,) = events(done.err)[:1]
    assert (event["in_flight_count"], event["actions"]) == (1, {"a.b": 1})
    assert "It is not quiet yet: 1 action may still land (a.b 1)." in done.err
    assert "r-1" in done.out


def test_a_fence_that_cannot_be_looked_at_keeps_what_was_seen(
    three: Shell, real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting goes on where nobody answers."""
    from countermand import ErrorReason, Unavailable

    with real.connect_sync() as client:

        def unread(*_: object, **__: object) -> None:
            raise Unavailable("gone", reason=ErrorReason.STORE_UNAVAILABLE)

        monkeypatch.setattr(type(client.auditor), "get_fence", unread)
        three("perform", "a.b", "--op", "o", "--grant", "g-1")
        began = time.monotonic()
        done = three(*FREEZE, "--all", "--yes", "--wait", "300ms")
    assert time.monotonic() - began < 10
    assert done.code == ExitCode.NOT_QUIET


def test_fences_are_listed_with_what_they_stand_over(three: Shell) -> None:
    """Those that stand; with --all the lifted and expired ones too, with who lifted them and why."""
    assert "No fence stands" in three("fences").err
    three("freeze", "--tenant", "acme", "--label", "team=x", "--reason", "incident", "--id", "f-1", "--yes")
    three("revoke", "--run", "r-0", "--reason", "policy", "--id", "f-2", "--yes")
    page = three("fences").out
    assert "everything of tenant acme, label team=x" in page
    assert "everything of run r-0" in page
    assert [one["fence_id"] for one in three("fences", "--output", "jsonl").lines] == ["f-2", "f-1"]
    three("lift", "f-1", "--note", "all clear", "--actor", "bob")
    assert [one["fence_id"] for one in three.json("fences")["fences"]] == ["f-2"]
    assert "by bob (operator): all clear" in three("fences", "--all").out


def test_a_freeze_of_an_action_says_that_it_is_about_that_action(three: Shell) -> None:
    """A grant for everything can be issued a line later, so the page must not deny that."""
    freeze = ("freeze", "--tenant", "acme", "--reason", "incident", "--yes")
    page = three(*freeze, "--action", "a.*").out
    assert "Nothing issued later can do a.*, until it is lifted" in page
    assert three("issue", "r-0", "--scope", "*").code == ExitCode.OK
    assert "Nothing issued later can, until it is lifted" in three(*freeze).out


def test_a_value_with_spaces_is_quoted(real: Sidecar, shell: Shell) -> None:
    """So that a subject that looks like two selectors is not taken for them."""
    fence = ("freeze", "--reason", "incident", "--yes", "--agent", "a")
    page = shell(*fence, "--subject", "ann, tenant acme", "--label", "team=the x", "--id", "f-1").out
    told = 'everything of subject "ann, tenant acme", agent a, label "team=the x"'
    assert told in page
    assert told in shell("fences").out
    assert told in shell("lift", "f-1", "--note", "over").out
    assert "everything of agent a, since" in shell(*fence).out


def test_a_lift_is_said_once_and_told_again(three: Shell) -> None:
    """A second lift changes nothing; an unknown fence is a mistake."""
    three(*FREEZE, "--all", "--yes")
    first = three.json("lift", "f-1", "--note", "over")
    assert first["fence"]["state"] == "LIFTED"
    again = three.json("lift", "f-1", "--note", "again", "--actor", "bob")
    assert again["replayed"] is True
    assert again["fence"]["lift_note"] == "over"
    unknown = three("lift", "f-9", "--note", "x")
    assert unknown.code == ExitCode.FIX_THE_CALL
    assert "countermand fences" in unknown.err
