"""Compensators: what they are given and in which order, and what becomes of what they say about it."""

import asyncio
import json
from typing import Any

import grpc
import pytest

from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import undo_service_pb2 as pb
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.rpc.roles import Role
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import ManualClock, Served, intent, served
from tests.rpc.undoing import (
    ALL,
    ASK,
    CALL_OFF,
    UNDO,
    began,
    claim,
    happened,
    held,
    reported,
    settled,
    state,
    undone_run,
    went_silent,
)


async def test_call_offs_come_first_then_undos_then_questions(sidecar: Served) -> None:
    """What may still be stopped is the most urgent; a question can wait."""
    token = await sidecar.grant()
    await went_silent(sidecar, token, "o-silent")
    await happened(sidecar, token, "o-first")
    await began(sidecar, token, "o-begun")
    await happened(sidecar, token, "o-last")
    assert await claim(sidecar) is None
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    sidecar.clock.advance(6)
    given = []
    while duty := await claim(sidecar):
        given.append((duty.kind, duty.op_id))
        done = {"outcome": 1} if duty.kind == ASK else {}
        await sidecar.compensator("CompleteDuty", **held(duty), **done)
    assert given == [(CALL_OFF, "o-begun"), (UNDO, "o-last"), (UNDO, "o-first"), (ASK, "o-silent")]


async def test_a_compensator_is_given_only_what_it_has_functions_for(sidecar: Served) -> None:
    """A name in the wrong list is another function."""
    await undone_run(sidecar, "o-1")
    for names in (
        {"compensations": ["email.unsend", "EMAIL.RECALL"]},
        {"cancellers": ["email.recall"]},
        {"probes": ["email.recall"]},
    ):
        assert await claim(sidecar, **names) is None
    assert (await claim(sidecar, compensations=["email.unsend", "email.recall"])).op_id == "o-1"


async def test_a_duty_tells_all_that_its_function_needs(sidecar: Served) -> None:
    """Arguments of prepare and result together, the result knowing better; a key for ever; a deadline."""
    token = await sidecar.grant()
    args = '{"to":"team","id":"?"}'
    wanted = intent("o-1", reversibility=3, compensation="email.recall", compensation_args=args)
    prepared = await sidecar.tool("PrepareAction", grant_token=token, intent=wanted)
    await sidecar.tool("CommitAction", grant_token=token, op_id="o-1", digest=wanted["digest"])
    await settled(sidecar, token, "o-1", compensation_args='{"id":"m-\u00e9","n":1.50}')
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    duty = await claim(sidecar, "", **ALL, lease={"seconds": 45})
    assert (duty.action, duty.resource, duty.name) == ("email.send", wanted["resource"], "email.recall")
    assert json.loads(duty.args) == {"to": "team", "id": "m-\u00e9", "n": 1.5}
    assert (duty.key, duty.attempt, duty.lease.seconds, duty.handle) == ("r-1/o-1/UNDO", 1, 45, "")
    assert duty.until_time == prepared.undo_until_time
    sidecar.clock.advance(45)
    again = await claim(sidecar)
    assert (again.key, again.attempt) == (duty.key, 2)
    assert again.lease_id != duty.lease_id


async def test_a_run_is_undone_from_its_last_effect_to_its_first(sidecar: Served) -> None:
    """The next one is given out when the one after it is undone, or nobody will try it any more."""
    await undone_run(sidecar, "o-1", "o-2", "o-3")
    last = await claim(sidecar)
    assert last.op_id == "o-3"
    assert await claim(sidecar) is None
    await sidecar.compensator("FailDuty", **held(last, note="no such mail", final=True))
    middle = await claim(sidecar)
    assert middle.op_id == "o-2"
    await sidecar.compensator("CompleteDuty", **held(middle))
    assert (await claim(sidecar)).op_id == "o-1"
    assert [await state(sidecar, f"o-{number}") for number in (1, 2, 3)] == [
        *("UNDO_PENDING", "UNDONE", "UNDO_FAILED")
    ]


async def test_runs_are_undone_side_by_side(sidecar: Served) -> None:
    """One that is stuck keeps nobody else waiting."""
    for run_id in ("r-1", "r-2"):
        await undone_run(sidecar, "o-1", "o-2", run_id=run_id)
    first, second = await claim(sidecar), await claim(sidecar)
    assert {(one.run_id, one.op_id) for one in (first, second)} == {("r-1", "o-2"), ("r-2", "o-2")}


