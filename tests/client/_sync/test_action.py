# Derived from tests/client/_async/test_action.py by scripts/unasync.py. Do not edit.
"""Prepare and commit: when the body of a commit block runs, and what is on record after it."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand._clock import elapsing
from countermand.testing import ManualClock, Sidecar
from countermand.v1 import action_service_pb2 as actions
from tests.client.support import Proxy, Waits, forge, lose_reply, lose_request, refuse, then

State = countermand.ActionState


@contextmanager
def agent(at: Proxy | Sidecar) -> Iterator[countermand.ActiveRun]:
    """A run that may do anything, under its current grant; its calls wait in no time."""
    clock = at.clock.elapsed if isinstance(at, Sidecar) and at.clock else elapsing
    with countermand.Client(Sockets(at.home), clock=clock, pacing=Waits().pacing) as cm:
        with cm.open_run(subject="u-7", agent="mailer") as run:
            with run.grant(scopes=["*"]):
                yield run


def reported(run: countermand.ActiveRun, op_id: str) -> countermand.ReportedAction:
    """What the report says of one action."""
    report = run.report()
    parts = (
        report.done,
        report.interrupted,
        report.in_flight,
        report.unknown,
        report.not_done,
        report.pending,
    )
    [found] = [action for part in parts for action in part if action.op_id == op_id]
    return found


def test_an_action_is_prepared_committed_and_settled(real: Sidecar) -> None:
    """The way it should go: on record, permitted, done, with the outside world's own id."""
    args = {"subject": "Q3", "to": ["team"]}
    with agent(real) as run:
        with countermand.action("email.send", resource="mailto:team@example.com", args=args) as act:
            assert (reported(run, act.op_id)).state is State.PREPARED
            with act.commit() as permit:
                assert (reported(run, act.op_id)).state is State.PERMITTED
                assert act.permit is permit
                assert permit.remaining == 5.0
                act.receipt = "m-1"
        found = reported(run, act.op_id)

    assert (found.state, found.receipt, found.resource) == (State.SUCCEEDED, "m-1", "mailto:team@example.com")
    assert found.fence == permit.fence > 0
    assert act.settled is not None
    assert not act.settled.after_cut


def test_an_action_that_is_left_without_a_commit_is_abandoned(real: Sidecar) -> None:
    """The tool changed its mind, by itself or by an exception; the type of that is noted."""
    with agent(real) as run:
        with countermand.action("email.send") as quiet:
            pass
        with pytest.raises(LookupError):
            with countermand.action("email.send") as loud:
                raise LookupError("the user's secret")

        assert (reported(run, quiet.op_id)).state is State.ABANDONED
        assert (reported(run, loud.op_id)).state is State.ABANDONED
    with countermand.connect(real.home) as cm:
        entries = (cm.auditor.entries(run.run_id)).entries
    notes = {entry.op_id: entry.data.get("note", "") for entry in entries if entry.kind == "ABANDONED"}
    assert notes == {quiet.op_id: "", loud.op_id: "left by LookupError"}


def test_a_stop_before_the_commit_keeps_the_body_from_running(proxy: Proxy) -> None:
    """The late commit is refused and reported, and the action counts as interrupted by the stop."""
    with pytest.raises(countermand.Revoked) as refusal:
        with agent(proxy) as run:
            with countermand.action("email.send") as act:
                run.cancel(note="enough")
                with act.commit():
                    pytest.fail("acted after the stop")

    assert refusal.value.note == "enough"
    assert "AbandonAction" not in proxy.calls
    with countermand.connect(proxy.home) as cm:
        report = cm.operator.report(run.run_id)
    assert [late.verb for late in report.late_attempts] == ["commit"]
    assert [action.op_id for action in report.interrupted] == [act.op_id]


def test_a_commit_whose_answer_is_lost_gets_the_same_permit(proxy: Proxy) -> None:
    """Asked again with the same op_id; the effect happens once."""
    proxy.plan("CommitAction", lose_reply, lose_reply)
    sent = []
    with agent(proxy) as run:
        with countermand.action("email.send") as act:
            with act.commit() as permit:
                sent.append("mail")

        assert permit.replayed
        assert (reported(run, act.op_id)).fence == permit.fence
    assert sent == ["mail"]
    assert proxy.calls.count("CommitAction") == 3


