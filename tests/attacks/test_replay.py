"""Attack: a token and an op_id that were used are used again."""

import asyncio

import grpc
import pytest

from tests.rpc.support import Served, commit, intent


async def test_a_committed_action_is_accepted_once_however_often_it_is_sent(sidecar: Served) -> None:
    """A hundred copies at once: one permit, the others are that one and say so; one line in the journal."""
    token = await sidecar.grant("r-1", {"action": "*", "max_uses": 2})
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    answers = await asyncio.gather(
        *(sidecar.tool("CommitAction", **commit(token, "o-1")) for _ in range(100))
    )
    assert sorted(answer.permit.replayed for answer in answers) == [False, *[True] * 99]
    assert len({answer.permit.fence for answer in answers}) == 1
    assert [entry.kind for entry in await sidecar.journal()].count("PERMITTED") == 1
    # A replay took no use from the grant: the second one is still there, and only that one.
    assert (await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-2"))).permit.fence
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-3"))
    assert refused.reason == "USES_EXHAUSTED"


async def test_a_replay_gets_what_is_left_of_the_first_permit_and_no_more(sidecar: Served) -> None:
    """Sending it again does not keep the door open: the use-by is that of the first answer."""
    token = await sidecar.grant()
    first = await sidecar.permit(token, "o-1")
    sidecar.clock.advance(3)
    again = (await sidecar.tool("CommitAction", **commit(token, "o-1"))).permit
    assert again.use_by_time == first.use_by_time
    assert first.use_within.ToMilliseconds() - again.use_within.ToMilliseconds() == 3000
    sidecar.clock.advance(2)
    refused = await sidecar.tool.refused("CommitAction", **commit(token, "o-1", use_within={"seconds": 60}))
    assert refused.reason == "ALREADY_PERMITTED"


async def test_a_settled_action_gets_no_second_permit(sidecar: Served) -> None:
    """Its effect is on record: a permit now would be for a second one. Refused, and journalled."""
    token = await sidecar.grant()
    await sidecar.permit(token, "o-1")
    await sidecar.tool("SettleAction", grant_token=token, op_id="o-1", outcome=1)
    for method, fields in (
        ("CommitAction", commit(token, "o-1")),
        ("PerformAction", {"grant_token": token, "intent": intent("o-1")}),
        ("PrepareAction", {"grant_token": token, "intent": intent("o-1")}),
    ):
        refused = await sidecar.tool.refused(method, **fields)
        assert (refused.reason, refused.code) == ("ALREADY_SETTLED", grpc.StatusCode.FAILED_PRECONDITION)
    assert await sidecar.refusals() == [
        (verb, "ALREADY_SETTLED") for verb in ("commit", "perform", "prepare")
    ]


@pytest.mark.parametrize("changed", ["action", "resource", "digest", "reversibility", "compensation"])
async def test_an_op_id_that_was_used_names_no_other_action(sidecar: Served, changed: str) -> None:
    """Nor one that differs in anything: refused, journalled, and alarmed."""
    token = await sidecar.grant()
    await sidecar.permit(token, "o-1")
    other = {
        "action": "file.delete",
        "resource": "",
        "digest": bytes(32),
        "reversibility": 1,
        "compensation": "c",
    }
    told = intent("o-1") | {changed: other[changed]}
    for method in ("PerformAction", "PrepareAction"):
        assert (await sidecar.tool.refused(method, grant_token=token, intent=told)).reason == "OP_ID_CONFLICT"
    assert await sidecar.refusals() == [("perform", "OP_ID_CONFLICT"), ("prepare", "OP_ID_CONFLICT")]
