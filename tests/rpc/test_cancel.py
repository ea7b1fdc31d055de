"""Cancel: the cut and the report in one answer, safe to repeat, and never in doubt."""

import asyncio
from typing import Any

import grpc
import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import errors_pb2, grant_service_pb2
from grant_service.core.errors import ErrorReason, Refused, StoreFailed
from grant_service.rpc import journal as journal_module
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Served, cancel, commit, intent, request, served

CANCELLED, FINISHED = grant_service_pb2.RUN_STATE_CANCELLED, grant_service_pb2.RUN_STATE_FINISHED


def ops(part: Any) -> list[str]:
    """The actions in a part of a report."""
    return [action.op_id for action in part]


async def busy_run(sidecar: Served) -> str:
    """A run with an action in every state; answers its token."""
    token = await sidecar.grant()
    told = {"grant_token": token}
    undoable = {"reversibility": action_pb.REVERSIBILITY_COMPENSABLE, "compensation": "email.recall"}
    await sidecar.tool("PerformAction", **told, intent=intent("done", **undoable))
    await sidecar.tool("SettleAction", **told, op_id="done", outcome=1, receipt="msg-1", note="sent")
    await sidecar.tool("PerformAction", **told, intent=intent("failed"))
    await sidecar.tool("SettleAction", **told, op_id="failed", outcome=2)
    await sidecar.tool("PerformAction", **told, intent=intent("unknown"))
    await sidecar.tool("SettleAction", **told, op_id="unknown", outcome=3)
    await sidecar.tool("PrepareAction", **told, intent=intent("abandoned"))
    await sidecar.tool("AbandonAction", **told, op_id="abandoned")
    await sidecar.tool("PrepareAction", **told, intent=intent("expired"), ttl={"seconds": 1})
    await sidecar.tool("PerformAction", **told, intent=intent("silent"), use_within={"seconds": 1})
    sidecar.clock.advance(2)
    await sidecar.tool("PerformAction", **told, intent=intent("in-flight"))
    await sidecar.tool("PrepareAction", **told, intent=intent("interrupted"))
    return token


async def test_the_answer_to_a_cancel_is_the_report(sidecar: Served) -> None:
    """Each action in its part, the cut, and what the report cannot promise."""
    token = await busy_run(sidecar)
    answer = await sidecar.cancel(actor="ann", note="enough", tag="t-1")
    report = answer.report
    assert (answer.known, answer.replayed) == (True, False)
    assert ops(report.done) == ["done"]
    assert ops(report.interrupted) == ["interrupted"]
    assert ops(report.in_flight) == ["in-flight"]
    assert sorted(ops(report.unknown)) == ["silent", "unknown"]
    assert sorted(ops(report.not_done)) == ["abandoned", "expired", "failed"]
    assert ops(report.pending) == []
    assert (report.quiesced, report.complete, list(report.gaps)) == (False, True, [])
    assert (report.done[0].receipt, report.done[0].note) == ("msg-1", "sent")
    assert (report.done[0].undo.undoable, report.done[0].undo.how) == (True, "email.recall")
    assert len(report.small_print) == 3
    end = report.run.end
    assert (end.reason, end.actor, end.note, end.tag) == (
        errors_pb2.STOP_REASON_USER_STOP,
        "operator:ann",
        "enough",
        "t-1",
    )
    assert (report.run.state, end.seq, end.run_id) == (CANCELLED, report.cut_seq, "r-1")
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "interrupted"))).reason == "REVOKED"


async def test_a_lost_answer_costs_nothing(sidecar: Served) -> None:
    """The same cut for whoever asks again, marked as a repetition; the report is only more certain."""
    token = await busy_run(sidecar)
    first = await sidecar.cancel(actor="ann")
    await sidecar.tool("SettleAction", grant_token=token, op_id="in-flight", outcome=1)
    await sidecar.tool.refused("CommitAction", **commit(token, "interrupted"))
    sidecar.clock.advance(10)
    again = await sidecar.cancel(actor="bob", reason=errors_pb2.STOP_REASON_INCIDENT)
    assert (again.replayed, again.known) == (True, True)
    assert again.report.cut_seq == first.report.cut_seq
    assert again.report.run.end == first.report.run.end
    assert ops(again.report.interrupted) == ops(first.report.interrupted)
    assert sorted(ops(again.report.done)) == ["done", "in-flight"]
    assert [action.settled_after_cut for action in again.report.done if action.op_id == "in-flight"] == [True]
    assert (again.report.quiesced, again.report.late_attempt_count) == (True, 1)
    assert [(late.verb, late.op_id) for late in again.report.late_attempts] == [("commit", "interrupted")]
    assert (await sidecar.auditor("GetReport", run_id="r-1")).report == again.report