def test_a_permit_that_another_attempt_got_is_no_permission(real: Sidecar) -> None:
    """Somebody used this op_id before: the effect may have happened, so it is not done again."""
    with agent(real) as run:
        with countermand.action("email.send", op_id="mail-1") as first:
            with countermand.action("email.send", op_id="mail-1") as second:
                with first.commit():
                    with pytest.raises(countermand.AlreadyPermitted, match="in another attempt"):
                        with second.commit():
                            pytest.fail("acted twice")

        assert (reported(run, "mail-1")).state is State.SUCCEEDED
    assert second.permit is None


def test_an_attempt_left_while_another_acts_leaves_the_outcome_to_it(real: Sidecar) -> None:
    """It prepared the same effect and did not commit it: that is no word on the other one's permit."""
    with agent(real) as run:
        with countermand.action("email.send", op_id="mail-1") as first:
            with countermand.action("email.send", op_id="mail-1") as second:
                inside = first.commit()
                inside.__enter__()
            assert second.settled is None
            assert (reported(run, "mail-1")).state is State.PERMITTED
            inside.__exit__(None, None, None)

        assert (reported(run, "mail-1")).state is State.SUCCEEDED


def test_a_stop_between_a_lost_permit_and_the_next_try_is_told_truly(proxy: Proxy) -> None:
    """The stop finds the action permitted; the tool knows that its body never ran, and says so."""
    with pytest.raises(countermand.Revoked) as refusal:
        with agent(proxy) as run:
            with countermand.action("email.send") as act:
                proxy.plan("CommitAction", lose_reply, *[lose_request] * 50)
                with pytest.raises(countermand.Unavailable):
                    with act.commit():
                        pytest.fail("acted without an answer")
                proxy.forget()
                assert [action.op_id for action in (run.cancel()).in_flight] == [act.op_id]
                with act.commit():
                    pytest.fail("acted after the stop")

    assert refusal.value.prior_decision is State.PERMITTED
    assert act.settled is not None
    assert act.settled.state is State.FAILED
    assert act.settled.after_cut


def test_an_op_id_of_the_callers_own_leaves_a_lost_answer_in_doubt(proxy: Proxy) -> None:
    """Under a name others may use too, nobody can tell whose the replayed permit is: doubt means no."""
    proxy.plan("CommitAction", lose_reply)
    with agent(proxy) as run:
        with pytest.raises(countermand.AlreadyPermitted, match="do not act"):
            with countermand.action("email.send", op_id="mail-1") as act, act.commit():
                pytest.fail("acted in doubt")

        assert (reported(run, "mail-1")).state is State.PERMITTED


def test_arguments_that_change_after_the_prepare_are_not_acted_on(real: Sidecar) -> None:
    """The digest is computed again from what is about to be used."""
    args = {"to": "team@example.com"}
    with agent(real) as run:
        with pytest.raises(countermand.DigestMismatch):
            with countermand.action("email.send", args=args) as act:
                args["to"] = "mallory@example.com"
                with act.commit():
                    pytest.fail("acted on other arguments")

        assert (reported(run, act.op_id)).state is State.ABANDONED


def test_a_permit_that_lapses_on_its_way_is_not_used(real: Sidecar, clock: ManualClock, proxy: Proxy) -> None:
    """Its time counts from before the request was sent, so a slow answer cannot stretch it."""
    proxy.plan("CommitAction", then(lambda: clock.advance("5s")))
    with countermand.connect(proxy.home, clock=clock.elapsed) as cm, cm.open_run(agent="mailer") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.PermitLapsed, match="it did not happen"):
                with countermand.action("email.send") as act, act.commit(use_within="5s"):
                    pytest.fail("acted on a lapsed permit")

        found = reported(run, act.op_id)
        assert (found.state, found.note) == (State.FAILED, "permit lapsed before the tool started")


def test_what_is_left_of_a_permit_can_be_asked(real: Sidecar, clock: ManualClock) -> None:
    """A tool that takes its time looks before it sends."""
    with agent(real):
        with countermand.action("email.send") as act, act.commit(use_within="10s") as permit:
            clock.advance("4s")
            assert permit.remaining == pytest.approx(6.0)
            clock.advance("7s")
            assert permit.remaining == 0


