"""Fences over the wire: what is answered, what is counted, and that the fence stands whatever comes after."""

import asyncio
from typing import Any

import pytest

from countermand.v1 import errors_pb2
from countermand.v1 import journal_service_pb2 as pb
from grant_service.core.errors import ErrorReason, StoreFailed
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Served, commit, intent, request, served
from tests.rpc.test_decode import UNCLEAN

INCIDENT = errors_pb2.STOP_REASON_INCIDENT
STANDING, LIFTED, EXPIRED = pb.FENCE_STATE_STANDING, pb.FENCE_STATE_LIFTED, pb.FENCE_STATE_EXPIRED
BOTH = pytest.mark.parametrize("verb", ["Revoke", "Freeze"])


def told(fence_id: str = "f-1", **fields: Any) -> dict[str, Any]:
    """The fields of a revoke or a freeze of one user."""
    return {"request_id": fence_id, "selector": {"subject": "u-7"}, "reason": INCIDENT} | fields


async def a_world(sidecar: Served) -> dict[str, str]:
    """Three runs of two tenants and users, with actions in every state; the tokens by run."""
    runs: dict[str, dict[str, Any]] = {
        "r-1": {"subject": "u-7", "agent": "mailer", "tenant": "acme", "labels": {"team": "a"}},
        "r-2": {"subject": "u-7", "agent": "buyer", "tenant": "umbra", "labels": {"team": "b"}},
        "r-3": {"subject": "u-8", "agent": "mailer", "tenant": "acme", "labels": {"team": "b"}},
    }
    tokens = {}
    for run_id, fields in runs.items():
        await sidecar.issuer("OpenRun", run_id=run_id, **fields)
        tokens[run_id] = await sidecar.grant_for(run_id, request_id=f"g-of-{run_id}")
        await sidecar.prepare(tokens[run_id], "o-prepared")
        await sidecar.permit(tokens[run_id], "o-flying")
        await sidecar.permit(tokens[run_id], "o-done")
        await sidecar.tool("SettleAction", grant_token=tokens[run_id], op_id="o-done", outcome=1)
    await sidecar.prepare(tokens["r-1"], "o-delete", action="file.delete", resource="")
    return tokens


def rows(hit: pb.Hit) -> set[tuple[str, str, int, int]]:
    """The rows of a hit, taken apart."""
    return {(row.tenant, row.action, row.prepared_count, row.in_flight_count) for row in hit.rows}


@BOTH
async def test_a_fence_stands_and_is_told_with_what_it_hits(sidecar: Served, verb: str) -> None:
    """Counted by tenant and action; the run with most in flight is the first sample."""
    tokens = await a_world(sidecar)
    await sidecar.permit(tokens["r-2"], "o-more")
    answer = await sidecar.operator(f"{verb}Grants", **told(actor="ann", note="leak"))
    fence, hit = answer.fence, answer.hit
    assert (answer.fence_id, answer.replayed, answer.run_count) == ("f-1", False, 2)
    assert (fence.fence_id, fence.state, fence.reason) == ("f-1", STANDING, INCIDENT)
    assert (fence.kind, fence.selector) == (pb.FenceKind.Value(f"FENCE_KIND_{verb.upper()}"), selector())
    assert (fence.actor, fence.note, fence.HasField("expire_time")) == ("operator:ann", "leak", False)
    assert (hit.run_count, hit.grant_count, hit.prepared_count, hit.in_flight_count) == (2, 2, 3, 3)
    assert hit.complete
    assert rows(hit) == {
        ("acme", "email.send", 1, 1),
        ("acme", "file.delete", 1, 0),
        ("umbra", "email.send", 1, 2),
    }
    samples = [(one.run_id, one.subject, one.agent, one.tenant) for one in hit.samples]
    assert samples == [("r-2", "u-7", "buyer", "umbra"), ("r-1", "u-7", "mailer", "acme")]
    counts = [(one.grant_count, one.prepared_count, one.in_flight_count) for one in hit.samples]
    assert counts == [(1, 1, 2), (1, 2, 1)]
    for run_id in ("r-1", "r-2"):
        refused = await sidecar.tool.refused("CommitAction", **commit(tokens[run_id], "o-prepared"))
        assert (refused.reason, refused.metadata["fence"]) == ("FENCED", "f-1")
    await sidecar.tool("CommitAction", **commit(tokens["r-3"], "o-prepared"))


