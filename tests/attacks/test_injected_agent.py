"""Attack: an agent talked into it asks for more, hides one action behind another, or names another run."""

from typing import Any

import grpc
import pytest

from countermand.v1 import action_service_pb2 as action_pb
from tests.rpc.support import Served, commit, digest, intent, read_error, request

PATH = "/countermand.v1.ActionService/PerformAction"


async def test_an_agent_cannot_ask_for_a_broader_grant(sidecar: Served) -> None:
    """Its token opens no door of the issuer's, and there is no way to widen a grant that is there."""
    token = await sidecar.grant("r-1", {"action": "email.send"})
    for method, fields in (
        ("IssueGrant", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
        ("OpenRun", {"parent_run_id": "r-1"}),
    ):
        assert (await sidecar.tool.refused(method, **fields)).reason == "ROLE_NOT_ALLOWED"
    wide = {"grant_token": token, "scopes": [{"action": "*"}]}
    assert (await sidecar.tool.refused("DelegateGrant", **wide)).reason == "GRANT_TOO_WIDE"
    refused = await sidecar.tool.refused(
        "PerformAction", grant_token=token, intent=intent("o-1", "file.delete")
    )
    assert refused.reason == "OUT_OF_SCOPE"
    assert await sidecar.refusals() == [("delegate", "GRANT_TOO_WIDE"), ("perform", "OUT_OF_SCOPE")]


async def test_a_grant_says_what_it_allows_or_is_not_issued(sidecar: Served) -> None:
    """Default deny: no scope is no grant, and a second request under the same name widens nothing."""
    await sidecar.issuer("OpenRun", run_id="r-1")
    assert (await sidecar.issuer.refused("IssueGrant", run_id="r-1")).reason == "INVALID_REQUEST"
    narrow = {"run_id": "r-1", "request_id": "g-1", "scopes": [{"action": "email.send"}]}
    token = (await sidecar.issuer("IssueGrant", **narrow)).grant_token
    for wide in ({"scopes": [{"action": "*"}]}, {"ttl": {"seconds": 900}}, {"audience": "other"}):
        assert (await sidecar.issuer.refused("IssueGrant", **narrow | wide)).reason == "GRANT_EXISTS"
    assert (await sidecar.issuer("IssueGrant", **narrow)).grant_token == token


async def test_two_intents_in_one_message_are_one_action(sidecar: Served) -> None:
    """There are no batches: what is permitted is the one that is written down, asked about as a whole."""
    token = await sidecar.grant("r-1", {"action": "email.send"})
    good = request("PerformAction", grant_token=token, intent=intent("o-good", "email.send"))
    bad = request("PerformAction", grant_token=token, intent=intent("o-bad", "file.delete"))
    both = (good, bad), (bad, good)
    for first, second in both:
        merged = first.SerializeToString() + second.SerializeToString()
        wanted = action_pb.PerformActionRequest.FromString(merged).intent
        call = sidecar.tool.channel.unary_unary(PATH)(merged)
        if wanted.action == "file.delete":
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert read_error(caught.value).reason == "OUT_OF_SCOPE"
        else:
            permit = action_pb.PerformActionResponse.FromString(await call).permit
            assert permit.op_id == wanted.op_id == "o-good"
    permitted = [entry.op_id for entry in await sidecar.journal() if entry.kind == "PERMITTED"]
    assert permitted == ["o-good"]


async def test_an_action_prepared_as_harmless_cannot_be_committed_as_another(sidecar: Served) -> None:
    """The commit names the op_id and the digest; all else is as it was prepared."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1", "email.draft"))
    smuggled = request("CommitAction", **commit(token, "o-1")).SerializeToString()
    smuggled += request("PerformAction", intent=intent("o-1", "file.delete")).SerializeToString()
    call = sidecar.tool.channel.unary_unary("/countermand.v1.ActionService/CommitAction")(smuggled)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # field 2 is the op_id there and the intent here: no text, or no op_id
    assert read_error(caught.value).reason == "INVALID_REQUEST"
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert [(action.action, action.op_id) for action in report.pending] == [("email.draft", "o-1")]


@pytest.mark.parametrize("name", ["run_id", "run", "parent_run_id"])
async def test_an_action_lands_in_the_run_of_its_token_whatever_it_names(sidecar: Served, name: str) -> None:
    """Fields that are not in the contract say nothing, and metadata says nothing either."""
    await sidecar.grant("r-victim")
    token = await sidecar.grant("r-mine")
    before = await sidecar.journal("r-victim")
    unknown = b"\xa2\x06" + bytes([8]) + b"r-victim"  # a text in field 100
    message = request("PerformAction", grant_token=token, intent=intent("o-1")).SerializeToString() + unknown
    metadata = ((name.replace("_", "-"), "r-victim"), ("x-countermand-run", "r-victim"))
    answer = await sidecar.tool.channel.unary_unary(PATH)(message, metadata=metadata)
    assert action_pb.PerformActionResponse.FromString(answer).permit.op_id == "o-1"
    assert [entry.op_id for entry in await sidecar.journal("r-mine") if entry.kind == "PERMITTED"] == ["o-1"]
    assert await sidecar.journal("r-victim") == before


@pytest.mark.parametrize("declared", [1, 2, 3], ids=["read-only", "reversible", "compensable"])
async def test_the_class_of_effects_is_bound_with_the_action(sidecar: Served, declared: int) -> None:
    """What was prepared as irreversible is not made harmless by preparing it again under the same op_id."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    again: dict[str, Any] = intent("o-1", reversibility=declared, digest=digest())
    refused = await sidecar.tool.refused("PrepareAction", grant_token=token, intent=again)
    assert refused.reason == "OP_ID_CONFLICT"
    assert await sidecar.refusals() == [("prepare", "OP_ID_CONFLICT")]