def test_a_permit_is_for_one_effect(real: Sidecar) -> None:
    """A second commit block of the same action does not run."""
    with agent(real):
        with countermand.action("email.send") as act:
            with act.commit():
                pass
            with pytest.raises(countermand.AlreadyPermitted, match="for one effect"):
                with act.commit():
                    pytest.fail("acted twice")


def test_a_commit_that_got_no_answer_can_be_asked_again(proxy: Proxy) -> None:
    """The permit that was given meanwhile is this action's own."""
    proxy.plan("CommitAction", lose_reply, *[lose_request] * 50)
    with agent(proxy):
        with countermand.action("email.send") as act:
            with pytest.raises(countermand.Unavailable):
                with act.commit():
                    pytest.fail("acted without an answer")
            proxy.forget()
            with act.commit() as permit:
                pass

    assert permit.replayed


def test_a_permit_that_was_lost_and_has_lapsed_is_told_truly(proxy: Proxy, clock: ManualClock) -> None:
    """It was this action's own, and its body never ran: nobody has to wonder what became of it."""
    proxy.plan("CommitAction", lose_reply, *[lose_request] * 50)
    with agent(proxy) as run:
        with countermand.action("email.send") as act:
            with pytest.raises(countermand.Unavailable):
                with act.commit():
                    pytest.fail("acted without an answer")
            proxy.forget()
            clock.advance("6s")
            with pytest.raises(countermand.PermitLapsed, match="it did not happen"):
                with act.commit():
                    pytest.fail("acted on a lapsed permit")

        assert (reported(run, act.op_id)).state is State.FAILED


def test_without_an_answer_the_body_does_not_run_and_nothing_stays_permitted(proxy: Proxy) -> None:
    """The permit was given and never arrived; what the tool knows goes on record: it did not happen."""
    proxy.plan("CommitAction", lose_reply, *[lose_request] * 50)
    with agent(proxy) as run:
        with pytest.raises(countermand.Unavailable):
            with countermand.action("email.send") as act, act.commit():
                pytest.fail("acted without an answer")

        found = reported(run, act.op_id)
        assert (found.state, found.note) == (State.FAILED, "the permit did not reach the tool")


def test_a_sidecar_that_is_gone_permits_nothing(proxy: Proxy) -> None:
    """Its sockets went with it; the message says how to start it."""
    with pytest.raises(countermand.NotRunning, match="countermand serve"):
        with agent(proxy):
            with countermand.action("email.send") as act:
                proxy.stop()
                with act.commit():
                    pytest.fail("acted without an answer")


def test_an_answer_for_another_action_is_no_permission(proxy: Proxy) -> None:
    """Every answer names its op_id; a mixed-up one is refused."""
    other = actions.CommitActionResponse(permit=actions.Permit(op_id="o-other", fence=7))
    other.permit.use_within.FromSeconds(5)
    proxy.plan("CommitAction", forge(other))
    with agent(proxy):
        with pytest.raises(countermand.AskOperator, match="o-other"):
            with countermand.action("email.send") as act, act.commit():
                pytest.fail("acted on another action's permit")


def test_an_answer_without_a_use_by_is_no_permission(proxy: Proxy) -> None:
    """A permit that says nothing of its time has none left."""

    def forged(op_id: str) -> actions.CommitActionResponse:
        return actions.CommitActionResponse(permit=actions.Permit(op_id=op_id, fence=7))

    with agent(proxy):
        with pytest.raises(countermand.PermitLapsed):
            with countermand.action("email.send") as act:
                proxy.plan("CommitAction", forge(forged(act.op_id)))
                with act.commit():
                    pytest.fail("acted on an empty permit")


def test_an_exception_in_the_body_makes_the_outcome_unknown(real: Sidecar) -> None:
    """What reached the world cannot be told from an exception; its type is noted, its text is not."""
    with agent(real) as run:
        with pytest.raises(ConnectionError):
            with countermand.action("email.send") as act, act.commit():
                raise ConnectionError("the user's secret")

        found = reported(run, act.op_id)
        assert (found.state, found.note) == (State.UNKNOWN, "left by ConnectionError")


def test_a_tool_that_sent_nothing_says_so(real: Sidecar) -> None:
    """NotSent settles the action as failed, and names the type of its cause."""
    with agent(real) as run:
        with pytest.raises(countermand.NotSent):
            with countermand.action("email.send") as act, act.commit():
                raise countermand.NotSent from ConnectionRefusedError("the user's secret")

        found = reported(run, act.op_id)
        assert (found.state, found.note) == (State.FAILED, "not sent: ConnectionRefusedError")


