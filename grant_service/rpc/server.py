"""One role's server: every service is on it, and the guard decides what the role may call."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2_grpc

from countermand.v1 import (
    action_service_pb2,
    control_service_pb2,
    grant_service_pb2,
    journal_service_pb2,
    session_service_pb2,
    undo_service_pb2,
)
from grant_service.rpc.guard import Guard
from grant_service.rpc.journal import MAX_ANSWER_BYTES

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_send_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    # For each connection. Above the slots of a listener (512), so that a flood meets a refusal with a reason
    # and not a queue; not far above, because a stream that is left open costs some 40 KB.
    ("grpc.max_concurrent_streams", 640),
    # A connection costs a file descriptor, and those are shared by all listeners: one that says nothing, or
    # has had nothing to say for long, is let go, so that an operator can always come in.
    ("grpc.server_handshake_timeout_ms", 2_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s at the most; the default of 300 s would hang up on them.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

_MODULES: tuple[ModuleType, ...] = (
    grant_service_pb2,
    action_service_pb2,
    control_service_pb2,
    journal_service_pb2,
    undo_service_pb2,
    session_service_pb2,
)

#: The services of the contract, by name.
SERVICES: Mapping[str, Any] = {
    name: service for module in _MODULES for name, service in module.DESCRIPTOR.services_by_name.items()
}


def build_server(guard: Guard, servicers: Mapping[str, object], health: Any) -> grpc.aio.Server:
    """Build one role's server."""
    server = grpc.aio.server(options=_OPTIONS)
    for name, service in SERVICES.items():
        handlers = {method.name: _handler(guard, servicers[name], method) for method in service.methods}
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
        server.add_registered_method_handlers(service.full_name, handlers)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server


def _handler(guard: Guard, servicer: Any, method: Any) -> Any:
    """Register a method on raw bytes: gRPC would answer those it cannot parse without a reason of ours."""
    rpc = f"{method.containing_service.name}.{method.name}"
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(guard.session(rpc, servicer))
    streams = method.server_streaming
    kind = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    served = getattr(servicer, method.name, None)
    return kind(guard.handler(rpc, GetMessageClass(method.input_type), served, streams=streams))
