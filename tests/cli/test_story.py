"""The whole story can be played from a shell with the verbs alone."""

from countermand.cli.exit_codes import ExitCode
from countermand.testing import ManualClock
from tests.cli.support import Shell, one_line

ARGS = '{"subject": "Minutes", "to": "team"}'


def test_a_late_commit_is_refused_and_the_report_says_what_happened(
    granted: Shell, clock: ManualClock
) -> None:
    """Done, interrupted, in flight, unknown and late attempts: each is told apart."""
    granted(
        "prepare",
        "email.send",
        "--op",
        "o-done",
        "--grant",
        "g-1",
        "--resource",
        "mailto:team",
        "--args",
        ARGS,
    )
    permit = granted.json("commit", "o-done", "--grant", "g-1", "--args", ARGS)
    assert permit["fence"] > 0
    assert permit["replayed"] is False
    assert granted("settle", "o-done", "--grant", "g-1", "--succeeded", "--receipt", "m-1").code == 0
    granted("perform", "files.upload", "--op", "o-slow", "--grant", "g-1", "--use-within", "5s")
    granted("prepare", "email.send", "--op", "o-late", "--grant", "g-1", "--resource", "mailto:all")

    cancelled = granted("cancel", "r-1", "--reason", "User-Stop", "--note", "wrong list")
    assert cancelled.code == ExitCode.OK
    assert cancelled.err == ""
    for told in (
        "Run r-1 was stopped just now",
        "by ada (operator): USER_STOP",
        "wrong list",
        "1 action may still land: permits can be used for 5 s more",
        "Done (1)",
        "m-1",
        "Interrupted (1): did not happen, and cannot any more",
        "May still land (1)",
    ):
        assert told in cancelled.out
    assert "Unknown" not in cancelled.out

    clock.advance("3s")
    refused = granted("commit", "o-late", "--grant", "g-1")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert refused.out == ""
    assert one_line(refused.err)
    for told in (
        "run r-1 was cancelled by operator:ada 3s ago",
        "USER_STOP",
        "do not act",
        "report r-1",
        "wrong list",
    ):
        assert told in refused.err

    clock.advance("3s")
    report = granted("report", "r-1").out
    assert "Unknown (1): may have happened; look at the target" in report
    assert "May still land" not in report
    assert "Late attempts (1): all refused" in report

    assert "had been stopped by then" in granted("settle", "o-slow", "--grant", "g-1", "--succeeded").out
    last = granted.json("report", "r-1")
    assert last["counts"] == {
        "done": 2,
        "interrupted": 1,
        "in_flight": 0,
        "unknown": 0,
        "not_done": 0,
        "pending": 0,
        "late_attempts": 1,
        "undoable": 0,
        "not_undoable": 2,
        "nothing_to_undo": 0,
    }
    assert [one["settled_after_cut"] for one in last["done"]] == [False, True]


def test_a_cancel_reaches_the_runs_below(granted: Shell) -> None:
    """A sub-agent's run stops with its parent, and the report names the run of each action."""
    granted("open", "--run", "r-1.sub", "--parent", "r-1")
    granted("issue", "r-1.sub", "--grant", "g-sub", "--scope", "*")
    granted("prepare", "email.send", "--op", "o-sub", "--grant", "g-sub")
    told = granted("cancel", "r-1", "--reason", "incident").out
    assert "with 1 run below it" in told
    assert "r-1.sub" in told
    refused = granted("commit", "o-sub", "--grant", "g-sub")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert "r-1 above it" in refused.err


def test_finish_ends_a_run_too(granted: Shell) -> None:
    """A finished run's commits are refused, and it is not called stopped."""
    granted("prepare", "email.send", "--op", "o-1", "--grant", "g-1")
    assert granted("finish", "r-1", "--note", "all done").out == "Run r-1 is finished.\n"
    refused = granted("commit", "o-1", "--grant", "g-1")
    assert refused.code == ExitCode.STOP_THE_RUN
    assert "has finished" in refused.err
    told = granted("report", "r-1").out
    assert told.startswith("Run r-1 finished just now")
    assert "stopped" not in told.splitlines()[0]