async def test_what_is_unknown_is_not_undone_and_holds_up_what_came_before(sidecar: Served) -> None:
    """Undoing what never happened would be an effect of its own; the order holds until somebody knows."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2", **_undoable()))
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    sidecar.clock.advance(60)
    assert await claim(sidecar) is None
    await settled(sidecar, token, "o-2")
    assert (await claim(sidecar)).op_id == "o-2"


async def test_what_did_not_happen_after_all_is_not_undone(sidecar: Served) -> None:
    """A late settle says so, and the duty is gone."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2", **_undoable()))
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    await settled(sidecar, token, "o-2", 2)
    assert (await claim(sidecar)).op_id == "o-1"
    assert await state(sidecar, "o-2") == "FAILED"


def _undoable() -> dict[str, Any]:
    return {"reversibility": 3, "compensation": "email.recall"}


async def test_a_claim_is_one_compensators_until_its_lease_is_over(sidecar: Served) -> None:
    """Then the next one tries, and what the first still says is refused: it must stop."""
    await undone_run(sidecar, "o-1")
    first = await claim(sidecar, "w-1")
    assert await claim(sidecar, "w-2") is None
    sidecar.clock.advance(29.999)
    assert await claim(sidecar, "w-2") is None
    sidecar.clock.advance(0.001)
    second = await claim(sidecar, "w-2")
    assert second.attempt == 2
    for method in ("RenewDuty", "CompleteDuty", "FailDuty"):
        refused = await sidecar.compensator.refused(method, **held(first))
        assert (refused.reason, refused.metadata["worker"]) == ("LEASE_LOST", "compensator:w-2")
    await sidecar.compensator("CompleteDuty", **held(second))
    undo = (await reported(sidecar, "o-1")).undo
    assert (undo.worker, undo.attempts) == ("compensator:w-2", 2)


async def test_a_lease_can_be_renewed_but_not_for_longer_than_the_service_says(sidecar: Served) -> None:
    """A long compensation says that it is still at it."""
    await undone_run(sidecar, "o-1")
    duty = await claim(sidecar)
    for _ in range(4):
        sidecar.clock.advance(20)
        renewed = await sidecar.compensator("RenewDuty", **held(duty))
        assert renewed.lease.seconds == 30
        assert await claim(sidecar) is None
    for method, fields in (("RenewDuty", held(duty)), ("ClaimDuty", ALL)):
        refused = await sidecar.compensator.refused(method, **fields, lease={"seconds": 901})
        assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "lease")


async def test_what_is_done_is_taken_from_whoever_had_it_last(sidecar: Served) -> None:
    """A lease that has run out, and that nobody else has claimed, does not make it undone any less."""
    await undone_run(sidecar, "o-1")
    duty = await claim(sidecar)
    sidecar.clock.advance(3600)
    told = held(duty, receipt="recall-1", note="gone")
    first = await sidecar.compensator("CompleteDuty", **told)
    again = await sidecar.compensator("CompleteDuty", **told)
    assert (first.state, first.replayed) == (pb.DUTY_STATE_DONE, False)
    assert (again.state, again.seq, again.replayed) == (pb.DUTY_STATE_DONE, first.seq, True)
    undo = (await reported(sidecar, "o-1")).undo
    assert (undo.receipt, undo.note, undo.asked_by) == ("recall-1", "gone", "operator")
    assert undo.end_time
    assert [one.kind for one in await sidecar.journal()].count("UNDONE") == 1


async def test_a_failed_attempt_is_tried_again_later_and_later(sidecar: Served) -> None:
    """2, 4, 8, 16, 32 s; after the last attempt a person has to look, and may ask afresh."""
    await undone_run(sidecar, "o-1")
    waits = []
    for attempt in range(1, 7):
        duty = await claim(sidecar)
        assert duty.attempt == attempt
        failed = await sidecar.compensator("FailDuty", **held(duty, note="the vendor is down"))
        assert await claim(sidecar) is None
        if attempt < 6:
            assert failed.state == pb.DUTY_STATE_OPEN
            waits.append(failed.due_time.ToMilliseconds() - sidecar.clock.now)
            sidecar.clock.advance(waits[-1] / 1000)
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000]
    assert (failed.state, failed.HasField("due_time")) == (pb.DUTY_STATE_FAILED, False)
    undo = (await reported(sidecar, "o-1")).undo
    assert (undo.attempts, undo.note, await state(sidecar, "o-1")) == (6, "the vendor is down", "UNDO_FAILED")
    await sidecar.operator("UndoRun", run_id="r-1")
    assert await state(sidecar, "o-1") == "UNDO_PENDING"
    assert (await claim(sidecar)).attempt == 1


