# Derived from tests/client/_async/test_compensator.py by scripts/unasync.py. Do not edit.
"""The compensator: what becomes of a duty by what its function does, and by what happens meanwhile."""

import threading
from typing import Any

import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand._clock import elapsing
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy, Waits, lose_reply, lose_request, refuse

State, Progress = countermand.ActionState, countermand.Progress


def connect(real: Sidecar) -> countermand.Client:
    """A client that goes by the sidecar's clock."""
    return countermand.connect(real.home, clock=real.clock.elapsed if real.clock else elapsing)


def effects(real: Sidecar, *op_ids: str, **told: Any) -> None:
    """Have effects in the run r-1, cancel it, and ask for them to be undone."""
    declared = {"reversibility": "REVERSIBLE", "compensation": "email.unsend"} | told
    with connect(real) as cm, cm.open_run(run_id="r-1", agent="mailer") as run:
        with run.grant(scopes=["*"]):
            for op_id in op_ids:
                with countermand.perform("email.send", op_id=op_id, **declared) as act:
                    act.undo_with(n=op_id)
        run.cancel()
    with connect(real) as cm:
        cm.operator.undo_run("r-1")


class Watched:
    """A registry with one compensation, and all that happened."""

    def __init__(self, *answers: Any) -> None:
        self.registry = countermand.Registry()
        self.registry.compensation("email.unsend")(self.unsend)
        self.duties: list[countermand.Duty] = []
        self.steps: list[countermand.DutyStep] = []
        self._answers = list(answers)

    def unsend(self, duty: countermand.Duty) -> Any:
        """Answer, or raise, what was planned; then None for ever."""
        self.duties.append(duty)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer(duty) if callable(answer) else answer

    @property
    def said(self) -> list[tuple[str, str]]:
        """What happened to which action."""
        return [(step.what, step.duty.op_id) for step in self.steps]

    def work(self, at: Sidecar | Proxy, **options: Any) -> None:
        """Carry out what is due."""
        clock = at.clock.elapsed if isinstance(at, Sidecar) and at.clock else elapsing
        pacing = Waits().pacing
        with countermand.Client(Sockets(at.home), clock=clock, pacing=pacing) as cm:
            worker = countermand.compensator(
                self.registry, client=cm, name="test", poll="10ms", on_step=self.steps.append, **options
            )
            worker.run_until_idle()


def reported(real: Sidecar) -> dict[str, countermand.ReportedAction]:
    """What the report calls done, by op_id."""
    with connect(real) as cm:
        return {one.op_id: one for one in (cm.auditor.report("r-1")).done}


def test_effects_are_undone_the_last_one_first(real: Sidecar) -> None:
    """However many workers there are; each function gets its duty, and its answer is the receipt."""
    effects(real, "o-1", "o-2", "o-3")
    watched = Watched("c-3", 2, None)
    watched.work(real)

    assert [duty.op_id for duty in watched.duties] == ["o-3", "o-2", "o-1"]
    assert [duty.args for duty in watched.duties] == [{"n": "o-3"}, {"n": "o-2"}, {"n": "o-1"}]
    for op in (
        "o-3",
        "o-2",
        "o-1",
    ):  # another worker may begin the next before this one has said that it is done
        assert [what for what, whose in watched.said if whose == op] == [Progress.BEGUN, Progress.DONE]
    told = reported(real)
    assert {one.state for one in told.values()} == {State.UNDONE}
    assert [told[f"o-{n}"].undo.receipt for n in (3, 2, 1)] == ["c-3", "2", ""]
    assert told["o-1"].undo.worker == "compensator:test"


def test_an_attempt_that_did_not_work_is_made_again_later(real: Sidecar, clock: ManualClock) -> None:
    """With the same key. The report has the function's own line, or else the type of what it raised."""
    effects(real, "o-1")
    watched = Watched(countermand.NotDone("the server\nis down"), LookupError("the user's secret"), "c-1")
    watched.work(real)
    watched.work(real)
    assert watched.said == [(Progress.BEGUN, "o-1"), (Progress.TRIED, "o-1")]
    assert watched.steps[-1].due_time is not None
    assert (reported(real))["o-1"].undo.note == "the server is down"
    clock.advance("2s")
    watched.work(real)
    told = (reported(real))["o-1"]
    assert (told.state, told.undo.note, told.undo.attempts) == (State.UNDO_PENDING, "left by LookupError", 2)
    assert isinstance(watched.steps[-1].error, LookupError)
    clock.advance("4s")
    watched.work(real)

    assert (reported(real))["o-1"].state is State.UNDONE
    assert [duty.attempt for duty in watched.duties] == [1, 2, 3]
    assert {duty.key for duty in watched.duties} == {"r-1/o-1/UNDO"}


