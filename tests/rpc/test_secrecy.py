"""A canary: one whole story with all that can go wrong in it, and the token in nothing that comes of it."""

import base64
import io
import traceback
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc

from grant_service import log
from grant_service.app import random_id
from grant_service.core.errors import Refused
from grant_service.rpc.decode import Decoder
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from grant_service.tokens.keys import load_or_create
from grant_service.tokens.verify import Verifier
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Caller, cancel, commit, intent, read_error, request, served
from tests.rpc.test_log import listen
from tests.rpc.test_log import logs as logs_as_configured
from tests.support.sidecar import sidecar_running
from tests.tokens.support import token as minted

logs = logs_as_configured

#: Fields in which a confused caller might put a token.
CONFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("issuer", "OpenRun", {"run_id": "TOKEN"}),
    ("issuer", "OpenRun", {"subject": "TOKEN"}),
    ("issuer", "OpenRun", {"labels": {"TOKEN": "x"}}),
    ("issuer", "OpenRun", {"labels": {"x": "TOKEN"}}),
    ("issuer", "IssueGrant", {"run_id": "r-1", "audience": "TOKEN", "scopes": [{"action": "*"}]}),
    ("issuer", "IssueGrant", {"run_id": "r-1", "scopes": [{"action": "TOKEN"}]}),
    ("issuer", "FinishRun", {"run_id": "r-1", "note": "TOKEN"}),
    ("operator", "CancelRun", cancel(note="TOKEN")),
    ("operator", "CancelRun", cancel(actor="TOKEN")),
    ("operator", "CancelRun", cancel(tag="TOKEN")),
    ("auditor", "GetReport", {"run_id": "TOKEN"}),
    ("auditor", "ListRuns", {"page_token": "TOKEN"}),
    ("auditor", "ListRuns", {"subject": "TOKEN"}),
    ("tool", "SettleAction", {"grant_token": "TOKEN", "op_id": "TOKEN", "outcome": 1}),
    ("tool", "SettleAction", {"grant_token": "TOKEN", "op_id": "o-1", "outcome": 1, "receipt": "TOKEN"}),
    ("tool", "AbandonAction", {"grant_token": "TOKEN", "op_id": "o-1", "note": "TOKEN"}),
    ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": {"op_id": "o-1", "action": "TOKEN"}}),
    ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1", compensation="TOKEN")}),
    ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1", summary="TOKEN")}),
    ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1", costs={"TOKEN": 1})}),
    ("tool", "SpendBudget", {"grant_token": "TOKEN", "op_id": "s-1", "budget": "TOKEN", "amount": 1}),
    *(
        ("tool", "DelegateGrant", {"grant_token": "TOKEN", "scopes": [{"action": "*"}]} | fields)
        for fields in (
            {"request_id": "TOKEN"},
            {"audience": "TOKEN"},
            {"scopes": [{"action": "*", "resource": "TOKEN"}]},
            {"budgets": [{"name": "TOKEN", "limit": 1}]},
            {"child_run": {"run_id": "TOKEN"}},
            {"child_run": {"agent": "TOKEN"}},
            {"child_run": {"labels": {"x": "TOKEN"}}},
        )
    ),
    ("issuer", "ExtendGrant", {"grant_token": "TOKEN"}),
    ("operator", "RevokeGrants", {"reason": 6, "selector": {"grant_id": "TOKEN"}}),
    ("operator", "FreezeGrants", {"reason": 6, "selector": {"subject": "TOKEN"}}),
    ("operator", "FreezeGrants", {"reason": 6, "selector": {"action": "TOKEN"}}),
    ("operator", "LiftFence", {"fence_id": "TOKEN"}),
    ("operator", "LiftFence", {"fence_id": "f-1", "note": "TOKEN"}),
    ("operator", "ApproveAction", {"run_id": "r-1", "op_id": "o-1", "digest": bytes(32), "note": "TOKEN"}),
    (
        "operator",
        "ApproveAction",
        {"run_id": "r-1", "op_id": "o-1", "digest": bytes(32), "amended_digest": bytes(32)}
        | {"amendment": "IN JSON"},
    ),
    *(
        ("tool", "PrepareAction", {"grant_token": "TOKEN", "intent": intent("o-1", **fields)})
        for fields in ({"compensation": "u", "compensation_args": "IN JSON"}, {"probe": "TOKEN"})
    ),
    *(
        ("tool", "SettleAction", {"grant_token": "TOKEN", "op_id": "o-1", "outcome": 1} | fields)
        for fields in (
            {"handle": "TOKEN", "canceller": "c"},
            {"handle": "h", "canceller": "TOKEN"},
            {"compensation_args": "IN JSON"},
        )
    ),
    ("operator", "ResolveAction", {"run_id": "r-1", "op_id": "o-1", "outcome": 1, "evidence": "TOKEN"}),
    ("operator", "UndoRun", {"run_id": "r-1", "op_ids": ["TOKEN"]}),
    ("operator", "WithdrawUndo", {"run_id": "r-1", "op_ids": ["TOKEN"]}),
    *(
        ("compensator", "ClaimDuty", {names: ["TOKEN"]})
        for names in ("compensations", "cancellers", "probes")
    ),
    *(
        ("compensator", method, {"run_id": "r-1", "op_id": "o-1", "kind": 1, "lease_id": "TOKEN"})
        for method in ("RenewDuty", "CompleteDuty", "FailDuty")
    ),
    ("auditor", "ExplainRefusal", {"grant_id": "TOKEN"}),
    ("auditor", "GetFence", {"fence_id": "TOKEN"}),
]