def selector(**fields: Any) -> pb.Selector:
    """The selector of these tests, with other fields."""
    return pb.Selector(**(fields or {"subject": "u-7"}))


@BOTH
async def test_a_trial_counts_the_same_and_writes_nothing(sidecar: Served, verb: str) -> None:
    """No fence, no line, no number used up, and nobody is refused; the fence itself then hits as much."""
    tokens = await a_world(sidecar)
    state = sidecar.store.state
    before = (state.seq, len(state.fences), await sidecar.journal("_fences"))
    trial = await sidecar.operator(f"{verb}Grants", **told(validate_only=True))
    assert (state.seq, len(state.fences), await sidecar.journal("_fences")) == before
    assert (trial.fence_id, trial.HasField("fence"), trial.replayed) == ("", False, False)
    assert (await sidecar.auditor.refused("GetFence", fence_id="f-1")).reason == "FENCE_UNKNOWN"
    await sidecar.prepare(tokens["r-1"], "o-new")
    await sidecar.tool("AbandonAction", grant_token=tokens["r-1"], op_id="o-new")
    real = await sidecar.operator(f"{verb}Grants", **told())
    assert (real.run_count, real.hit) == (trial.run_count, trial.hit)


@BOTH
async def test_a_trial_of_a_bad_request_is_as_bad(sidecar: Served, verb: str) -> None:
    """It validates: that is what it is for."""
    for wrong in ({"selector": {}}, {"reason": 0}, {"request_id": "a b"}):
        refused = await sidecar.operator.refused(f"{verb}Grants", **told(validate_only=True) | wrong)
        assert refused.reason == "INVALID_REQUEST"


SELECTORS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "run": ({"run_id": "r-1"}, {"r-1"}),
    "grant": ({"grant_id": "g-of-r-2"}, {"r-2"}),
    "subject": ({"subject": "u-8"}, {"r-3"}),
    "agent": ({"agent": "mailer"}, {"r-1", "r-3"}),
    "tenant": ({"tenant": "acme"}, {"r-1", "r-3"}),
    "label": ({"labels": {"team": "b"}}, {"r-2", "r-3"}),
    "action": ({"action": "email.*"}, {"r-1", "r-2", "r-3"}),
    "all": ({"all": True}, {"r-1", "r-2", "r-3"}),
    "several": ({"agent": "mailer", "tenant": "acme", "labels": {"team": "a"}}, {"r-1"}),
    "several that never meet": ({"agent": "buyer", "tenant": "acme"}, set()),
    "an action of one tenant": ({"tenant": "acme", "action": "email.send"}, {"r-1", "r-3"}),
    "another action": ({"tenant": "acme", "action": "email.draft"}, set()),
    "a part of a name": ({"subject": "u"}, set()),
    "another letter case": ({"tenant": "Acme"}, set()),
}


@pytest.mark.parametrize("name", SELECTORS)
async def test_a_fence_refuses_what_it_selects_and_nothing_else(sidecar: Served, name: str) -> None:
    """And tells its selector back as it was given."""
    fields, hit = SELECTORS[name]
    tokens = await a_world(sidecar)
    answer = await sidecar.fence("Revoke", "f-1", **fields)
    assert answer.fence.selector == pb.Selector(**fields)
    assert answer.fence.selector == (await sidecar.auditor("GetFence", fence_id="f-1")).fence.selector
    for run_id, token in tokens.items():
        call = sidecar.tool.rpc("CommitAction")(request("CommitAction", **commit(token, "o-prepared")))
        assert ((await call.code()).name == "PERMISSION_DENIED") == (run_id in hit), run_id


