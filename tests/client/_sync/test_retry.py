# Derived from tests/client/_async/test_retry.py by scripts/unasync.py. Do not edit.
"""What is asked again, how long for, and what never is."""

import grpc
import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand._retry import Pacing
from countermand._world import World
from countermand.testing import Sidecar
from tests.client.support import Proxy, Waits, lose_request, refuse

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("STORE_UNAVAILABLE", UNAVAILABLE),
        ("DRAINING", UNAVAILABLE),
        ("OVERLOADED", grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("TIMED_OUT", grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_no_decision_is_asked_for_again(proxy: Proxy, reason: str, code: grpc.StatusCode) -> None:
    """As long as nothing is known of the decision, the same question is safe."""
    proxy.plan("OpenRun", *[refuse(reason, code)] * 3)
    waits = Waits()
    with countermand.Client(Sockets(proxy.home), pacing=waits.pacing) as cm:
        cm.issuer.open()

    assert proxy.calls == ["OpenRun"] * 4
    assert waits.pauses == [0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    "reason",
    [
        *("REVOKED", "INVALID_REQUEST", "STORE_FULL", "INTERNAL", "SOMETHING_NEW"),
        *("FENCED", "BUDGET_EXHAUSTED", "DENIED", "AWAITING_APPROVAL"),
    ],
)
def test_a_definite_answer_is_never_asked_for_again(proxy: Proxy, reason: str) -> None:
    """The sidecar has decided, or cannot: asking again would only be a wish."""
    proxy.plan("OpenRun", refuse(reason, grpc.StatusCode.FAILED_PRECONDITION))
    with countermand.connect(proxy.home) as cm:
        with pytest.raises(countermand.CountermandError):
            cm.issuer.open()

    assert proxy.calls == ["OpenRun"]


def test_asking_again_ends_with_the_callers_deadline(proxy: Proxy) -> None:
    """Pauses grow to a limit, and none reaches beyond the deadline; the last failure is told."""
    proxy.plan("OpenRun", *[refuse("STORE_UNAVAILABLE", UNAVAILABLE, cause="no route")] * 20)
    waits = Waits()
    with countermand.Client(Sockets(proxy.home), pacing=waits.pacing) as cm:
        with pytest.raises(countermand.Unavailable) as failure:
            cm.issuer.open(timeout=1.5)

    assert failure.value.metadata == {"cause": "no route"}
    assert waits.pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.4, 0.4]
    assert sum(waits.pauses) < 1.5


def test_pauses_are_spread(proxy: Proxy) -> None:
    """Callers that failed together do not come back together."""
    proxy.plan("OpenRun", *[lose_request] * 2)
    waits = Waits(jitter=0.0)
    with countermand.Client(Sockets(proxy.home), pacing=waits.pacing) as cm:
        cm.issuer.open()

    assert waits.pauses == [0.01, 0.02]


def test_a_sidecar_that_never_answered_is_not_waited_for(proxy: Proxy) -> None:
    """It is not running: the message names the socket and how to start it, at once."""
    proxy.stop()
    waits = Waits()
    with countermand.Client(Sockets(proxy.home), pacing=waits.pacing) as cm:
        with pytest.raises(countermand.NotRunning) as failure:
            cm.issuer.open()

    assert waits.pauses == []
    assert str(failure.value) == (
        f"no sidecar is running: {proxy.home}/run/issuer.sock is absent; "
        "start it with 'countermand serve', or check COUNTERMAND_HOME"
    )


def test_a_sidecar_that_restarts_is_waited_for(proxy: Proxy, real: Sidecar) -> None:
    """It has answered before, so it will be back."""
    successor = []

    def sleep(pause: float) -> None:
        if not successor:
            successor.append(Proxy(real.home, proxy.home))
        World.pacing.sleep(pause)  # for real: the transport counts its own time between attempts

    with countermand.Client(Sockets(proxy.home), pacing=Pacing(sleep)) as cm:
        cm.issuer.open(run_id="r-1")
        proxy.stop()
        opened = cm.issuer.open(run_id="r-1")

    assert opened.replayed
    successor[0].stop()


def test_every_call_has_a_deadline(proxy: Proxy) -> None:
    """A sidecar that hangs is left, and nothing is known of what it decided."""
    proxy.plan("OpenRun", lambda ask, context: proxy.hang(context))
    with countermand.connect(proxy.home) as cm:
        with pytest.raises(countermand.TimedOut):
            cm.issuer.open(timeout=0.1)
