# Derived from tests/client/_async/test_job.py by scripts/unasync.py. Do not edit.
"""Queued jobs: one permit to enqueue, one to carry out; never twice, and never after a stop."""

from collections.abc import Iterator
from typing import Any

import pytest

import countermand.sync as countermand
from countermand import ActionState, NotSent
from countermand._ids import new_id
from countermand._job import Declared, op_name, pause_after
from countermand._sync.job import Delivery, enqueueing
from countermand.testing import ManualClock, Sidecar


def send(to: str) -> str:
    """What the job is; the tests have bodies of their own."""
    raise AssertionError(to)


@pytest.fixture
def cm(real: Sidecar, monkeypatch: pytest.MonkeyPatch) -> Iterator[countermand.Client]:
    """A client, which the workers here share."""
    with countermand.connect(real.home) as client:
        monkeypatch.setattr("countermand._sync.job.own_client", lambda: client)
        yield client


def declared(**options: Any) -> Declared:
    return Declared.of("email.send", **{"resource": lambda to: f"mailto:{to}", **options})


def token_for(job: Declared, *args: str) -> str:
    """Enqueue a job under the current grant; answer what travels with it."""
    with enqueueing(job.call(send, args, {}), "shelf:default/send", "j-1") as (act, token):
        act.accepted(handle="j-1", canceller="shelf.clear")
        return token


def delivery(job: Declared, token: str | None, to: str = "ann") -> Delivery:
    return Delivery(job.call(send, (to,), {}), "shelf", "j-1", token)


def sent() -> str:
    """Do what the job is for."""
    return "m-1"


