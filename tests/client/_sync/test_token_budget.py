# Derived from tests/client/_async/test_token_budget.py by scripts/unasync.py. Do not edit.
"""Token budgets: what models take, held against limits here and the budgets of the run."""

import pytest

import countermand.sync as countermand
from countermand import CancellationToken, Price, Stopped, StopReason, Usage
from countermand.testing import Sidecar
from tests.client.support import Proxy, Soon, lose_reply

REFUSE = "REFUSE"


def allowed(tokens: countermand.TokenBudget, wanted: int, **more: int) -> int:
    """Answer what a request may ask for; it is not made."""
    with tokens.request(wanted, **more) as request:
        return request.max_tokens


def test_the_next_request_asks_for_what_is_left(real: Sidecar) -> None:
    """From the first: the grant is told what it may use. Each answer is taken of the shared budgets."""
    budgets = {"tokens_in": 100, "tokens_out": 50}
    with countermand.connect(real.home) as cm, cm.open_run(budgets=budgets) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(run)
            assert allowed(tokens, 4096) == 50
            assert allowed(tokens, 20) == 20
            assert tokens.take({"usage": {"input_tokens": 30, "output_tokens": 20}}) == Usage(30, 20)
            assert allowed(tokens, 4096) == 30
            assert tokens.left == {"tokens_in": 70, "tokens_out": 30}
            assert tokens.used == Usage(30, 20)
        told = (cm.auditor.run(run.run_id)).budgets

    assert (told["tokens_in"].taken, told["tokens_out"].taken) == (30, 20)


def test_what_others_take_counts(real: Sidecar) -> None:
    """Two processes share what the run may use; each learns of it with its next answer."""
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"tokens_out": 100}) as run:
        with run.grant(scopes=["*"]):
            mine, theirs = countermand.token_budget(), countermand.token_budget()
            mine.take(Usage(0, 10))
            theirs.take(Usage(0, 60))
            mine.take(Usage(0, 10))
            assert allowed(mine, 4096) == 20


def test_a_run_whose_tokens_run_out_is_over(real: Sidecar) -> None:
    """The sidecar ends it; here what was named stops with that very stop, and the next request is refused."""
    token = CancellationToken()
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked) as after:
            with cm.open_run(budgets={"tokens_out": 50}) as run:
                with run.grant(scopes=["*"]):
                    tokens = countermand.token_budget(token)
                    with pytest.raises(Stopped) as stopped:
                        tokens.take(Usage(10, 51))
                    with pytest.raises(Stopped):
                        allowed(tokens, 1)
                    with pytest.raises(Stopped):
                        tokens.check()
                    with countermand.perform("report.write"):
                        pytest.fail("acted after the end")

    assert stopped.value.stop_reason is after.value.stop_reason is StopReason.BUDGET
    assert token.stop is stopped.value.stop is tokens.stop


def test_a_budget_that_others_used_up_stops_what_is_at_work_here(real: Sidecar) -> None:
    """Though nothing is asked here: the sidecar says so."""
    token = CancellationToken()
    with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked):
            with cm.open_run(budgets={"tokens_out": 50}) as run:
                with run.grant(scopes=["*"]) as grant:
                    tokens = countermand.token_budget(token)
                    allowed(tokens, 4096)
                    cm.tool.spend(grant.token(), "tokens_out", 51, incurred=True)
                    Soon.until(lambda: token.is_cancelled)
                    with pytest.raises(Stopped) as stopped:
                        allowed(tokens, 4096)

    assert stopped.value.stop.cause is countermand.StopCause.RUN_ENDED
    assert stopped.value.stop.reason is StopReason.BUDGET
    assert stopped.value.stop.run_id == run.run_id


