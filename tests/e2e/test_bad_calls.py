"""Calls that are wrong or come at the wrong time: each gets a clear answer, and loses nothing."""

import hashlib

from tests.support.caller import Caller, refused
from tests.support.messages import DIGEST, listed

OTHER = hashlib.sha256(b"other arguments").digest()


def test_an_unknown_run_is_named_and_nothing_is_made_of_it(caller: Caller, run: str) -> None:
    """Whoever mistypes a run id is told so, by every verb that takes one; no run comes into being."""
    with refused("RUN_UNKNOWN") as told:
        caller.issue(run)
    assert told.message == f"run {run} is not known here; open it first, or check the id"
    for verb in (caller.finish, caller.report, caller.run, caller.entries):
        with refused("RUN_UNKNOWN"):
            verb(run)
    assert told.code == "NOT_FOUND"
    caller.open(run)  # the id is as good as new


def test_a_child_of_an_unknown_run_is_not_opened(caller: Caller, run: str) -> None:
    """A child without its parent would be out of reach of the parent's cancel."""
    with refused("RUN_UNKNOWN") as told:
        caller.open(run, parent=f"{run}-parent")
    assert f"run {run}-parent is not known" in told.message
    with refused("RUN_UNKNOWN"):
        caller.run(run)


def test_a_grant_issued_again_with_other_content_is_refused(caller: Caller, run: str) -> None:
    """A request id names one grant; who repeats it gets the same token, who changes it is told."""
    request = f"g-{run}"
    token = caller.begin(run, request=request)
    assert caller.issue(run, request=request) == token
    with refused("GRANT_EXISTS") as told:
        caller.issue(run, request=request, action="calendar.*")
    assert f"grant {request} was issued before with other content" in told.message
    assert caller.perform(token, "op-1").fence
    assert caller.kinds(run).count("ISSUED") == 1


def test_a_run_opened_again_with_other_content_is_refused(caller: Caller, run: str) -> None:
    """A run id names one run; who repeats it gets the same run, who changes it is told."""
    opened = caller.open(run)
    assert caller.open(run).run == opened.run
    with refused("RUN_EXISTS") as told:
        caller.open(run, ttl=60)
    assert told.message == f"run {run} was opened before with other content; choose another run id"
    assert caller.run(run) == opened.run


def test_a_commit_without_prepare_is_refused(caller: Caller, run: str) -> None:
    """An action nobody prepared is unknown: whether by typing error or by a lost prepare."""
    token = caller.begin(run)
    with refused("ACTION_UNKNOWN") as told:
        caller.commit(token, "op-1")
    assert told.message == f"no action op-1 was prepared in run {run}; prepare it first"
    for verb in (caller.settle, caller.abandon):
        with refused("ACTION_UNKNOWN"):
            verb(token, "op-1")
    caller.prepare(token, "op-1")
    assert caller.commit(token, "op-1").fence, "the op_id is not spoilt"
    assert caller.kinds(run) == ["OPENED", "ISSUED", *["REFUSED"] * 3, "PREPARED", "PERMITTED"]


def test_arguments_changed_after_prepare_are_refused(caller: Caller, run: str) -> None:
    """What was prepared, and perhaps approved, is what may happen; nothing else under its name."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    with refused("DIGEST_MISMATCH") as told:
        caller.commit(token, "op-1", digest=OTHER)
    assert "the arguments of action op-1 changed since it was prepared: do not act" in told.message
    assert set(listed(caller.report(run), "pending")) == {"op-1"}
    assert caller.commit(token, "op-1", digest=DIGEST).fence, "what was prepared may still happen"


def test_the_same_op_id_with_other_arguments_is_refused(caller: Caller, run: str) -> None:
    """An op_id names one effect: a second one under it would go unseen."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    first = caller.perform(token, "op-2")
    for verb in (caller.prepare, caller.perform):
        for op in ("op-1", "op-2"):
            with refused("OP_ID_CONFLICT") as told:
                verb(token, op, digest=OTHER)
            assert f"op_id {op} of run {run} names another action" in told.message
    assert caller.perform(token, "op-2").fence == first.fence, "who asks for the first one still gets it"
    assert caller.commit(token, "op-1").fence > first.fence
    assert set(listed(caller.report(run), "in_flight")) == {"op-1", "op-2"}


def test_settling_twice_tells_the_same_or_is_refused(caller: Caller, run: str) -> None:
    """A repeated outcome is a repeated call; another one would rewrite what was known."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    settled = caller.settle(token, "op-1", receipt="msg-1")
    again = caller.settle(token, "op-1", receipt="msg-1")
    assert (again.seq, again.replayed) == (settled.seq, True)
    with refused("ALREADY_SETTLED") as told:
        caller.settle(token, "op-1", outcome="FAILED")
    assert told.message == "action op-1 is already settled as SUCCEEDED; do not act again"
    done = listed(caller.report(run), "done")
    assert done["op-1"].receipt == "msg-1"
    assert caller.kinds(run).count("SETTLED") == 1


def test_an_unknown_outcome_becomes_known_and_never_unknown_again(caller: Caller, run: str) -> None:
    """A report only ever becomes more certain."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    caller.settle(token, "op-1", outcome="UNKNOWN", receipt="")
    assert set(listed(caller.report(run), "unknown")) == {"op-1"}
    caller.settle(token, "op-1", outcome="SUCCEEDED")
    with refused("ALREADY_SETTLED"):
        caller.settle(token, "op-1", outcome="UNKNOWN")
    assert set(listed(caller.report(run), "done")) == {"op-1"}


