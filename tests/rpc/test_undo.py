"""Operators: undoing a run, taking that back, and saying what became of what nobody settled."""

from dataclasses import replace
from typing import Any

import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from grant_service.core.duty import DutyKind, DutyState
from tests.rpc.support import Served, intent
from tests.rpc.undoing import (
    ALL,
    UNDOABLE,
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

PENDING = action_pb.ACTION_STATE_UNDO_PENDING
EVIDENCE = "the vendor's console shows it"


async def tree(running: Served) -> None:
    """A cancelled run and one below it, each with effects of every kind."""
    token = await running.grant("r-1")
    await happened(running, token, "o-1")
    await running.issuer("OpenRun", run_id="r-2", parent_run_id="r-1")
    below = await running.grant_for("r-2")
    await happened(running, below, "o-2")
    await running.tool("PerformAction", grant_token=token, intent=intent("o-3", reversibility=4))
    await settled(running, token, "o-3")
    await running.tool("PerformAction", grant_token=token, intent=intent("o-4", **UNDOABLE))
    await running.tool("PrepareAction", grant_token=token, intent=intent("o-5", **UNDOABLE))
    await running.tool("PerformAction", grant_token=token, intent=intent("o-6", **UNDOABLE))
    await settled(running, token, "o-6", 2)
    await running.cancel("r-1")


def told(answer: Any) -> list[tuple[str, str, str, str]]:
    """The steps of an answer, each in a line."""
    return [
        (one.op_id, action_pb.ActionState.Name(one.state)[13:], one.how, one.why_not) for one in answer.steps
    ]


async def test_a_tree_is_undone_from_its_last_effect_and_every_effect_is_told(sidecar: Served) -> None:
    """What did not happen is not listed; what may have is asked for; what cannot be undone says why."""
    await tree(sidecar)
    answer = await sidecar.operator("UndoRun", run_id="r-1", actor="ann", note="wrong list")
    assert told(answer) == [
        ("o-4", "PERMITTED", "email.recall", ""),
        ("o-3", "SUCCEEDED", "", "it is irreversible"),
        ("o-2", "UNDO_PENDING", "email.recall", ""),
        ("o-1", "UNDO_PENDING", "email.recall", ""),
    ]
    assert list(answer.op_ids) == ["o-4", "o-2", "o-1"]
    assert [one.run_id for one in answer.steps] == ["r-1", "r-1", "r-2", "r-1"]
    assert [bool(one.seq) for one in answer.steps] == [True, False, True, True]
    undo = (await reported(sidecar, "o-1")).undo
    assert (undo.asked_by, undo.note) == ("operator:ann", "wrong list")
    assert undo.ask_time


async def test_a_dry_run_tells_the_same_and_leaves_no_trace(sidecar: Served) -> None:
    """Also while the run is at work: to look is not to ask."""
    await tree(sidecar)
    before = sidecar.store.state.seq
    plan = await sidecar.operator("UndoRun", run_id="r-1", validate_only=True)
    assert sidecar.store.state.seq == before
    assert not any(one.seq for one in plan.steps)
    asked = await sidecar.operator("UndoRun", run_id="r-1")
    assert plan.op_ids == asked.op_ids
    assert [one[2:] for one in told(plan)] == [one[2:] for one in told(asked)]
    await happened(sidecar, await sidecar.grant("r-3"), "o-1")
    assert list((await sidecar.operator("UndoRun", run_id="r-3", validate_only=True)).op_ids) == ["o-1"]


async def test_only_what_is_named_is_undone(sidecar: Served) -> None:
    """A name that is no effect of the run stops the whole, before anything is asked."""
    token = await sidecar.grant()
    for op_id in ("o-1", "o-2", "o-3"):
        await happened(sidecar, token, op_id)
    await sidecar.cancel()
    before = sidecar.store.state.seq
    refused = await sidecar.operator.refused("UndoRun", run_id="r-1", op_ids=["o-2", "o-9"])
    assert (refused.reason, refused.metadata["op"]) == ("NOT_UNDOABLE", "o-9")
    assert sidecar.store.state.seq == before
    answer = await sidecar.operator("UndoRun", run_id="r-1", op_ids=["o-2", "o-2"])
    assert [one.op_id for one in answer.steps] == ["o-2"]
    assert (await claim(sidecar)).op_id == "o-2"
    assert await state(sidecar, "o-3") == "SUCCEEDED"


async def test_a_run_at_work_is_not_undone(sidecar: Served) -> None:
    """It would do more meanwhile. Finished is as good as cancelled."""
    await happened(sidecar, await sidecar.grant(), "o-1")
    refused = await sidecar.operator.refused("UndoRun", run_id="r-1")
    assert (refused.reason, refused.metadata) == ("RUN_ACTIVE", {"run": "r-1"})
    await sidecar.issuer("FinishRun", run_id="r-1")
    assert list((await sidecar.operator("UndoRun", run_id="r-1")).op_ids) == ["o-1"]
    assert (await sidecar.operator.refused("UndoRun", run_id="r-9")).reason == "RUN_UNKNOWN"


async def test_a_run_below_that_has_ended_is_undone_though_the_one_above_goes_on(sidecar: Served) -> None:
    """Each effect is a decision of its own, and says why it is not undone."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.issuer("OpenRun", run_id="r-2", parent_run_id="r-1")
    await happened(sidecar, await sidecar.grant_for("r-2"), "o-2")
    await sidecar.cancel("r-2")
    answer = await sidecar.operator("UndoRun", run_id="r-1")
    assert list(answer.op_ids) == ["o-2"]
    assert answer.steps[1].why_not == "run r-1 is still at work; cancel or finish it first"


async def test_asked_twice_is_asked_once(sidecar: Served) -> None:
    """And what is undone is not due any more."""
    await undone_run(sidecar, "o-1", "o-2")
    again = await sidecar.operator("UndoRun", run_id="r-1")
    assert ([one.replayed for one in again.steps], [one.state for one in again.steps]) == (
        [True, True],
        [PENDING, PENDING],
    )
    await sidecar.compensator("CompleteDuty", **held(await claim(sidecar)))
    later = await sidecar.operator("UndoRun", run_id="r-1")
    assert list(later.op_ids) == ["o-1"]
    assert told(later)[0] == ("o-2", "UNDONE", "email.recall", "")
    assert [one.kind for one in await sidecar.journal()].count("UNDO_ASKED") == 2


async def test_cancelling_a_run_does_not_end_the_right_to_undo_it(sidecar: Served) -> None:
    """Nor does its grant's end, nor a fence over everything: the authority is the duty's own."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.cancel()
    await sidecar.fence("Freeze", all=True)
    sidecar.clock.advance(86_400)
    await sidecar.operator("UndoRun", run_id="r-1")
    await sidecar.compensator("CompleteDuty", **held(await claim(sidecar)))
    assert await state(sidecar, "o-1") == "UNDONE"


async def test_authority_to_undo_can_be_taken_back(sidecar: Served) -> None:
    """Before anybody asks, too. Whoever is at it already may still say that it is done: then it is."""
    await undone_run(sidecar, "o-1", "o-2")
    duty = await claim(sidecar)
    answer = await sidecar.operator("WithdrawUndo", run_id="r-1", op_ids=["o-2", "o-1"], note="keep it")
    assert answer.busy_until_time.ToMilliseconds() == sidecar.clock.now + 30_000
    assert len(answer.seqs) == 2
    sidecar.clock.advance(30)
    assert await claim(sidecar) is None
    for op_id in ("o-1", "o-2"):
        found = await reported(sidecar, op_id)
        assert (await state(sidecar, op_id), found.undo.note) == ("SUCCEEDED", "keep it")
        assert (found.undo.undoable, found.undo.why_not) == (False, "the authority to undo it was taken back")
    steps = (await sidecar.operator("UndoRun", run_id="r-1")).steps
    assert {one.why_not for one in steps} == {"the authority to undo it was taken back"}
    await sidecar.compensator("CompleteDuty", **held(duty))
    assert await state(sidecar, "o-2") == "UNDONE"
    refused = await sidecar.operator.refused("WithdrawUndo", run_id="r-1", op_ids=["o-2"])
    assert refused.reason == "DUTY_OVER"


async def test_a_withdrawal_names_what_it_withdraws(sidecar: Served) -> None:
    """Nothing, or what is not there, is refused; nobody being at it is said by leaving the time out."""
    await happened(sidecar, await sidecar.grant(), "o-1")
    empty = await sidecar.operator.refused("WithdrawUndo", run_id="r-1")
    assert (empty.reason, empty.metadata["field"]) == ("INVALID_REQUEST", "op_ids")
    nobody = await sidecar.operator.refused("WithdrawUndo", run_id="r-1", op_ids=["o-9"])
    assert nobody.reason == "ACTION_UNKNOWN"
    answer = await sidecar.operator("WithdrawUndo", run_id="r-1", op_ids=["o-1"])
    assert not answer.HasField("busy_until_time")


async def test_an_operator_resolves_what_is_unknown_and_says_how_they_know(sidecar: Served) -> None:
    """Without evidence it would be a guess. The report tells who said so."""
    token = await sidecar.grant()
    await went_silent(sidecar, token, "o-1")
    said = {"run_id": "r-1", "op_id": "o-1", "outcome": 1, "actor": "ann"}
    for evidence in ("", " ", "\t"):
        guess = await sidecar.operator.refused("ResolveAction", **said, evidence=evidence)
        assert (guess.reason, guess.metadata["field"]) == ("INVALID_REQUEST", "evidence")
    early = await sidecar.operator.refused("ResolveAction", **said, evidence=EVIDENCE)
    assert (early.reason, early.metadata["left_ms"]) == ("IN_FLIGHT", "5000")
    sidecar.clock.advance(5)
    first = await sidecar.operator("ResolveAction", **said, evidence=EVIDENCE)
    again = await sidecar.operator("ResolveAction", **said, evidence="another")
    assert (first.state, first.replayed, again.seq, again.replayed) == (
        *(action_pb.ACTION_STATE_SUCCEEDED, False),
        *(first.seq, True),
    )
    other = await sidecar.operator.refused("ResolveAction", **said | {"outcome": 2}, evidence=EVIDENCE)
    assert (other.reason, other.metadata["state"]) == ("ALREADY_SETTLED", "SUCCEEDED")
    found = await reported(sidecar, "o-1")
    assert (found.resolved_by, found.evidence) == ("operator:ann", EVIDENCE)
    assert await claim(sidecar) is None  # nobody need ask any more


@pytest.mark.parametrize("outcome", [0, 3, 9])
async def test_unknown_is_no_resolution(sidecar: Served, outcome: int) -> None:
    """What is unknown stays so by itself."""
    said = {"run_id": "r-1", "op_id": "o-1", "evidence": EVIDENCE, "outcome": outcome}
    refused = await sidecar.operator.refused("ResolveAction", **said)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "outcome")