@pytest.mark.parametrize("lose", ["the-client-hangs-up", "the-report-cannot-be-read"])
async def test_an_answer_that_is_lost_on_the_way_does_not_lose_the_stop(lose: str) -> None:
    """The stop comes first: from then on commits are refused, whatever becomes of the answer."""
    store, gate = ObstructedStore(), asyncio.Event()
    async with served(store) as running:
        token = await running.grant()
        await running.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
        if lose == "the-client-hangs-up":
            store.before["journal"] = gate.wait
            call = running.operator.rpc("CancelRun")(request("CancelRun", **cancel()))
            await store.wait_for("journal", 1)
            call.cancel()
        else:
            store.before["journal"] = raising(StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
            refused = await running.operator.refused("CancelRun", **cancel())
            assert refused.reason == "STORE_UNAVAILABLE"
            assert "run r-1 is cancelled since entry 4" in refused.message
            assert (refused.metadata["run"], refused.metadata["seq"]) == ("r-1", "4")
        assert (await running.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "REVOKED"
        gate.set()
        store.before.clear()
        again = await running.cancel()
        assert (again.replayed, again.report.cut_seq) == (True, 4)


async def test_a_run_nobody_knows_gets_a_tombstone(sidecar: Served) -> None:
    """The stop may be faster than the start: such a run can never be opened."""
    answer = await sidecar.cancel("r-early", note="too late for you")
    assert (answer.known, answer.replayed) == (False, False)
    assert answer.report.run.state == CANCELLED
    assert answer.report.cut_seq > 0
    again = await sidecar.cancel("r-early")
    assert (again.known, again.replayed, again.report.cut_seq) == (False, True, answer.report.cut_seq)
    refused = await sidecar.issuer.refused("OpenRun", run_id="r-early")
    assert (refused.reason, refused.metadata["note"]) == ("REVOKED", "too late for you")
    assert (await sidecar.issuer.refused("OpenRun", parent_run_id="r-early")).reason == "REVOKED"
    assert [run.run_id for run in (await sidecar.auditor("ListRuns")).runs] == []


async def test_the_owner_may_cancel_and_is_named_as_such(sidecar: Served) -> None:
    """The listener says who it was; what the caller says comes behind that and cannot replace it."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    await sidecar.issuer("OpenRun", run_id="r-2")
    by_owner = await sidecar.issuer("CancelRun", **cancel("r-1", actor="operator:ann"))
    assert by_owner.report.run.end.actor == "issuer:operator:ann"
    assert (await sidecar.cancel("r-2")).report.run.end.actor == "operator"


@pytest.mark.parametrize("reason", [number for number in errors_pb2.StopReason.values() if number])
async def test_every_reason_travels_from_the_cancel_to_the_refusal(sidecar: Served, reason: int) -> None:
    """The same word in the report, in the journal and in front of the tool."""
    token = await sidecar.grant()
    answer = await sidecar.cancel(reason=reason)
    word = errors_pb2.StopReason.Name(reason).removeprefix("STOP_REASON_")
    assert answer.report.run.end.reason == reason
    refused = await sidecar.tool.refused("PrepareAction", grant_token=token, intent=intent("o-1"))
    assert refused.metadata["stop_reason"] == word
    assert word in refused.message
    assert [entry.data["reason"] for entry in await sidecar.journal() if entry.kind == "CANCELLED"] == [word]


async def test_a_cancel_reaches_every_run_below_and_no_other(sidecar: Served) -> None:
    """One report for the whole tree; a neighbour goes on."""
    tokens = {}
    for run_id, parent in (("root", ""), ("child", "root"), ("leaf", "child"), ("other", "")):
        await sidecar.issuer("OpenRun", run_id=run_id, parent_run_id=parent)
        issued = await sidecar.issuer("IssueGrant", run_id=run_id, scopes=[{"action": "*"}])
        tokens[run_id] = issued.grant_token
        await sidecar.tool("PrepareAction", grant_token=issued.grant_token, intent=intent(f"o-{run_id}"))
    report = (await sidecar.cancel("root")).report
    assert list(report.descendant_run_ids) == ["child", "leaf"]
    assert sorted(ops(report.interrupted)) == ["o-child", "o-leaf", "o-root"]
    for run_id in ("root", "child", "leaf"):
        refused = await sidecar.tool.refused("CommitAction", **commit(tokens[run_id], f"o-{run_id}"))
        assert (refused.reason, refused.metadata["ended_run"]) == ("REVOKED", "root")
    assert (await sidecar.tool("CommitAction", **commit(tokens["other"], "o-other"))).permit.fence


async def test_a_report_too_large_to_send_says_so_and_the_stop_stands(
    sidecar: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal can be read in pages instead."""
    token = await sidecar.grant()
    for number in range(20):
        await sidecar.tool("PrepareAction", grant_token=token, intent=intent(f"o-{number}"))
    monkeypatch.setattr(journal_module, "MAX_REPORT_BYTES", 1024)
    refused = await sidecar.operator.refused("CancelRun", **cancel())
    assert (refused.reason, refused.code) == ("ANSWER_TOO_LARGE", grpc.StatusCode.OUT_OF_RANGE)
    assert refused.metadata["limit"] == "1024"
    assert int(refused.metadata["size"]) > 1024
    assert refused.metadata["run"] == "r-1"
    cut = [entry.seq for entry in await sidecar.journal() if entry.kind == "CANCELLED"]
    assert [refused.metadata["seq"]] == [str(seq) for seq in cut]
    assert f"run r-1 is cancelled since entry {refused.metadata['seq']}" in refused.message
    assert "read the journal in pages" in refused.message
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "REVOKED"
    page = await sidecar.auditor("ListEntries", run_id="r-1", page_size=5)
    assert (len(page.entries), page.more) == (5, True)
    unread = await sidecar.auditor.refused("GetReport", run_id="r-1")
    assert (unread.reason, unread.metadata["cause"]) == ("ANSWER_TOO_LARGE", "it is too large to send")


async def test_a_report_of_real_size_fits(sidecar: Served) -> None:
    """Ten thousand actions, the largest answer a client takes being 64 MiB."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-0", resource="m:" + "x" * 510))
    prepared = (await sidecar.journal())[-1]
    for number in range(1, 10_000):
        sidecar.store.state.append("r-1", prepared.kind, dict(prepared.data, op=f"o-{number}"))
    report = (await sidecar.cancel()).report
    assert len(report.interrupted) == 10_000
    assert report.ByteSize() > 4 * 1024 * 1024  # more than gRPC takes by default


async def test_a_finished_run_can_be_cancelled_and_stays_finished(sidecar: Served) -> None:
    """The first end stands."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    finished = await sidecar.issuer("FinishRun", run_id="r-1", note="all done")
    assert (finished.run.state, finished.replayed) == (FINISHED, False)
    assert (await sidecar.issuer("FinishRun", run_id="r-1")).replayed
    answer = await sidecar.cancel()
    assert (answer.replayed, answer.known) == (True, True)
    assert (answer.report.run.state, answer.report.run.end.note) == (FINISHED, "all done")


async def test_a_cancelled_run_cannot_be_finished(sidecar: Served) -> None:
    """Its owner hears who stopped it."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    await sidecar.cancel(actor="ann")
    refused = await sidecar.issuer.refused("FinishRun", run_id="r-1")
    assert (refused.reason, refused.metadata["actor"]) == ("REVOKED", "operator:ann")


async def test_a_refused_report_is_never_a_refused_stop() -> None:
    """Whatever keeps the report from being read, the words say that the run is stopped."""
    store = ObstructedStore()
    async with served(store) as running:
        await running.grant()
        for reason in (ErrorReason.STORE_UNAVAILABLE, ErrorReason.STORE_UNFIT, ErrorReason.STORE_FULL):
            store.before["standing"] = raising(Refused(reason, cause="a cause", remedy="a remedy"))
            refused = await running.operator.refused("CancelRun", **cancel())
            assert refused.reason == reason
            assert "run r-1 is cancelled since entry 3" in refused.message
            assert "a cause" in refused.message


async def _too_long() -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [(_too_long, ErrorReason.STORE_UNAVAILABLE), (raising(RuntimeError("a defect")), ErrorReason.INTERNAL)],
)
async def test_a_stop_whose_report_is_late_or_broken_still_says_that_it_stopped(
    obstacle: Any, reason: ErrorReason
) -> None:
    """Whatever becomes of the report, the caller learns that the run is stopped, and since which entry."""
    store = ObstructedStore()
    async with served(store, operator_timeout=0.5) as running:
        await running.grant()
        store.before["journal"] = obstacle

        refused = await running.operator.refused("CancelRun", **cancel())

        assert (refused.reason, refused.metadata["run"]) == (reason, "r-1")
        assert int(refused.metadata["seq"]) > 0
        del store.before["journal"]
        answer = await running.cancel()
        assert (answer.replayed, answer.report.cut_seq) == (True, int(refused.metadata["seq"]))
