"""Attack: hold up the decisions by way of the port of the metrics."""

import asyncio
import contextlib
import socket
import time
import urllib.request

from tests.rpc.support import Caller, cancel, commit, intent
from tests.support.sidecar import sidecar_running

#: Far more than are kept, or could be answered while this runs.
CONNECTIONS, COMMITS = 200, 30
#: Seconds. Generous: whoever else runs here shares the processors.
SLOWEST = 3.0

SAID = [
    b"",
    b"GET /metrics HTTP/1.1\r\nX-Slow: ",
    b"GET /metrics HTTP/1.1\r\nX-Huge: " + b"x" * 100_000,
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01" + bytes(5000),
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def hold(port: int, number: int) -> socket.socket:
    """Open a connection, say something of little use, and read nothing."""
    one = socket.socket()
    one.setblocking(False)
    with contextlib.suppress(OSError):
        one.connect(("127.0.0.1", port))
    with contextlib.suppress(OSError):
        one.send(SAID[number % len(SAID)])
    return one


def scrape(port: int) -> str:
    """Read the metrics; whoever is crowded out asks again, as Prometheus does."""
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < end, "nobody reads the metrics any more"


async def test_whatever_is_done_to_the_metrics_no_decision_waits_for_it() -> None:
    """Silent, slow, huge and many: commits and a cancel are answered; the metrics, too, once it is over."""
    port = free_port()
    with sidecar_running(store="memory", metrics_listen=f"127.0.0.1:{port}") as handle:
        issuer, tool, operator = (Caller(handle.target(role)) for role in ("issuer", "tool", "operator"))
        await issuer("OpenRun", run_id="r-1")
        token = (await issuer("IssueGrant", run_id="r-1", scopes=[{"action": "*"}])).grant_token
        held, took = list[socket.socket](), list[float]()
        try:
            for number in range(COMMITS):
                held += [hold(port, len(held) + one) for one in range(CONNECTIONS // COMMITS + 1)]
                began = time.monotonic()
                await tool("PrepareAction", grant_token=token, intent=intent(f"o-{number}"))
                permit = (await tool("CommitAction", **commit(token, f"o-{number}"))).permit
                took.append(time.monotonic() - began)
                assert permit.fence
            began = time.monotonic()
            assert (await operator("CancelRun", **cancel("r-1"))).known
            took.append(time.monotonic() - began)
        finally:
            for one in held:
                one.close()
            for caller in (issuer, tool, operator):
                await caller.channel.close()
        told = await asyncio.to_thread(scrape, port)
        assert handle.running
        assert handle.terminate() == 0
    print(f"slowest answer beside {len(held)} hostile connections: {max(took):.3f} s")
    assert max(took) < SLOWEST
    assert f'countermand_decisions_total{{answer="PERMITTED",verb="commit"}} {COMMITS}.0' in told
    assert '"level": "error"' not in handle.err
