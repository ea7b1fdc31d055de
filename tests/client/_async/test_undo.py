"""Undo as tools and operators meet it: what is said of an effect, what is asked, and what is answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import countermand
from countermand._clock import elapsing
from countermand.testing import ManualClock, Sidecar

State, Reversibility = countermand.ActionState, countermand.Reversibility

UNDOABLE: dict[str, Any] = {
    "reversibility": Reversibility.COMPENSABLE,
    "compensation": "email.unsend",
    "compensation_args": {"mailbox": "team"},
}


def connect(real: Sidecar) -> countermand.Client:
    """A client that goes by the sidecar's clock."""
    return countermand.connect(real.home, clock=real.clock.elapsed if real.clock else elapsing)


@asynccontextmanager
async def agent(real: Sidecar) -> AsyncIterator[countermand.ActiveRun]:
    """The run r-1, that may do anything; it is cancelled when its block ends."""
    async with connect(real) as cm:
        async with cm.open_run(run_id="r-1", agent="mailer") as run:
            with run.grant(scopes=["*"]):
                yield run
            await run.cancel()


async def claim(cm: countermand.Client, **names: Any) -> countermand.Duty:
    """A duty that is due."""
    duty = await cm.compensator.claim(worker="test", **names)
    assert duty is not None
    return duty


async def test_a_compensation_is_called_with_what_the_tool_and_the_result_said(real: Sidecar) -> None:
    """Nothing of it comes from a model: the declaration says it, and the tool adds what it learned."""
    async with agent(real):
        async with countermand.action("email.send", resource="mailto:a@b.c", op_id="o-1", **UNDOABLE) as act:
            async with act.commit():
                act.undo_with(message_id="m-1")
                act.undo_with(thread=7, mailbox="sales")
                act.receipt = "m-1"

    async with connect(real) as cm:
        asked = await cm.operator.undo_run("r-1", actor="ada", note="wrong template")
        duty = await claim(cm, compensations=["email.unsend"])
        done = await cm.compensator.complete(duty, receipt="c-9", note="a correction was sent")
        again = await cm.compensator.complete(duty, receipt="c-9", note="a correction was sent")
        [told] = (await cm.auditor.report("r-1")).done

    assert asked.op_ids == ("o-1",)
    assert (duty.kind, duty.name, duty.key) == ("UNDO", "email.unsend", "r-1/o-1/UNDO")
    assert (duty.action, duty.resource, duty.attempt) == ("email.send", "mailto:a@b.c", 1)
    assert duty.args == {"mailbox": "sales", "message_id": "m-1", "thread": 7}
    assert 0 < duty.remaining <= 30
    assert duty.is_held
    assert duty.lease.lease_id not in repr(duty)
    assert (done.state, done.replayed, again.replayed) == ("DONE", False, True)
    assert (told.state, told.receipt) == (State.UNDONE, "m-1")
    assert (told.undo.asked_by, told.undo.receipt) == ("operator:ada", "c-9")
    assert (told.undo.attempts, told.undo.worker) == (1, "compensator:test")
    assert told.undo.note == "a correction was sent"
    assert told.undo.end_time is not None
    assert told.undo.until_time is not None


async def test_what_cannot_be_told_to_a_compensation_is_refused_at_once(real: Sidecar) -> None:
    """By its place, and before anything is asked; inside the block, where it is said."""
    async with agent(real):
        with pytest.raises(countermand.InvalidRequest, match=r"compensation_args\['at'\] is of type object"):
            countermand.action("email.send", compensation="email.unsend", compensation_args={"at": object()})
        with pytest.raises(countermand.InvalidRequest, match="must come with a compensation"):
            async with countermand.perform("email.send", compensation_args={"a": 1}):
                pytest.fail("acted")
        with pytest.raises(countermand.InvalidRequest, match="at most 4096 bytes"):
            countermand.perform("email.send", compensation="a.b", compensation_args={"a": "x" * 4096})
        async with countermand.perform("email.send", compensation="email.unsend") as act:
            with pytest.raises(countermand.InvalidRequest, match=r"undo_with\['raw'\] is of type bytes"):
                act.undo_with(raw=b"")
            with pytest.raises(countermand.InvalidRequest, match="a handle of one line"):
                act.accepted(handle="a\nb", canceller="job.cancel")
            act.undo_with(self="a", args="b")


async def test_what_is_no_text_does_not_keep_a_duty_from_being_claimed(real: Sidecar) -> None:
    """Half a letter is JSON, and no UTF-8: it is handed on as it came."""
    async with agent(real):
        async with countermand.perform("email.send", op_id="o-1", **UNDOABLE) as act:
            act.undo_with(subject="\ud800", body="d\u00e9j\u00e0 vu")

    async with connect(real) as cm:
        await cm.operator.undo_run("r-1")
        duty = await claim(cm, compensations=["email.unsend"])

    assert duty.args == {"mailbox": "team", "subject": "\ud800", "body": "d\u00e9j\u00e0 vu"}


