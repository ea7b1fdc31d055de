"""The session: calls that travel together are decided as those that travel alone."""

import asyncio
from typing import Any

import grpc
import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import session_service_pb2 as pb
from grant_service.rpc.roles import Role
from tests.rpc.sessions import PATH, reason, session
from tests.rpc.stores import ObstructedStore
from tests.rpc.support import Served, commit, intent, read_error, served, until


def perform(token: str, op_id: str) -> dict[str, Any]:
    """Perform an action in a session."""
    return {"perform": action_pb.PerformActionRequest(grant_token=token, intent=intent(op_id))}


async def test_every_call_of_a_message_is_answered_by_itself(sidecar: Served) -> None:
    """Those that are permitted and those that are refused, each with its own id."""
    token = await sidecar.grant("r-1", {"action": "email.*"})
    other = {"perform": action_pb.PerformActionRequest(grant_token=token, intent=intent("o-2", "pay.out"))}
    async with session(sidecar.tool) as opened:
        first, second, third = await opened.ask(perform(token, "o-1"), other, perform("", "o-3"))
    assert first.perform.permit.op_id == "o-1"
    assert [reason(one.refusal) for one in (second, third)] == ["OUT_OF_SCOPE", "TOKEN_MISSING"]


async def test_a_whole_life_travels_in_a_session(sidecar: Served) -> None:
    """Prepare, commit, settle; prepare, abandon; spend."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[{"name": "coins", "limit": 5}])
    token = await sidecar.grant_for("r-1")
    prepared = [
        {"prepare": action_pb.PrepareActionRequest(grant_token=token, intent=intent(op))} for op in "ab"
    ]
    settle = action_pb.SettleActionRequest(grant_token=token, op_id="a", outcome=1, receipt="m-1")
    spend = action_pb.SpendBudgetRequest(grant_token=token, op_id="s", budget="coins", amount=2)
    abandon = action_pb.AbandonActionRequest(grant_token=token, op_id="b")
    async with session(sidecar.tool) as opened:
        one, two = await opened.ask(*prepared)
        permitted, spent = await opened.ask(
            {"commit": action_pb.CommitActionRequest(**commit(token, "a"))}, {"spend": spend}
        )
        settled, abandoned = await opened.ask({"settle": settle}, {"abandon": abandon})
    assert (one.prepare.op_id, two.prepare.op_id) == ("a", "b")
    assert permitted.commit.permit.fence > one.prepare.seq
    assert spent.spend.remaining == 3
    assert settled.settle.state == action_pb.ACTION_STATE_SUCCEEDED
    assert abandoned.abandon.op_id == "b"


async def test_a_refusal_says_what_it_says_of_a_call_that_travels_alone(sidecar: Served) -> None:
    """Reason, sentence and particulars: whoever reads the one can read the other."""
    token = await sidecar.grant()
    await sidecar.cancel(note="no more")
    alone = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-1"))
    async with session(sidecar.tool) as opened:
        together = await opened.refused(**perform(token, "o-1"))
    assert (reason(together), together.message) == (alone.reason, alone.message)
    assert dict(together.metadata) == alone.metadata


async def test_a_late_commit_is_refused_in_a_session_too(sidecar: Served) -> None:
    """What was prepared over the stream falls on the floor with the run."""
    token = await sidecar.grant()
    async with session(sidecar.tool) as opened:
        await opened.ask({"prepare": action_pb.PrepareActionRequest(grant_token=token, intent=intent("o"))})
        await sidecar.cancel()
        late = await opened.refused(commit=action_pb.CommitActionRequest(**commit(token, "o")))
    assert reason(late) == "REVOKED"
    assert await sidecar.refusals() == [("commit", "REVOKED")]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR, Role.COMPENSATOR])
async def test_who_has_no_calls_in_a_session_may_not_open_one(sidecar: Served, role: Role) -> None:
    """The socket says who it is, also here."""
    call = sidecar.callers[role].channel.stream_stream(PATH)()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert read_error(caught.value).reason == "ROLE_NOT_ALLOWED"


async def test_an_issuer_watches_and_does_not_act(sidecar: Served) -> None:
    """It may open a session; each call in it is allowed to whom it is allowed alone."""
    token = await sidecar.grant()
    async with session(sidecar.issuer) as opened:
        refused = await opened.refused(**perform(token, "o-1"))
        assert (reason(refused), refused.metadata["rpc"]) == (
            "ROLE_NOT_ALLOWED",
            "ActionService.PerformAction",
        )
        await opened.watch(run_id="r-1")
    assert [one.kind for one in await sidecar.journal()] == ["OPENED", "ISSUED"]


async def test_a_call_that_asks_nothing_is_refused(sidecar: Served) -> None:
    """A later client may ask what this sidecar does not know."""
    async with session(sidecar.tool) as opened:
        refused = await opened.refused()
    assert (reason(refused), refused.metadata["field"]) == ("INVALID_REQUEST", "request")


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff",
        pb.OpenSessionRequest(
            calls=[pb.SessionCall(call_id=7, unwatch=pb.UnwatchRunRequest()) for _ in range(2)]
        ).SerializeToString(),
        pb.OpenSessionRequest(calls=[pb.SessionCall(call_id=one) for one in range(513)]).SerializeToString(),
    ],
    ids=["junk", "one id twice", "too many"],
)
async def test_what_cannot_be_told_apart_ends_the_session(sidecar: Served, frame: bytes) -> None:
    """No answer could be matched any more; the client comes back with a new one."""
    async with session(sidecar.tool) as opened:
        await opened.call.write(frame)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened.to_the_end()
    assert read_error(caught.value).reason == "INVALID_REQUEST"
    async with session(sidecar.tool):
        pass


async def test_a_decision_outlives_its_session() -> None:
    """Who asked has gone; what was asked is decided all the same, and the next one is told so."""
    store = ObstructedStore()
    go = asyncio.Event()
    store.before["perform"] = go.wait
    async with served(store) as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            await opened.send(perform(token, "o-1"))
            await until(lambda: _is(store, "perform"))
        go.set()
        del store.before["perform"]
        again = await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1"))
    assert again.permit.replayed


async def _is(store: ObstructedStore, verb: str) -> bool:
    return verb in store.entered


async def test_a_late_decision_is_answered_in_time_and_once() -> None:
    """`Do not act, ask again` comes when the time is over; what is decided later is not told as well."""
    store = ObstructedStore()
    go = asyncio.Event()
    store.before["perform"] = go.wait
    async with served(store, decision_timeout=0.2) as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            slow, slower = await opened.ask(perform(token, "o-1"), perform(token, "o-2"), timeout_ms=50)
            assert {reason(slow.refusal), reason(slower.refusal)} == {"TIMED_OUT"}
            go.set()
            await opened.ask({"unwatch": pb.UnwatchRunRequest()})
            assert await opened.silent()


async def test_more_calls_than_slots_are_refused_at_once() -> None:
    """A message may hold more than may be under way; the others are decided."""
    store = ObstructedStore()
    go = asyncio.Event()
    store.before["perform"] = go.wait
    async with served(store, max_calls=4) as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            ids = await opened.send(*(perform(token, f"o-{index}") for index in range(6)))
            while len(opened.answers) < 2:
                assert await opened.read()
            assert {reason(opened.answers[one].refusal) for one in ids[4:]} == {"OVERLOADED"}
            go.set()
            while len(opened.answers) < 6:
                assert await opened.read()
            assert all(opened.answers[one].WhichOneof("answer") == "perform" for one in ids[:4])


async def test_a_session_ends_when_the_sidecar_stops() -> None:
    """What is under way is answered first, what comes then refused; nobody waits for the client to leave."""
    async with served() as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            await opened.ask(perform(token, "o-1"))
            async with asyncio.timeout(5):
                await sidecar.sidecar.stop()
            while await opened.read():
                pass


async def test_what_is_decided_when_the_sidecar_stops_is_told() -> None:
    """Two decisions end one after the other while it drains: nobody is left without his answer."""
    store = ObstructedStore()
    gates = [asyncio.Event(), asyncio.Event()]

    async def wait() -> None:
        await gates[store.entered.count("perform") - 1].wait()

    store.before["perform"] = wait
    async with served(store) as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            ids = await opened.send(perform(token, "o-1"), perform(token, "o-2"))
            await until(lambda: _twice(store))
            stopping = asyncio.create_task(sidecar.sidecar.stop())
            await asyncio.sleep(0.05)
            for gate in gates:
                gate.set()
                await asyncio.sleep(0)
            while await opened.read():
                pass
            await stopping
        assert all(opened.answers[one].WhichOneof("answer") == "perform" for one in ids)


async def _twice(store: ObstructedStore) -> bool:
    return store.entered.count("perform") == 2


async def test_an_id_may_be_used_again_once_it_was_answered() -> None:
    """What is decided late for the first is not told to the second."""
    store = ObstructedStore()
    go = asyncio.Event()
    store.before["perform"] = go.wait
    async with served(store) as sidecar:
        token = await sidecar.grant()
        async with session(sidecar.tool) as opened:
            call = pb.SessionCall(call_id=7, timeout_ms=30, **perform(token, "o-1"))
            await opened.call.write(pb.OpenSessionRequest(calls=[call]).SerializeToString())
            assert await opened.read()
            assert reason(opened.answers.pop(7).refusal) == "TIMED_OUT"
            spend = action_pb.SpendBudgetRequest(grant_token=token, op_id="s", budget="none", amount=1)
            go.set()
            again = pb.SessionCall(call_id=7, spend=spend)
            await opened.call.write(pb.OpenSessionRequest(calls=[again]).SerializeToString())
            assert await opened.read()
            assert opened.answers[7].WhichOneof("answer") in ("spend", "refusal")
            assert await opened.silent()


async def test_what_is_answered_at_one_moment_comes_in_one_message(sidecar: Served) -> None:
    """That is what the session is for: the cost is by the message."""
    token = await sidecar.grant()
    async with session(sidecar.tool) as opened:
        await opened.ask(*(perform(token, f"o-{index}") for index in range(64)))
        assert opened.frames <= 4, "the first says that it is ready"


async def test_what_is_at_work_is_shown_while_the_session_lasts(sidecar: Served) -> None:
    """By whoever holds a grant; for the run and those above it; the last word counts, and none is none."""
    await sidecar.issuer("OpenRun", run_id="r-0")
    await sidecar.issuer("OpenRun", run_id="r-1", parent_run_id="r-0")
    token = await sidecar.grant_for("r-1")
    nodes = [{"name": "agent", "kind": "scope", "state": "RUNNING"}, {"depth": 1, "name": "think"}]

    def showing(*told: dict[str, Any]) -> dict[str, Any]:
        return {"show": pb.ShowWorkRequest(grant_token=token, process="p", nodes=told)}

    async def seen(run_id: str) -> list[list[str]]:
        works = (await sidecar.auditor("GetWork", run_id=run_id)).works
        return [[node.name for node in one.nodes] for one in works]

    async with session(sidecar.tool) as opened:
        await opened.ask(showing(*nodes))
        assert await seen("r-1") == await seen("r-0") == [["agent", "think"]]
        await opened.ask(showing(nodes[0]))
        assert await seen("r-1") == [["agent"]]
        await opened.ask(showing())
        assert await seen("r-1") == []
        await opened.ask(showing(*nodes))
    await until(lambda: _none(seen("r-1")))


async def _none(seen: Any) -> bool:
    return await seen == []


@pytest.mark.parametrize(
    "nodes",
    [
        [{"name": "a"}] * 201,
        [{"name": "a\nb"}],
        [{"name": "a"}, {"name": "b", "depth": 2}],
        [{"name": "a", "state": "x" * 200}],
    ],
    ids=["too many", "two lines", "no tree", "too long"],
)
async def test_what_is_shown_is_checked(sidecar: Served, nodes: list[dict[str, Any]]) -> None:
    """People read it on a terminal."""
    token = await sidecar.grant()
    async with session(sidecar.tool) as opened:
        refused = await opened.refused(show=pb.ShowWorkRequest(grant_token=token, nodes=nodes))
    assert reason(refused) == "INVALID_REQUEST"
