# Derived from tests/client/_async/test_extend.py by scripts/unasync.py. Do not edit.
"""Acting under a grant whose token has waited: it is extended before it is acted, and never past a stop."""

import pytest

import countermand.sync as countermand
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy, lose_reply, lose_request


def waited(cm: countermand.Client, clock: ManualClock, run_id: str = "r-1") -> countermand.SecretToken:
    """A token that was enqueued, and is taken up when its time is over."""
    cm.issuer.open(run_id=run_id)
    issued = cm.issuer.issue(run_id, scopes=["email.send"], ttl="1s")
    clock.advance(60)
    return issued.token


def test_a_worker_acts_with_a_token_that_has_waited(proxy: Proxy, clock: ManualClock) -> None:
    """One extension, before the first action; without it the same token is refused."""
    with countermand.connect(proxy.home) as cm:
        token = waited(cm, clock)
        with cm.use_token(token), pytest.raises(countermand.Expired):
            with countermand.perform("email.send"):
                pytest.fail("acted under a grant that has expired")
        with cm.use_token(token, extend="60s") as grant:
            for _ in range(2):
                with countermand.action("email.send") as act:
                    with act.commit():
                        pass

    assert proxy.calls.count("ExtendGrant") == 1
    assert grant.issued is not None
    assert grant.issued.expire_time is not None


def test_a_block_that_goes_on_is_extended_again(proxy: Proxy, clock: ManualClock) -> None:
    """After half of what was asked for, by the client's own clock: an action may take its time."""
    with countermand.connect(proxy.home, clock=clock.elapsed) as cm:
        with cm.use_token(waited(cm, clock), extend="60s"):
            for _ in range(4):
                with countermand.perform("email.send"):
                    pass
                clock.advance(15)

    assert proxy.calls.count("ExtendGrant") == 2


def test_what_was_stopped_is_refused_as_ever_and_on_record(real: Sidecar, clock: ManualClock) -> None:
    """That it is not extended is no decision: the action is refused with the reason, as a late attempt."""
    with countermand.connect(real.home) as cm:
        token = waited(cm, clock)
        cm.operator.cancel("r-1", reason="USER_STOP")
        with cm.use_token(token, extend="60s"), pytest.raises(countermand.Revoked):
            with countermand.perform("email.send"):
                pytest.fail("acted in a run that was cancelled")
        report = cm.auditor.report("r-1")

    assert [(one.verb, one.action) for one in report.late_attempts] == [("perform", "email.send")]


def test_an_extension_that_is_not_answered_keeps_the_action_from_happening(
    proxy: Proxy, clock: ManualClock
) -> None:
    """Nobody knows how the grant stands, so nothing is asked; a lost answer alone is asked for again."""
    with countermand.connect(proxy.home, timeout=0.3) as cm:
        token = waited(cm, clock)
        proxy.plan("ExtendGrant", *[lose_request] * 50)
        with cm.use_token(token, extend="60s"), pytest.raises(countermand.TryAgain):
            with countermand.perform("email.send"):
                pytest.fail("acted without an answer")
        assert "PerformAction" not in proxy.calls

    with countermand.connect(proxy.home) as cm:
        proxy.forget()
        proxy.plan("ExtendGrant", lose_reply)
        with cm.use_token(token, extend="60s"):
            with countermand.perform("email.send"):
                pass
        entries = (cm.auditor.entries("r-1")).entries

    assert [one.kind for one in entries].count("PERMITTED") == 1


def test_a_grant_that_is_not_issued_yet_cannot_be_extended(real: Sidecar) -> None:
    """There is nothing to ask for."""
    with countermand.connect(real.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"], ttl="1s") as grant:
            with pytest.raises(countermand.FixTheCall, match="not issued yet"):
                grant.extend()
            grant.token()
            assert (grant.extend("60s")).expire_time is not None