def test_what_will_never_work_is_given_up_at_once(real: Sidecar) -> None:
    """It stays visible, and does not keep the effects before it from being undone."""
    effects(real, "o-1", "o-2")
    watched = Watched(countermand.GiveUp("the mailbox is gone"))
    watched.work(real)

    # Another worker may begin the next before this one has said that it failed.
    assert [what for what, whose in watched.said if whose == "o-2"] == [Progress.BEGUN, Progress.FAILED]
    assert [what for what, whose in watched.said if whose == "o-1"] == [Progress.BEGUN, Progress.DONE]
    told = reported(real)
    assert (told["o-2"].state, told["o-2"].undo.note) == (State.UNDO_FAILED, "the mailbox is gone")
    assert told["o-1"].state is State.UNDONE


@pytest.mark.parametrize("answer", [False, True, {"status": 500}, countermand.Refused("no")])
def test_an_answer_that_means_nothing_is_no_success(real: Sidecar, answer: object) -> None:
    """A function that answers whether it worked must not be believed to say yes by saying no."""
    effects(real, "o-1")
    watched = Watched(lambda duty: answer)
    watched.work(real)

    told = (reported(real))["o-1"]
    assert told.state is State.UNDO_PENDING
    assert f"answered a {type(answer).__name__}, not None, or an id" in told.undo.note


def test_a_canceller_says_yes_or_no(real: Sidecar) -> None:
    """By what it answers, or raises; neither is tried again."""
    registry = countermand.Registry()

    @registry.canceller("job.cancel")
    def cancel(duty: countermand.Duty) -> object:
        if duty.handle == "job-2":
            return countermand.Refused("it is being rendered")
        if duty.handle == "job-3":
            raise countermand.Refused("it is done")
        return None

    with connect(real) as cm, cm.open_run(run_id="r-1", agent="mailer") as run:
        with run.grant(scopes=["*"]):
            for n in (1, 2, 3):
                with countermand.perform("video.render", op_id=f"o-{n}") as act:
                    act.accepted(handle=f"job-{n}", canceller="job.cancel")
        run.cancel()
    watched = Watched()
    watched.registry = registry
    watched.work(real)

    told = [one.call_off for one in (reported(real)).values()]
    assert [(one.state, one.note) for one in told if one] == [
        ("ACKNOWLEDGED", ""),
        ("REFUSED", "it is being rendered"),
        ("REFUSED", "it is done"),
    ]
    assert sum(step.what is Progress.REFUSED for step in watched.steps) == 2


def test_a_probe_answers_only_what_it_knows(real: Sidecar, clock: ManualClock) -> None:
    """None is no answer, and asked again; a finding resolves the action, with its evidence."""
    findings = [None, countermand.Finding("FAILED", "the outbox never had it")]
    registry = countermand.Registry()

    @registry.probe("email.status")
    def status(duty: countermand.Duty) -> countermand.Finding | None:
        return findings.pop(0)

    with connect(real) as cm, cm.open_run(run_id="r-1", agent="mailer") as run:
        with run.grant(scopes=["*"]):
            with countermand.perform("email.send", op_id="o-1", probe="email.status") as act:
                act.unknown("the line went dead")
    watched = Watched()
    watched.registry = registry
    watched.work(real)
    assert watched.steps == []  # its permit can still be used, so nobody can know
    clock.advance("6s")
    watched.work(real)
    assert [(step.what, step.note) for step in watched.steps[1:]] == [(Progress.TRIED, "it cannot tell")]
    clock.advance("2s")
    watched.work(real)

    with connect(real) as cm:
        [told] = (cm.auditor.report("r-1")).not_done
    assert (told.state, told.evidence) == (State.FAILED, "the outbox never had it")
    assert told.resolved_by == "compensator:test"
    for wrong in [("UNKNOWN", "no idea"), ("FAILED", " ")]:
        with pytest.raises(countermand.InvalidRequest, match="a probe that cannot tell answers None"):
            countermand.Finding(*wrong)