def test_what_one_tool_did_not_send_says_nothing_of_another_action(real: Sidecar) -> None:
    """NotSent that comes out of an inner block is about the inner action: the outer one may have happened."""
    with agent(real) as run:
        with pytest.raises(countermand.NotSent):
            with countermand.perform("order.place") as outer:
                with countermand.perform("email.send") as inner:
                    raise countermand.NotSent

        one, other = reported(run, outer.op_id), reported(run, inner.op_id)
        assert (one.state, one.note) == (State.UNKNOWN, "left by NotSent, raised for another action")
        assert (other.state, other.note) == (State.FAILED, "not sent")


def test_an_action_whose_block_was_left_gets_no_permit(proxy: Proxy) -> None:
    """A commit after the block is refused here, before anything is asked."""
    with agent(proxy):
        with countermand.action("email.send") as act:
            pass
        with pytest.raises(countermand.AlreadyPermitted, match="its block was left"):
            with act.commit():
                pytest.fail("acted after it was given up")

    assert "CommitAction" not in proxy.calls


def test_the_tools_own_word_counts_however_the_body_is_left(real: Sidecar) -> None:
    """`failed` and `unknown` say what an exception, or none, cannot."""
    with agent(real) as run:
        with pytest.raises(ConnectionError):
            with countermand.action("email.send") as refused, refused.commit():
                refused.failed("mailbox full")
                raise ConnectionError
        with countermand.action("email.send") as lost, lost.commit():
            lost.unknown("no answer in time")

        one, other = reported(run, refused.op_id), reported(run, lost.op_id)
        assert (one.state, one.note) == (State.FAILED, "mailbox full")
        assert (other.state, other.note) == (State.UNKNOWN, "no answer in time")


def test_a_receipt_always_fits(real: Sidecar) -> None:
    """Whatever the outside world answers becomes one line; the outcome is not lost over it."""
    with agent(real) as run:
        with countermand.action("email.send") as act, act.commit():
            act.receipt = "id\n" + 1000 * "x"
        with countermand.action("email.send") as number, number.commit():
            number.receipt = 17

        assert (reported(run, act.op_id)).receipt == f"id {296 * 'x'}…"
        assert (reported(run, number.op_id)).receipt == "17"


def test_an_outcome_whose_answer_is_lost_is_on_record_once(proxy: Proxy) -> None:
    """Settling is repeated like everything else."""
    proxy.plan("SettleAction", lose_reply)
    with agent(proxy) as run:
        with countermand.action("email.send") as act, act.commit():
            pass

        assert act.settled is not None
        assert act.settled.replayed
        assert (reported(run, act.op_id)).state is State.SUCCEEDED


def test_an_outcome_that_cannot_be_told_hides_nothing(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    """The tool's exception is the one to see; without one the effect stands, and the block ends well."""
    broken = refuse("STORE_UNFIT", grpc.StatusCode.FAILED_PRECONDITION)
    proxy.plan("SettleAction", broken, broken)
    with agent(proxy):
        with pytest.raises(ConnectionError) as left:
            with countermand.action("email.send") as loud, loud.commit():
                raise ConnectionError
        with countermand.action("email.send") as quiet, quiet.commit():
            pass

    assert left.value.__notes__ == [
        f"countermand: the outcome of action {loud.op_id} is not on record: refused: STORE_UNFIT"
    ]
    assert isinstance(quiet.unsettled, countermand.AskOperator)
    assert f"the outcome SUCCEEDED of action {quiet.op_id} is not on record" in caplog.text


def test_an_outcome_that_comes_after_the_stop_is_taken(real: Sidecar) -> None:
    """The effect was permitted before the cut; the report moves it from in flight to done."""
    with pytest.raises(countermand.Revoked):
        with agent(real) as run:
            with countermand.action("email.send") as act, act.commit():
                assert [action.op_id for action in (run.cancel()).in_flight] == [act.op_id]
                act.receipt = "m-1"
            assert act.settled is not None
            assert act.settled.after_cut
            assert (reported(run, act.op_id)).settled_after_cut
            with countermand.action("email.send"):
                pytest.fail("prepared after the stop")