def test_a_run_that_is_stopped_for_another_reason_refuses_too(real: Sidecar) -> None:
    """The budget refuses; what else is at work hears of it by its own ways."""
    token = CancellationToken()
    with countermand.connect(real.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(token)
            allowed(tokens, 4096)
            run.cancel()
            Soon.until(lambda: tokens.stop is not None)
            with pytest.raises(Stopped) as stopped:
                allowed(tokens, 4096)

    assert stopped.value.stop_reason is StopReason.USER_STOP
    assert not token.is_cancelled


@pytest.mark.parametrize("is_issued", [False, True])
def test_what_was_taken_after_a_stop_is_refused(real: Sidecar, is_issued: bool) -> None:
    """The push is a courtesy: without it the answer's own tokens tell of the stop."""
    token = CancellationToken()
    with countermand.connect(real.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(token)
            if is_issued:
                allowed(tokens, 4096)
            cm.operator.cancel(run.run_id, reason="BUDGET")
            with pytest.raises(countermand.Revoked):
                tokens.take(Usage(1, 2))
            assert tokens.used == Usage(1, 2)
            assert token.reason is tokens.stop.reason is StopReason.BUDGET
            run.cancel()


def test_limits_of_its_own_end_the_run(real: Sidecar) -> None:
    """They are nobody else's; the run it is for is cancelled with the reason BUDGET."""
    with countermand.connect(real.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(run, limits={"tokens_out": 50})
            tokens.take(Usage(1000, 50))  # all of it: nothing more was asked for
            with pytest.raises(Stopped) as stopped:
                allowed(tokens, 4096)
        end = (cm.auditor.run(run.run_id)).end

    assert "budget tokens_out ran out" in stopped.value.note
    assert end is not None
    assert (end.reason, end.note) == (StopReason.BUDGET, "budget tokens_out ran out: 0 left")


def test_a_budget_that_only_refuses_leaves_the_run(real: Sidecar) -> None:
    """Its requests shrink; here nothing more is asked once it is empty."""
    budgets = {"tokens_out": countermand.Budget(50, REFUSE)}
    with countermand.connect(real.home) as cm, cm.open_run(budgets=budgets) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            tokens.take(Usage(0, 45))
            assert allowed(tokens, 4096) == 5
            with pytest.raises(Stopped):
                allowed(tokens, 4096, least=6)
            with countermand.perform("report.write"):
                pass


def test_without_a_sidecar_it_counts_by_itself(real: Sidecar) -> None:
    """No grant is needed, and none is asked."""
    tokens = countermand.token_budget(limits={"tokens_in": 100}, shared=False)
    tokens.take(Usage(99, 7))
    assert allowed(tokens, 4096, input=1) == 4096
    with pytest.raises(Stopped):
        allowed(tokens, 4096, input=2)
    with pytest.raises(countermand.NoGrant):
        countermand.token_budget().take(Usage(1, 1))


def test_a_price_makes_a_budget_of_money(real: Sidecar) -> None:
    """In millionths of a dollar: what is left of it limits the tokens of the next request."""
    price = Price(input=3, output=15, cached=0.5)
    with countermand.connect(real.home) as cm, cm.open_run(budgets={"usd_micros": 1000}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget(price=price)
            assert allowed(tokens, 4096) == 66
            assert allowed(tokens, 4096, input=100) == 46
            tokens.take(Usage(100, 20, cached=51))  # 147 + 25.5 + 300, rounded up
            assert tokens.left == {"usd_micros": 527}


def test_said_again_under_its_op_id_it_is_taken_once(proxy: Proxy) -> None:
    """Of the shared budgets; an answer that got lost changes nothing."""
    proxy.plan("SpendBudget", lose_reply)
    with countermand.connect(proxy.home) as cm, cm.open_run(budgets={"tokens_out": 100}) as run:
        with run.grant(scopes=["*"]):
            tokens = countermand.token_budget()
            for _ in range(2):
                tokens.take(Usage(0, 10), op_id="turn-7")
            assert tokens.left == {"tokens_out": 90}


def test_wrong_calls_are_refused(real: Sidecar) -> None:
    """What tells no tokens, what has no name here, and what a budget cannot stop."""
    tokens = countermand.token_budget(shared=False)
    with pytest.raises(countermand.FixTheCall, match="include_usage"):
        tokens.take({"choices": []})
    for limits in ({"tokens": 5}, {"usd_micros": 5}):
        with pytest.raises(countermand.InvalidRequest, match="must be of tokens_in, tokens_out"):
            countermand.token_budget(limits=limits)
    with pytest.raises(countermand.FixTheCall, match="cannot stop str"):
        countermand.token_budget("run-7")