def test_what_never_got_a_permit_cannot_be_settled(caller: Caller, run: str) -> None:
    """A tool that reports an effect it was never permitted is refused aloud, and the journal keeps it."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    with refused("NEVER_PERMITTED") as told:
        caller.settle(token, "op-1")
    assert "action op-1 never got a permit, so it cannot be settled" in told.message
    assert set(listed(caller.report(run), "pending")) == {"op-1"}
    assert caller.entries(run)[-1].data["reason"] == "NEVER_PERMITTED"


def test_cancelling_twice_tells_the_same_story(caller: Caller, run: str) -> None:
    """The first cancel made the cut; whoever stops the run again is told of that one."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    caller.prepare(token, "op-2")
    first = caller.cancel(run, note="wrong recipients")
    second = caller.cancel(run, reason="INCIDENT", note="me too")
    assert (first.replayed, second.replayed) == (False, True)
    assert first.known
    assert second.known
    assert second.report.cut_seq == first.report.cut_seq
    assert second.report.run.end == first.report.run.end
    assert second.report.run.end.note == "wrong recipients"
    assert set(listed(second.report, "in_flight")) == {"op-1"}
    assert set(listed(second.report, "interrupted")) == {"op-2"}
    assert caller.kinds(run).count("CANCELLED") == 1


def test_a_commit_after_cancel_is_told_who_stopped_it_and_why(caller: Caller, run: str) -> None:
    """The sentence that the whole product exists for."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    cut = caller.cancel(run).report.cut_seq
    with refused("REVOKED") as told:
        caller.commit(token, "op-1")
    who = f"run {run} was cancelled by operator:ann 0s ago (USER_STOP)"
    assert told.message == f"{who}: do not act; see 'countermand report {run}'"
    assert told.details["seq"] == str(cut)
    (late,) = caller.report(run).late_attempts
    assert (late.op_id, late.verb) == ("op-1", "commit")


def test_cancelling_an_unknown_run_leaves_a_tombstone(caller: Caller, run: str) -> None:
    """A stop that comes before the run does is not lost: the id can never be opened."""
    answer = caller.cancel(run)
    assert not answer.known
    with refused("REVOKED") as told:
        caller.open(run)
    assert f"run {run} was cancelled by operator:ann" in told.message
    with refused("REVOKED"):
        caller.open(f"{run}-c", parent=run)
    assert caller.report(run).cut_seq == answer.report.cut_seq


def test_a_finished_run_commits_nothing_more(caller: Caller, run: str) -> None:
    """Work that goes on after its run was finished is refused as such, and told in the report."""
    token = caller.begin(run)
    caller.perform(token, "op-1")
    caller.prepare(token, "op-2")
    assert not caller.finish(run).replayed
    assert caller.finish(run).replayed
    with refused("RUN_FINISHED") as told:
        caller.commit(token, "op-2")
    assert f"run {run} has finished" in told.message
    assert told.message.endswith("do not act; open a new run for new work")
    caller.settle(token, "op-1")
    report = caller.report(run)
    assert set(listed(report, "done")) == {"op-1"}
    assert set(listed(report, "interrupted")) == {"op-2"}
    assert [late.op_id for late in report.late_attempts] == ["op-2"]


def test_cancelling_a_finished_run_tells_that_it_was_finished(caller: Caller, run: str) -> None:
    """The first end stands: a cancel that comes too late does not rewrite it."""
    caller.begin(run)
    finished = caller.finish(run).run
    answer = caller.cancel(run)
    assert answer.replayed
    assert answer.report.run.end == finished.end


def test_a_cancelled_run_cannot_be_finished(caller: Caller, run: str) -> None:
    """A run that was stopped did not do its work."""
    caller.begin(run)
    caller.cancel(run)
    with refused("REVOKED") as told:
        caller.finish(run)
    assert f"run {run} was cancelled by operator:ann" in told.message


def test_an_abandoned_action_stays_abandoned(caller: Caller, run: str) -> None:
    """A tool that changed its mind cannot change it back under the same op_id."""
    token = caller.begin(run)
    caller.prepare(token, "op-1")
    caller.abandon(token, "op-1")
    for verb in (caller.commit, caller.prepare, caller.perform):
        with refused("ACTION_ABANDONED") as told:
            verb(token, "op-1")
        assert "do not act; prepare again under a new op_id" in told.message
    assert set(listed(caller.report(run), "not_done")) == {"op-1"}
