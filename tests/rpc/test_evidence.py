"""Signed heads in answers, the keys that verify them, reports as of an entry, and the story of an action."""

import asyncio
import time
from typing import Any

import pytest

from countermand import _wire
from countermand import evidence as verifier
from grant_service.core.journal import Entry, Kind
from tests.rpc.support import Served, cancel, commit


async def stopped(sidecar: Served) -> tuple[str, Any]:
    """A run with a run below it and two actions, cancelled: a token, and the answer."""
    token = await sidecar.grant("r-1", request_id="g-1")
    await sidecar.issuer("OpenRun", run_id="r-2", parent_run_id="r-1")
    await sidecar.permit(token, "o-1")
    await sidecar.prepare(token, "o-2")
    return token, await sidecar.cancel("r-1")


async def fault(sidecar: Served, message: Any) -> verifier.Fault | None:
    """Verify a head as a client does: by the keys and the entries that the service lists."""
    listed = await sidecar.auditor("ListEvidenceKeys")
    entries = await sidecar.auditor("ListEntries", run_id=message.run_id, page_size=1000)
    head = _wire.report(type(listed_report())(heads=[message])).heads[0]
    lines = [verifier.line(_wire.entry(one)) for one in entries.entries]
    return verifier.signature_fault(head, _wire.every(_wire.evidence_key, listed.keys)) or (
        verifier.journal_fault(head, lines)
    )


def listed_report() -> Any:
    """An empty report."""
    from countermand.v1 import journal_service_pb2 as journal

    return journal.Report()


async def test_a_cancel_and_every_report_carry_a_signed_head_of_each_journal(sidecar: Served) -> None:
    """The run's own first; each holds against the journal, also after it has grown."""
    token, answer = await stopped(sidecar)
    for role in ("auditor", "issuer", "operator"):
        report = (await getattr(sidecar, role)("GetReport", run_id="r-1")).report
        assert report.heads == answer.report.heads
    await sidecar.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1)
    assert [head.run_id for head in answer.report.heads] == ["r-1", "r-2"]
    for head in answer.report.heads:
        assert await fault(sidecar, head) is None
        assert (head.time, head.store_epoch) == (answer.report.time, answer.report.store_epoch)
    assert answer.report.heads[0].last_seq == answer.report.cut_seq == answer.report.last_seq


async def test_a_tombstone_has_a_head_too(sidecar: Served) -> None:
    """Of the one entry there is."""
    answer = await sidecar.cancel("r-never")
    (head,) = answer.report.heads
    assert (head.entry_count, head.stride, len(head.marks)) == (1, 1, 4)
    assert await fault(sidecar, head) is None


async def test_heads_and_keys_hold_no_secret(sidecar: Served) -> None:
    """Neither the token of a grant nor the private half of a key is in what is sent."""
    token, answer = await stopped(sidecar)
    keys = await sidecar.issuer("ListEvidenceKeys")
    (private,) = (sidecar.home / "keys").glob("*.pem")
    body = private.read_text().splitlines()[1]
    for told in (answer, keys):
        assert token not in repr(told)
        assert token.split(".")[2].encode() not in told.SerializeToString()
        assert body not in repr(told)
    assert [(one.key_id, one.signing, len(one.public_key)) for one in keys.keys] == [(private.stem, True, 32)]


async def test_a_report_as_of_the_cut_is_what_the_cancel_was_answered_with(sidecar: Served) -> None:
    """Field by field, after all that came later."""
    token, answer = await stopped(sidecar)
    sidecar.clock.advance(60)
    await sidecar.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1)
    await sidecar.tool.refused("CommitAction", **commit(token, "o-2"))
    asked = {"run_id": "r-1", "at_seq": answer.report.cut_seq}
    again = (await sidecar.auditor("GetReport", **asked)).report
    assert again.at_seq == answer.report.cut_seq
    again.at_seq = 0
    assert again == answer.report
    before = (await sidecar.auditor("GetReport", run_id="r-1", at_seq=answer.report.cut_seq - 1)).report
    assert not before.run.HasField("end")
    assert [one.op_id for one in before.pending] == ["o-2"]
    for head in before.heads:
        assert await fault(sidecar, head) is None


@pytest.mark.parametrize("at_seq", [2**63, 2**53])
async def test_a_number_that_is_none_is_refused(sidecar: Served, at_seq: int) -> None:
    """As every other field."""
    await sidecar.grant("r-1")
    refused = await sidecar.auditor.refused("GetReport", run_id="r-1", at_seq=at_seq)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "at_seq")