@pytest.mark.parametrize(
    ("selector", "field"),
    [
        ({}, "selector"),
        ({"all": False}, "selector"),
        ({"all": True, "run_id": "r-1"}, "selector"),
        ({"all": True, "action": "*"}, "selector"),
        ({"all": True, "labels": {"a": "b"}}, "selector"),
        ({"action": "Email.*"}, "selector.action"),
        ({"action": "email*"}, "selector.action"),
        ({"action": "*.send"}, "selector.action"),
        ({"action": "email.*.send"}, "selector.action"),
        ({"action": " *"}, "selector.action"),
        ({"run_id": "r 1"}, "selector.run_id"),
        ({"run_id": "_fences"}, "selector.run_id"),
        ({"grant_id": "*"}, "selector.grant_id"),
        ({"subject": "a\nb"}, "selector.subject"),
        ({"agent": "x" * 129}, "selector.agent"),
        ({"tenant": "a\u202eb"}, "selector.tenant"),
        ({"labels": {"a=b": "c"}}, "selector.labels name"),
        ({"labels": {"": "c"}}, "selector.labels name"),
        ({"labels": {"a": "b\0"}}, "selector.labels.a"),
        ({"labels": {f"a{number}": "b" for number in range(17)}}, "selector.labels"),
    ],
    ids=str,
)
@BOTH
async def test_a_selector_names_something_or_all_and_not_both(
    sidecar: Served, verb: str, selector: dict[str, Any], field: str
) -> None:
    """A selector that was forgotten must not stop the world, and one that is wrong is not guessed at."""
    refused = await sidecar.operator.refused(f"{verb}Grants", **told(selector=selector))
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)
    assert await sidecar.journal("_fences") == []


@BOTH
async def test_a_reason_must_be_given(sidecar: Served, verb: str) -> None:
    """Whoever stops something says why."""
    for reason in (0, 99):
        refused = await sidecar.operator.refused(f"{verb}Grants", **told(reason=reason))
        assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "reason")


@pytest.mark.parametrize("text", UNCLEAN.values(), ids=UNCLEAN.keys())
@BOTH
async def test_no_text_keeps_a_fence_from_standing(sidecar: Served, verb: str, text: str) -> None:
    """What cannot be kept of a note or a name is cleaned or cut, never refused."""
    answer = await sidecar.operator(f"{verb}Grants", **told(actor=text, note=text * 400))
    assert answer.fence.state == STANDING
    assert len(answer.fence.note) <= 300
    assert answer.fence.actor.startswith("operator")
    for said in (answer.fence.note, answer.fence.actor):
        assert said.isprintable() or all(letter >= " " for letter in said)


@BOTH
async def test_no_token_is_kept_in_a_note(sidecar: Served, verb: str) -> None:
    """Pasted by mistake, it is blotted out."""
    token = await sidecar.grant()
    answer = await sidecar.operator(f"{verb}Grants", **told(actor=token, note=f"saw {token}"))
    assert token not in str(answer)
    assert token not in str(await sidecar.journal("_fences"))


@BOTH
async def test_the_same_request_is_answered_with_the_same_fence(sidecar: Served, verb: str) -> None:
    """Whatever it says now of who and why; what it stands over, and how, must be the same."""
    first = await sidecar.operator(f"{verb}Grants", **told(actor="ann", note="leak"))
    again = await sidecar.operator(f"{verb}Grants", **told(actor="bob", reason=1))
    assert (again.replayed, again.fence) == (True, first.fence)
    assert len(await sidecar.journal("_fences")) == 1
    others: list[tuple[str, dict[str, Any]]] = [
        (verb, {"selector": {"subject": "u-8"}}),
        (verb, {"selector": {"subject": "u-7", "action": "email.*"}}),
        (verb, {"selector": {"all": True}}),
        ("Freeze" if verb == "Revoke" else "Revoke", {}),
    ]
    if verb == "Freeze":
        others.append((verb, {"ttl": {"seconds": 60}}))
    for other, fields in others:
        refused = await sidecar.operator.refused(f"{other}Grants", **told(**fields))
        assert (refused.reason, refused.metadata["fence"]) == ("FENCE_EXISTS", "f-1")
    assert len(await sidecar.journal("_fences")) == 1


async def test_labels_in_another_order_are_the_same_selector(sidecar: Served) -> None:
    """A map has no order."""
    pairs = [("a", "1"), ("b", "2"), ("c", "3")]
    for some in (pairs, pairs[::-1]):
        answer = await sidecar.operator("RevokeGrants", **told(selector={"labels": dict(some)}))
    assert answer.replayed


async def test_an_id_that_is_not_given_is_made(sidecar: Served) -> None:
    """Each time another one: two fences."""
    ids = {(await sidecar.fence("Revoke", subject="u-7")).fence_id for _ in range(2)}
    assert len(ids) == 2
    assert {one.fence_id for one in (await sidecar.auditor("ListFences")).fences} == ids


FAILURES = ("standing", "recent_run_ids", "runs", "journal")


