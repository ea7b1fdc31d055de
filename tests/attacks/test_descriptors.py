"""Connections cost file descriptors, which all listeners share: none may keep an operator out (row 17)."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import countermand.sync as countermand
from tests.support.sidecar import SidecarProcess

#: Runs the sidecar as a system would that gives it few descriptors: now, and at the most.
FEW = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
runpy.run_module("grant_service", run_name="__main__")
"""

#: The same without the defence: it waits for silent connections as gRPC would by itself.
PATIENT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from grant_service import __main__ as service
from grant_service.rpc import server
server._OPTIONS = tuple(one for one in server._OPTIONS if one[0] != "grpc.server_handshake_timeout_ms")
sys.exit(service.main([]))
"""


@contextlib.contextmanager
def _sidecar(program: str) -> Iterator[SidecarProcess]:
    sidecar = SidecarProcess(program=("-c", program), store="memory")
    sidecar.start()
    try:
        yield sidecar
    finally:
        sidecar.close()


@contextlib.contextmanager
def _silent_connections(sidecar: SidecarProcess, count: int) -> Iterator[None]:
    """Connect to the tool's socket and say nothing, as often as the listener takes it."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            silent = held.enter_context(socket.socket(socket.AF_UNIX))
            silent.settimeout(0.2)
            try:
                silent.connect(str(sidecar.socket("tool")))
            except OSError:
                break
        yield


@pytest.mark.parametrize(("soft", "hard"), [(128, 4096), (256, 256)], ids=["more can be had", "no more"])
def test_silent_connections_of_a_tool_do_not_keep_an_operator_out(soft: int, hard: int) -> None:
    """A new operator's cancel gets through: there are descriptors left, or those of silent ones come back."""
    with _sidecar(FEW.format(soft=soft, hard=hard)) as sidecar, _silent_connections(sidecar, 600):
        start = time.monotonic()
        with countermand.connect(sidecar.home, control_timeout=10) as cm:
            cancelled = cm.operator.cancel("r-1", reason="USER_STOP")

        assert not cancelled.known
        assert time.monotonic() - start < 9


def test_without_the_defence_they_do() -> None:
    """Negative control: a sidecar that lets connections be silent keeps the same cancel out."""
    with (
        _sidecar(PATIENT) as sidecar,
        _silent_connections(sidecar, 600),
        countermand.connect(sidecar.home, control_timeout=3) as cm,
    ):
        _wait_until_full(sidecar, 256)
        with pytest.raises(countermand.TryAgain):
            cm.operator.cancel("r-1", reason="USER_STOP")


def _wait_until_full(sidecar: SidecarProcess, limit: int) -> None:
    """Wait until the sidecar has taken as many connections as it has descriptors for."""
    end = time.monotonic() + 10
    while len(list(Path(f"/proc/{sidecar.pid}/fd").iterdir())) < limit:
        assert time.monotonic() < end, "the listener did not take the connections"
        time.sleep(0.05)