#: Texts of calls that no text may stop: what is kept of them is no token.
CLEANED: list[tuple[str, str, dict[str, Any]]] = [
    ("operator", "RevokeGrants", {"reason": 6, "selector": {"subject": "x"}, "note": "TOKEN"}),
    ("operator", "FreezeGrants", {"reason": 6, "selector": {"subject": "x"}, "actor": "TOKEN"}),
    ("operator", "DenyAction", {"run_id": "r-1", "op_id": "o-waits", "note": "TOKEN", "actor": "TOKEN"}),
    ("operator", "WithdrawUndo", {"run_id": "r-1", "op_ids": ["o-1"], "note": "TOKEN", "actor": "TOKEN"}),
    ("compensator", "ClaimDuty", {"worker": "TOKEN", "compensations": ["undo"]}),
]


class Story:
    """Plays with a token, and keeps all that anybody got to see of it."""

    def __init__(self, callers: dict[Role, Caller], token: str) -> None:
        self.callers, self.token = callers, token
        self.seen: list[str] = []
        #: The tokens it got on its way, by handing on the first one.
        self.got: list[str] = []

    async def told(self, role: str, method: str, **fields: Any) -> None:
        """Call, whatever comes of it, and keep what came."""
        fields = put(self.token, fields)
        try:
            answer = await self.callers[Role(role)](method, **fields)
            if method == "DelegateGrant":
                self.got.append(answer.grant_token)
                answer.ClearField("grant_token")  # the one place where it is to be
            self.seen.append(repr(answer))
        except grpc.aio.AioRpcError as error:
            self.seen.append(f"{error!r} {error.trailing_metadata()!r} {read_error(error)!r}")

    async def play(self) -> None:
        """Issue, prepare, commit, settle; then everything that is refused; then the stop and its report."""
        told = {"grant_token": self.token}
        await self.told("tool", "PrepareAction", **told, intent=intent("o-1"))
        await self.told("tool", "CommitAction", **commit(self.token, "o-1"))
        await self.told("tool", "CommitAction", **commit(self.token, "o-1"))
        await self.told("tool", "PerformAction", **told, intent=intent("o-2"))
        await self.told("tool", "SettleAction", **told, op_id="o-1", outcome=1, receipt="m-1")
        await self.told("tool", "AbandonAction", **told, op_id="o-2")
        await self.told("tool", "CommitAction", **commit(self.token, "o-9"))
        await self.told("tool", "CommitAction", **commit(self.token, "o-2", digest=bytes(32)))
        await self.told("tool", "PerformAction", **told, intent=intent("o-3", "Not.An.Action"))
        careful = [{"action": "*", "approval_from": 1}]
        await self.told("tool", "DelegateGrant", **told, scopes=careful, child_run={"run_id": "r-child"})
        await self.told("tool", "DelegateGrant", **told, scopes=careful, request_id="g-careful")
        for got in self.got:
            await self.told("tool", "PrepareAction", grant_token=got, intent=intent("o-waits"))
            await self.told("tool", "CommitAction", **commit(got, "o-waits"))
            await self.told("tool", "SpendBudget", grant_token=got, op_id="s-1", budget="usd", amount=1)
        await self.told("auditor", "ListApprovals")
        for token in (self.token, *self.got):
            for bad in damaged(token):
                await self.told("tool", "CommitAction", **commit(bad, "o-1"))
                await self.told("tool", "DelegateGrant", grant_token=bad, scopes=careful)
        fence = {"selector": {"run_id": "r-child"}, "reason": 6, "request_id": "f-1"}
        await self.told("operator", "FreezeGrants", **fence)
        for got in list(self.got):
            await self.told("tool", "CommitAction", **commit(got, "o-waits"))
            await self.told("tool", "DelegateGrant", grant_token=got, scopes=[{"action": "*"}])
        await self.told("auditor", "ExplainRefusal", run_id="r-child", op_id="o-waits")
        await self.told("auditor", "GetFence", fence_id="f-1")
        for role, method, fields in CLEANED:
            await self.told(role, method, **fields)
        for role, method, fields in CONFUSED:
            await self.told(role, method, **fields)
        for role in ("issuer", "operator", "auditor"):
            await self.told(role, "CommitAction", **commit(self.token, "o-1"))
        await self.told("operator", "CancelRun", **cancel(note="stop"))
        await self.told("tool", "CommitAction", **commit(self.token, "o-2"))
        await self.told("tool", "PrepareAction", **told, intent=intent("o-4"))
        for method in ("GetReport", "GetRun", "ListEntries"):
            await self.told("auditor", method, run_id="r-1")
        await self.told("auditor", "ListRuns")
        await self.told("auditor", "ListEntries", run_id=self.token)
        health = health_pb2_grpc.HealthStub(self.callers[Role.AUDITOR].channel)
        self.seen.append(repr(await health.Check(health_pb2.HealthCheckRequest(service="store"))))


