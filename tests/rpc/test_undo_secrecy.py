"""What a compensation is called with, and the lease that lets one speak of it, are nobody else's business."""

import io
from typing import Any

import grpc
import pytest

from tests.rpc.stores import ObstructedStore, raising
from tests.rpc.support import ManualClock, Served, intent, read_error, served
from tests.rpc.test_log import listen
from tests.rpc.test_log import logs as logs_as_configured
from tests.rpc.undoing import claim, held, settled

logs = logs_as_configured

PREPARED, LEARNT = "canary-of-prepare-4711", "canary-of-settle-4712"


class Listener:
    """Calls, whatever comes of it, and keeps what everybody but the holder of the duty got to see."""

    def __init__(self, running: Served) -> None:
        self.running, self.seen = running, list[str]()

    async def __call__(self, role: str, method: str, /, **fields: Any) -> None:
        """Call and listen."""
        try:
            self.seen.append(repr(await getattr(self.running, role)(method, **fields)))
        except grpc.aio.AioRpcError as error:
            self.seen.append(f"{error!r} {error.trailing_metadata()!r} {read_error(error)!r}")


async def play(running: Served, store: ObstructedStore, token: str) -> tuple[list[str], list[str]]:
    """Undo with everything that can go wrong; tell what was seen, and which leases there were."""
    say = Listener(running)
    wanted = intent("o-1", reversibility=3, compensation="undo", compensation_args=f'{{"key":"{PREPARED}"}}')
    await say("tool", "PrepareAction", grant_token=token, intent=wanted)
    await say("tool", "PrepareAction", grant_token=token, intent=wanted | {"compensation_args": "{}"})
    await say("tool", "CommitAction", grant_token=token, op_id="o-1", digest=wanted["digest"])
    await settled(running, token, "o-1", compensation_args=f'{{"id":"{LEARNT}"}}')
    await running.cancel()
    await say("operator", "UndoRun", run_id="r-1", validate_only=True)
    await say("operator", "UndoRun", run_id="r-1")
    leases = []
    for method in ("FailDuty", "RenewDuty", "CompleteDuty"):
        running.clock.advance(60)
        store._clock.advance(60)
        duty = await claim(running, compensations=["undo"])
        assert PREPARED in duty.args
        assert LEARNT in duty.args
        leases.append(duty.lease_id)
        for verb in ("claim", "fail", "renew", "complete"):
            store.before[verb] = raising(RuntimeError("a defect"))
        await say("compensator", method, **held(duty))
        store.before.clear()
        for lease_id in leases:
            await say("compensator", method, **held(duty) | {"lease_id": lease_id})
        await say("compensator", "ClaimDuty", compensations=["undo"])
        for bad in ("", "no such lease", duty.lease_id * 9):
            await say("compensator", method, **held(duty) | {"lease_id": bad})
    for method in ("GetReport", "GetRun", "ListEntries"):
        await say("auditor", method, run_id="r-1")
    await say("auditor", "ExplainRefusal", run_id="r-1", op_id="o-1")
    await say("operator", "WithdrawUndo", run_id="r-1", op_ids=["o-1"])
    return say.seen, leases


async def test_arguments_and_leases_are_in_nothing_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs at the level debug, errors with metadata, journal and reports; only the duty itself has them."""
    store = ObstructedStore(ManualClock())
    said = listen(io.StringIO(), monkeypatch, "debug")
    async with served(store) as running:
        seen, leases = await play(running, store, await running.grant())
        journal = repr(await running.journal())
        assert PREPARED in repr(store.state.actions)  # the control: the store does have them
    texts = {"log": said.getvalue(), "journal": journal, "answers": "\n".join(seen)}
    assert texts["log"].count("Traceback") >= 3
    for reason in ("LEASE_LOST", "INTERNAL", "INVALID_REQUEST", "OP_ID_CONFLICT", "UNDONE"):
        assert reason in texts["answers"] + texts["journal"]
    secrets = [PREPARED, LEARNT, *leases]
    assert len(set(leases)) == 3
    assert [(where, one) for where, text in texts.items() for one in secrets if one in text] == []
