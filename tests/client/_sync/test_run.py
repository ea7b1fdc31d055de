# Derived from tests/client/_async/test_run.py by scripts/unasync.py. Do not edit.
"""How a run opens, and how it ends for each way of leaving its block."""

import grpc
import pytest

import countermand.sync as countermand
from countermand.testing import Sidecar
from tests.client.support import Proxy, lose_reply, refuse


class Boom(Exception):
    """What goes wrong in an agent."""


def end_of(real: Sidecar, run_id: str) -> countermand.End:
    """How the sidecar says that a run ended."""
    with countermand.connect(real.home) as cm:
        end = (cm.auditor.run(run_id)).end
    assert end is not None
    return end


def leave_by(real: Sidecar, error: BaseException) -> countermand.End:
    """How a run ends whose block is left by this."""
    with countermand.connect(real.home) as cm:
        with pytest.raises(type(error)):
            with cm.open_run(subject="u-7", agent="mailer") as run:
                raise error
    return end_of(real, run.run_id)


def test_a_block_that_ends_finishes_its_run(real: Sidecar) -> None:
    """Nothing went wrong, so the run's work is done."""
    with countermand.connect(real.home) as cm:
        with cm.open_run(subject="u-7", agent="mailer", labels={"team": "a"}, ttl="5m") as run:
            assert (run.opened.subject, run.opened.agent) == ("u-7", "mailer")
            assert run.opened.state is countermand.RunState.ACTIVE

    assert (end_of(real, run.run_id)).reason is countermand.StopReason.RUN_FINISHED


def test_an_exception_cancels_the_run_and_stays_private(real: Sidecar) -> None:
    """The journal learns the type of the exception, never what it says."""
    end = leave_by(real, Boom("the user's secret"))

    assert end.reason is countermand.StopReason.CLIENT_DISCONNECTED
    assert end.note == "left by Boom"


def test_ctrl_c_is_the_user_who_stops(real: Sidecar) -> None:
    """A KeyboardInterrupt is a person at the keyboard."""
    assert (leave_by(real, KeyboardInterrupt())).reason is countermand.StopReason.USER_STOP


def test_lack_of_authority_is_policy_and_lack_of_uses_the_budget(real: Sidecar) -> None:
    """A run that tried what it may not, and did not handle that, is stopped for that."""
    assert (leave_by(real, countermand.OutOfScope("no"))).reason is countermand.StopReason.POLICY
    assert (leave_by(real, countermand.Denied("no"))).reason is countermand.StopReason.POLICY
    assert (leave_by(real, countermand.Fenced("no"))).reason is countermand.StopReason.POLICY
    assert (leave_by(real, countermand.Exhausted("no"))).reason is countermand.StopReason.BUDGET
    assert (leave_by(real, countermand.GrantEnded("no"))).reason is countermand.StopReason.BUDGET


def test_a_group_of_exceptions_is_told_by_its_members(real: Sidecar) -> None:
    """What a task group raises is looked into."""
    error = BaseExceptionGroup("tasks", [Boom(), BaseExceptionGroup("more", [KeyboardInterrupt()])])

    end = leave_by(real, error)

    assert end.reason is countermand.StopReason.USER_STOP
    assert end.note == "left by Boom, KeyboardInterrupt"


def test_a_run_that_was_revoked_is_not_cancelled_again(proxy: Proxy, real: Sidecar) -> None:
    """The exception says that the run has ended, so there is nothing left to say to the sidecar."""
    with countermand.connect(proxy.home) as cm:
        with pytest.raises(countermand.Revoked) as refusal:
            with cm.open_run(agent="mailer") as run:
                cm.operator.cancel(run.run_id, reason="INCIDENT", actor="ann", note="enough")
                with run.grant(scopes=["*"]):
                    with countermand.perform("email.send"):
                        pytest.fail("acted after the stop")

    assert proxy.calls.count("CancelRun") == 1
    assert refusal.value.reason is countermand.ErrorReason.REVOKED
    assert refusal.value.stop_reason is countermand.StopReason.INCIDENT
    assert (refusal.value.actor, refusal.value.note) == ("operator:ann", "enough")
    assert refusal.value.run_id == refusal.value.ended_run == run.run_id
    end = end_of(real, run.run_id)
    assert refusal.value.ended_time == end.time
    assert refusal.value.prior_decision is None


