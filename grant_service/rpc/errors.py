"""A refusal as a gRPC status: one table, one screen."""

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from grpc_status import rpc_status

from grant_service.core.errors import ErrorReason, Refusal, explain

DOMAIN = "countermand"

CODES: dict[ErrorReason, StatusCode] = {
    # Fix the call.
    ErrorReason.INVALID_REQUEST: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ROLE_NOT_ALLOWED: StatusCode.PERMISSION_DENIED,
    ErrorReason.VERB_NOT_SERVED: StatusCode.UNIMPLEMENTED,
    ErrorReason.TOKEN_MISSING: StatusCode.UNAUTHENTICATED,
    ErrorReason.TOKEN_TOO_LARGE: StatusCode.UNAUTHENTICATED,
    ErrorReason.TOKEN_MALFORMED: StatusCode.UNAUTHENTICATED,
    ErrorReason.TOKEN_UNTRUSTED: StatusCode.UNAUTHENTICATED,
    ErrorReason.WRONG_AUDIENCE: StatusCode.PERMISSION_DENIED,
    ErrorReason.WRONG_GRANT: StatusCode.PERMISSION_DENIED,
    ErrorReason.RUN_UNKNOWN: StatusCode.NOT_FOUND,
    ErrorReason.RUN_EXISTS: StatusCode.ALREADY_EXISTS,
    ErrorReason.RUN_TOO_DEEP: StatusCode.FAILED_PRECONDITION,
    ErrorReason.GRANT_EXISTS: StatusCode.ALREADY_EXISTS,
    ErrorReason.ACTION_UNKNOWN: StatusCode.NOT_FOUND,
    ErrorReason.OP_ID_CONFLICT: StatusCode.ALREADY_EXISTS,
    ErrorReason.DIGEST_MISMATCH: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ALREADY_PERMITTED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ALREADY_SETTLED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ACTION_ABANDONED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.NEVER_PERMITTED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.PREPARE_EXPIRED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ANSWER_TOO_LARGE: StatusCode.OUT_OF_RANGE,
    ErrorReason.GRANT_TOO_WIDE: StatusCode.PERMISSION_DENIED,
    ErrorReason.GRANT_TOO_DEEP: StatusCode.FAILED_PRECONDITION,
    ErrorReason.GRANT_SEALED: StatusCode.PERMISSION_DENIED,
    ErrorReason.FENCE_EXISTS: StatusCode.ALREADY_EXISTS,
    ErrorReason.FENCE_UNKNOWN: StatusCode.NOT_FOUND,
    ErrorReason.FENCE_NOT_LIFTABLE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.NOT_AWAITING: StatusCode.FAILED_PRECONDITION,
    ErrorReason.RUN_ACTIVE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.NOT_UNDOABLE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.IN_FLIGHT: StatusCode.FAILED_PRECONDITION,
    ErrorReason.DUTY_UNKNOWN: StatusCode.NOT_FOUND,
    ErrorReason.DUTY_NOT_DUE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.DUTY_TAKEN: StatusCode.FAILED_PRECONDITION,
    ErrorReason.DUTY_OVER: StatusCode.FAILED_PRECONDITION,
    ErrorReason.LEASE_LOST: StatusCode.FAILED_PRECONDITION,
    ErrorReason.TOOL_MISMATCH: StatusCode.FAILED_PRECONDITION,
    # Stop the run.
    ErrorReason.REVOKED: StatusCode.PERMISSION_DENIED,
    ErrorReason.RUN_FINISHED: StatusCode.PERMISSION_DENIED,
    ErrorReason.RUN_DEADLINE: StatusCode.PERMISSION_DENIED,
    ErrorReason.STORE_EPOCH: StatusCode.PERMISSION_DENIED,
    ErrorReason.GRANT_UNKNOWN: StatusCode.PERMISSION_DENIED,
    ErrorReason.GRANT_EXPIRED: StatusCode.PERMISSION_DENIED,
    ErrorReason.OUT_OF_SCOPE: StatusCode.PERMISSION_DENIED,
    ErrorReason.USES_EXHAUSTED: StatusCode.PERMISSION_DENIED,
    ErrorReason.RUN_FULL: StatusCode.PERMISSION_DENIED,
    ErrorReason.FENCED: StatusCode.PERMISSION_DENIED,
    ErrorReason.GRANT_ENDED: StatusCode.PERMISSION_DENIED,
    ErrorReason.BUDGET_EXHAUSTED: StatusCode.PERMISSION_DENIED,
    ErrorReason.DENIED: StatusCode.PERMISSION_DENIED,
    ErrorReason.TREE_FULL: StatusCode.PERMISSION_DENIED,
    # Ask again with the same op_id.
    ErrorReason.STORE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorReason.TIMED_OUT: StatusCode.DEADLINE_EXCEEDED,
    ErrorReason.OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.DRAINING: StatusCode.UNAVAILABLE,
    ErrorReason.AWAITING_APPROVAL: StatusCode.FAILED_PRECONDITION,
    # Ask an operator.
    ErrorReason.STORE_FULL: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.CLOCK_UNSURE: StatusCode.FAILED_PRECONDITION,
    ErrorReason.STORE_UNFIT: StatusCode.FAILED_PRECONDITION,
    ErrorReason.INTERNAL: StatusCode.INTERNAL,
}

#: Something is wrong that nobody should wait for a report to hear of.
ALARMS = frozenset(
    {
        ErrorReason.OP_ID_CONFLICT,
        ErrorReason.DIGEST_MISMATCH,
        ErrorReason.NEVER_PERMITTED,
        ErrorReason.TOOL_MISMATCH,
        ErrorReason.WRONG_AUDIENCE,
        ErrorReason.TOKEN_UNTRUSTED,
        ErrorReason.TOKEN_MALFORMED,
        ErrorReason.CLOCK_UNSURE,
        ErrorReason.STORE_UNFIT,
        ErrorReason.STORE_FULL,
        ErrorReason.INTERNAL,
    }
)


#: How much of a fence's selector a refusal tells, in bytes. A client need not take more than 8 KiB of
#: metadata, and the sentence goes out twice; whoever asks for the fence gets the selector whole.
_MAX_SELECTOR = 256


def status(refusal: Refusal) -> grpc.Status:
    """Translate a refusal: code, one sentence, and one ErrorInfo with every dynamic value."""
    refusal = _fitting(refusal)
    info = ErrorInfo(reason=refusal.reason.value, domain=DOMAIN, metadata=dict(refusal.details))
    detail = Any()
    detail.Pack(info)
    code = CODES[refusal.reason].value[0]
    return rpc_status.to_status(Status(code=code, message=explain(refusal), details=[detail]))


def _fitting(refusal: Refusal) -> Refusal:
    """Cut what would be too long to arrive; a refusal without its reason would be a riddle."""
    selector = refusal.details.get("selector", "").encode()
    if len(selector) <= _MAX_SELECTOR:
        return refusal
    cut = f"{selector[:_MAX_SELECTOR].decode(errors='ignore')}..."
    return Refusal(refusal.reason, dict(refusal.details) | {"selector": cut})
