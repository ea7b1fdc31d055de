"""Fixtures of the service's tests."""

from tests.rpc.fixtures import logs, sidecar

__all__ = ["logs", "sidecar"]
