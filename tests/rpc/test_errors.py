"""Every error is a google.rpc.Status with one ErrorInfo, and every reason has its row."""

import re
from typing import Any

import grpc
import pytest

from countermand.v1 import (
    action_service_pb2,
    errors_pb2,
    grant_service_pb2,
    journal_service_pb2,
    undo_service_pb2,
)
from grant_service.core.action import ActionState
from grant_service.core.duty import DutyKind, DutyState
from grant_service.core.errors import _EXPLANATIONS, ErrorReason, Refusal, Refused
from grant_service.core.run import RunState, StopReason
from grant_service.core.scope import MAX_ACTION, MAX_RESOURCE, Reversibility
from grant_service.core.store import Durability
from grant_service.rpc.errors import ALARMS, CODES
from grant_service.rpc.limits import MAX_NAME, MAX_NOTE
from grant_service.rpc.roles import Role
from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import Served, commit, intent, served

#: What a client takes in metadata unless it is told otherwise: above 8 KiB it may refuse. This one does.
STRICT = {"grpc.max_metadata_size": 8192, "grpc.absolute_max_metadata_size": 8192}

#: A letter that takes four bytes in UTF-8: the longest texts in their widest form.
WIDE = "\U0001d518"


def names(enum: Any, prefix: str) -> set[str]:
    """The members of an enum of the contract, without its zero and its prefix."""
    return {name.removeprefix(prefix) for name, number in enum.items() if number}


@pytest.mark.parametrize(
    ("core", "proto", "prefix"),
    [
        (ErrorReason, errors_pb2.ErrorReason, "ERROR_REASON_"),
        (StopReason, errors_pb2.StopReason, "STOP_REASON_"),
        (ActionState, action_service_pb2.ActionState, "ACTION_STATE_"),
        (DutyKind, undo_service_pb2.DutyKind, "DUTY_KIND_"),
        (DutyState, undo_service_pb2.DutyState, "DUTY_STATE_"),
        (RunState, grant_service_pb2.RunState, "RUN_STATE_"),
        (Reversibility, action_service_pb2.Reversibility, "REVERSIBILITY_"),
        (Durability, journal_service_pb2.Durability, "DURABILITY_"),
    ],
)
def test_the_enums_of_the_core_have_the_members_of_the_contract(core: Any, proto: Any, prefix: str) -> None:
    """Names are translated by adding a prefix, so they must be the same."""
    assert set(core.__members__) == {member.value for member in core} == names(proto, prefix)


def test_every_reason_has_a_code_and_an_explanation() -> None:
    """One row each: a reason without one would be answered as INTERNAL."""
    assert set(CODES) == set(ErrorReason) == set(_EXPLANATIONS)
    assert grpc.StatusCode.OK not in CODES.values()
    assert grpc.StatusCode.UNKNOWN not in CODES.values()
    assert set(ErrorReason) >= ALARMS


@pytest.mark.parametrize("reason", ErrorReason)
async def test_every_reason_reaches_its_caller_with_its_values(
    sidecar: Served, monkeypatch: pytest.MonkeyPatch, reason: ErrorReason
) -> None:
    """Code, reason, and each dynamic value of the sentence in the metadata too."""
    values = {name: f"value-of-{name}" for name in re.findall(r"{(\w+)}", _EXPLANATIONS[reason])}

    async def refuse(_: Any) -> Refusal:
        return Refusal(reason, values)

    monkeypatch.setattr(sidecar.store, "open", refuse)
    refused = await sidecar.issuer.refused("OpenRun")
    assert (refused.reason, refused.code, refused.metadata) == (reason.value, CODES[reason], values)
    assert all(value in refused.message for value in values.values())
    assert "?" not in refused.message
    assert "\n" not in refused.message


async def test_a_store_that_fails_is_told_by_its_own_reason() -> None:
    """A Refused that is raised and one that is returned look the same from outside."""
    store = ObstructedStore()
    store.before["open"] = raising(Refused(ErrorReason.STORE_UNAVAILABLE, cause="it is gone"))
    async with served(store) as running:
        refused = await running.issuer.refused("OpenRun")
    assert (refused.reason, refused.metadata) == ("STORE_UNAVAILABLE", {"cause": "it is gone"})


async def test_the_longest_texts_fit_in_the_metadata_of_every_client(sidecar: Served) -> None:
    """A refusal that carries all texts at their longest, four bytes a letter, arrives whole in 8 KiB."""
    run, child, request_id, op_id = ("r" * 64, "c" * 64, "g" * 64, "o" * 64)
    action, resource = "a" * MAX_ACTION, "m:" + "x" * (MAX_RESOURCE - 2)
    await sidecar.issuer("OpenRun", run_id=run)
    await sidecar.issuer("OpenRun", run_id=child, parent_run_id=run)
    issued = await sidecar.issuer("IssueGrant", run_id=child, request_id=request_id, scopes=[{"action": "*"}])
    token = issued.grant_token
    await sidecar.tool("PerformAction", grant_token=token, intent=intent(op_id, action, resource))
    texts = {"actor": WIDE * MAX_NAME, "note": WIDE * MAX_NOTE, "tag": WIDE * MAX_NAME}
    await sidecar.cancel(run, **texts)
    tool = sidecar.caller(Role.TOOL, **STRICT)
    for method, fields in (
        ("CommitAction", commit(token, op_id)),
        ("PrepareAction", {"grant_token": token, "intent": intent(op_id, action, resource)}),
        ("PerformAction", {"grant_token": token, "intent": intent(op_id, action, resource)}),
    ):
        refused = await tool.refused(method, **fields)
        assert refused.reason == "REVOKED"
        assert refused.metadata["note"] == texts["note"]
        assert refused.metadata["actor"] == f"operator:{texts['actor']}"
        assert refused.metadata["tag"] == texts["tag"]
        assert refused.metadata["resource"] == resource
    await tool.channel.close()


async def test_a_scope_that_forbids_the_longest_resource_fits_too(sidecar: Served) -> None:
    """The resource is in the sentence and in the metadata, and the sentence goes out twice."""
    token = await sidecar.grant("r" * 64, {"action": "only.this"}, request_id="g" * 64)
    tool = sidecar.caller(Role.TOOL, **STRICT)
    wanted = intent("o" * 64, "a" * 128, "m:" + "%7B" * 170)
    refused = await tool.refused("PrepareAction", grant_token=token, intent=wanted)
    assert (refused.reason, refused.metadata["resource"]) == ("OUT_OF_SCOPE", wanted["resource"])
    await tool.channel.close()


async def test_metadata_over_the_limit_is_what_this_client_refuses(sidecar: Served) -> None:
    """The control of the two tests above: their client does refuse what is too large."""
    tool = sidecar.caller(Role.TOOL, **dict.fromkeys(STRICT, 600))
    token = await sidecar.grant("r-1", {"action": "only.this"})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tool("PrepareAction", grant_token=token, intent=intent("o-1", resource="m:" + "x" * 510))
    assert "metadata size exceeds" in caught.value.details()
    await tool.channel.close()