def test_a_job_is_enqueued_and_carried_out_under_a_permit_each(cm: countermand.Client) -> None:
    """Both are on record, with what is known of them."""
    job = declared(receipt=str)
    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
        assert delivery(job, token).carry_out(sent) == "m-1"
        put, done = (run.report()).done

    assert (put.action, put.resource, put.receipt) == ("queue.enqueue", "shelf:default/send", "j-1")
    assert put.call_off is not None
    assert (put.call_off.handle, put.call_off.canceller) == ("j-1", "shelf.clear")
    assert (done.action, done.resource, done.receipt) == ("email.send", "mailto:ann", "m-1")
    assert done.op_id == "shelf-j-1-0"


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "control"])
def test_a_job_that_is_delivered_twice_is_carried_out_once(
    cm: countermand.Client, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """At the same time, and once it is over. Without a name that it keeps, it would be each time."""
    if not guarded:
        monkeypatch.setattr("countermand._sync.job.op_name", lambda *_: new_id("o"))
    job, bodies = declared(attempts=3), []

    def body() -> None:
        bodies.append("begun")
        if len(bodies) == 1:
            again(countermand.AlreadyPermitted)

    def again(refusal: type[Exception]) -> None:
        if guarded:
            with pytest.raises(refusal):
                delivery(job, token).carry_out(body)
        else:
            delivery(job, token).carry_out(body)

    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
        delivery(job, token).carry_out(body)
        again(countermand.AlreadySettled)
    assert len(bodies) == (1 if guarded else 3)


def test_a_job_that_did_nothing_comes_again_as_a_new_action(cm: countermand.Client) -> None:
    """As often as its grant allows; then its failure is final."""
    job = declared(attempts=2)

    def unsent() -> None:
        raise NotSent("the server is down")

    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
        for may in (True, False):
            one = delivery(job, token)
            with pytest.raises(NotSent) as raised:
                one.carry_out(unsent)
            assert one.may_come_again(raised.value, retries=0) is may
        with pytest.raises(countermand.Exhausted):
            delivery(job, token).carry_out(sent)
        failed = (run.report()).not_done
    assert [one.op_id for one in failed] == ["shelf-j-1-0", "shelf-j-1-1"]


def test_a_job_that_may_have_acted_never_comes_again(cm: countermand.Client) -> None:
    """What it raised is the result, and a delivery that comes all the same is refused."""
    job = declared(attempts=9)

    def lost() -> None:
        raise ConnectionResetError

    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
        one = delivery(job, token)
        with pytest.raises(ConnectionResetError) as raised:
            one.carry_out(lost)
        assert not one.may_come_again(raised.value, retries=0)
        with pytest.raises(countermand.AlreadySettled) as refused:
            delivery(job, token).carry_out(sent)
        assert refused.value.metadata["state"] == ActionState.UNKNOWN


def test_a_job_of_a_cancelled_run_is_refused_and_told_as_a_late_attempt(cm: countermand.Client) -> None:
    """It is refused for good: the queue has no reason to try again."""
    job = declared()
    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
        run.cancel()
        one = delivery(job, token)
        with pytest.raises(countermand.Revoked) as refused:
            one.carry_out(sent)
        assert not one.may_come_again(refused.value, retries=0)
        [late] = (run.report()).late_attempts
    assert (late.action, late.resource) == ("email.send", "mailto:ann")


@pytest.mark.parametrize("issued", [True, False], ids=["issued", "delegated"])
def test_a_grant_is_extended_as_long_as_what_it_came_from(
    cm: countermand.Client, clock: ManualClock, issued: bool
) -> None:
    """One that was issued for the run, while that lasts; one that was delegated, while the one above does."""
    job = declared(ttl="60s", extend="60s", issued=issued)
    with cm.open_run() as run:
        with run.grant(scopes=["*"], ttl="90s"):
            tokens = [token_for(job, "ann") for _ in range(2)]
        clock.advance("80s")
        assert delivery(job, tokens[0]).carry_out(sent) == "m-1"
        clock.advance("80s")
        late = Delivery(job.call(send, ("ann",), {}), "shelf", "j-2", tokens[1])
        if issued:
            assert late.carry_out(sent) == "m-1"
        else:
            with pytest.raises(countermand.Expired):
                late.carry_out(sent)


def test_a_job_without_a_grant_does_not_run(cm: countermand.Client) -> None:
    """Whatever grant is current where the worker runs: that one is not the job's."""
    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            for nothing in (None, ""):
                with pytest.raises(countermand.NoGrant, match="job j-1 came without a grant"):
                    delivery(declared(), nothing).carry_out(sent)
        assert (run.report()).done == ()


def test_a_job_waits_while_no_sidecar_decides(
    cm: countermand.Client, real: Sidecar, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue tries again, a few times, with growing pauses."""
    job = declared(retries=2)
    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(job, "ann")
    with countermand.connect(tmp_path) as nobody:
        monkeypatch.setattr("countermand._sync.job.own_client", lambda: nobody)
        one = delivery(job, token)
        with pytest.raises(countermand.NotRunning) as raised:
            one.carry_out(sent)
    assert [one.may_come_again(raised.value, retries) for retries in range(3)] == [True, True, False]
    assert [pause_after(retries) for retries in (0, 1, 2, 99)] == [1, 2, 4, 60]


def test_a_stolen_job_is_worth_what_the_job_is(cm: countermand.Client) -> None:
    """One call of its own action on its own resource, and nothing to hand on."""
    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(declared(), "ann")
        with cm.use_token(token):
            for name, resource in (("email.send", "mailto:eve"), ("email.read", "mailto:ann")):
                with pytest.raises(countermand.OutOfScope):
                    with countermand.perform(name, resource=resource):
                        pytest.fail("it is not what the job does")
            with pytest.raises(countermand.NotAllowed):
                countermand.delegate(scopes=["email.send mailto:ann"]).token()
            with countermand.perform("email.send", resource="mailto:ann"):
                pass
            with pytest.raises(countermand.Exhausted):
                with countermand.perform("email.send", resource="mailto:ann"):
                    pytest.fail("it was for one call")


def test_a_job_may_enqueue_the_next_if_it_was_given_that(cm: countermand.Client) -> None:
    """Under its own grant, in its turn narrowed: no scheduler has one for what follows."""
    first, then = declared(scopes=["queue.enqueue", "email.send mailto:*"], sealed=False), declared()
    tokens = []

    def body() -> None:
        tokens.append(token_for(then, "bob"))

    with cm.open_run() as run:
        with run.grant(scopes=["*"]):
            token = token_for(first, "ann")
        delivery(first, token).carry_out(body)
        next_one = Delivery(then.call(send, ("bob",), {}), "shelf", "j-2", tokens[0])
        assert next_one.carry_out(sent) == "m-1"
        done = [one.resource for one in (run.report()).done if one.action == "email.send"]
    assert done == ["mailto:ann", "mailto:bob"]


def test_what_may_not_be_done_may_not_be_enqueued(cm: countermand.Client) -> None:
    """Neither a job that the current grant could not carry out, nor any without a permit to enqueue."""
    with cm.open_run() as run:
        for scopes in (["queue.enqueue", "email.read"], ["email.send"]):
            with (
                run.grant(scopes=scopes),
                pytest.raises((countermand.InvalidRequest, countermand.OutOfScope)),
            ):
                token_for(declared(), "ann")
        with pytest.raises(countermand.NoGrant):
            token_for(declared(), "ann")
        assert (run.report()).done == ()


def test_who_enqueues_after_a_stop_is_in_the_report(cm: countermand.Client) -> None:
    """As a late attempt, though the job's grant would have been refused as well."""
    with cm.open_run() as run:
        with run.grant(scopes=["queue.enqueue", "email.send"]):
            token_for(declared(), "ann")
            run.cancel()
            with pytest.raises(countermand.Revoked):
                token_for(declared(), "bob")
        report = run.report()
    assert [one.action for one in report.done] == ["queue.enqueue"]
    assert [(one.verb, one.action) for one in report.late_attempts] == [("prepare", "queue.enqueue")]


def test_the_name_of_a_job_fits_whatever_its_queue_calls_it() -> None:
    """It is the same for every delivery, and another one for every job."""
    assert op_name("shelf", "j-1") == "shelf-j-1"
    odd = [op_name("shelf", one) for one in ("nightly:1", "nightly:2", "x" * 99)]
    assert len(set(odd)) == 3
    assert all(len(one) < 48 for one in odd)
