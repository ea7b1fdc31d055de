"""Budgets: what actions cost, what is spent otherwise, and what happens when it runs out."""

import pytest

import countermand
from countermand.testing import ManualClock, Sidecar
from tests.client.support import Proxy, lose_reply

REFUSE = countermand.Exhaustion.REFUSE


async def test_every_action_says_what_is_left(real: Sidecar) -> None:
    """Held when it is prepared, taken when it is permitted; the least of all budgets of a name is told."""
    async with countermand.connect(real.home) as cm:
        async with cm.open_run(agent="writer", budgets={"tool_calls": 9, "tokens_out": 100}) as run:
            with run.grant(scopes=["*"], budgets={"tool_calls": 3}):
                async with countermand.action("report.write", costs={"tokens_out": 60}) as act:
                    assert act.remaining == {"tokens_out": 40, "tool_calls": 2}
                    async with act.commit() as permit:
                        assert (
                            act.remaining == permit.remaining_budgets == {"tokens_out": 40, "tool_calls": 2}
                        )
                async with countermand.perform("report.send") as done:
                    assert done.remaining == {"tokens_out": 40, "tool_calls": 1}
                    await countermand.spend("tokens_out", 10)
                assert done.remaining == done.settled.remaining == {"tokens_out": 30, "tool_calls": 1}
            told = (await cm.auditor.run(run.run_id)).budgets

    assert told["tokens_out"] == countermand.BudgetStanding(100, countermand.Exhaustion.CANCEL, 70, 0, 30)
    assert told["tool_calls"].taken == 2


async def test_what_an_abandoned_action_held_comes_back(real: Sidecar) -> None:
    """Left without a commit, it costs nothing."""
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"usd": 10}) as run:
        with run.grant(scopes=["*"]):
            async with countermand.action("payment.send", costs={"usd": 7}) as first:
                assert first.remaining == {"usd": 3}
            assert first.remaining == {"usd": 10}
            async with countermand.action("payment.send", costs={"usd": 7}) as second:
                assert second.remaining == {"usd": 3}


async def test_what_is_issued_or_delegated_is_told_what_it_may_use(real: Sidecar) -> None:
    """With the answer: the least of its own budgets and of all above it."""
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"usd": 10, "eur": 5}) as run:
        issued = await cm.issuer.issue(run.run_id, scopes=["*"], budgets={"usd": 7})
        await cm.tool.spend(issued.token, "usd", 2)
        child = countermand.ChildRun(budgets={"eur": 4})
        delegated = await cm.tool.delegate(issued.token, scopes=["a.*"], budgets={"usd": 6}, child=child)

    assert issued.remaining == {"usd": 7, "eur": 5}
    assert delegated.remaining == {"usd": 5, "eur": 4}


async def test_a_run_whose_budget_runs_out_is_over(real: Sidecar) -> None:
    """The call is refused with the numbers, and the run it limited has ended for that reason."""
    async with countermand.connect(real.home) as cm:
        with pytest.raises(countermand.Revoked) as after:
            async with cm.open_run(agent="writer", budgets={"tokens_out": 100}) as run:
                with run.grant(scopes=["*"]):
                    with pytest.raises(countermand.BudgetExhausted) as refusal:
                        async with countermand.perform("report.write", costs={"tokens_out": 101}):
                            pytest.fail("acted beyond the budget")
                    async with countermand.perform("report.write"):
                        pytest.fail("acted after the end")

    error = refusal.value
    assert (error.budget, error.owner) == ("tokens_out", f"run {run.run_id}")
    assert (error.limit, error.remaining, error.asked) == (100, 100, 101)
    assert isinstance(error, countermand.Exhausted)
    assert (after.value.stop_reason, after.value.actor) == (countermand.StopReason.BUDGET, "budget")


async def test_a_budget_that_only_refuses_leaves_the_run(real: Sidecar) -> None:
    """Whoever asks for less goes on."""
    budgets = {"tokens_out": countermand.Budget(100, on_exhausted="REFUSE")}
    async with countermand.connect(real.home) as cm, cm.open_run(agent="writer", budgets=budgets) as run:
        assert run.opened.budgets["tokens_out"].on_exhausted is REFUSE
        with run.grant(scopes=["*"]):
            with pytest.raises(countermand.BudgetExhausted):
                async with countermand.perform("report.write", costs={"tokens_out": 101}):
                    pytest.fail("acted beyond the budget")
            async with countermand.perform("report.write", costs={"tokens_out": 100}) as act:
                assert act.remaining == {"tokens_out": 0}


