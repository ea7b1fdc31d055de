"""ApproveAction, DenyAction, ListApprovals, and a tool that waits for a person."""

import hashlib
from typing import Any

import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import errors_pb2
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import ManualClock, Served, commit, digest, intent, served
from tests.rpc.test_decode import UNCLEAN

PREPARED = action_pb.ACTION_STATE_PREPARED
AWAITING = action_pb.ACTION_STATE_AWAITING_APPROVAL
DENIED = action_pb.ACTION_STATE_DENIED
#: People have to agree to what cannot be undone.
CAREFUL = {"action": "*", "approval_from": action_pb.REVERSIBILITY_IRREVERSIBLE}
AMENDMENT = '{"to":"team@example.com","amount":5}'
AMENDED = hashlib.sha256(AMENDMENT.encode()).digest()


def about(op_id: str = "o-1", **fields: Any) -> dict[str, Any]:
    """The fields of an approval."""
    return {"run_id": "r-1", "op_id": op_id, "digest": digest()} | fields


async def waiting(sidecar: Served, *op_ids: str, **fields: Any) -> str:
    """A run with actions that wait for a person; its token."""
    token = await sidecar.grant("r-1", CAREFUL)
    for op_id in op_ids or ("o-1",):
        await sidecar.prepare(token, op_id, **fields)
    return token


async def pending(sidecar: Served) -> list[str]:
    """The actions that wait."""
    return [one.op_id for one in (await sidecar.operator("ListApprovals")).approvals]


async def test_an_action_waits_is_agreed_to_and_happens(sidecar: Served) -> None:
    """Asking again is how the tool hears of it: nothing is journalled for that."""
    token = await waiting(sidecar)
    polled = await sidecar.prepare(token, "o-1")
    assert (polled.state, polled.replayed, polled.HasField("approval")) == (AWAITING, True, False)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))
    assert refused.reason == "AWAITING_APPROVAL"
    before = len(await sidecar.journal())
    answer = await sidecar.operator("ApproveAction", **about(actor="ann", note="fine"))
    assert (answer.state, answer.replayed) == (PREPARED, False)
    polled = await sidecar.prepare(token, "o-1")
    assert (polled.state, polled.approval.actor, polled.approval.note) == (PREPARED, "operator:ann", "fine")
    assert (polled.approval.amendment, polled.approval.amended_digest) == ("", b"")
    assert polled.approval.expire_time == answer.expire_time
    assert (await sidecar.tool("CommitAction", **commit(token, "o-1"))).permit.fence
    kinds = [entry.kind for entry in (await sidecar.journal())[before:]]
    assert kinds == ["APPROVED", "PERMITTED"]


async def test_perform_waits_too(sidecar: Served) -> None:
    """It is refused for now, is on record, and happens with the same call once somebody agreed."""
    token = await sidecar.grant("r-1", CAREFUL)
    told = {"grant_token": token, "intent": intent("o-1")}
    for _ in range(3):
        assert (await sidecar.tool.refused("PerformAction", **told)).reason == "AWAITING_APPROVAL"
    assert [entry.kind for entry in await sidecar.journal()] == ["OPENED", "ISSUED", "PREPARED"]
    await sidecar.operator("ApproveAction", **about())
    assert (await sidecar.tool("PerformAction", **told)).permit.op_id == "o-1"
    assert (await sidecar.tool("PerformAction", **told)).permit.replayed


@pytest.mark.parametrize("declared", [0, 1, 2, 3, 4])
async def test_people_are_asked_from_a_class_of_effects_on(sidecar: Served, declared: int) -> None:
    """What does not declare its class is the worst."""
    told = {"action": "*", "approval_from": action_pb.REVERSIBILITY_COMPENSABLE}
    token = await sidecar.grant("r-1", told)
    state = (await sidecar.prepare(token, "o-1", reversibility=declared)).state
    assert state == (AWAITING if declared in (0, 3, 4) else PREPARED)