async def test_an_attempt_nobody_heard_of_again_counts(sidecar: Served) -> None:
    """A compensation that kills its process each time is given up, too."""
    await undone_run(sidecar, "o-1")
    for _ in range(6):
        assert await claim(sidecar)
        sidecar.clock.advance(30)
    assert await claim(sidecar) is None
    assert await state(sidecar, "o-1") == "UNDO_FAILED"


async def test_nothing_is_undone_after_its_time(sidecar: Served) -> None:
    """It is told as failed, whether anybody tried or not, and can no longer be asked for."""
    await undone_run(sidecar, "o-1")
    sidecar.clock.advance(7 * 86_400)
    assert await state(sidecar, "o-1") == "UNDO_FAILED"
    undo = (await reported(sidecar, "o-1")).undo
    assert (undo.undoable, undo.why_not) == (False, "the time in which it could be undone is over")
    assert await claim(sidecar) is None
    (step,) = (await sidecar.operator("UndoRun", run_id="r-1")).steps
    assert step.why_not == undo.why_not
    assert await state(sidecar, "o-1") == "UNDO_FAILED"


async def test_only_what_a_stop_cut_off_is_called_off(sidecar: Served) -> None:
    """What a run began goes on while the run does, and when it has finished; a cancel above reaches it."""
    await sidecar.issuer("OpenRun", run_id="r-above")
    await sidecar.issuer("OpenRun", run_id="r-below", parent_run_id="r-above")
    await sidecar.issuer("OpenRun", run_id="r-short", ttl={"seconds": 60})
    for run_id in ("r-ready", "r-goes-on"):
        await sidecar.issuer("OpenRun", run_id=run_id)
    for run_id in ("r-below", "r-short", "r-ready", "r-goes-on"):
        await began(sidecar, await sidecar.grant_for(run_id), "o-1", handle=f"job of {run_id}")
    await sidecar.issuer("FinishRun", run_id="r-ready")
    assert await claim(sidecar) is None
    await sidecar.cancel("r-above")
    first = await claim(sidecar)
    assert (first.kind, first.run_id, first.handle) == (CALL_OFF, "r-below", "job of r-below")
    assert await claim(sidecar) is None
    sidecar.clock.advance(60)
    await sidecar.compensator("CompleteDuty", **held(first))
    assert (await claim(sidecar)).run_id == "r-short"
    assert await claim(sidecar) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [({}, "ACKNOWLEDGED"), ({"refused": True}, "REFUSED"), (None, "UNREACHABLE")],
    ids=["acknowledged", "refused", "unreachable"],
)
async def test_what_became_of_calling_off_is_in_the_report(
    sidecar: Served, said: dict[str, Any] | None, told: str
) -> None:
    """And the effect itself stays what it was: it had happened, or may have."""
    token = await sidecar.grant()
    await began(sidecar, token, "o-1")
    await sidecar.cancel()
    before = (await reported(sidecar, "o-1")).call_off
    assert before.state == journal_pb.CALL_OFF_STATE_NOT_TRIED
    duty = await claim(sidecar, "w-1")
    if said is None:
        await sidecar.compensator("FailDuty", **held(duty, note="no answer", final=True))
    else:
        await sidecar.compensator("CompleteDuty", **held(duty, note="no answer"), **said)
    after = (await reported(sidecar, "o-1")).call_off
    assert journal_pb.CallOffState.Name(after.state) == f"CALL_OFF_STATE_{told}"
    assert (after.canceller, after.handle, after.attempts) == ("job.stop", "job-7", 1)
    assert (after.worker, after.note) == ("compensator:w-1", "no answer")
    assert await state(sidecar, "o-1") == "SUCCEEDED"


