"""Ask for health by the standard gRPC protocol, without its package: the client needs gRPC and protobuf."""

from enum import Enum

import grpc

_CHECK = "/grpc.health.v1.Health/Check"


class Health(Enum):
    """What a listener says of itself; the values are the protocol's, SILENT is no answer."""

    SILENT = -1
    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def health(target: str, component: str, timeout: float) -> Health:
    """Ask the sidecar (component '') or its store (`store`)."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options=options) as channel:
        check = channel.unary_unary(_CHECK, request_serializer=_request, response_deserializer=_response)
        try:
            return check(component, timeout=timeout)
        except grpc.RpcError:
            return Health.SILENT


def _request(component: str) -> bytes:
    """HealthCheckRequest: one string, field 1."""
    name = component.encode()
    return b"\n" + bytes([len(name)]) + name if name else b""


def _response(data: bytes) -> Health:
    """HealthCheckResponse: one enum, field 1; no bytes at all are its first member."""
    return Health(data[1]) if data[:1] == b"\x08" and len(data) == 2 and data[1] < 4 else Health.UNKNOWN