async def test_what_waits_is_listed_with_what_a_person_must_know(sidecar: Served) -> None:
    """The oldest first, with who asks on whose behalf; without the arguments, which nobody here has."""
    opened = {"run_id": "r-1", "subject": "u-7", "agent": "mailer", "tenant": "acme"}
    await sidecar.issuer("OpenRun", **opened)
    token = await sidecar.grant_for("r-1", CAREFUL)
    told = {"costs": {"usd_cents": 5}, "summary": "Write to the team", "reversibility": 4}
    await sidecar.prepare(token, "o-1", **told)
    sidecar.clock.advance(1)
    await sidecar.prepare(token, "o-2")
    first, second = (await sidecar.auditor("ListApprovals")).approvals
    assert (first.run_id, first.op_id, first.action, first.digest) == ("r-1", "o-1", "email.send", digest())
    assert (first.subject, first.agent, first.tenant) == ("u-7", "mailer", "acme")
    assert (first.summary, dict(first.costs), first.reversibility) == (
        "Write to the team",
        {"usd_cents": 5},
        4,
    )
    assert first.expire_time.seconds - first.prepare_time.seconds == 300  # no longer than its grant
    assert second.op_id == "o-2"


async def test_what_is_answered_or_can_never_be_is_not_listed(sidecar: Served) -> None:
    """Agreed to, refused, given up, too late, in a run that was stopped, under a grant that was killed."""
    token = await waiting(sidecar, "o-1", "o-2", "o-3", "o-4")
    assert await pending(sidecar) == ["o-1", "o-2", "o-3", "o-4"]
    await sidecar.operator("ApproveAction", **about("o-1"))
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-2")
    await sidecar.tool("AbandonAction", grant_token=token, op_id="o-3")
    assert await pending(sidecar) == ["o-4"]
    await sidecar.grant("r-2", CAREFUL)
    await sidecar.prepare(await sidecar.grant_for("r-2", CAREFUL), "o-5")
    await sidecar.cancel("r-2")
    assert await pending(sidecar) == ["o-4"]
    await sidecar.prepare(await sidecar.grant("r-3", CAREFUL), "o-6")
    assert await pending(sidecar) == ["o-4", "o-6"]
    over = {"selector": {"run_id": "r-3"}, "reason": "STOP_REASON_INCIDENT"}
    await sidecar.operator("RevokeGrants", request_id="f-1", **over)
    assert await pending(sidecar) == ["o-4"]
    sidecar.clock.advance(300)
    assert await pending(sidecar) == []


async def test_an_action_waits_as_long_as_its_settings_say() -> None:
    """What nobody agreed to by then is denied; what was agreed to and not used, too."""
    async with served(approval_wait=20, approval_use=10) as running:
        token = await waiting(running, "o-1", "o-2")
        answer = await running.operator("ApproveAction", **about("o-2"))
        assert answer.expire_time.ToMilliseconds() == running.clock.now + 10_000
        running.clock.advance(10)
        refused = await running.tool.refused("CommitAction", **commit(token, "o-2"))
        assert (refused.reason, refused.metadata["cause"]) == ("DENIED", "the approval was not used in time")
        running.clock.advance(10)
        refused = await running.tool.refused("CommitAction", **commit(token, "o-1"))
        assert (refused.reason, refused.metadata["cause"]) == ("DENIED", "nobody agreed in time")
        refused = await running.operator.refused("ApproveAction", **about("o-1"))
        assert (refused.reason, refused.metadata["state"]) == ("NOT_AWAITING", "DENIED")


async def test_a_person_says_no(sidecar: Served) -> None:
    """The tool hears who and why, once and again; a second no is the first."""
    token = await waiting(sidecar)
    answer = await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1", actor="ann", note="not today")
    assert (answer.state, answer.replayed) == (DENIED, False)
    again = await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1", actor="bob")
    assert (again.seq, again.replayed) == (answer.seq, True)
    for method, fields in (
        ("PrepareAction", {"grant_token": token, "intent": intent("o-1")}),
        ("CommitAction", commit(token, "o-1")),
        ("PerformAction", {"grant_token": token, "intent": intent("o-1")}),
    ):
        refused = await sidecar.tool.refused(method, **fields)
        assert (refused.reason, refused.metadata["cause"]) == ("DENIED", "a person said no")
        assert (refused.metadata["actor"], refused.metadata["note"]) == ("operator:ann", "not today")
    refused = await sidecar.operator.refused("ApproveAction", **about())
    assert (refused.reason, refused.metadata["state"]) == ("NOT_AWAITING", "DENIED")