async def test_a_job_that_was_only_accepted_can_be_called_off(real: Sidecar) -> None:
    """While the run goes on nobody does; once it is cancelled, whoever has the canceller."""
    async with agent(real):
        async with countermand.perform("video.render", op_id="o-1") as act:
            act.accepted(handle="job-17", canceller="job.cancel")
        async with connect(real) as cm:
            assert await cm.compensator.claim(cancellers=["job.cancel"]) is None
            [told] = (await cm.auditor.report("r-1")).done
            assert told.call_off is not None
            assert told.call_off.state is countermand.CallOffState.NOT_TRIED

    async with connect(real) as cm:
        duty = await claim(cm, cancellers=["job.cancel"])
        said = await cm.compensator.complete(duty, refused=True, note="it is being rendered")
        [told] = (await cm.auditor.report("r-1")).done

    assert (duty.kind, duty.handle, duty.key) == ("CALL_OFF", "job-17", "r-1/o-1/CALL_OFF")
    assert said.state is countermand.DutyState.REFUSED
    assert told.call_off is not None
    assert (told.call_off.handle, told.call_off.canceller) == ("job-17", "job.cancel")
    assert (told.call_off.state, told.call_off.note) == ("REFUSED", "it is being rendered")


async def test_each_job_of_a_block_is_on_record(real: Sidecar, caplog: pytest.LogCaptureFixture) -> None:
    """Each is called off by itself; one that nobody can call off is told of, here and in the report."""
    async with agent(real):
        async with countermand.perform("video.render", op_id="o-1") as act:
            act.accepted(handle="job-1", canceller="job.cancel")
            act.accepted(handle="job-2")
            act.accepted(handle="job-3", canceller="job.cancel")
            act.receipt = "v-1"

    async with connect(real) as cm:
        duties = [await claim(cm, cancellers=["job.cancel"]) for _ in range(2)]
        await cm.compensator.renew(duties[1])
        await cm.compensator.complete(duties[1])
        await cm.compensator.fail(duties[0], note="no answer", final=True)
        [told] = (await cm.auditor.report("r-1")).done

    assert [(duty.handle, duty.job) for duty in duties] == [("job-1", 0), ("job-3", 2)]
    assert [(one.handle, one.state) for one in told.call_offs] == [
        ("job-1", "UNREACHABLE"),
        ("job-2", "IMPOSSIBLE"),
        ("job-3", "ACKNOWLEDGED"),
    ]
    assert (told.receipt, told.call_offs[1].note) == ("v-1", "its tool named nobody who could")
    warned = [one.getMessage() for one in caplog.records if one.name == "countermand"]
    assert warned == ["nobody can call off job job-2 of action o-1: its tool named nobody who could"]


async def test_what_certainly_did_not_happen_has_nothing_to_undo(real: Sidecar) -> None:
    """What was learned before it failed is dropped with it."""
    async with agent(real):
        async with countermand.perform("video.render", op_id="o-1", compensation="a.b") as act:
            act.undo_with(id=1)
            act.accepted(handle="job-17", canceller="job.cancel")
            act.failed("the service took it back")

    async with connect(real) as cm:
        assert await cm.compensator.claim(compensations=["a.b"], cancellers=["job.cancel"]) is None
        with pytest.raises(countermand.NotUndoable):
            await cm.operator.undo_run("r-1", op_ids=["o-1"])


async def test_an_outcome_nobody_told_is_resolved_with_evidence(real: Sidecar, clock: ManualClock) -> None:
    """Not while the permit can be used; then the first word stands, and says who and how."""
    async with connect(real) as cm:
        await cm.issuer.open(run_id="r-1")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        await cm.tool.perform(token, countermand.Intent.of("email.send", op_id="o-1"))
        with pytest.raises(countermand.InFlight) as early:
            await cm.operator.resolve("r-1", "o-1", "FAILED", evidence="not in the outbox")
        clock.advance("6s")
        with pytest.raises(countermand.InvalidRequest, match="how you know"):
            await cm.operator.resolve("r-1", "o-1", "FAILED", evidence=" ")
        resolved = await cm.operator.resolve(
            "r-1", "o-1", "FAILED", evidence="not in the outbox", actor="ada"
        )
        again = await cm.operator.resolve("r-1", "o-1", "FAILED", evidence="still not")
        with pytest.raises(countermand.AlreadySettled):
            await cm.operator.resolve("r-1", "o-1", "SUCCEEDED", evidence="it is there")
        [told] = (await cm.auditor.report("r-1")).not_done

    assert 0 < early.value.left <= 5
    assert (resolved.state, resolved.replayed, again.replayed) == (State.FAILED, False, True)
    assert (told.resolved_by, told.evidence) == ("operator:ada", "not in the outbox")


