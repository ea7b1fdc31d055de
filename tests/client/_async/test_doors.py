"""The verbs as they are served: one call each, small frozen values in and out."""

import dataclasses

import pytest

import countermand
from countermand import evidence
from countermand.testing import ManualClock, Sidecar

State = countermand.ActionState


async def test_the_whole_story_by_verbs(real: Sidecar) -> None:
    """Open, issue, prepare, commit, settle, cancel, report: what a command line does."""
    async with countermand.connect(real.home) as cm:
        opened = await cm.issuer.open(
            run_id="r-1", subject="u-7", agent="mailer", labels={"team": "a"}, ttl="5m"
        )
        issued = await cm.issuer.issue("r-1", scopes=["email.* uses=3"], ttl="60s", request_id="g-1")
        sent = countermand.Intent.of("email.send", resource="mailto:a@example.com", args={"n": 1})
        kept = countermand.Intent.of("email.send", resource="mailto:b@example.com", op_id="o-2")
        prepared = await cm.tool.prepare(issued.token, sent, ttl="30s")
        await cm.tool.prepare(issued.token, kept)
        permit = await cm.tool.commit(issued.token, sent.op_id, sent.digest, use_within="3s")
        settled = await cm.tool.settle(issued.token, sent.op_id, "SUCCEEDED", receipt="m-1", note="sent")
        cancelled = await cm.operator.cancel("r-1", reason="USER_STOP", actor="ann", note="enough", tag="t")
        with pytest.raises(countermand.Revoked):
            await cm.tool.commit(issued.token, kept.op_id, kept.digest)
        report = await cm.auditor.report("r-1")

    assert (opened.run.run_id, opened.run.labels, opened.replayed) == ("r-1", {"team": "a"}, False)
    assert (opened.run.deadline_time - opened.run.open_time).total_seconds() == 300
    assert (issued.grant.grant_id, issued.grant.run_id, issued.grant.audience) == ("g-1", "r-1", "tool")
    assert (issued.grant.expire_time - issued.grant.issue_time).total_seconds() == 60
    assert (prepared.op_id, prepared.state, prepared.replayed) == (sent.op_id, State.PREPARED, False)
    assert (permit.op_id, permit.replayed) == (sent.op_id, False)
    assert permit.fence > prepared.seq
    assert (settled.op_id, settled.state, settled.after_cut) == (sent.op_id, State.SUCCEEDED, False)
    assert (cancelled.known, cancelled.replayed) == (True, False)
    assert report.run.end is not None
    assert (report.run.end.reason, report.run.end.actor) == (countermand.StopReason.USER_STOP, "operator:ann")
    [done], [interrupted], [late] = report.done, report.interrupted, report.late_attempts
    assert (done.op_id, done.receipt, done.note) == (sent.op_id, "m-1", "sent")
    assert (interrupted.op_id, interrupted.state) == ("o-2", State.INTERRUPTED)
    assert (late.verb, late.op_id, late.reason) == ("commit", "o-2", countermand.ErrorReason.REVOKED)
    assert late.prior_decision is None
    assert report.late_attempt_count == 1
    assert report.durability is countermand.Durability.VOLATILE
    assert report.complete
    assert report.small_print


async def test_every_verb_can_be_repeated(real: Sidecar) -> None:
    """The second time gets the answer of the first, marked as such."""
    intent = countermand.Intent.of("email.send")
    async with countermand.connect(real.home) as cm:
        one = await cm.issuer.open(run_id="r-1")
        two = await cm.issuer.open(run_id="r-1")
        first = await cm.issuer.issue("r-1", scopes=["*"], request_id="g-1")
        second = await cm.issuer.issue("r-1", scopes=["*"], request_id="g-1")
        token = first.token
        answers = [
            two,
            second,
            [await cm.tool.prepare(token, intent) for _ in range(2)][1],
            [await cm.tool.commit(token, intent.op_id, intent.digest) for _ in range(2)][1],
            [await cm.tool.settle(token, intent.op_id, "FAILED") for _ in range(2)][1],
            [await cm.issuer.finish("r-1") for _ in range(2)][1],
            await cm.issuer.cancel("r-1", reason="USER_STOP"),
        ]

    assert one.run == two.run
    assert (first.grant, first.token) == (second.grant, second.token)
    assert all(answer.replayed for answer in answers)


async def test_perform_and_abandon(real: Sidecar) -> None:
    """The two verbs for those who need only one of prepare and commit."""
    done, dropped = countermand.Intent.of("email.send"), countermand.Intent.of("email.send")
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        permit = await cm.tool.perform(token, done, use_within="1s")
        await cm.tool.prepare(token, dropped)
        abandoned = await cm.tool.abandon(token, dropped.op_id, note="no need")
        with pytest.raises(countermand.AlreadyPermitted):
            await cm.tool.abandon(token, done.op_id)

    assert permit.op_id == done.op_id
    assert (abandoned.op_id, abandoned.replayed) == (dropped.op_id, False)
    assert abandoned.seq > permit.fence