async def test_a_grant_whose_budget_runs_out_is_over_and_its_run_is_not(real: Sidecar) -> None:
    """What was handed on from it is over, too; the owner of the run issues another."""
    async with countermand.connect(real.home) as cm, cm.open_run(agent="writer") as run:
        with run.grant(scopes=["*"], budgets={"usd": 5}) as grant:
            with pytest.raises(countermand.BudgetExhausted) as refusal:
                async with countermand.perform("payment.send", costs={"usd": 6}):
                    pytest.fail("acted beyond the budget")
            with pytest.raises(countermand.GrantEnded) as ended:
                async with countermand.perform("email.send"):
                    pytest.fail("acted under an ended grant")
        with run.grant(scopes=["*"]):
            async with countermand.perform("email.send"):
                pass

    assert grant.issued is not None
    assert refusal.value.owner == f"grant {grant.issued.grant_id}"
    assert (ended.value.ended_grant, ended.value.budget) == (grant.issued.grant_id, "usd")
    assert ended.value.stop_reason is countermand.StopReason.BUDGET
    assert ended.value.ended_time is not None
    assert ended.value.seq > 0


async def test_a_run_left_by_what_ended_it_is_not_cancelled_again(proxy: Proxy) -> None:
    """The refusal says that the run has ended; one that ended a grant only cancels the run it left."""
    async with countermand.connect(proxy.home) as cm:
        with pytest.raises(countermand.BudgetExhausted):
            async with cm.open_run(budgets={"usd": 5}) as run, cm.open_run(parent_run_id=run.run_id) as child:
                with child.grant(scopes=["*"]):
                    async with countermand.perform("payment.send", costs={"usd": 6}):
                        pytest.fail("acted beyond the budget")
        assert "CancelRun" not in proxy.calls
        with pytest.raises(countermand.BudgetExhausted):
            async with cm.open_run() as other:
                with other.grant(scopes=["*"], budgets={"usd": 5}):
                    async with countermand.perform("payment.send", costs={"usd": 6}):
                        pytest.fail("acted beyond the budget")
        end = (await cm.auditor.run(other.run_id)).end

    assert end is not None
    assert end.reason is countermand.StopReason.BUDGET


async def test_what_is_no_action_is_spent(real: Sidecar) -> None:
    """Model tokens, mostly; what is used up already is taken, whatever is left."""
    budgets = {"tokens_out": countermand.Budget(1000, "REFUSE")}
    async with countermand.connect(real.home) as cm, cm.open_run(budgets=budgets) as run:
        with run.grant(scopes=["*"]):
            assert await countermand.spend("tokens_out", 400) == {"tokens_out": 600}
            with pytest.raises(countermand.BudgetExhausted):
                await countermand.spend("tokens_out", 700)
            assert await countermand.spend("tokens_out", 700, incurred=True) == {"tokens_out": 0}
            assert await countermand.spend("tokens_in", 5) == {"tokens_out": 0}


async def test_spending_that_has_an_op_id_happens_once(proxy: Proxy) -> None:
    """A lost answer, or a caller that comes back, takes nothing more."""
    proxy.plan("SpendBudget", lose_reply, lose_reply)
    async with countermand.connect(proxy.home) as cm, cm.open_run(budgets={"tokens_out": 1000}) as run:
        with run.grant(scopes=["*"]):
            assert await countermand.spend("tokens_out", 400) == {"tokens_out": 600}
            for _ in range(2):
                assert await countermand.spend("tokens_out", 100, op_id="turn-7") == {"tokens_out": 500}
            with pytest.raises(countermand.Conflict):
                await countermand.spend("tokens_out", 101, op_id="turn-7")
            again = await cm.tool.spend(
                await countermand.current_grant().token(), "tokens_out", 100, op_id="turn-7"
            )

    assert again.replayed
    assert again.seq > 0


async def test_what_is_no_amount_is_refused_here(proxy: Proxy) -> None:
    """Amounts are whole numbers, none is negative."""
    async with countermand.connect(proxy.home) as cm, cm.open_run() as run:
        with run.grant(scopes=["*"]):
            for wrong in (-1, 1.5, True, "1", 2**64):
                with pytest.raises(countermand.InvalidRequest, match="whole number"):
                    countermand.action("email.send", costs={"usd": wrong})
                with pytest.raises(countermand.InvalidRequest, match="whole number"):
                    cm.open_run(budgets={"usd": wrong})
                with pytest.raises(countermand.InvalidRequest, match="whole number"):
                    await countermand.spend("usd", wrong)

    assert proxy.calls.count("SpendBudget") == 0


async def test_what_a_prepared_action_holds_is_free_when_its_time_is_over(
    real: Sidecar, clock: ManualClock
) -> None:
    """Nobody has to give it back: what was never committed in time costs nothing."""
    async with countermand.connect(real.home) as cm, cm.open_run(budgets={"usd": 10}) as run:
        with run.grant(scopes=["*"]) as grant:
            intent = countermand.Intent.of("payment.send", costs={"usd": 7})
            prepared = await cm.tool.prepare(await grant.token(), intent, ttl="10s")
            clock.advance("11s")
            spent = await cm.tool.spend(await grant.token(), "usd", 1)

    assert prepared.remaining == {"usd": 3}
    assert spent.remaining == {"usd": 9}