def test_what_was_done_is_told_until_somebody_has_heard(proxy: Proxy, real: Sidecar) -> None:
    """An answer that is lost, a sidecar that is away for a while: the function is not run again."""
    effects(real, "o-1")
    watched = Watched("c-1")
    proxy.plan("CompleteDuty", *[lose_request] * 30, lose_reply)
    watched.work(proxy)

    assert len(watched.duties) == 1
    assert watched.said == [(Progress.BEGUN, "o-1"), (Progress.DONE, "o-1")]
    assert (reported(real))["o-1"].undo.receipt == "c-1"


def test_what_another_one_has_meanwhile_is_not_reported(real: Sidecar, clock: ManualClock) -> None:
    """This one took too long: its lease went, and the other one's word counts."""
    effects(real, "o-1")
    other = Watched("c-other")

    def takes_too_long(duty: countermand.Duty) -> str:
        clock.advance("40s")
        thread = threading.Thread(target=let_another_one_claim, args=(real,))
        thread.start()
        thread.join()
        return "c-late"

    watched = Watched(takes_too_long)
    watched.work(real, lease="30s", workers=1)  # or it would claim it again itself
    assert watched.said == [(Progress.BEGUN, "o-1"), (Progress.LOST, "o-1")]
    assert isinstance(watched.steps[-1].error, countermand.LeaseLost)
    assert (reported(real))["o-1"].state is State.UNDO_PENDING
    clock.advance("40s")
    other.work(real)
    assert (reported(real))["o-1"].undo.receipt == "c-other"


def let_another_one_claim(real: Sidecar) -> None:
    """Take the duty, in a thread of its own."""
    with real.connect_sync() as cm:
        assert cm.compensator.claim(compensations=["email.unsend"], worker="other") is not None


def test_nothing_is_begun_once_the_lease_is_over(proxy: Proxy, real: Sidecar, clock: ManualClock) -> None:
    """It is counted from before the claim was sent: a claim that took too long is given back."""
    effects(real, "o-1")

    def late(ask: Any, context: Any) -> bytes:
        answer: bytes = ask()
        clock.advance("31s")
        return answer

    proxy.plan("ClaimDuty", late)
    watched = Watched()
    with countermand.Client(Sockets(proxy.home), clock=clock.elapsed) as cm:
        worker = countermand.compensator(watched.registry, client=cm, workers=1, on_step=watched.steps.append)
        worker.run_until_idle()

    assert watched.duties == []
    assert watched.said == [(Progress.TRIED, "o-1")]
    assert watched.steps[0].note == "its lease was over before it could begin"


def test_a_failing_listener_is_not_the_dutys_business(real: Sidecar) -> None:
    """What `on_step` raises is logged, and the duty is carried out."""
    effects(real, "o-1")
    watched = Watched()
    with connect(real) as cm:
        countermand.compensator(watched.registry, client=cm, on_step=lambda step: 1 / 0).run_until_idle()

    assert (reported(real))["o-1"].state is State.UNDONE


def test_one_name_stands_for_one_function() -> None:
    """Two modules that register the same name would undo each other's effects."""
    registry = countermand.Registry()
    registry.compensation("a.b")(print)
    registry.compensation("a.b")(print)
    registry.canceller("a.b")(repr)
    with pytest.raises(countermand.InvalidRequest, match="is registered for another function"):
        registry.compensation("a.b")(repr)


def test_a_compensator_that_can_do_nothing_says_so(real: Sidecar) -> None:
    """Rather than wait for ever."""
    with connect(real) as cm:
        with pytest.raises(countermand.FixTheCall, match="there is nothing to do"):
            countermand.compensator(countermand.Registry(), client=cm).run_until_idle()
        with pytest.raises(countermand.FixTheCall, match="at least one worker"):
            countermand.compensator(countermand.Registry(), client=cm, workers=0)


def test_a_refusal_ends_the_compensator(proxy: Proxy, real: Sidecar) -> None:
    """A wrong socket does not become a right one."""
    import grpc

    watched = Watched()
    proxy.plan("ClaimDuty", refuse("ROLE_NOT_ALLOWED", grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(countermand.NotAllowed):
        watched.work(proxy)
