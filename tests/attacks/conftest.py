"""Fixtures of the attacks."""

from tests.rpc.fixtures import logs, sidecar

__all__ = ["logs", "sidecar"]