async def test_an_approval_is_taken_back_until_it_is_used(sidecar: Served) -> None:
    """Afterwards the answer is that the permit is out."""
    token = await waiting(sidecar, "o-1", "o-2")
    for op_id in ("o-1", "o-2"):
        await sidecar.operator("ApproveAction", **about(op_id))
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1")
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "DENIED"
    await sidecar.tool("CommitAction", **commit(token, "o-2"))
    refused = await sidecar.operator.refused("DenyAction", run_id="r-1", op_id="o-2")
    assert refused.reason == "ALREADY_PERMITTED"


async def test_the_same_approval_is_answered_as_before(sidecar: Served) -> None:
    """Another one, for longer or for other arguments, is refused."""
    await waiting(sidecar)
    first = await sidecar.operator("ApproveAction", **about(ttl={"seconds": 60}))
    again = await sidecar.operator("ApproveAction", **about(ttl={"seconds": 60}, actor="bob"))
    assert (again.seq, again.expire_time, again.replayed) == (first.seq, first.expire_time, True)
    for other in (
        {"ttl": {"seconds": 61}},
        {"digest": bytes(32)},
        {"amendment": "{}", "amended_digest": AMENDED},
    ):
        told = about(ttl={"seconds": 60}) | other
        assert (await sidecar.operator.refused("ApproveAction", **told)).reason == "NOT_AWAITING"


async def test_an_approval_names_the_arguments(sidecar: Served) -> None:
    """A person agrees to what they saw: another digest is another action."""
    await waiting(sidecar)
    refused = await sidecar.operator.refused("ApproveAction", **about(digest=digest(b"other")))
    assert (refused.reason, refused.metadata["state"]) == ("NOT_AWAITING", "AWAITING_APPROVAL")


async def test_a_person_may_agree_to_less(sidecar: Served) -> None:
    """The amended arguments and their digest reach the tool; only with those does it get its permit."""
    token = await waiting(sidecar)
    await sidecar.operator("ApproveAction", **about(amendment=AMENDMENT, amended_digest=AMENDED))
    polled = await sidecar.prepare(token, "o-1")
    assert (polled.approval.amendment, polled.approval.amended_digest) == (AMENDMENT, AMENDED)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))
    assert refused.reason == "DIGEST_MISMATCH"
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
    assert refused.reason == "DIGEST_MISMATCH"
    permit = (await sidecar.tool("CommitAction", **commit(token, "o-1", digest=AMENDED))).permit
    assert permit.op_id == "o-1"
    (line,) = [entry for entry in await sidecar.journal() if entry.kind == "APPROVED"]
    assert line.data["digest"] == AMENDED.hex()
    assert AMENDMENT not in str(await sidecar.journal())  # arguments are nobody's but the tool's


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"run_id": ""}, "run_id"),
        ({"op_id": "a b"}, "op_id"),
        ({"digest": b""}, "digest"),
        ({"digest": bytes(31)}, "digest"),
        ({"note": "a\nb"}, "note"),
        ({"note": "x" * 301}, "note"),
        ({"ttl": {}}, "ttl"),
        ({"ttl": {"seconds": -1}}, "ttl"),
        ({"ttl": {"seconds": 901}}, "ttl"),
        ({"amendment": "{}"}, "amended_digest"),
        ({"amended_digest": AMENDED}, "amended_digest"),
        ({"amendment": "[]", "amended_digest": AMENDED}, "amendment"),
        ({"amendment": "{", "amended_digest": AMENDED}, "amendment"),
        ({"amendment": "{}\n", "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":"\u202e"}', "amended_digest": AMENDED}, "amendment"),
        ({"amendment": "null", "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":1,"a":2}', "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"b":[{"a":1,"\\u0061":2}]}', "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":NaN}', "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":-Infinity}', "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":' * 800 + "1" + "}" * 800, "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":"%s"}' % ("x" * 4096), "amended_digest": AMENDED}, "amendment"),
        ({"amendment": '{"a":"%s"}' % ("\U0001f642" * 1100), "amended_digest": AMENDED}, "amendment"),
        ({"amendment": "{}", "amended_digest": bytes(33)}, "amended_digest"),
    ],
    ids=lambda one: str(one)[:60],
)
async def test_a_bad_approval_is_refused_by_its_field(
    sidecar: Served, fields: dict[str, Any], field: str
) -> None:
    """And the action goes on waiting."""
    await waiting(sidecar)
    refused = await sidecar.operator.refused("ApproveAction", **about() | fields)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)
    assert await pending(sidecar) == ["o-1"]


