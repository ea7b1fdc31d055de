"""SpendBudget, and what every call of a tool tells of its budgets."""

from typing import Any

import pytest

from countermand.v1 import action_service_pb2 as action_pb
from countermand.v1 import errors_pb2
from countermand.v1 import grant_service_pb2 as grant_pb
from tests.rpc.support import Served, commit, intent, served

CENTS = {"name": "usd_cents", "limit": 100}
REFUSE = grant_pb.EXHAUSTION_REFUSE


async def a_grant(sidecar: Served, run_budget: Any = (), grant_budget: Any = ()) -> str:
    """A run and a grant with these budgets."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=run_budget)
    return await sidecar.grant_for("r-1", budgets=grant_budget, request_id="g-1")


def spend(token: str, op_id: str = "s-1", amount: int = 1, **fields: Any) -> dict[str, Any]:
    """The fields of a spending."""
    return {"grant_token": token, "op_id": op_id, "budget": "usd_cents", "amount": amount} | fields


async def test_what_is_left_is_told_under_the_name_and_under_every_name(sidecar: Served) -> None:
    """The least of all budgets that share a name: the run's, the grant's, those above."""
    calls = {"name": "tool_calls", "limit": 7}
    token = await a_grant(sidecar, [CENTS, calls], [CENTS | {"limit": 40}])
    answer = await sidecar.tool("SpendBudget", **spend(token, amount=15))
    assert (answer.op_id, answer.remaining, answer.replayed) == ("s-1", 25, False)
    assert dict(answer.remaining_by_name) == {"usd_cents": 25, "tool_calls": 7}
    (line,) = [entry for entry in await sidecar.journal() if entry.kind == "SPENT"]
    assert (line.seq, line.data["amount"], line.data["grant"]) == (answer.seq, "15", "g-1")
    again = await sidecar.tool("SpendBudget", **spend(token, amount=15))
    assert (again.seq, again.remaining, again.replayed) == (answer.seq, 25, True)


@pytest.mark.parametrize(
    "other", [{"amount": 2}, {"budget": "tokens"}, {"incurred": True}], ids=lambda one: next(iter(one))
)
async def test_an_op_id_names_one_spending(sidecar: Served, other: dict[str, Any]) -> None:
    """With other content it is refused, and nothing is taken."""
    token = await a_grant(sidecar, [CENTS])
    await sidecar.tool("SpendBudget", **spend(token))
    assert (await sidecar.tool.refused("SpendBudget", **spend(token, **other))).reason == "OP_ID_CONFLICT"
    (standing,) = (await sidecar.auditor("GetRun", run_id="r-1")).run.budgets
    assert standing.taken == 1


async def test_a_budget_nobody_set_has_no_limit_and_is_told_as_nothing(sidecar: Served) -> None:
    """It is on record; the one number is 0 and the name is missing from the others."""
    token = await a_grant(sidecar)
    answer = await sidecar.tool("SpendBudget", **spend(token, amount=10**15))
    assert (answer.remaining, dict(answer.remaining_by_name)) == (0, {})


async def test_a_spending_that_is_too_large_is_refused_with_the_numbers(sidecar: Served) -> None:
    """What is left may still be spent; the run goes on, if its owner said so."""
    token = await a_grant(sidecar, [CENTS | {"on_exhausted": REFUSE}])
    await sidecar.tool("SpendBudget", **spend(token, "s-1", 70))
    refused = await sidecar.tool.refused("SpendBudget", **spend(token, "s-2", 31))
    assert refused.reason == "BUDGET_EXHAUSTED"
    told = {"budget": "usd_cents", "owner": "run r-1", "limit": "100", "taken": "70", "reserved": "0"}
    assert told.items() <= refused.metadata.items()
    assert (refused.metadata["remaining"], refused.metadata["asked"]) == ("30", "31")
    assert "30 left of 100, 31 were asked for" in refused.message
    assert (await sidecar.tool("SpendBudget", **spend(token, "s-3", 30))).remaining == 0


async def test_a_run_whose_budget_runs_out_is_ended(sidecar: Served) -> None:
    """Unless its owner said otherwise; the report says by what."""
    token = await a_grant(sidecar, [CENTS])
    refused = await sidecar.tool.refused("SpendBudget", **spend(token, "s-1", 101))
    assert (refused.reason, refused.metadata["ended_run"]) == ("BUDGET_EXHAUSTED", "r-1")
    end = (await sidecar.auditor("GetReport", run_id="r-1")).report.run.end
    assert (end.reason, end.actor, end.tag) == (errors_pb2.STOP_REASON_BUDGET, "budget", "usd_cents")
    assert (await sidecar.tool.refused("SpendBudget", **spend(token, "s-2"))).reason == "REVOKED"


async def test_a_grant_whose_budget_runs_out_is_ended_alone(sidecar: Served) -> None:
    """With what hangs below it; another grant of the run is not touched."""
    token = await a_grant(sidecar, [], [CENTS])
    below = (await sidecar.delegate(token)).grant_token
    refused = await sidecar.tool.refused("SpendBudget", **spend(below, "s-1", 101))
    assert refused.metadata["ended_grant"] == "g-1"
    for one in (token, below):
        refused = await sidecar.tool.refused("PerformAction", grant_token=one, intent=intent("o-1"))
        assert (refused.reason, refused.metadata["ended_grant"]) == ("GRANT_ENDED", "g-1")
        assert refused.metadata["budget"] == "usd_cents"
    await sidecar.permit(await sidecar.grant_for("r-1"), "o-2")


async def test_what_was_used_up_already_is_taken_whatever_is_left(sidecar: Served) -> None:
    """And ends the run afterwards."""
    token = await a_grant(sidecar, [CENTS])
    answer = await sidecar.tool("SpendBudget", **spend(token, amount=250, incurred=True))
    assert answer.remaining == 0
    run = (await sidecar.auditor("GetRun", run_id="r-1")).run
    assert (run.budgets[0].taken, run.end.reason) == (250, errors_pb2.STOP_REASON_BUDGET)


async def test_every_step_of_an_action_tells_what_is_left(sidecar: Served) -> None:
    """Prepared holds, committed takes, abandoned gives back; issue and settle tell it, too."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[CENTS, {"name": "tool_calls", "limit": 10}])
    asked = {"run_id": "r-1", "scopes": [{"action": "*"}], "budgets": [{"name": "usd_cents", "limit": 90}]}
    issued = await sidecar.issuer("IssueGrant", **asked)
    assert dict(issued.remaining) == {"usd_cents": 90, "tool_calls": 10}
    token = await sidecar.grant_for("r-1")
    costs = {"usd_cents": 30}
    prepared = await sidecar.prepare(token, "o-1", costs=costs)
    assert dict(prepared.remaining) == {"usd_cents": 70, "tool_calls": 9}
    (cents, _) = (await sidecar.auditor("GetRun", run_id="r-1")).run.budgets
    assert (cents.taken, cents.reserved, cents.remaining) == (0, 30, 70)
    committed = await sidecar.tool("CommitAction", **commit(token, "o-1"))
    assert dict(committed.remaining) == {"usd_cents": 70, "tool_calls": 9}
    wanted = intent("o-2", costs=costs)
    performed = await sidecar.tool("PerformAction", grant_token=token, intent=wanted)
    assert dict(performed.remaining) == {"usd_cents": 40, "tool_calls": 8}
    await sidecar.prepare(token, "o-3", costs=costs)
    outcome = action_pb.OUTCOME_SUCCEEDED
    settled = await sidecar.tool("SettleAction", grant_token=token, op_id="o-2", outcome=outcome)
    assert dict(settled.remaining) == {"usd_cents": 10, "tool_calls": 7}
    abandoned = await sidecar.tool("AbandonAction", grant_token=token, op_id="o-3")
    assert dict(abandoned.remaining) == {"usd_cents": 40, "tool_calls": 8}
    (cents, calls) = (await sidecar.auditor("GetRun", run_id="r-1")).run.budgets
    assert (cents.taken, cents.reserved, calls.taken) == (60, 0, 2)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"budget": ""}, "budget"),
        ({"budget": "USD"}, "budget"),
        ({"budget": "usd=1,x"}, "budget"),
        ({"budget": "a" * 65}, "budget"),
        ({"amount": 0}, "amount"),
        ({"amount": 10**15 + 1}, "amount"),
        ({"amount": 2**63}, "amount"),
        ({"amount": 2**64 - 1}, "amount"),
        ({"op_id": ""}, "op_id"),
    ],
    ids=str,
)
async def test_a_bad_spending_is_refused_by_its_field(
    sidecar: Served, fields: dict[str, Any], field: str
) -> None:
    """Nothing is written, and the run goes on."""
    token = await a_grant(sidecar, [CENTS])
    before = await sidecar.journal()
    refused = await sidecar.tool.refused("SpendBudget", **spend(token) | fields)
    assert (refused.reason, refused.metadata["field"]) == ("INVALID_REQUEST", field)
    assert await sidecar.journal() == before


