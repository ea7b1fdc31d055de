"""The sidecar as it is, with one empty unary RPC more on each listener: the yardstick of the ratios."""

import sys
from importlib import import_module
from typing import Any

import grpc

from grant_service import __main__ as service

EMPTY = "/bench.v1.EmptyService/Call"


class _Empty(grpc.GenericRpcHandler):
    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != EMPTY:
            return None
        return grpc.unary_unary_rpc_method_handler(_call)


async def _call(request: bytes, _: Any) -> bytes:
    return request


def main() -> int:
    """Serve as usual."""
    app: Any = import_module("grant_service.app")
    build = app.build_server

    def build_with_empty(*parts: Any) -> grpc.aio.Server:
        server: grpc.aio.Server = build(*parts)
        server.add_generic_rpc_handlers((_Empty(),))
        return server

    app.build_server = build_with_empty
    return service.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