async def test_jobs_of_runs_that_go_on_are_not_looked_at() -> None:
    """However many there are: one claim finds the one whose run was stopped, and an undo behind it."""
    store = ObstructedStore(ManualClock())
    async with served(store) as running:
        for run_id in ("r-goes-on", "r-finished", "r-1"):
            token = await running.grant(run_id)
            for number in range(20):
                await began(running, token, f"o-{number}")
        await running.issuer("FinishRun", run_id="r-finished")
        assert await claim(running) is None
        assert "claim" not in store.entered
        await running.cancel("r-1")
        assert (await claim(running)).run_id == "r-1"
        assert store.entered.count("claim") == 1


@pytest.mark.parametrize("waiting", [UNDO, ASK])
async def test_a_stream_of_one_kind_does_not_hide_the_others(sidecar: Served, waiting: int) -> None:
    """Whatever there is more of than one compensator can do, every fourth duty may be of each other kind."""
    token = await sidecar.grant("r-stream")
    for number in range(20):
        await began(sidecar, token, f"o-{number}")
    await sidecar.cancel("r-stream")
    if waiting == UNDO:
        await undone_run(sidecar, "o-1")
    else:
        await went_silent(sidecar, await sidecar.grant(), "o-1")
        sidecar.clock.advance(6)
    kinds = [(await claim(sidecar, "w-1")).kind for _ in range(5)]
    assert kinds.count(waiting) == 1
    assert kinds[:2] == [CALL_OFF, CALL_OFF], "what can still be stopped comes first"


async def test_neither_undos_nor_questions_wait_for_each_other_for_ever(sidecar: Served) -> None:
    """More undos than can be done, and as many jobs: a question comes in its turn; each has its own turns."""
    for number in range(8):
        await undone_run(sidecar, "o-1", run_id=f"r-{number}")
    token = await sidecar.grant("r-jobs")
    for number in range(8):
        await began(sidecar, token, f"o-{number}")
    await sidecar.cancel("r-jobs")
    silent = await sidecar.grant("r-silent")
    for number in range(2):
        await went_silent(sidecar, silent, f"o-{number}")
    sidecar.clock.advance(6)
    for worker in ("w-1", "w-2"):
        kinds = [(await claim(sidecar, worker)).kind for _ in range(4)]
        assert kinds == [CALL_OFF, CALL_OFF, UNDO, ASK]


@pytest.mark.parametrize(("outcome", "told"), [(1, "SUCCEEDED"), (2, "FAILED")])
async def test_a_probe_resolves_what_nobody_settled(sidecar: Served, outcome: int, told: str) -> None:
    """Not before its permit is over: until then nobody can know. The report says who asked, and how."""
    token = await sidecar.grant()
    await went_silent(sidecar, token, "o-1")
    sidecar.clock.advance(4.999)
    assert await claim(sidecar) is None
    sidecar.clock.advance(0.001)
    duty = await claim(sidecar, "w-1")
    assert (duty.kind, duty.name, duty.key) == (ASK, "email.sent", "r-1/o-1/ASK")
    await sidecar.compensator("CompleteDuty", **held(duty, outcome=outcome, note="looked in the outbox"))
    found = await reported(sidecar, "o-1")
    assert (found.resolved_by, found.evidence) == ("compensator:w-1", "looked in the outbox")
    assert await state(sidecar, "o-1") == told


async def test_the_first_word_on_an_outcome_stands(sidecar: Served) -> None:
    """Also against a probe that was given up, and answers after a person has said what happened."""
    token = await sidecar.grant()
    await went_silent(sidecar, token, "o-1")
    sidecar.clock.advance(5)
    for _ in range(6):
        duty = await claim(sidecar)
        sidecar.clock.advance(30)
    assert await claim(sidecar) is None  # given up
    said = {"run_id": "r-1", "op_id": "o-1", "outcome": 1, "evidence": "the vendor's console shows it"}
    await sidecar.operator("ResolveAction", **said)
    refused = await sidecar.compensator.refused("CompleteDuty", **held(duty, outcome=2))
    assert (refused.reason, refused.metadata["state"]) == ("DUTY_OVER", "MOOT")
    assert await state(sidecar, "o-1") == "SUCCEEDED"