async def test_runs_and_entries_come_in_pages(real: Sidecar, clock: ManualClock) -> None:
    """What does not fit into one answer is asked for with what the answer before said."""
    async with countermand.connect(real.home) as cm:
        for number in range(5):
            await cm.issuer.open(run_id=f"r-{number}", agent="a" if number % 2 else "b")
            clock.advance("1s")
        await cm.operator.cancel("r-4", reason="USER_STOP")
        page = await cm.auditor.runs(page_size=3)
        rest = await cm.auditor.runs(page_size=3, page_token=page.next_page_token)
        some = await cm.operator.runs(agent="b", state="ACTIVE")
        first = await cm.auditor.entries("r-4", page_size=1)
        second = await cm.auditor.entries("r-4", page_size=1, after_seq=first.entries[-1].seq)
        run = await cm.operator.run("r-4")

    assert [run.run_id for run in page.runs + rest.runs] == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert rest.next_page_token == ""
    assert [run.run_id for run in some.runs] == ["r-2", "r-0"]
    assert (first.more, [entry.kind for entry in first.entries]) == (True, ["OPENED"])
    assert (second.more, [entry.kind for entry in second.entries]) == (False, ["CANCELLED"])
    assert second.entries[0].data["reason"] == "USER_STOP"
    assert run.state is countermand.RunState.CANCELLED


async def test_a_run_nobody_opened_can_be_cancelled(real: Sidecar) -> None:
    """It leaves a tombstone: the run can never be opened."""
    async with countermand.connect(real.home) as cm:
        cancelled = await cm.operator.cancel("r-never", reason=countermand.StopReason.INCIDENT)
        with pytest.raises(countermand.Revoked):
            await cm.issuer.open(run_id="r-never")

    assert not cancelled.known


async def test_values_are_frozen_and_hold_no_token_in_the_clear(real: Sidecar) -> None:
    """An answer can be printed, copied and made a dictionary without showing the token in it."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1")
        issued = await cm.issuer.issue("r-1", scopes=["*"])

    assert issued.token.reveal().count(".") == 2
    assert issued.token.reveal() not in f"{issued} {dataclasses.asdict(issued)}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        issued.replayed = True  # type: ignore[misc]


async def test_a_socket_serves_its_role_only(real: Sidecar) -> None:
    """Who may not do something learns who may."""
    async with countermand.connect(real.home) as cm:
        door = type(cm.issuer)(cm.issuer.connection, cm.tool.role, 2.0, cm.issuer.clock)
        with pytest.raises(countermand.NotAllowed) as refusal:
            await door.open()

    assert refusal.value.reason is countermand.ErrorReason.ROLE_NOT_ALLOWED
    assert refusal.value.metadata["allowed"] == "issuer"


async def test_a_closed_client_says_so(real: Sidecar) -> None:
    """It does not open connections that nobody would close."""
    cm = countermand.connect(real.home)
    await cm.close()
    await cm.close()
    with pytest.raises(countermand.FixTheCall, match="the client is closed"):
        await cm.issuer.open()


async def test_what_a_cancel_answers_can_be_kept_as_evidence(real: Sidecar) -> None:
    """Its heads verify by the keys that every reader of reports may ask for, and hold against the journal."""
    async with countermand.connect(real.home) as cm:
        await cm.issuer.open(run_id="r-1")
        token = (await cm.issuer.issue("r-1", scopes=["*"])).token
        await cm.tool.perform(token, countermand.Intent.of("a.b", op_id="o-1"))
        stopped = (await cm.operator.cancel("r-1", reason="USER_STOP")).report
        await cm.tool.settle(token, "o-1", "SUCCEEDED")
        keys = await cm.issuer.evidence_keys()
        lines = [evidence.line(one) for one in (await cm.auditor.entries("r-1")).entries]
        again = await cm.auditor.report("r-1", at_seq=stopped.cut_seq)
        now = await cm.auditor.head("r-1")
        why = await cm.auditor.why("r-1", op_id="o-1")
    (head,) = stopped.heads
    assert (head.run_id, head.last_seq, head.entry_count) == ("r-1", stopped.cut_seq, 5)
    assert evidence.signature_fault(head, keys) is None
    assert evidence.journal_fault(head, lines) is None
    assert evidence.run_fault("r-1", lines) is None
    assert evidence.journal_fault(head, lines[1:]) is not None
    assert evidence.signature_fault(now, keys) is evidence.journal_fault(now, lines) is None
    assert now.entry_count == len(lines) == 6
    assert dataclasses.replace(again, at_seq=0) == stopped
    assert (again.at_seq, [one.op_id for one in again.in_flight]) == (stopped.cut_seq, ["o-1"])
    assert [one.kind for one in why.story] == ["PREPARED", "PERMITTED", "CANCELLED", "SETTLED"]
