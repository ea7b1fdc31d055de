# Derived from tests/client/_async/test_approvals.py by scripts/unasync.py. Do not edit.
"""Actions that a person has to agree to: waiting, and what they may have agreed to instead."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Person, Proxy, Waits, lose_reply, lose_request

State = countermand.ActionState
ARGS = {"amount": 100, "to": ["ann", "bob"], "note": "rent"}


@contextmanager
def agent(at: Proxy | Sidecar, waits: Waits) -> Iterator[countermand.ActiveRun]:
    """A run that has to ask before it pays; it waits in no time."""
    with countermand.Client(Sockets(at.home), pacing=waits.pacing) as cm:
        with cm.open_run(subject="u-7", agent="payer") as run:
            with run.grant(scopes=["payment.* approval=irreversible", "email.*"]):
                yield run


def kinds(at: Sidecar, run: countermand.ActiveRun) -> list[str]:
    """What is in the run's journal."""
    with countermand.connect(at.home) as cm:
        return [entry.kind for entry in (cm.auditor.entries(run.run_id)).entries]


def test_an_action_waits_for_a_person_and_goes_on(real: Sidecar) -> None:
    """Nothing happens until somebody has agreed; they see what it is about, and their word comes along."""
    waits = Waits()
    with agent(real, waits) as run:
        seen = []

        def agree() -> None:
            with real.connect_sync() as cm:
                seen.extend(cm.auditor.approvals().approvals)
            Person(real).agrees(actor="ann", note="fine")()
            waits.meanwhile = lambda: None

        waits.meanwhile = agree
        with countermand.action(
            "payment.send", resource="iban:x", args=ARGS, summary="pay the rent", costs={"usd": 100}
        ) as act:
            assert act.approval is not None
            assert (act.approval.actor, act.approval.note) == ("operator:ann", "fine")
            assert act.args == ARGS
            with act.commit():
                act.receipt = "p-1"
        [done] = (run.report()).done

    assert (done.op_id, done.receipt) == (act.op_id, "p-1")
    [asked] = seen
    assert (asked.run_id, asked.op_id, asked.action, asked.resource) == (
        run.run_id,
        act.op_id,
        "payment.send",
        "iban:x",
    )
    assert (asked.summary, asked.costs, asked.digest) == (
        "pay the rent",
        {"usd": 100},
        countermand.digest(ARGS),
    )
    assert (asked.subject, asked.agent) == ("u-7", "payer")
    assert asked.expire_time > asked.prepare_time


def test_it_looks_again_at_a_pace_of_its_own(real: Sidecar) -> None:
    """Soon at first, then once a second; a person is no outage."""
    waits = Waits(meanwhile=Person(real, looks=6).agrees())
    with agent(real, waits):
        with countermand.perform("payment.send"):
            pass

    assert [pause for pause in waits.pauses if pause >= 0.1] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_what_needs_nobody_does_not_wait(real: Sidecar) -> None:
    """From the class of effects on that the scope names, and no others."""
    with agent(real, Waits(meanwhile=lambda: pytest.fail("waited"))):
        with countermand.perform("payment.look", reversibility=countermand.Reversibility.READ_ONLY):
            pass
        with countermand.perform("email.send"):
            pass


@pytest.mark.parametrize("way", ["action", "perform"])
def test_a_no_is_final(real: Sidecar, way: str) -> None:
    """It says who and why; the run may go on, and the action stays denied."""
    waits = Waits(meanwhile=Person(real).says_no(actor="ann", note="too much"))
    with agent(real, waits) as run:
        with pytest.raises(countermand.Denied) as refusal:
            with getattr(countermand, way)("payment.send"):
                pytest.fail("acted without consent")
        with countermand.perform("email.send"):
            pass
        [denied] = (run.report()).not_done

    error = refusal.value
    assert (error.actor, error.note, error.cause) == ("operator:ann", "too much", "a person said no")
    assert not isinstance(error, countermand.ApprovalTimedOut)
    assert denied.state is State.DENIED
    assert "ABANDONED" not in kinds(real, run)


@pytest.mark.parametrize("way", ["action", "perform"])
def test_nobody_can_agree_to_what_nobody_waits_for(real: Sidecar, way: str) -> None:
    """When the caller's time is over the action is given up, so it cannot be approved and then never used."""
    waits = Waits()
    with agent(real, waits) as run:
        with pytest.raises(countermand.ApprovalTimedOut, match="nobody agreed within the 3s") as late:
            with getattr(countermand, way)("payment.send", approval_timeout="3s"):
                pytest.fail("acted without consent")
        [given_up] = (run.report()).not_done
        with countermand.connect(real.home) as cm:
            assert cm.operator.approvals() == countermand.ApprovalPage((), more=False)
            with pytest.raises(countermand.Conflict) as refusal:
                cm.operator.approve(run.run_id, given_up.op_id, digest=countermand.digest())

    assert sum(waits.pauses) == pytest.approx(3, abs=0.2)
    assert isinstance(late.value, countermand.Denied)
    assert late.value.metadata["op"] == given_up.op_id
    assert (given_up.state, given_up.note) == (State.ABANDONED, "left by ApprovalTimedOut")
    assert refusal.value.reason is countermand.ErrorReason.NOT_AWAITING