async def test_what_was_never_permitted_cannot_be_resolved(sidecar: Served) -> None:
    """It did not happen, whatever anybody saw."""
    token = await sidecar.grant()
    await sidecar.prepare(token, "o-1")
    said = {"run_id": "r-1", "op_id": "o-1", "outcome": 1, "evidence": EVIDENCE}
    assert (await sidecar.operator.refused("ResolveAction", **said)).reason == "NEVER_PERMITTED"
    assert (await sidecar.operator.refused("ResolveAction", **said | {"op_id": "o-9"})).reason == (
        "ACTION_UNKNOWN"
    )


async def test_a_resolution_lets_the_undo_go_on(sidecar: Served) -> None:
    """What nobody knew held up the effects before it."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2", **UNDOABLE))
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    sidecar.clock.advance(5)
    assert await claim(sidecar) is None
    said = {"run_id": "r-1", "op_id": "o-2", "outcome": 2, "evidence": EVIDENCE}
    await sidecar.operator("ResolveAction", **said)
    assert (await claim(sidecar)).op_id == "o-1"


HOSTILE = ["../x", "a b", "a\nb", "\x1b[31m", "-a", "a" * 65, "{p0}", "\u202e"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_name_is_refused_and_not_repeated(sidecar: Served, text: str) -> None:
    """In every field that takes the name of a run, an action, a function or a lease."""
    good: dict[str, Any] = {"run_id": "r-1", "op_id": "o-1", "kind": 1, "lease_id": "l-1"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        *(("compensator", "ClaimDuty", {names: [text]}) for names in ALL),
        *(
            ("compensator", method, good | {field: text})
            for method in ("RenewDuty", "CompleteDuty", "FailDuty")
            for field in ("run_id", "op_id", "lease_id")
        ),
        ("operator", "UndoRun", {"run_id": text}),
        ("operator", "UndoRun", {"run_id": "r-1", "op_ids": [text]}),
        ("operator", "WithdrawUndo", {"run_id": "r-1", "op_ids": ["o-1", text]}),
        ("operator", "ResolveAction", {"run_id": "r-1", "op_id": text, "outcome": 1, "evidence": "e"}),
    ]
    await happened(sidecar, await sidecar.grant(), "o-1")
    await sidecar.cancel()
    before = sidecar.store.state.seq
    for role, method, fields in calls:
        refused = await getattr(sidecar, role).refused(method, **fields)
        assert refused.reason == "INVALID_REQUEST"
        assert text not in refused.message
    assert sidecar.store.state.seq == before


async def test_texts_about_an_undo_are_cleaned_and_never_keep_it_from_being_known(sidecar: Served) -> None:
    """A vendor's answer may be anything; it is shown in reports, so it is one plain line without tokens."""
    token = await sidecar.grant("r-1")
    for op_id in ("o-1", "o-2"):
        await happened(sidecar, token, op_id)
    await sidecar.cancel()
    for hostile in ("\x1b[31m" + "x\n" * 400, token):
        told = {"actor": hostile, "note": hostile}
        await sidecar.operator("UndoRun", run_id="r-1", **told)
        duty = await claim(sidecar, hostile)
        await sidecar.compensator("FailDuty", **held(duty, note=hostile))
        sidecar.clock.advance(2)
        duty = await claim(sidecar, hostile)
        await sidecar.compensator("CompleteDuty", **held(duty, receipt=hostile, note=hostile))
        undo = (await reported(sidecar, duty.op_id)).undo
        for text in (undo.asked_by, undo.worker, undo.receipt, undo.note):
            assert text.isprintable()
            assert 0 < len(text) <= 300 + len("compensator:")
    assert token not in repr(await sidecar.journal())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"compensation_args": "{}", "compensation": ""}, "intent.compensation_args"),
        ({"compensation_args": '{"a":"%s"}' % ("x" * 4089)}, "intent.compensation_args"),
        ({"compensation_args": "[1]"}, "intent.compensation_args"),
        ({"compensation_args": "not json"}, "intent.compensation_args"),
        ({"compensation_args": '{"a":1,"a":2}'}, "intent.compensation_args"),
        ({"compensation_args": '{"a":NaN}'}, "intent.compensation_args"),
        ({"compensation_args": '{"a":\n1}'}, "intent.compensation_args"),
        ({"compensation_args": '{"a":' * 2000}, "intent.compensation_args"),
        ({"compensation": "rm -rf"}, "intent.compensation"),
        ({"probe": "a b"}, "intent.probe"),
    ],
)
async def test_what_an_intent_may_say_of_its_undo_is_bounded(
    sidecar: Served, fields: dict[str, Any], field: str
) -> None:
    """4096 bytes of one JSON object in one line."""
    token = await sidecar.grant()
    wanted = intent("o-1", **UNDOABLE | fields)
    for method in ("PrepareAction", "PerformAction"):
        refused = await sidecar.tool.refused(method, grant_token=token, intent=wanted)
        assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)
    longest = '{"a":"%s"}' % ("x" * 4088)
    await sidecar.tool(
        "PrepareAction", grant_token=token, intent=intent("o-2", **UNDOABLE, compensation_args=longest)
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"canceller": "job.stop"}, "canceller"),
        ({"handle": "job-1", "canceller": "job stop"}, "canceller"),
        ({"handle": "x" * 301, "canceller": "job.stop"}, "handle"),
        ({"handle": "a\nb", "canceller": "job.stop"}, "handle"),
        ({"compensation_args": "3"}, "compensation_args"),
        ({"compensation_args": '{"a":"%s"}' % ("x" * 4089)}, "compensation_args"),
    ],
)
async def test_what_an_outcome_may_say_of_its_undo_is_bounded(
    sidecar: Served, fields: dict[str, Any], field: str
) -> None:
    """Who can call off comes only with what; each is one line, and not long."""
    token = await sidecar.grant()
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    told = {"grant_token": token, "op_id": "o-1", "outcome": 1}
    refused = await sidecar.tool.refused("SettleAction", **told, **fields)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "compensations"),
        ({"compensations": [f"c-{number}" for number in range(257)]}, "compensations"),
        ({"compensations": ["c"] * 200, "probes": ["p"] * 57}, "compensations"),
        ({"compensations": ["c"], "lease": {}}, "lease"),
    ],
)
async def test_a_claim_is_bounded(sidecar: Served, fields: dict[str, Any], field: str) -> None:
    """1 to 256 functions, and a lease the service allows."""
    refused = await sidecar.compensator.refused("ClaimDuty", **fields)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (0, {}, "kind"),
        (9, {}, "kind"),
        (1, {"refused": True}, "refused"),
        (3, {"refused": True, "outcome": 1}, "refused"),
        (1, {"outcome": 1}, "outcome"),
        (2, {"outcome": 2}, "outcome"),
        (3, {}, "outcome"),
        (3, {"outcome": 3}, "outcome"),
        (1, {"job": 1}, "job"),
        (2, {"job": 4}, "job"),
        (3, {"job": 1, "outcome": 1}, "job"),
    ],
)
async def test_what_is_said_of_a_duty_is_what_can_be_said_of_its_kind(
    sidecar: Served, kind: int, fields: dict[str, Any], field: str
) -> None:
    """Only a call-off can be refused, only a question has an outcome, and unknown is no answer."""
    told = {"run_id": "r-1", "op_id": "o-1", "kind": kind, "lease_id": "l-1"}
    refused = await sidecar.compensator.refused("CompleteDuty", **told, **fields)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)


