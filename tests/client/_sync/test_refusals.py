# Derived from tests/client/_async/test_refusals.py by scripts/unasync.py. Do not edit.
"""Every refusal becomes the exception of its reason, whatever its text says."""

import grpc
import pytest

import countermand.sync as countermand
from countermand._address import Sockets
from countermand._errors import CLASSES
from tests.client.support import Proxy, Waits, refuse

FAILED = grpc.StatusCode.FAILED_PRECONDITION


def refused(proxy: Proxy, reason: str, code: grpc.StatusCode = FAILED, **more: str) -> Exception:
    """What a caller gets for a reason."""
    proxy.forget()
    proxy.plan("GetRun", *[refuse(reason, code, **more)] * 50)
    with countermand.Client(Sockets(proxy.home), pacing=Waits().pacing) as cm:
        with pytest.raises(countermand.CountermandError) as failure:
            cm.issuer.run("r-1")
    return failure.value


def test_each_reason_has_its_class(proxy: Proxy) -> None:
    """The reason and the metadata come along; the message is the sidecar's."""
    for reason in set(countermand.ErrorReason) - {countermand.ErrorReason.UNSPECIFIED}:
        failure = refused(proxy, reason, run="r-1", note="a note")

        assert type(failure) is CLASSES[reason]
        assert failure.reason is reason
        assert failure.metadata == {"run": "r-1", "note": "a note"}
        assert failure.run_id == "r-1"
        assert str(failure) == f"refused: {reason}"
        assert isinstance(failure.__cause__, grpc.RpcError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, countermand.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, countermand.TimedOut),
        (grpc.StatusCode.PERMISSION_DENIED, countermand.AskOperator),
        (grpc.StatusCode.INTERNAL, countermand.AskOperator),
    ],
)
@pytest.mark.parametrize("reason", ["SOMETHING_NEW", "UNSPECIFIED"])
def test_a_reason_this_client_does_not_know_goes_by_its_code(
    proxy: Proxy, reason: str, code: grpc.StatusCode, kind: type[Exception]
) -> None:
    """Only where nobody decided anything may the caller try again."""
    failure = refused(proxy, reason, code, run="r-1")

    assert type(failure) is kind
    assert failure.reason is countermand.ErrorReason.UNSPECIFIED
    assert failure.metadata == {"run": "r-1"}


def test_somebody_elses_reason_is_not_ours(proxy: Proxy) -> None:
    """A proxy on the way may say REVOKED and mean something else."""
    failure = refused(proxy, "REVOKED", domain="example.com")

    assert type(failure) is countermand.AskOperator


def test_a_stop_is_told_in_full(proxy: Proxy) -> None:
    """Who, why, when and which run, and what had been decided before."""
    failure = refused(
        proxy,
        "REVOKED",
        run="r-2",
        ended_run="r-1",
        stop_reason="INCIDENT",
        actor="operator:ann",
        note="enough",
        ended_time="1750000000500",
        prior_decision="PERMITTED",
    )

    assert isinstance(failure, countermand.Revoked)
    assert (failure.run_id, failure.ended_run) == ("r-2", "r-1")
    assert failure.stop_reason is countermand.StopReason.INCIDENT
    assert (failure.actor, failure.note) == ("operator:ann", "enough")
    assert failure.ended_time is not None
    assert failure.ended_time.isoformat() == "2025-06-15T15:06:40.500000+00:00"
    assert failure.prior_decision is countermand.ActionState.PERMITTED


def test_a_stop_that_says_nothing_is_still_a_stop(proxy: Proxy) -> None:
    """What the sidecar does not say is empty, and what it says in new words is not misread."""
    failure = refused(proxy, "REVOKED", stop_reason="SOMETHING_NEW", ended_time="soon")

    assert isinstance(failure, countermand.StopTheRun)
    assert failure.stop_reason is countermand.StopReason.UNSPECIFIED
    assert (failure.run_id, failure.actor, failure.note, failure.ended_run) == ("", "", "", "")
    assert failure.ended_time is None
    assert failure.prior_decision is None
