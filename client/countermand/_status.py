"""From a gRPC status to our exception: by the reason in its ErrorInfo, never by its text."""

from typing import cast

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from countermand._errors import CLASSES, AskOperator, CountermandError, TimedOut, Unavailable
from countermand._words import ErrorReason

DOMAIN = "countermand"

#: What a status without a reason of ours means: it comes from the transport, not from the sidecar.
_TRANSPORT: dict[grpc.StatusCode, type[CountermandError]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    # What a server that goes away makes of the calls it had not begun.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
}


def failure_of(error: grpc.RpcError) -> CountermandError:
    """Translate what a call raised."""
    info = _error_info(error)
    reason = ErrorReason.__members__.get(info.reason) if info else None
    if reason is None or reason is ErrorReason.UNSPECIFIED:
        what = f"{error.code().name}: {error.details()}"
        return _TRANSPORT.get(error.code(), AskOperator)(what, metadata=info.metadata if info else None)
    return CLASSES[reason](error.details() or "", reason=reason, metadata=info.metadata if info else None)


def _error_info(error: grpc.RpcError) -> ErrorInfo | None:
    """Find our ErrorInfo in the status; one of another domain, or a damaged one, is not ours to read."""
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))
    except ValueError:
        return None
    for detail in status.details if status else ():
        info = ErrorInfo()
        if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None