async def test_a_long_run_is_undone_in_turns(sidecar: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a cancel of somebody else comes in between; the order stays."""
    from grant_service.rpc import control

    monkeypatch.setattr(control, "_UNDOS_AT_ONCE", 3)
    token = await sidecar.grant()
    for number in range(8):
        await happened(sidecar, token, f"o-{number}")
    await sidecar.cancel()
    answer = await sidecar.operator("UndoRun", run_id="r-1")
    assert list(answer.op_ids) == [f"o-{number}" for number in reversed(range(8))]
    asked = [one.op_id for one in await sidecar.journal() if one.kind == "UNDO_ASKED"]
    assert asked == list(answer.op_ids)


async def test_a_job_that_was_accepted_and_its_effect_are_two_things(sidecar: Served) -> None:
    """What has a handle is in the report with it, and what can undo it is said beside."""
    token = await sidecar.grant()
    await began(sidecar, token, "o-1", handle="https://vendor.example/jobs/7")
    found = await reported(sidecar, "o-1")
    assert (found.call_off.handle, found.call_off.canceller) == ("https://vendor.example/jobs/7", "job.stop")
    assert found.undo.why_not == "it is irreversible"


async def test_each_job_of_an_action_is_called_off_and_told(sidecar: Served) -> None:
    """Under a key of its own: what the outside world does once for a key must not be done for one of two."""
    token = await sidecar.grant()
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    for number, outcome in ((1, 3), (2, 3), (3, 1)):
        await settled(sidecar, token, "o-1", outcome, handle=f"job-{number}", canceller="job.stop")
    await sidecar.cancel()
    duties = [await claim(sidecar) for _ in range(3)]
    assert [(duty.handle, duty.job, duty.key) for duty in duties] == [
        ("job-1", 0, "r-1/o-1/CALL_OFF"),
        ("job-2", 1, "r-1/o-1/CALL_OFF/1"),
        ("job-3", 2, "r-1/o-1/CALL_OFF/2"),
    ]
    assert await claim(sidecar) is None
    for duty in duties:
        await sidecar.compensator("RenewDuty", **held(duty))
    await sidecar.compensator("CompleteDuty", **held(duties[1]))
    await sidecar.compensator("FailDuty", **held(duties[2], note="no answer", final=True))
    await sidecar.compensator("CompleteDuty", **held(duties[0], refused=True))
    found = await reported(sidecar, "o-1")
    told = [found.call_off, *found.more_call_offs]
    assert [(one.handle, journal_pb.CallOffState.Name(one.state)) for one in told] == [
        ("job-1", "CALL_OFF_STATE_REFUSED"),
        ("job-2", "CALL_OFF_STATE_ACKNOWLEDGED"),
        ("job-3", "CALL_OFF_STATE_UNREACHABLE"),
    ]
    story = (await sidecar.auditor("ExplainRefusal", run_id="r-1", op_id="o-1")).story
    about = [one.data["handle"] for one in story if one.kind in ("SETTLED", "CLAIMED", "CALLED_OFF")]
    assert about == ["job-1", "job-2", "job-3"] * 2 + ["job-2", "job-3", "job-1"]


async def test_one_job_too_many_is_refused_with_the_rule(sidecar: Served) -> None:
    """Where its outcome is known already; the line says what was wrong, and the refusal is on record."""
    token = await sidecar.grant()
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    for number in range(4):
        await settled(sidecar, token, "o-1", 3, handle=f"job-{number}", canceller="job.stop")
    told = {"grant_token": token, "op_id": "o-1", "outcome": 3, "handle": "job-4", "canceller": "job.stop"}
    refused = await sidecar.tool.refused("SettleAction", **told)
    assert refused.reason == "ALREADY_SETTLED"
    assert (
        "settled as UNKNOWN; do not act again (of one action at most 4 jobs can be called off)"
        in refused.message
    )
    assert (await sidecar.journal())[-1].data["rule"] == "of one action at most 4 jobs can be called off"


async def test_a_job_that_nobody_can_call_off_is_told_with_the_reason(
    sidecar: Served, logs: list[dict[str, Any]]
) -> None:
    """Its outcome is not lost, nobody waits for it to be called off, and whoever can may be named later."""
    token = await sidecar.grant()
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    told = {"grant_token": token, "op_id": "o-1", "outcome": 1, "receipt": "m-1", "handle": "job-7"}
    why = "its tool named nobody who could"
    for replayed in (False, True):
        answer = await sidecar.tool("SettleAction", **told)
        assert (answer.why_not_called_off, answer.replayed) == (why, replayed)
    await sidecar.cancel()
    assert await claim(sidecar) is None
    found = await reported(sidecar, "o-1")
    assert (found.state, found.receipt) == (action_pb.ACTION_STATE_SUCCEEDED, "m-1")
    wanted = {"handle": "job-7", "state": journal_pb.CALL_OFF_STATE_IMPOSSIBLE, "note": why}
    assert found.call_off == journal_pb.CallOff(**wanted)
    lines = [one for one in logs if one["event"] == "a job cannot be called off"]
    assert [(one["run"], one["op"], one["why"], one["log_level"]) for one in lines] == [
        ("r-1", "o-1", why, "warning")
    ]
    answer = await sidecar.tool("SettleAction", **told, canceller="job.stop")
    assert (answer.why_not_called_off, answer.replayed) == ("", False)
    assert (await reported(sidecar, "o-1")).call_off.state == journal_pb.CALL_OFF_STATE_NOT_TRIED
    assert (await claim(sidecar)).handle == "job-7"


async def test_what_the_tool_says_after_somebody_else_is_in_the_report(sidecar: Served) -> None:
    """Who said it first is still told; the receipt, the job and what undoes it come from the tool."""
    token = await sidecar.grant()
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1", **UNDOABLE))
    sidecar.clock.advance(6)
    await sidecar.operator("ResolveAction", run_id="r-1", op_id="o-1", outcome=1, evidence="it is listed")
    before = await reported(sidecar, "o-1")
    sidecar.clock.advance(1)
    await sidecar.cancel()
    more = {"receipt": "m-1", "note": "sent", "compensation_args": '{"id":7}'}
    await settled(sidecar, token, "o-1", 1, **more, handle="job-7", canceller="job.stop")
    after = await reported(sidecar, "o-1")
    assert (after.resolved_by, after.evidence) == ("operator", "it is listed")
    assert (after.settle_time, after.settled_after_cut) == (before.settle_time, False)
    assert (after.receipt, after.note, after.call_off.handle) == ("m-1", "sent", "job-7")
    call_off = await claim(sidecar)
    await sidecar.compensator("CompleteDuty", **held(call_off))
    await sidecar.operator("UndoRun", run_id="r-1")
    assert (await claim(sidecar)).args == '{"id":7}'


async def test_an_effect_that_did_not_happen_holds_up_no_undo(sidecar: Served) -> None:
    """Not even where the step that said so broke off before it had closed the undo."""
    token = await sidecar.grant()
    await happened(sidecar, token, "o-1")
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2", **UNDOABLE))
    await settled(sidecar, token, "o-2", 3)
    await sidecar.cancel()
    await sidecar.operator("UndoRun", run_id="r-1")
    await settled(sidecar, token, "o-2", 2)
    state = sidecar.store.state
    moot = state.duty("r-1", "o-2", DutyKind.UNDO)
    assert moot
    state.put(replace(moot, state=DutyState.OPEN))
    claimed = [await claim(sidecar) for _ in range(2)]
    assert [one.op_id for one in claimed if one] == ["o-1"]
