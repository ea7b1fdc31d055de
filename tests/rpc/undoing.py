"""What the tests of undo share: effects that can be undone, and what a compensator says about them."""

from typing import Any

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import undo_service_pb2 as pb
from tests.rpc.support import Served, intent

#: An effect with a compensation, and every function of the compensators of these tests.
UNDOABLE = {"reversibility": action_pb.REVERSIBILITY_COMPENSABLE, "compensation": "email.recall"}
ALL = {"compensations": ["email.recall"], "cancellers": ["job.stop"], "probes": ["email.sent"]}

UNDO, CALL_OFF, ASK = pb.DUTY_KIND_UNDO, pb.DUTY_KIND_CALL_OFF, pb.DUTY_KIND_ASK


async def happened(running: Served, token: str, op_id: str, /, **fields: Any) -> None:
    """Let an effect happen that can be undone; `fields` are those of its settle."""
    await running.tool("PerformAction", grant_token=token, intent=intent(op_id, **UNDOABLE))
    await settled(running, token, op_id, **fields)


async def settled(running: Served, token: str, op_id: str, outcome: int = 1, /, **fields: Any) -> None:
    """Say what became of an action."""
    told = {"grant_token": token, "op_id": op_id, "outcome": outcome}
    await running.tool("SettleAction", **told, **fields)


async def began(running: Served, token: str, op_id: str, handle: str = "job-7") -> None:
    """Let the outside world accept a job that it has not done yet."""
    await running.tool("PerformAction", grant_token=token, intent=intent(op_id))
    await settled(running, token, op_id, handle=handle, canceller="job.stop")


async def went_silent(running: Served, token: str, op_id: str) -> None:
    """Let a tool that has its permit never say what became of it; a probe can tell."""
    await running.tool("PerformAction", grant_token=token, intent=intent(op_id, probe="email.sent"))


async def undone_run(running: Served, *op_ids: str, run_id: str = "r-1") -> None:
    """Leave a cancelled run all of whose effects are to be undone."""
    token = await running.grant(run_id)
    for op_id in op_ids:
        await happened(running, token, op_id)
    await running.cancel(run_id)
    await running.operator("UndoRun", run_id=run_id)


async def claim(running: Served, worker: str = "", /, **fields: Any) -> Any:
    """Claim what there is, with every function unless told otherwise; None if there is nothing."""
    answer = await running.compensator("ClaimDuty", worker=worker, **(fields or ALL))
    return answer.duty if answer.HasField("duty") else None


def held(duty: Any, **fields: Any) -> dict[str, Any]:
    """The fields by which whoever has claimed a duty speaks of it."""
    told = {"run_id": duty.run_id, "op_id": duty.op_id, "kind": duty.kind, "lease_id": duty.lease_id}
    return told | {"job": duty.job} | fields


async def reported(running: Served, op_id: str, run_id: str = "r-1") -> journal_pb.ReportedAction:
    """How the report tells an action now."""
    report = (await running.auditor("GetReport", run_id=run_id)).report
    parts = (report.done, report.interrupted, report.in_flight, report.unknown, report.not_done)
    (found,) = (one for part in parts for one in part if one.op_id == op_id)
    return found


async def state(running: Served, op_id: str, run_id: str = "r-1") -> str:
    """The state of an action in its report, in one word."""
    number = (await reported(running, op_id, run_id)).state
    return action_pb.ActionState.Name(number).removeprefix("ACTION_STATE_")
