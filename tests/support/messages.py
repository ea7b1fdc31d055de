"""The requests that tests send, and a refusal as it comes back: generated messages, nothing of the client."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import control_service_pb2 as control_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from countermand.v1 import journal_service_pb2 as journal_pb
from countermand.v1 import undo_service_pb2 as undo_pb

DIGEST = hashlib.sha256(b"{}").digest()
ACTION, RESOURCE = "email.send", "mailto:team@example.com"


@dataclass(frozen=True)
class Refusal:
    """Why a call was refused: by the service if it has a reason, by the way to it if it has none."""

    code: str
    message: str
    reason: str = ""
    details: dict[str, str] = field(default_factory=dict)


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Read a refusal; one that the service made must carry exactly one ErrorInfo, of this domain."""
    status = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if status is None:
        return Refusal(error.code().name, error.details() or "")
    told = Status.FromString(status)
    (detail,) = told.details
    info = ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "countermand"
    return Refusal(error.code().name, told.message, info.reason, dict(info.metadata))


def seconds(value: float | None) -> Duration | None:
    """Write a length of time."""
    if value is None:
        return None
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


def open_run(run: str, parent: str = "", ttl: float | None = None) -> grant_pb.OpenRunRequest:
    """Open a run."""
    return grant_pb.OpenRunRequest(run_id=run, parent_run_id=parent, agent="mailer", ttl=seconds(ttl))


def issue(
    run: str,
    action: str = "*",
    ttl: float | None = None,
    uses: int = 0,
    audience: str = "",
    request: str = "",
) -> grant_pb.IssueGrantRequest:
    """Issue a grant with one scope."""
    scope = grant_pb.Scope(action=action, max_uses=uses)
    return grant_pb.IssueGrantRequest(
        run_id=run, request_id=request, audience=audience, scopes=[scope], ttl=seconds(ttl)
    )


def intent(
    op: str, digest: bytes = DIGEST, action: str = ACTION, resource: str = RESOURCE
) -> action_pb.Intent:
    """Intend to send a letter."""
    kind = action_pb.REVERSIBILITY_IRREVERSIBLE
    return action_pb.Intent(op_id=op, action=action, resource=resource, digest=digest, reversibility=kind)


def prepare(
    token: str, op: str, digest: bytes = DIGEST, action: str = ACTION, ttl: float | None = None
) -> action_pb.PrepareActionRequest:
    """Prepare an action."""
    told = intent(op, digest, action)
    return action_pb.PrepareActionRequest(grant_token=token, intent=told, ttl=seconds(ttl))


def commit(
    token: str, op: str, digest: bytes = DIGEST, within: float | None = None
) -> action_pb.CommitActionRequest:
    """Commit a prepared action."""
    return action_pb.CommitActionRequest(
        grant_token=token, op_id=op, digest=digest, use_within=seconds(within)
    )


def perform(
    token: str, op: str, digest: bytes = DIGEST, action: str = ACTION, within: float | None = None
) -> action_pb.PerformActionRequest:
    """Prepare and commit at once."""
    told = intent(op, digest, action)
    return action_pb.PerformActionRequest(grant_token=token, intent=told, use_within=seconds(within))


def settle(
    token: str, op: str, outcome: str = "SUCCEEDED", receipt: str = "msg-1"
) -> action_pb.SettleActionRequest:
    """Say what became of an action."""
    kind = action_pb.Outcome.Value(f"OUTCOME_{outcome}")
    return action_pb.SettleActionRequest(grant_token=token, op_id=op, outcome=kind, receipt=receipt)


def cancel(run: str, reason: str = "USER_STOP", note: str = "") -> control_pb.CancelRunRequest:
    """Cancel a run."""
    kind = errors_pb2.StopReason.Value(f"STOP_REASON_{reason}")
    return control_pb.CancelRunRequest(run_id=run, reason=kind, actor="ann", note=note)


def undoable(token: str, op: str, by: str = "undo") -> action_pb.PerformActionRequest:
    """Do what a compensation of this name can undo."""
    request = perform(token, op, within=60)
    request.intent.reversibility = action_pb.REVERSIBILITY_COMPENSABLE
    request.intent.compensation = by
    return request


def claim(worker: str = "w-1", lease: float | None = None) -> undo_pb.ClaimDutyRequest:
    """Claim what that compensation can undo."""
    return undo_pb.ClaimDutyRequest(worker=worker, compensations=["undo"], lease=seconds(lease))


def held(duty: undo_pb.Duty) -> dict[str, Any]:
    """Name a duty as whoever has claimed it does."""
    return {"run_id": duty.run_id, "op_id": duty.op_id, "kind": duty.kind, "lease_id": duty.lease_id}


def resolve(run: str, op: str, outcome: str = "SUCCEEDED") -> control_pb.ResolveActionRequest:
    """Say what became of an action."""
    kind = action_pb.Outcome.Value(f"OUTCOME_{outcome}")
    return control_pb.ResolveActionRequest(run_id=run, op_id=op, outcome=kind, evidence="looked")


PERMITTED_PARTS = ("done", "in_flight", "unknown")
OTHER_PARTS = ("not_done", "pending")


def listed(report: journal_pb.Report, *parts: str) -> dict[str, journal_pb.ReportedAction]:
    """Pick the actions of some parts of a report, by their op_id."""
    return {action.op_id: action for part in parts for action in getattr(report, part)}