@pytest.mark.parametrize(
    "costs",
    [{"": 1}, {"USD": 1}, {"a b": 1}, {"a=1": 1}, {"a;b": 1}, {"usd": 10**15 + 1}, {"usd": 2**64 - 1}],
    ids=str,
)
async def test_a_bad_cost_is_refused_by_its_field(sidecar: Served, costs: dict[str, int]) -> None:
    """In prepare and perform alike; too many of them too."""
    token = await a_grant(sidecar, [CENTS])
    for method in ("PrepareAction", "PerformAction"):
        for wrong in (costs, {f"a{number}": 1 for number in range(17)}):
            told = intent("o-1", costs=wrong)
            refused = await sidecar.tool.refused(method, grant_token=token, intent=told)
            assert refused.reason == "INVALID_REQUEST"
            assert refused.metadata["field"].startswith("intent.costs")


async def test_a_run_has_so_many_spendings_and_no_more() -> None:
    """A runaway tool must not fill the store with spendings either."""
    async with served(max_actions=3) as running:
        token = await running.grant()
        for number in range(3):
            await running.tool("SpendBudget", **spend(token, f"s-{number}"))
        refused = await running.tool.refused("SpendBudget", **spend(token, "s-3"))
        assert (refused.reason, refused.metadata["limit"]) == ("RUN_FULL", "3")