@pytest.mark.parametrize("way", ["action", "perform"])
@pytest.mark.parametrize("limit", [None, 0])
def test_a_caller_that_does_not_wait_may_come_back(real: Sidecar, way: str, limit: int | None) -> None:
    """It learns at once that a person is asked; under the same op_id the answer is found later."""
    with agent(real, Waits()) as run:
        ask = {"op_id": "pay-1", "args": ARGS, "approval_timeout": limit}
        for _ in range(2):
            with pytest.raises(countermand.AwaitingApproval) as refusal:
                with getattr(countermand, way)("payment.send", **ask):
                    pytest.fail("acted without consent")
        Person(real).agrees()()
        with countermand.action("payment.send", **ask) as act, act.commit():
            pass
        assert [done.op_id for done in (run.report()).done] == ["pay-1"]

    assert refusal.value.metadata["op"] == "pay-1"


def test_the_sidecars_own_limit_may_come_first(real: Sidecar, clock: ManualClock) -> None:
    """It denies what nobody agreed to in its time, however long the caller would wait."""
    waits = Waits(meanwhile=lambda: clock.advance("10s"))
    with agent(real, waits):
        with pytest.raises(countermand.Denied) as refusal:
            with countermand.action("payment.send", ttl="25s", approval_timeout="1h"):
                pytest.fail("acted without consent")

    assert refusal.value.cause == "nobody agreed in time"
    assert not isinstance(refusal.value, countermand.ApprovalTimedOut)


def test_an_agreement_can_be_taken_back_until_it_is_used(real: Sidecar) -> None:
    """The commit is the moment that counts."""
    waits = Waits(meanwhile=Person(real).agrees())
    with agent(real, waits) as run:
        with countermand.action("payment.send") as act:
            with countermand.connect(real.home) as cm:
                denied = cm.operator.deny(run.run_id, act.op_id, note="wait")
            with pytest.raises(countermand.Denied):
                with act.commit():
                    pytest.fail("acted after the no")

    assert (denied.state, denied.replayed) == (State.DENIED, False)
    assert "ABANDONED" not in kinds(real, run)


def test_an_agreement_lasts_for_a_while(real: Sidecar, clock: ManualClock) -> None:
    """Used too late it counts no more."""
    waits = Waits(meanwhile=Person(real).agrees(ttl="5s"))
    with agent(real, waits):
        with countermand.action("payment.send") as act:
            clock.advance("6s")
            with pytest.raises(countermand.Denied) as refusal:
                with act.commit():
                    pytest.fail("acted on an old consent")

    assert refusal.value.cause == "the approval was not used in time"


def test_a_stop_ends_the_waiting(proxy: Proxy, real: Sidecar) -> None:
    """The action is interrupted by it, and nothing more is said about it."""
    waits = Waits()
    with pytest.raises(countermand.Revoked):
        with agent(proxy, waits) as run:

            def stop() -> None:
                with real.connect_sync() as cm:
                    cm.operator.cancel(run.run_id, reason="USER_STOP")

            waits.meanwhile = stop
            with countermand.perform("payment.send"):
                pytest.fail("acted after the stop")

    assert "AbandonAction" not in proxy.calls
    with countermand.connect(real.home) as cm:
        report = cm.auditor.report(run.run_id)
    assert len(report.interrupted) == 1


def test_a_caller_that_goes_away_while_it_waits_leaves_nothing_to_agree_to(real: Sidecar) -> None:
    """Cancelled or interrupted, it gives the action up."""
    waits = Waits()

    def go() -> None:
        raise KeyboardInterrupt

    with agent(real, waits) as run:
        for way in (countermand.action, countermand.perform):
            waits.meanwhile = go
            with pytest.raises(KeyboardInterrupt):
                with way("payment.send"):
                    pytest.fail("acted without consent")
        assert [one.state for one in (run.report()).not_done] == [State.ABANDONED] * 2


@pytest.mark.parametrize("way", ["action", "perform"])
def test_an_outage_is_waited_through(proxy: Proxy, real: Sidecar, way: str) -> None:
    """The person may take longer than the sidecar takes to come back."""
    waits = Waits()

    def fall_silent() -> None:
        for name in ("PrepareAction", "PerformAction"):
            proxy.plan(name, *[lose_request] * 12)  # longer than one call has patience for
        waits.meanwhile = Person(real, looks=3).agrees()

    waits.meanwhile = fall_silent
    with agent(proxy, waits) as run:
        with getattr(countermand, way)("payment.send") as act:
            if way == "action":
                with act.commit():
                    pass
        assert len((run.report()).done) == 1