async def test_a_refused_late_commit_names_the_entry_that_won(sidecar: Served) -> None:
    """Cancel, fence or spent budget: its number is in the details; a permit and an outcome have their own."""
    token, answer = await stopped(sidecar)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-2"))
    assert refused.metadata["seq"] == str(answer.report.cut_seq)
    for stop in ("fence", "budget"):
        run = f"r-{stop}"
        budgets = [{"name": "usd", "limit": 1}]
        other = await sidecar.grant(run, request_id=f"g-{stop}", budgets=budgets)
        permit = await sidecar.permit(other, "o-1")
        settled = await sidecar.tool("SettleAction", grant_token=other, op_id="o-1", outcome=1)
        assert 0 < permit.fence < settled.seq
        await sidecar.prepare(other, "o-2")
        if stop == "fence":
            won = (await sidecar.fence("Revoke", "f-1", run_id=run)).fence.seq
        else:
            spending = {"op_id": "s-1", "budget": "usd", "amount": 2}
            await sidecar.tool.refused("SpendBudget", grant_token=other, **spending)
            (won,) = [one.seq for one in await sidecar.journal(run) if one.kind == "EXHAUSTED"]
        refused = await sidecar.tool.refused("CommitAction", **commit(other, "o-2"))
        assert refused.metadata["seq"] == str(won)
        story = (await sidecar.auditor("ExplainRefusal", run_id=run, op_id="o-2")).story
        assert [one.kind for one in story] == [
            "PREPARED",
            "REVOKED" if stop == "fence" else "EXHAUSTED",
            "REFUSED",
        ]
        assert story[1].seq == won


async def test_the_story_names_the_end_that_came_first(sidecar: Served) -> None:
    """Of the run or of one above it; not a fence that was there before the grant, and not other actions."""
    await sidecar.issuer("OpenRun", run_id="r-0")
    await sidecar.issuer("OpenRun", run_id="r-1", parent_run_id="r-0")
    await sidecar.fence("Revoke", "f-1", run_id="r-1")
    token = await sidecar.grant_for("r-1")
    await sidecar.permit(token, "o-1")
    await sidecar.prepare(token, "o-2")
    above = await sidecar.cancel("r-0")
    await sidecar.cancel("r-1")
    story = (await sidecar.auditor("ExplainRefusal", run_id="r-1", op_id="o-1")).story
    assert [(one.kind, one.run_id) for one in story] == [
        ("PREPARED", "r-1"),
        ("PERMITTED", "r-1"),
        ("CANCELLED", "r-0"),
    ]
    assert story[2].seq == above.report.cut_seq
    assert not (await sidecar.auditor("ExplainRefusal", run_id="r-1")).story


async def test_a_long_journal_is_folded_beside_the_event_loop(sidecar: Served) -> None:
    """Other calls go on: the loop is never held up for long while ten thousand entries are chained."""
    await sidecar.grant("r-1")
    state = sidecar.store.state
    for _ in range(10_000):
        state.seq += 1
        entry = Entry(state.seq, state.now, "r-1", Kind.SPENT, {"op": "s", "note": "x" * 100})
        state.entries["r-1"].append(entry)
    longest, running = 0.0, True

    async def watch() -> None:
        nonlocal longest
        while running:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began)

    watching = asyncio.create_task(watch())
    began = time.monotonic()
    answer = await sidecar.operator("CancelRun", **cancel("r-1"))
    whole = time.monotonic() - began
    running = False
    await watching
    assert answer.report.heads[0].entry_count == 10_003
    assert answer.report.heads[0].stride == 4
    assert longest < whole / 2


async def test_a_head_is_signed_without_a_report(sidecar: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the report's own, and is there also where the report is too large to send."""
    token, answer = await stopped(sidecar)
    for role in (sidecar.auditor, sidecar.operator):
        head = (await role("GetHead", run_id="r-1")).head
        assert head == answer.report.heads[0]
    monkeypatch.setattr("grant_service.rpc.journal.MAX_REPORT_BYTES", 64)
    assert (await sidecar.auditor.refused("GetReport", run_id="r-1")).reason == "ANSWER_TOO_LARGE"
    await sidecar.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1)
    grown = (await sidecar.auditor("GetHead", run_id="r-1")).head
    assert grown.entry_count == head.entry_count + 1
    assert await fault(sidecar, grown) is None


async def test_a_long_journal_is_folded_page_by_page(
    sidecar: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the pages end makes no difference, also where the last one is full."""
    _, answer = await stopped(sidecar)
    for page in (1, 2, 3, answer.report.heads[0].entry_count):
        monkeypatch.setattr("grant_service.core.journal._PAGE", page)
        assert (await sidecar.auditor("GetHead", run_id="r-1")).head == answer.report.heads[0]


async def test_the_journal_of_the_fences_has_a_head(sidecar: Served) -> None:
    """Of no entry before there is a fence, and of each from then on."""
    empty = (await sidecar.auditor("GetHead", run_id="_fences")).head
    assert (empty.run_id, empty.entry_count, empty.last_seq) == ("_fences", 0, 0)
    assert await fault(sidecar, empty) is None
    selector = {"subject": "u-7"}
    await sidecar.operator("FreezeGrants", request_id="f-1", selector=selector, reason=6)
    await sidecar.operator("LiftFence", fence_id="f-1", note="over")
    head = (await sidecar.auditor("GetHead", run_id="_fences")).head
    assert head.entry_count == 2
    assert await fault(sidecar, head) is None


async def test_what_nobody_knows_has_no_head(sidecar: Served) -> None:
    """A misspelt run must not get evidence that nothing happened in it; who may not list gets none either."""
    assert (await sidecar.auditor.refused("GetHead", run_id="r-9")).reason == "RUN_UNKNOWN"
    assert (await sidecar.auditor.refused("GetHead", run_id="_runs")).reason == "INVALID_REQUEST"
    assert (await sidecar.issuer.refused("GetHead", run_id="_fences")).reason == "ROLE_NOT_ALLOWED"