@pytest.mark.parametrize("read", FAILURES)
@BOTH
async def test_a_fence_is_answered_when_the_store_fails_after_it_stands(verb: str, read: str) -> None:
    """Its count is then a lower bound, and says so; that it stands is not in doubt."""
    store = ObstructedStore()
    async with served(store) as running:
        token = await running.grant("r-1")
        store.before[read] = raising(StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
        answer = await running.operator(f"{verb}Grants", **told(selector={"run_id": "r-1"}))
        assert (answer.fence_id, answer.fence.state) == ("f-1", STANDING)
        assert (answer.hit.complete, answer.run_count) == (False, 0)
        store.before.clear()
        refused = await running.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
        assert refused.reason == "FENCED"


@pytest.mark.parametrize("read", FAILURES)
@BOTH
async def test_a_fence_is_answered_when_the_store_is_slow_after_it_stands(verb: str, read: str) -> None:
    """Within the time of the call."""
    store = ObstructedStore()
    async with served(store, operator_timeout=0.5) as running:
        await running.grant("r-1")
        store.before[read] = lambda: asyncio.sleep(5)
        answer = await running.operator(f"{verb}Grants", **told(selector={"run_id": "r-1"}))
        assert (answer.fence_id, answer.fence.state, answer.hit.complete) == ("f-1", STANDING, False)
        store.before.clear()
        assert (await running.auditor("GetFence", fence_id="f-1")).hit.complete


@pytest.mark.parametrize("read", FAILURES)
@BOTH
async def test_a_fence_is_answered_when_counting_meets_a_defect(
    verb: str, read: str, logs: list[dict[str, Any]]
) -> None:
    """A fence that stands must not be told as an accident; the accident is in the log."""
    store = ObstructedStore()
    async with served(store) as running:
        await running.grant("r-1")
        store.before[read] = raising(RuntimeError("no such column"))
        answer = await running.operator(f"{verb}Grants", **told(selector={"run_id": "r-1"}))
        assert (answer.fence_id, answer.fence.state, answer.hit.complete) == ("f-1", STANDING, False)
        assert [event for event in logs if event["log_level"] == "error"]
        store.before.clear()


@BOTH
async def test_a_trial_that_cannot_read_says_that_its_count_is_not_complete(verb: str) -> None:
    """It is not refused: a lower bound is what it can tell."""
    store = ObstructedStore()
    async with served(store) as running:
        await running.grant("r-1")
        store.before["journal"] = raising(StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
        trial = await running.operator(f"{verb}Grants", **told(validate_only=True, selector={"all": True}))
        assert not trial.hit.complete


@BOTH
async def test_a_store_that_cannot_write_sets_no_fence(verb: str) -> None:
    """Then the refusal says so, and nothing stands."""
    store = ObstructedStore()
    async with served(store) as running:
        token = await running.grant("r-1")
        store.before[verb.lower()] = raising(StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
        assert (await running.operator.refused(f"{verb}Grants", **told())).reason == "STORE_UNAVAILABLE"
        await running.permit(token, "o-1")


async def test_a_freeze_blocks_what_comes_later_until_it_is_lifted(sidecar: Served) -> None:
    """Grants, delegations and actions; what it killed stays dead, what is issued afterwards lives."""
    before = await sidecar.grant("r-1")
    await sidecar.fence("Freeze", "f-1", run_id="r-1")
    refused = await sidecar.issuer.refused("IssueGrant", run_id="r-1", scopes=[{"action": "*"}])
    assert (refused.reason, refused.metadata["run"], refused.metadata["fence"]) == ("FENCED", "r-1", "f-1")
    answer = await sidecar.operator("LiftFence", fence_id="f-1", actor="bob", note="over")
    assert (answer.replayed, answer.fence.state) == (False, LIFTED)
    assert (answer.fence.lift_actor, answer.fence.lift_note) == ("operator:bob", "over")
    again = await sidecar.operator("LiftFence", fence_id="f-1", actor="eve")
    assert (again.replayed, again.fence) == (True, answer.fence)
    refused = await sidecar.tool.refused("PerformAction", grant_token=before, intent=intent("o-1"))
    assert refused.reason == "FENCED"
    await sidecar.permit(await sidecar.grant_for("r-1"), "o-2")


async def test_a_freeze_may_have_an_end(sidecar: Served) -> None:
    """It says when, blocks until then, and is told as expired from then on."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    fields = told(selector={"run_id": "r-1"}, ttl={"seconds": 60})
    fence = (await sidecar.operator("FreezeGrants", **fields)).fence
    assert fence.expire_time.ToMilliseconds() - fence.time.ToMilliseconds() == 60_000
    sidecar.clock.advance(59.999)
    refused = await sidecar.issuer.refused("IssueGrant", run_id="r-1", scopes=[{"action": "*"}])
    assert refused.reason == "FENCED"
    sidecar.clock.advance(0.001)
    await sidecar.permit(await sidecar.grant_for("r-1"), "o-1")
    assert (await sidecar.auditor("GetFence", fence_id="f-1")).fence.state == EXPIRED


@pytest.mark.parametrize(
    "ttl", [{}, {"seconds": -1}, {"seconds": 366 * 86400 + 1}, {"nanos": 999_999}], ids=str
)
async def test_a_freeze_lasts_at_least_a_millisecond_and_at_most_a_year(
    sidecar: Served, ttl: dict[str, int]
) -> None:
    """What is to last longer is lifted by somebody."""
    refused = await sidecar.operator.refused("FreezeGrants", **told(ttl=ttl))
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "ttl")


async def test_a_revoke_cannot_be_lifted(sidecar: Served) -> None:
    """What it killed stays dead; a fence nobody set is unknown."""
    await sidecar.fence("Revoke", "f-1", subject="u-7")
    assert (await sidecar.operator.refused("LiftFence", fence_id="f-1")).reason == "FENCE_NOT_LIFTABLE"
    assert (await sidecar.operator.refused("LiftFence", fence_id="f-2")).reason == "FENCE_UNKNOWN"
    assert (await sidecar.operator.refused("LiftFence")).metadata["field"] == "fence_id"


async def test_a_revoke_is_over_when_all_it_killed_would_have_expired(sidecar: Served) -> None:
    """A quarter of an hour at the most: grants do not live longer."""
    await sidecar.fence("Revoke", "f-1", subject="u-7")
    for seconds, state in ((899.999, STANDING), (0.001, EXPIRED)):
        sidecar.clock.advance(seconds)
        assert (await sidecar.auditor("GetFence", fence_id="f-1")).fence.state == state


async def test_fences_are_listed_the_youngest_first(sidecar: Served) -> None:
    """All of them, or those that stand."""
    assert list((await sidecar.auditor("ListFences")).fences) == []
    for number, verb in enumerate(("Revoke", "Freeze", "Freeze")):
        await sidecar.fence(verb, f"f-{number}", subject=f"u-{number}")
    await sidecar.operator("LiftFence", fence_id="f-1")
    listed = (await sidecar.auditor("ListFences")).fences
    assert [(one.fence_id, one.state) for one in listed] == [
        ("f-2", STANDING),
        ("f-1", LIFTED),
        ("f-0", STANDING),
    ]
    standing = (await sidecar.operator("ListFences", standing_only=True)).fences
    assert [one.fence_id for one in standing] == ["f-2", "f-0"]


async def test_one_fence_is_told_with_what_it_stands_over_now(sidecar: Served) -> None:
    """Only what was issued before it: what comes later is alive, or was never issued."""
    tokens = await a_world(sidecar)
    await sidecar.fence("Revoke", "f-1", subject="u-7")
    after = await sidecar.grant_for("r-1")
    await sidecar.prepare(after, "o-after")
    found = await sidecar.auditor("GetFence", fence_id="f-1")
    assert (found.hit.run_count, found.hit.grant_count, found.hit.prepared_count) == (2, 2, 3)
    await sidecar.tool("SettleAction", grant_token=tokens["r-1"], op_id="o-flying", outcome=1)
    await sidecar.cancel("r-2")
    found = await sidecar.auditor("GetFence", fence_id="f-1")
    assert (found.hit.run_count, found.hit.in_flight_count, found.hit.complete) == (2, 1, True)
    assert (found.hit.grant_count, found.hit.prepared_count) == (1, 2), (
        "the cancelled run only lands something"
    )
    refused = await sidecar.auditor.refused("GetFence", fence_id="f-9")
    assert (refused.reason, refused.metadata) == ("FENCE_UNKNOWN", {"fence": "f-9"})


@pytest.mark.parametrize("end", ["cancel", "finish", "budget"])
async def test_nothing_is_told_as_quiet_while_a_run_that_ended_may_land_something(
    sidecar: Served, end: str
) -> None:
    """Until the permit's use-by, as the run's own report says."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[{"name": "usd", "limit": 1}])
    token = await sidecar.grant_for("r-1")
    await sidecar.permit(token, "o-1")
    await sidecar.fence("Freeze", "f-1", run_id="r-1", action="file.*")
    await sidecar.fence("Freeze", "f-2", run_id="r-1", action="email.*")
    match end:
        case "cancel":
            await sidecar.cancel("r-1")
        case "finish":
            await sidecar.issuer("FinishRun", run_id="r-1")
        case "budget":
            spending = {"op_id": "s-1", "budget": "usd", "amount": 2}
            await sidecar.tool.refused("SpendBudget", grant_token=token, **spending)
    told = []
    for seconds in (0, 60):
        sidecar.clock.advance(seconds)
        hits = [(await sidecar.auditor("GetFence", fence_id=f"f-{number}")).hit for number in (1, 2)]
        assert all(one.complete and not one.grant_count for one in hits)
        told.append([one.in_flight_count for one in hits])
    assert told == [[0, 1], [0, 0]]


async def test_the_fences_have_a_journal_of_their_own(sidecar: Served) -> None:
    """Read like a run's, page by page; every fence and every lift has a line, numbered with all others."""
    assert not (await sidecar.auditor("ListEntries", run_id="_fences")).entries
    await sidecar.fence("Revoke", "f-1", tenant="acme", action="email.*")
    await sidecar.grant("r-1")
    await sidecar.operator("FreezeGrants", **told("f-2", ttl={"seconds": 60}, actor="ann", note="n"))
    await sidecar.operator("LiftFence", fence_id="f-2", actor="bob")
    answer = await sidecar.auditor("ListEntries", run_id="_fences", page_size=2)
    assert ([one.kind for one in answer.entries], answer.more) == (["REVOKED", "FROZEN"], True)
    assert {one.run_id for one in answer.entries} == {"_fences"}
    first, second = answer.entries
    assert (first.data["fence"], first.data["selector"]) == ("f-1", "tenant=acme action=email.*")
    assert (second.data["actor"], second.data["note"], second.data["reason"]) == (
        "operator:ann",
        "n",
        "INCIDENT",
    )
    assert int(second.data["expire"]) == sidecar.clock.now + 60_000
    assert second.seq > first.seq + 1
    rest = await sidecar.auditor("ListEntries", run_id="_fences", after_seq=second.seq)
    (lifted,) = rest.entries
    assert (lifted.kind, lifted.data["fence"], lifted.data["actor"]) == ("LIFTED", "f-2", "operator:bob")
    assert not rest.more


@pytest.mark.parametrize(
    "method", ["GetRun", "GetReport", "CancelRun", "OpenRun", "IssueGrant", "ExplainRefusal"]
)
async def test_no_run_has_the_name_of_that_journal(sidecar: Served, method: str) -> None:
    """It cannot be opened, cancelled or reported on."""
    await sidecar.fence("Revoke", "f-1", subject="u-7")
    caller = sidecar.issuer if method in ("OpenRun", "IssueGrant") else sidecar.operator
    refused = await caller.refused(method, run_id="_fences")
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", "run_id")


async def test_a_report_lists_the_fences_that_concern_its_run(sidecar: Served) -> None:
    """With the attempts that they refused; fences over others, and those from before it, are not in it."""
    await sidecar.fence("Revoke", "f-before", run_id="r-1")
    tokens = await a_world(sidecar)
    await sidecar.fence("Revoke", "f-1", subject="u-7", action="email.*")
    await sidecar.fence("Freeze", "f-2", subject="u-8")
    await sidecar.tool.refused("CommitAction", **commit(tokens["r-1"], "o-prepared"))
    await sidecar.tool.refused("CommitAction", **commit(tokens["r-1"], "o-flying"))
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert [one.fence_id for one in report.fences] == ["f-1"]
    late = [
        (one.op_id, errors_pb2.ErrorReason.Name(one.reason), one.prior_decision)
        for one in report.late_attempts
    ]
    assert late == [("o-prepared", "ERROR_REASON_FENCED", 0), ("o-flying", "ERROR_REASON_FENCED", 4)]
    assert [one.op_id for one in report.interrupted] == ["o-prepared"]
    assert [one.op_id for one in report.pending] == ["o-delete"]
