# Derived from tests/client/_async/test_perform.py by scripts/unasync.py. Do not edit.
"""Perform: prepare and commit at once, for effects that need no preparation."""

import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy, Waits, lose_reply, lose_request, then

State = countermand.ActionState


def test_an_effect_is_permitted_and_settled(proxy: Proxy) -> None:
    """One call before the effect, one after it."""
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["ticket.*"]):
            with countermand.perform(
                "ticket.close",
                resource="ticket:42",
                args={"id": 42},
                reversibility=countermand.Reversibility.COMPENSABLE,
                compensation="reopen",
                use_within="2s",
            ) as act:
                act.receipt = "t-42"
        [done] = (run.report()).done

    assert (done.op_id, done.action, done.resource, done.receipt) == (
        act.op_id,
        "ticket.close",
        "ticket:42",
        "t-42",
    )
    undo = done.undo
    assert (undo.undoable, undo.how, undo.why_not) == (True, "reopen", "")
    assert (undo.reversibility, undo.asked_by) == (countermand.Reversibility.COMPENSABLE, "")
    assert undo.until_time is not None
    assert [call for call in proxy.calls if call.endswith("Action")] == ["PerformAction", "SettleAction"]


def test_a_lost_answer_is_asked_for_again(proxy: Proxy) -> None:
    """The permit is this call's own: nobody else knows its op_id."""
    proxy.plan("PerformAction", lose_reply)
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.perform("ticket.close") as act:
                assert act.permit is not None
                assert act.permit.replayed
        assert len((run.report()).done) == 1


def test_another_attempts_permit_is_no_permission(real: Sidecar) -> None:
    """A second process that performs under the same op_id learns that the effect may have happened."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.perform("ticket.close", op_id="close-42"):
                with pytest.raises(countermand.AlreadyPermitted):
                    with countermand.perform("ticket.close", op_id="close-42"):
                        pytest.fail("acted twice")
            with pytest.raises(countermand.AlreadySettled):
                with countermand.perform("ticket.close", op_id="close-42"):
                    pytest.fail("acted twice")


def test_the_same_op_id_with_other_arguments_is_a_conflict(real: Sidecar) -> None:
    """An op_id names one effect for ever."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.perform("ticket.close", op_id="close-42", args={"id": 42}):
                pass
            with pytest.raises(countermand.Conflict) as refusal:
                with countermand.perform("ticket.close", op_id="close-42", args={"id": 43}):
                    pytest.fail("acted on other arguments")

    assert refusal.value.reason is countermand.ErrorReason.OP_ID_CONFLICT


def test_a_permit_that_never_arrived_is_settled_as_not_done(proxy: Proxy) -> None:
    """The body did not run, so what may have been permitted certainly did not happen."""
    proxy.plan("PerformAction", lose_reply, *[lose_request] * 50)
    client = countermand.Client(Sockets(proxy.home), pacing=Waits().pacing)
    with client as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.Unavailable):
                with countermand.perform("ticket.close"):
                    pytest.fail("acted without an answer")
        [failed] = (run.report()).not_done

    assert (failed.state, failed.note) == (State.FAILED, "the permit did not reach the tool")


def test_a_lapsed_permit_is_settled_as_not_done(proxy: Proxy, clock: ManualClock) -> None:
    """An answer that took longer than the permit lasts permits nothing."""
    proxy.plan("PerformAction", then(lambda: clock.advance("2s")))
    with countermand.connect(proxy.home, clock=clock.elapsed) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.PermitLapsed):
                with countermand.perform("ticket.close", use_within="2s"):
                    pytest.fail("acted on a lapsed permit")
        [failed] = (run.report()).not_done

    assert failed.state is State.FAILED


def test_arguments_that_no_digest_can_bind_are_refused_at_once(proxy: Proxy) -> None:
    """What two libraries would spell differently cannot be promised to be the same."""
    with countermand.connect(proxy.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(countermand.InvalidRequest, match=r"args\['body'\]"):
            with countermand.perform("ticket.close", args={"body": b"raw"}):
                pytest.fail("acted on unbound arguments")

    assert "PerformAction" not in proxy.calls
