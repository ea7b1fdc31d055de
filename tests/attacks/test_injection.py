"""Attack: texts that forge lines of a log, command a terminal, or fill whatever has room."""

import json
from typing import Any

import pytest

from grant_service.core import compile
from grant_service.core.journal import MAX_REFUSALS_KEPT
from grant_service.core.lifecycle import questions
from grant_service.rpc.roles import Role
from tests.rpc.support import Caller, Served, cancel, intent, request, served
from tests.rpc.test_decode import UNCLEAN
from tests.support.sidecar import sidecar_running

FORGED = 'x"}\n{"event": "store", "level": "info", "well": true}\n'
TEXTS = [*UNCLEAN.values(), FORGED, "\x1b]0;owned\x07", "\x1b[2J", "\u202etxt.exe", "a\x00b", "\x9b31m"]


def places(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every field of every RPC that holds a text, an id or a name."""
    scopes = [{"action": "*"}]
    return [
        *(("issuer", "OpenRun", {field: text}) for field in ("run_id", "parent_run_id", "subject", "agent")),
        ("issuer", "OpenRun", {"tenant": text}),
        ("issuer", "OpenRun", {"labels": {text: "x"}}),
        ("issuer", "OpenRun", {"labels": {"x": text}}),
        *(
            ("issuer", "IssueGrant", {"run_id": "r-1", "scopes": scopes} | {field: text})
            for field in ("run_id", "request_id", "audience")
        ),
        ("issuer", "IssueGrant", {"run_id": "r-1", "scopes": [{"action": text}]}),
        ("issuer", "IssueGrant", {"run_id": "r-1", "scopes": [{"action": "*", "resource": text}]}),
        ("issuer", "FinishRun", {"run_id": text}),
        ("issuer", "FinishRun", {"run_id": "r-1", "note": text}),
        ("operator", "CancelRun", cancel(run_id=text)),  # its other texts are cleaned: see tests/rpc
        *(("auditor", method, {"run_id": text}) for method in ("GetRun", "GetReport", "ListEntries")),
        *(("auditor", "ListRuns", {field: text}) for field in ("subject", "agent", "tenant", "page_token")),
        ("tool", "CommitAction", {"grant_token": text}),
        ("tool", "CommitAction", {"grant_token": "TOKEN", "op_id": text, "digest": bytes(32)}),
        *(
            ("tool", "SettleAction", {"grant_token": "TOKEN", "op_id": "o-1", "outcome": 1} | {field: text})
            for field in ("op_id", "receipt", "note")
        ),
        ("tool", "AbandonAction", {"grant_token": "TOKEN", "op_id": "o-1", "note": text}),
        *(
            ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1") | {field: text}})
            for field in ("op_id", "action", "resource", "compensation", "summary")
        ),
        ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1", costs={text: 1})}),
        ("tool", "SpendBudget", {"grant_token": "TOKEN", "op_id": text, "budget": "usd", "amount": 1}),
        ("tool", "SpendBudget", {"grant_token": "TOKEN", "op_id": "s-1", "budget": text, "amount": 1}),
        *(
            ("tool", "DelegateGrant", {"grant_token": "TOKEN", "scopes": scopes} | fields)
            for fields in (
                {"request_id": text},
                {"audience": text},
                {"budgets": [{"name": text, "limit": 1}]},
                *({"child_run": {field: text}} for field in ("run_id", "agent")),
                *({"child_run": {"labels": labels}} for labels in ({text: "x"}, {"x": text})),
            )
        ),
        *(
            ("operator", "FreezeGrants", {"reason": 6, "selector": {field: text}})
            for field in ("run_id", "grant_id", "subject", "agent", "tenant", "action")
        ),
        ("operator", "RevokeGrants", {"reason": 6, "selector": {"labels": {"x": text}}}),
        ("operator", "RevokeGrants", {"reason": 6, "selector": {"all": True}, "request_id": text}),
        ("operator", "LiftFence", {"fence_id": "f-1", "note": text}),
        *(
            ("operator", "ApproveAction", {"run_id": "r-1", "op_id": "o-1", "digest": bytes(32)} | fields)
            for fields in ({"op_id": text}, {"note": text}, {"amendment": text, "amended_digest": bytes(32)})
        ),
        ("operator", "DenyAction", {"run_id": "r-1", "op_id": text}),
        ("auditor", "GetFence", {"fence_id": text}),
        *(("auditor", "ExplainRefusal", {field: text}) for field in ("run_id", "grant_id")),
    ]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text)[:24])
async def test_an_unclean_text_gets_in_nowhere(
    sidecar: Served, logs: list[dict[str, Any]], text: str
) -> None:
    """Refused in every field, without an echo in the answer, and not a letter of it in journal or log."""
    token = await sidecar.grant()
    before = sidecar.store.state.seq
    logs.clear()
    for role, method, fields in places(text):
        if fields.get("grant_token") == "TOKEN":
            fields = fields | {"grant_token": token}
        refused = await getattr(sidecar, role).refused(method, **fields)
        assert refused.reason in ("INVALID_REQUEST", "TOKEN_MALFORMED")
        assert refused.message.isprintable()
        assert text not in repr(refused.metadata.values())
    assert sidecar.store.state.seq == before
    assert all(str(value).isprintable() for event in logs for value in event.values())


async def test_no_line_of_a_real_log_is_forged() -> None:
    """One JSON object a line, in ASCII, and only events of the sidecar's own."""
    with sidecar_running(log_level="debug", store="memory") as handle:
        callers = {role.value: Caller(handle.target(role.value)) for role in Role}
        for text in (FORGED, "\x1b[2J", "\u202e"):
            for role, method, fields in places(text):
                call = callers[role].rpc(method)(request(method, **fields), timeout=10)
                await call.code()
        for caller in callers.values():
            await caller.channel.close()
        handle.terminate()
        lines = handle.err.splitlines()
    assert len(lines) > 50
    assert handle_is_clean(lines)


def handle_is_clean(lines: list[str]) -> bool:
    """Whether each line is a JSON object of one of our events."""
    events = [json.loads(line) for line in lines]
    assert all(line.isascii() and line.isprintable() for line in lines)
    # A store that is well is no news: any such line would be a forged one.
    return {event["event"] for event in events} == {"refused", "stopped"}


@pytest.mark.parametrize("field", ["note", "actor", "tag"])
async def test_a_reason_as_large_as_a_book_is_cut(sidecar: Served, field: str) -> None:
    """What is beyond a message is refused by the transport; the rest stops the run and is cut."""
    await sidecar.grant()
    call = sidecar.operator.rpc("CancelRun")(request("CancelRun", **cancel(**{field: "x" * 1_000_000})))
    assert (await call.code()).name == "RESOURCE_EXHAUSTED"
    assert sidecar.store.state.runs["r-1"].state == "ACTIVE"
    end = (await sidecar.cancel(**{field: "x" * 60_000})).report.run.end
    assert len(getattr(end, field)) <= 320


async def test_refused_calls_cannot_fill_the_journal(
    sidecar: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many are written down (a thousand; fewer here), the rest is counted, and the report says so."""
    assert MAX_REFUSALS_KEPT == 1000
    for module in (questions, compile):
        monkeypatch.setattr(module, "MAX_REFUSALS_KEPT", 30)
    token = await sidecar.grant("r-1", {"action": "allowed"})
    for number in range(40):
        await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent(f"o-{number}"))
    report = (await sidecar.cancel()).report
    assert len(await sidecar.refusals()) == 30
    assert report.run.refusal_count == 40
    assert "40 refused calls" in " ".join(report.gaps)


async def test_a_runaway_tool_cannot_fill_the_store() -> None:
    """A run has so many actions and no more; others are not touched by it."""
    async with served(max_actions=50) as running:
        token = await running.grant()
        for number in range(50):
            await running.tool("PerformAction", grant_token=token, intent=intent(f"o-{number}"))
        refused = await running.tool.refused("PerformAction", grant_token=token, intent=intent("o-50"))
        assert (refused.reason, refused.metadata["limit"]) == ("RUN_FULL", "50")
        assert await running.refusals() == [("perform", "RUN_FULL")]
        other = await running.grant("r-2")
        assert (await running.tool("PerformAction", grant_token=other, intent=intent("o-1"))).permit.fence
