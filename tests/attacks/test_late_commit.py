"""Attack: a commit after the cancel returned, by any way in, or held in flight across it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from grant_service.app import Sidecar
from grant_service.rpc.roles import Role
from grant_service.settings import Settings
from tests.attacks.wire import HeldCall
from tests.rpc.support import METHODS, Caller, Served, commit, intent, read_error, request, short_home


async def test_a_commit_after_the_cancel_returned_is_refused_within_no_time_at_all(sidecar: Served) -> None:
    """The clock stands still: there is no grace. Same connection, new connection, every verb."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("prepared"))
    await sidecar.permit(token, "permitted")
    await sidecar.cancel()
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("CommitAction", commit(token, "prepared")),
        ("CommitAction", commit(token, "permitted")),
        ("PerformAction", {"grant_token": token, "intent": intent("permitted")}),
        ("PerformAction", {"grant_token": token, "intent": intent("new")}),
        ("PrepareAction", {"grant_token": token, "intent": intent("new")}),
    ]
    new = sidecar.caller(Role.TOOL)
    for caller in (sidecar.tool, new):
        for method, fields in attempts:
            refused = await caller.refused(method, **fields)
            assert refused.reason == "REVOKED"
            prior = "PERMITTED" if "permitted" in str(fields) else None
            assert refused.metadata.get("prior_decision") == prior
    await new.channel.close()
    assert await sidecar.refusals() == [(m[: -len("Action")].lower(), "REVOKED") for m, _ in attempts] * 2
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert (report.late_attempt_count, len(report.late_attempts)) == (10, 10)


async def test_a_cancelled_run_cannot_be_had_again(sidecar: Served) -> None:
    """Not opened, not granted for, not put under a living one."""
    await sidecar.grant()
    await sidecar.cancel()
    for method, fields in (
        ("OpenRun", {"run_id": "r-1"}),
        ("OpenRun", {"run_id": "r-2", "parent_run_id": "r-1"}),
        ("IssueGrant", {"run_id": "r-1", "scopes": [{"action": "*"}]}),
        ("FinishRun", {"run_id": "r-1"}),
    ):
        assert (await sidecar.issuer.refused(method, **fields)).reason == "REVOKED"


@asynccontextmanager
async def neighbour(first: Served) -> AsyncIterator[Caller]:
    """Another sidecar on the same store, with the same keys: the way its tools get in."""
    with short_home() as home:
        shutil.copytree(first.home / "keys", home / "keys")
        second = await Sidecar.start(Settings(home=home, store="memory"), store=first.store)
        caller = Caller(f"unix:{home}/run/tool.sock")
        try:
            yield caller
        finally:
            await caller.channel.close()
            await second.stop()


async def test_a_commit_through_another_sidecar_is_refused_too(sidecar: Served) -> None:
    """It has the token in its cache of verified ones; the store decides all the same."""
    token = await sidecar.grant()
    async with neighbour(sidecar) as other:
        for op_id in ("o-1", "o-2"):
            await other("PrepareAction", grant_token=token, intent=intent(op_id))
        assert (await other("CommitAction", **commit(token, "o-1"))).permit.fence
        await sidecar.cancel()
        for op_id in ("o-1", "o-2"):
            assert (await other.refused("CommitAction", **commit(token, op_id))).reason == "REVOKED"


async def test_a_call_that_began_before_the_cancel_and_sends_its_request_after_is_refused(
    sidecar: Served,
) -> None:
    """Its headers are in, its message is not: what counts is when the store is asked."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    method, gate = METHODS["CommitAction"], asyncio.Event()
    path = f"/{method.containing_service.full_name}/CommitAction"

    async def held() -> AsyncIterator[bytes]:
        await gate.wait()
        yield request("CommitAction", **commit(token, "o-1")).SerializeToString()

    call = sidecar.tool.channel.stream_unary(path)(held())
    await asyncio.sleep(0.05)
    await sidecar.cancel()
    gate.set()
    with pytest.raises(Exception) as caught:  # noqa: PT011 - read_error says what it must be
        await call
    assert read_error(caught.value).reason == "REVOKED"
    assert await sidecar.refusals() == [("commit", "REVOKED")]


@pytest.mark.parametrize("sent", [0, 1, 4, 5, 6, 50, -1], ids=lambda sent: f"{sent}-bytes")
async def test_a_frame_held_open_across_the_cancel_is_refused(sidecar: Served, sent: int) -> None:
    """Byte by byte: the last one arrives after the cut, or the answer was in the report."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    async with held_commit(sidecar, token) as call:
        await call.send(sent % len(call.frame))
        report = (await sidecar.cancel()).report
        assert [action.op_id for action in report.interrupted] == ["o-1"]
        await call.send(len(call.frame))
        assert await call.answer() == b""
    assert await sidecar.refusals() == [("commit", "REVOKED")]


async def test_a_held_frame_that_no_cancel_crosses_is_accepted(sidecar: Served) -> None:
    """The control of the test above: such a call works, so it was the cancel that refused it."""
    token = await sidecar.grant()
    await sidecar.tool("PrepareAction", grant_token=token, intent=intent("o-1"))
    async with held_commit(sidecar, token) as call:
        await call.send(5)
        await call.send(len(call.frame))
        assert b"o-1" in await call.answer()
    assert [entry.kind for entry in await sidecar.journal()][-1] == "PERMITTED"


def held_commit(sidecar: Served, token: str) -> AbstractAsyncContextManager[HeldCall]:
    """A commit whose frame is still to be sent."""
    message = request("CommitAction", **commit(token, "o-1")).SerializeToString()
    path = "/countermand.v1.ActionService/CommitAction"
    return HeldCall.begin(Path(f"{sidecar.home}/run/tool.sock"), path, message)