def test_an_outage_that_outlasts_the_waiting_is_told_as_one(proxy: Proxy) -> None:
    """Somebody may have agreed, so nobody can say that nobody did."""
    waits = Waits()

    def fall_silent() -> None:
        proxy.plan("PrepareAction", *[lose_request] * 90)
        waits.meanwhile = lambda: None

    waits.meanwhile = fall_silent
    with agent(proxy, waits) as run:
        with pytest.raises(countermand.Unavailable):
            with countermand.action("payment.send", approval_timeout="5s"):
                pytest.fail("acted without consent")
        assert [one.state for one in (run.report()).not_done] == [State.ABANDONED]


def test_a_permit_that_was_lost_while_waiting_is_its_own(proxy: Proxy, real: Sidecar) -> None:
    """The look that got it went unanswered; the next one is told so, and nobody else knows the op_id."""
    waits = Waits()

    def agree() -> None:
        Person(real).agrees()()
        proxy.plan("PerformAction", lose_reply, *[lose_request] * 8)
        waits.meanwhile = lambda: None

    waits.meanwhile = agree
    with agent(proxy, waits) as run:
        with countermand.perform("payment.send") as act:
            assert act.permit is not None
            assert act.permit.replayed
        assert len((run.report()).done) == 1


def test_narrower_arguments_are_the_ones_to_act_with(real: Sidecar) -> None:
    """What was agreed to is in act.args, and the permit is for that."""
    waits = Waits(meanwhile=Person(real).agrees(amendment={"amount": 60, "to": ["bob"]}))
    paid = []
    with agent(real, waits):
        with countermand.action("payment.send", args=ARGS) as act:
            args = act.args
            with act.commit():
                paid.append(args)

    assert paid == [{"amount": 60, "to": ["bob"]}]
    assert act.approval is not None
    assert act.approval.amended_digest == countermand.digest(paid[0])
    assert ARGS["amount"] == 100


def test_a_tool_that_does_not_look_at_narrower_arguments_does_not_act(real: Sidecar) -> None:
    """It would act with the ones it gave, and the record would say otherwise."""
    waits = Waits(meanwhile=Person(real).agrees(amendment={"amount": 60}))
    with agent(real, waits) as run:
        with pytest.raises(countermand.DigestMismatch, match=r"look at them before the commit"):
            with countermand.action("payment.send", args=ARGS) as act, act.commit():
                pytest.fail("acted with the arguments it gave")
        assert [one.state for one in (run.report()).not_done] == [State.ABANDONED]


@pytest.mark.parametrize(
    ("amendment", "why"),
    [
        ({"amount": 200}, r"args\['amount'\] is not a smaller number"),
        ({"to": ["eve"]}, r"args\['to'\] has items that were not prepared"),
        ({"amount": 5, "via": "x"}, r"args has keys that were not prepared: 'via'"),
    ],
)
def test_wider_arguments_are_not_acted_with(real: Sidecar, amendment: dict, why: str) -> None:
    """The client knows what it prepared, and refuses what would be more; nothing is left to commit."""
    waits = Waits(meanwhile=Person(real).agrees(amendment=amendment))
    with agent(real, waits) as run:
        with pytest.raises(countermand.DigestMismatch, match=why):
            with countermand.action("payment.send", args=ARGS):
                pytest.fail("acted with more than was asked for")
        assert [one.state for one in (run.report()).not_done] == [State.ABANDONED]


def test_a_function_cannot_be_handed_other_arguments(real: Sidecar) -> None:
    """What perform guards already has its arguments: it does not run, and is told what to use instead."""
    waits = Waits(meanwhile=Person(real).agrees(amendment={"amount": 60}))
    with agent(real, waits) as run:
        with pytest.raises(countermand.DigestMismatch, match=r"use 'with countermand.action"):
            with countermand.perform("payment.send", args=ARGS):
                pytest.fail("acted with the arguments it gave")
        assert [one.state for one in (run.report()).not_done] == [State.ABANDONED]


def test_approvals_can_be_repeated(proxy: Proxy, real: Sidecar) -> None:
    """A lost answer changes nothing; another answer than the first is a conflict."""
    with countermand.Client(Sockets(proxy.home), pacing=Waits().pacing) as cm:
        cm.issuer.open(run_id="r-1")
        token = (cm.issuer.issue("r-1", scopes=["* approval=read_only"])).token
        intent = countermand.Intent.of("payment.send", args=ARGS, op_id="o-1")
        asked = cm.tool.prepare(token, intent)
        with pytest.raises(countermand.AwaitingApproval):
            cm.tool.commit(token, "o-1", intent.digest)
        proxy.plan("ApproveAction", lose_reply)
        proxy.plan("DenyAction", lose_reply)
        first = cm.operator.approve("r-1", "o-1", digest=intent.digest, ttl="5s", amendment={"amount": 1})
        with pytest.raises(countermand.Conflict):
            cm.operator.approve("r-1", "o-1", digest=intent.digest)
        with pytest.raises(countermand.DigestMismatch):
            cm.tool.commit(token, "o-1", intent.digest)
        second = cm.operator.deny("r-1", "o-1")

    assert (asked.state, asked.approval) == (State.AWAITING_APPROVAL, None)
    assert (first.state, first.replayed, second.state, second.replayed) == (
        State.PREPARED,
        True,
        State.DENIED,
        True,
    )
    assert first.expire_time is not None