def put(token: str, told: Any) -> Any:
    """Write the token wherever a story says TOKEN."""
    if isinstance(told, dict):
        return {put(token, name): put(token, value) for name, value in told.items()}
    if isinstance(told, list):
        return [put(token, value) for value in told]
    return (
        {"TOKEN": token, "IN JSON": f'{{"a":"{token}"}}'}.get(told, told) if isinstance(told, str) else told
    )


def damaged(token: str) -> list[str]:
    """Tokens that are refused, each for another reason, and each with most of the good one in it."""
    header, payload, signature = token.split(".")
    other = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    turned = signature[:5] + ("A" if signature[5] != "A" else "B") + signature[6:]
    return [
        *(token[:-1], token + "=", token * 20, f"Bearer {token}", f"{header}.{payload}.", f"{token}.{token}"),
        *(
            f"{other}.{payload}.{signature}",
            f"{header}.{payload}.{turned}",
            f"{header}.{signature}.{payload}",
        ),
    ]


def canaries(token: str, home: Path) -> list[str]:
    """What must not be seen: the token, the part that says all, the part that proves it, and the key."""
    _, payload, signature = token.split(".")
    key = load_or_create(home / "keys").signing.private_key
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    pem = (home / "keys").glob("*.pem")
    lines = [line for path in pem for line in path.read_text().splitlines() if not line.startswith("-")]
    encoded = [raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    return [token, payload, payload[20:60], signature, signature[:24], signature[-24:], *lines, *encoded]


@pytest.mark.parametrize("kind", ["issued", "delegated"])
@pytest.mark.filterwarnings("default")
async def test_the_token_is_in_nothing_that_is_said(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Answers, errors, metadata, journal, report, health, and every line of the log, defects included."""
    store = ObstructedStore()
    said = listen(io.StringIO(), monkeypatch, "debug")
    # What callers say of a stop is logged as it is kept, without tokens; the net has a mark of its own.
    monkeypatch.setattr(log, "without_tokens", lambda text: log._TOKEN.sub("[caught by the net]", text))
    async with served(store) as running:
        first = await running.grant()
        token = first if kind == "issued" else (await running.delegate(first)).grant_token
        story = Story(running.callers, token)
        for verb in ("prepare", "commit", "settle"):
            store.before[verb] = raising(RuntimeError("a defect"))
            await story.told("tool", "PrepareAction", grant_token=token, intent=intent("o-1"))
            await story.told("tool", "CommitAction", **commit(token, "o-1"))
            await story.told("tool", "SettleAction", grant_token=token, op_id="o-1", outcome=1)
        store.before.clear()
        await story.play()
        journal = repr(await running.journal()) + repr(vars(store.state))
        assert len(story.got) >= 2
        secrets = [one for held in {first, token, *story.got} for one in canaries(held, running.home)]
    texts = {"log": said.getvalue(), "journal": journal, "answers": "\n".join(story.seen)}
    assert texts["log"].count("Traceback") >= 3
    assert "[token]" in texts["log"], "nothing was kept of what callers said of a stop"
    assert "[caught by the net]" not in texts["log"], (
        "somebody logs tokens, and only the last net caught them"
    )
    assert texts["answers"].count("INVALID_REQUEST") >= len(CONFUSED)
    for reason in ("TOKEN_MALFORMED", "TOKEN_UNTRUSTED", "TOKEN_TOO_LARGE", "INTERNAL", "REVOKED", "FENCED"):
        assert reason in texts["answers"]
    found = [(where, secret) for where, text in texts.items() for secret in secrets if secret in text]
    assert found == []


async def test_the_token_is_in_nothing_that_a_process_leaves() -> None:
    """Standard output, standard error, the files of the store: the real process, at the level debug."""
    with sidecar_running(log_level="debug") as handle:
        callers = {role: Caller(handle.target(role.value)) for role in Role}
        await callers[Role.ISSUER]("OpenRun", run_id="r-1")
        issued = await callers[Role.ISSUER]("IssueGrant", run_id="r-1", scopes=[{"action": "*"}])
        story = Story(callers, issued.grant_token)
        await story.play()
        for caller in callers.values():
            await caller.channel.close()
        assert len(story.got) >= 2
        held = (issued.grant_token, *story.got)
        secrets = [secret for one in held for secret in canaries(one, handle.home)]
        assert handle.terminate() == 0
        texts = {"out": handle.out.encode(), "err": handle.err.encode(), "answers": repr(story.seen).encode()}
        for path in sorted((handle.home / "data").iterdir()):
            texts[path.name] = path.read_bytes()
        assert b"r-1" in texts["countermand.db"]
        assert b"refused" in texts["err"]
        found = [(where, one) for where, text in texts.items() for one in secrets if one.encode() in text]
        assert found == []


@pytest.mark.parametrize("number", range(9))
def test_no_exception_holds_the_token_it_refuses(number: int, tmp_path: Path) -> None:
    """Nor do those it hangs on: a crash reporter prints them all."""
    tmp_path.chmod(0o700)
    keyring = load_or_create(tmp_path / "keys")
    token = minted(keyring=keyring)
    bad = damaged(token)[number]
    decoder = Decoder(Settings(home=tmp_path), Role.TOOL, Verifier(keyring).verify, random_id)
    with pytest.raises(Refused) as caught:
        decoder.commit(request("CommitAction", **commit(bad, "o-1")))
    told = "".join(traceback.format_exception(caught.value)) + repr(chain(caught.value))
    found = [secret for secret in canaries(token, tmp_path) if secret in told]
    assert found == []


def chain(error: BaseException | None) -> list[Any]:
    """An exception and all it hangs on, with their arguments."""
    held: list[Any] = []
    while error:
        held += [error, error.args, getattr(error, "refusal", None), getattr(error, "object", None)]
        error = error.__cause__ or error.__context__
    return held


def test_the_canary_is_found_where_it_is(tmp_path: Path) -> None:
    """The control: what these tests search for is really what a leak would hold."""
    tmp_path.chmod(0o700)
    keyring = load_or_create(tmp_path / "keys")
    token = minted(keyring=keyring)
    secrets = canaries(token, tmp_path)
    assert len(secrets) == 10
    assert all(len(secret) >= 20 for secret in secrets)
    for leak in (f"{token!r}", f"Bearer {token}", token[30:], token.rpartition(".")[2]):
        assert any(secret in leak for secret in secrets)