@pytest.mark.parametrize("text", UNCLEAN.values(), ids=UNCLEAN.keys())
async def test_no_text_keeps_a_no_from_counting(sidecar: Served, text: str) -> None:
    """It is cleaned and cut, as that of a cancel is; that of a yes is refused."""
    await waiting(sidecar)
    answer = await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1", actor=text, note=text * 400)
    assert answer.state == DENIED


async def test_what_is_not_there_cannot_be_agreed_to(sidecar: Served) -> None:
    """An unknown run, an unknown action, one that never had to wait, one of a run that was stopped."""
    token = await waiting(sidecar)
    free = await sidecar.grant_for("r-1")
    await sidecar.prepare(free, "o-free")
    for fields, reason in (
        ({"run_id": "r-9"}, "RUN_UNKNOWN"),
        ({"op_id": "o-9"}, "ACTION_UNKNOWN"),
        ({"op_id": "o-free"}, "NOT_AWAITING"),
    ):
        assert (await sidecar.operator.refused("ApproveAction", **about() | fields)).reason == reason
    for op_id, run_id, reason in (
        ("o-9", "r-1", "ACTION_UNKNOWN"),
        ("o-1", "r-9", "ACTION_UNKNOWN"),
        ("o-free", "r-1", "NOT_AWAITING"),
    ):
        assert (await sidecar.operator.refused("DenyAction", run_id=run_id, op_id=op_id)).reason == reason
    await sidecar.cancel()
    assert (await sidecar.operator.refused("ApproveAction", **about())).reason == "REVOKED"
    assert (await sidecar.tool.refused("CommitAction", **commit(token, "o-1"))).reason == "REVOKED"
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-1")


async def test_a_report_tells_what_people_said(sidecar: Served) -> None:
    """Waiting is pending; denied, or agreed to by nobody in time, is not done."""
    await waiting(sidecar, "o-waits", "o-denied", "o-agreed")
    await sidecar.operator("DenyAction", run_id="r-1", op_id="o-denied", note="no")
    await sidecar.operator("ApproveAction", **about("o-agreed"))
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert [(one.op_id, one.state) for one in report.pending] == [
        ("o-waits", AWAITING),
        ("o-agreed", PREPARED),
    ]
    assert [(one.op_id, one.state, one.note) for one in report.not_done] == [("o-denied", DENIED, "no")]
    sidecar.clock.advance(300)
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    states = {one.op_id: one.state for one in report.not_done}
    assert states["o-waits"] == DENIED
    assert not report.pending


async def test_why_tells_what_an_action_waits_for(sidecar: Served) -> None:
    """The same word as the call that is refused gets."""
    await waiting(sidecar)
    found = await sidecar.auditor("ExplainRefusal", run_id="r-1", op_id="o-1")
    assert errors_pb2.ErrorReason.Name(found.reason) == "ERROR_REASON_AWAITING_APPROVAL"
    assert "waits for a person" in found.text


async def test_the_list_has_an_end_and_says_so(sidecar: Served) -> None:
    """A thousand of the oldest; when they are answered, or their run is stopped, the others come up."""
    token = await waiting(sidecar, "o-first")
    flood = await sidecar.grant("r-2", CAREFUL)
    for number in range(1001):
        await sidecar.prepare(flood, f"o-{number}")
    await sidecar.prepare(token, "o-last")
    answer = await sidecar.operator("ListApprovals")
    assert (len(answer.approvals), answer.more) == (1000, True)
    assert answer.approvals[0].op_id == "o-first"
    await sidecar.cancel("r-2")
    answer = await sidecar.operator("ListApprovals")
    assert ([one.op_id for one in answer.approvals], answer.more) == (["o-first", "o-last"], False)


async def test_what_nobody_answered_long_ago_is_not_read_again() -> None:
    """However much of it there is: what waits now is found from the youngest back."""
    store = ObstructedStore(clock := ManualClock())
    async with served(store) as running:
        token = await running.grant("r-1", CAREFUL, ttl={"seconds": 900})
        for number in range(2500):
            await running.prepare(token, f"o-{number}")
        clock.advance(901)
        await running.prepare(await running.grant_for("r-1", CAREFUL), "o-now")
        store.entered.clear()
        assert await pending(running) == ["o-now"]
        assert store.entered.count("actions") == 1