async def test_an_undo_is_told_before_it_is_asked(real: Sidecar) -> None:
    """A dry run changes nothing. Of each effect it says how it is undone or why not, the last one first."""
    async with agent(real):
        async with countermand.perform("email.send", op_id="o-1", **UNDOABLE):
            pass
        async with countermand.perform("files.delete", op_id="o-2"):
            pass
        async with countermand.perform("email.send", op_id="o-3", **UNDOABLE):
            pass
        async with connect(real) as cm:
            with pytest.raises(countermand.RunActive):
                await cm.operator.undo_run("r-1")

    async with connect(real) as cm:
        dry = await cm.operator.undo_run("r-1", dry_run=True)
        assert await cm.compensator.claim(compensations=["email.unsend"]) is None
        wet = await cm.operator.undo_run("r-1", op_ids=["o-1", "o-2"])
        again = await cm.operator.undo_run("r-1", op_ids=["o-1"])
        with pytest.raises(countermand.InvalidRequest, match="in a list"):
            await cm.operator.undo_run("r-1", op_ids="o-1")

    assert [(one.op_id, one.how, one.why_not) for one in dry.steps] == [
        ("o-3", "email.unsend", ""),
        ("o-2", "", "it is irreversible"),
        ("o-1", "email.unsend", ""),
    ]
    assert [one.seq for one in dry.steps] == [0, 0, 0]
    assert [one.op_id for one in wet.steps] == ["o-2", "o-1"]
    assert wet.op_ids == ("o-1",)
    assert again.steps[0].replayed


async def test_the_authority_to_undo_can_be_taken_back(real: Sidecar) -> None:
    """For good. Whoever was at it may still be, and may still say that it is done."""
    async with agent(real):
        for op in ("o-1", "o-2"):
            async with countermand.perform("email.send", op_id=op, **UNDOABLE):
                pass

    async with connect(real) as cm:
        await cm.operator.undo_run("r-1")
        duty = await claim(cm, compensations=["email.unsend"])
        taken = await cm.operator.withdraw_undo("r-1", ["o-2", "o-1"], note="legal hold", actor="ada")
        with pytest.raises(countermand.DutyOver) as over:
            await cm.compensator.renew(duty)
        asked = await cm.operator.undo_run("r-1", dry_run=True)
        [first, second] = (await cm.auditor.report("r-1")).done
        assert await cm.compensator.claim(compensations=["email.unsend"]) is None

    assert len(taken.seqs) == 2
    assert taken.busy_until_time is not None
    assert over.value.state is countermand.DutyState.WITHDRAWN
    assert asked.op_ids == ()
    assert {one.undo.why_not for one in (first, second)} == {"the authority to undo it was taken back"}


async def test_a_claim_is_for_one_and_for_as_long_as_it_is_kept(real: Sidecar, clock: ManualClock) -> None:
    """Renewed it lasts longer; once it is over somebody else has it, and the first is told."""
    async with agent(real):
        async with countermand.perform("email.send", op_id="o-1", **UNDOABLE):
            pass

    async with connect(real) as cm:
        await cm.operator.undo_run("r-1")
        first = await claim(cm, compensations=["email.unsend"], lease="10s")
        assert await cm.compensator.claim(compensations=["email.unsend"]) is None
        first.lease.ends_at = await cm.compensator.renew(first, lease="20s")
        assert first.remaining == 20
        clock.advance("20s")
        assert not first.is_held
        second = await claim(cm, compensations=["email.unsend"])
        for late in (cm.compensator.renew, cm.compensator.complete, cm.compensator.fail):
            with pytest.raises(countermand.LeaseLost):
                await late(first)
        failed = await cm.compensator.fail(second, note="the server is down")
        clock.advance("60s")
        third = await claim(cm, compensations=["email.unsend"])
        given_up = await cm.compensator.fail(third, note="no such message", final=True)
        [told] = (await cm.auditor.report("r-1")).done

    assert second.attempt == 2
    assert (failed.state, failed.due_time is not None) == (countermand.DutyState.OPEN, True)
    assert (given_up.state, given_up.due_time) == (countermand.DutyState.FAILED, None)
    assert (told.state, told.undo.note) == (State.UNDO_FAILED, "no such message")


async def test_a_compensators_socket_serves_nothing_else(real: Sidecar) -> None:
    """And nobody else serves duties."""
    async with connect(real) as cm:
        door = type(cm.compensator)(cm.issuer.connection, cm.tool.role, 2.0, cm.issuer.clock)
        with pytest.raises(countermand.NotAllowed):
            await door.claim(probes=["email.status"])
        with pytest.raises(countermand.InvalidRequest):
            await cm.compensator.claim()