def test_a_run_that_was_cancelled_meanwhile_says_so_when_it_would_finish(real: Sidecar) -> None:
    """Whoever drives the run learns that it did not finish, even if it never acted."""
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked):
            with cm.open_run(agent="mailer") as run:
                cm.operator.cancel(run.run_id, reason="USER_STOP")


def test_cancel_answers_the_stop_report(proxy: Proxy) -> None:
    """The run is over from then on; leaving the block adds nothing."""
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer") as run:
        report = run.cancel(note="changed my mind", tag="t-1")

        assert report.run.end is not None
        assert (report.run.end.note, report.run.end.tag) == ("changed my mind", "t-1")
        assert report.quiesced
        assert report.cut_seq == report.run.end.seq
        assert (run.report()).cut_seq == report.cut_seq

    assert "FinishRun" not in proxy.calls


def test_finish_inside_the_block_is_the_end(proxy: Proxy) -> None:
    """An exception after the work is done does not make it undone."""
    with countermand.connect(proxy.home) as cm:
        with pytest.raises(Boom):
            with cm.open_run(agent="mailer") as run:
                finished = run.finish(note="all sent")
                raise Boom

    assert finished.state is countermand.RunState.FINISHED
    assert "CancelRun" not in proxy.calls


def test_an_open_whose_answer_is_lost_opens_one_run(proxy: Proxy) -> None:
    """The id is chosen before the first attempt, so the second finds the run that is open."""
    proxy.plan("OpenRun", lose_reply)
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="mailer"):
        assert len((cm.auditor.runs()).runs) == 1

    assert proxy.calls.count("OpenRun") == 2


def test_a_cancel_that_fails_does_not_hide_why_the_block_was_left(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The agent's exception is the one to see; what could not be done is noted on it, and logged."""
    proxy.plan("CancelRun", refuse("STORE_UNFIT", grpc.StatusCode.FAILED_PRECONDITION))
    with countermand.connect(proxy.home) as cm:
        with pytest.raises(Boom) as left:
            with cm.open_run(agent="mailer") as run:
                raise Boom

    assert left.value.__notes__ == [
        f"countermand: run {run.run_id} could not be cancelled: refused: STORE_UNFIT"
    ]
    assert f"run {run.run_id} could not be cancelled" in caplog.text


def test_a_child_belongs_to_its_parent(real: Sidecar) -> None:
    """It acts for the same subject, and a cancel of the parent reaches it."""
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked) as refusal:
            with cm.open_run(subject="u-7", tenant="t-1", agent="planner") as run:
                with run.child(agent="mailer") as child:
                    assert child.opened.parent_run_id == run.run_id
                    assert (child.opened.subject, child.opened.tenant) == ("u-7", "t-1")
                    run.cancel()
                    with child.grant(scopes=["*"]):
                        with countermand.perform("email.send"):
                            pytest.fail("acted after the stop")

    assert (refusal.value.run_id, refusal.value.ended_run) == (child.run_id, run.run_id)


def test_a_childs_stop_that_nobody_handles_ends_the_parent_too(real: Sidecar) -> None:
    """The exception left the parent's block, so nobody drives the parent any more."""
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked):
            with cm.open_run(agent="planner") as run:
                with run.child(agent="mailer") as child:
                    cm.operator.cancel(child.run_id, reason="USER_STOP")

    assert (end_of(real, run.run_id)).reason is countermand.StopReason.CLIENT_DISCONNECTED


def test_a_run_is_open_only_inside_its_block(real: Sidecar) -> None:
    """What the sidecar said of it is not there before it was asked."""
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.FixTheCall, match="is not open"):
            cm.open_run(agent="mailer").child(agent="other")