async def test_a_question_nobody_needs_any_more_is_not_asked(sidecar: Served) -> None:
    """The tool spoke after all."""
    token = await sidecar.grant()
    await went_silent(sidecar, token, "o-1")
    sidecar.clock.advance(5)
    duty = await claim(sidecar)
    await settled(sidecar, token, "o-1", 2)
    assert await claim(sidecar) is None
    refused = await sidecar.compensator.refused("CompleteDuty", **held(duty, outcome=1))
    assert refused.reason == "DUTY_OVER"
    assert await state(sidecar, "o-1") == "FAILED"


async def test_a_duty_nobody_has_is_unknown_and_a_lease_cannot_be_guessed(sidecar: Served) -> None:
    """Whoever speaks of a duty must say its lease."""
    await undone_run(sidecar, "o-1")
    for method in ("RenewDuty", "CompleteDuty", "FailDuty"):
        told = {"run_id": "r-1", "op_id": "o-1", "kind": UNDO, "lease_id": "l-0"}
        assert (await sidecar.compensator.refused(method, **told)).reason == "LEASE_LOST"
        nobody = await sidecar.compensator.refused(method, **told | {"op_id": "o-9"})
        assert nobody.reason == "DUTY_UNKNOWN"
        empty = await sidecar.compensator.refused(method, **told | {"lease_id": ""})
        assert (empty.reason, empty.metadata["field"]) == ("INVALID_REQUEST", "lease_id")
    assert await state(sidecar, "o-1") == "UNDO_PENDING"


async def abandoned(running: Served, store: ObstructedStore, verb: str, method: str, **fields: Any) -> None:
    """Call, with the store held up before a verb until the caller's time is over; then let it go on."""
    opened = asyncio.Event()
    store.before[verb] = opened.wait
    call = asyncio.create_task(running.compensator(method, **fields, timeout=1))
    await store.wait_for(verb, store.entered.count(verb) + 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.sleep(0.1)  # the caller's clock may be a little ahead of the sidecar's
    opened.set()
    under_way = running.sidecar._listening[Role.COMPENSATOR].slots._under_way
    await asyncio.gather(*under_way, return_exceptions=True)


async def test_a_duty_nothing_can_be_decided_about_keeps_no_other_waiting() -> None:
    """What a crash, or somebody at the store, left half gone is logged and passed over."""
    store, asked = ObstructedStore(ManualClock()), []

    async def broken_at_first() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise StoreFailed(ErrorReason.INTERNAL, cause="the journal is gone")

    async with served(store) as running:
        await undone_run(running, "o-1", run_id="r-1")
        await undone_run(running, "o-1", run_id="r-2")
        store.before["claim"] = broken_at_first
        assert (await claim(running)).run_id == "r-2"


async def test_a_claim_nobody_waits_for_any_more_is_not_made() -> None:
    """A deadline that passes while duties are looked for: the duty stays free for whoever comes next."""
    store = ObstructedStore(ManualClock())
    async with served(store) as running:
        await undone_run(running, "o-1")
        await abandoned(running, store, "open_duties", "ClaimDuty", **ALL)
        assert "claim" not in store.entered
        assert (await claim(running)).attempt == 1


async def test_a_claim_whose_answer_is_lost_comes_back_when_its_lease_is_over() -> None:
    """Once the store is at it, it is decided, whoever hangs up: an attempt that nobody hears of."""
    clock = ManualClock()
    store = ObstructedStore(clock)
    async with served(store) as running:
        await undone_run(running, "o-1")
        await abandoned(running, store, "claim", "ClaimDuty", **ALL)
        assert [one.kind for one in await running.journal()][-1] == "CLAIMED"
        assert await claim(running) is None
        clock.advance(30)
        assert (await claim(running)).attempt == 2


@pytest.mark.parametrize(
    ("verb", "method", "kind"), [("complete", "CompleteDuty", "UNDONE"), ("fail", "FailDuty", "TRIED")]
)
async def test_what_a_compensator_says_counts_though_it_hangs_up(verb: str, method: str, kind: str) -> None:
    """An abandoned call is not an abandoned decision."""
    store = ObstructedStore(ManualClock())
    async with served(store) as running:
        await undone_run(running, "o-1")
        await abandoned(running, store, verb, method, **held(await claim(running)))
        assert [one.kind for one in await running.journal()][-1] == kind
