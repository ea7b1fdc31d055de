"""Attack: to use more than a budget holds, by repeating, overflowing, giving back or going around."""

import asyncio
from typing import Any

import pytest

from tests.rpc.support import Served, commit, intent, request

USD = {"name": "usd", "limit": 10, "on_exhausted": 2}


async def a_grant(sidecar: Served, **fields: Any) -> str:
    """A run with ten to spend, which goes on when they are spent."""
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=[USD | fields])
    return await sidecar.grant_for("r-1")


async def standing(sidecar: Served) -> tuple[int, int, int]:
    """What is taken, held and left."""
    (one,) = (await sidecar.auditor("GetRun", run_id="r-1")).run.budgets
    return one.taken, one.reserved, one.remaining


def costing(token: str, op_id: str, usd: int, **fields: Any) -> dict[str, Any]:
    """The fields of an action that costs something."""
    return {"grant_token": token, "intent": intent(op_id, costs={"usd": usd}, **fields)}


async def test_the_same_op_id_pays_once_and_never_for_another(sidecar: Served) -> None:
    """A replay takes nothing; the same op_id with other costs is another action, and refused."""
    token = await a_grant(sidecar)
    for _ in range(5):
        await sidecar.tool("PerformAction", **costing(token, "o-1", 4))
    assert await standing(sidecar) == (4, 0, 6)
    for usd in (0, 3, 5):
        for method in ("PerformAction", "PrepareAction"):
            refused = await sidecar.tool.refused(method, **costing(token, "o-1", usd))
            assert refused.reason == "OP_ID_CONFLICT"
    assert await standing(sidecar) == (4, 0, 6)


async def test_nothing_comes_back_after_the_permit(sidecar: Served) -> None:
    """Not by giving up, not by failing, not by silence."""
    token = await a_grant(sidecar)
    await sidecar.tool("PrepareAction", **costing(token, "o-1", 3))
    await sidecar.tool("CommitAction", **commit(token, "o-1"))
    refused = await sidecar.tool.refused("AbandonAction", grant_token=token, op_id="o-1")
    assert refused.reason == "ALREADY_PERMITTED"
    await sidecar.tool("PerformAction", **costing(token, "o-2", 3))
    await sidecar.tool("SettleAction", grant_token=token, op_id="o-2", outcome=2)
    refused = await sidecar.tool.refused("AbandonAction", grant_token=token, op_id="o-2")
    assert refused.reason == "ALREADY_SETTLED"
    sidecar.clock.advance(200)
    assert await standing(sidecar) == (6, 0, 4)


async def test_what_is_given_back_comes_back_once(sidecar: Served) -> None:
    """However often it is given up, and not again when its time is over; nor from another action's share."""
    token = await a_grant(sidecar)
    await sidecar.tool("PrepareAction", **costing(token, "o-1", 4))
    await sidecar.tool("PrepareAction", **costing(token, "o-2", 5))
    for _ in range(5):
        await sidecar.tool("AbandonAction", grant_token=token, op_id="o-1")
    assert await standing(sidecar) == (0, 5, 5)
    refused = await sidecar.tool.refused("PerformAction", **costing(token, "o-3", 6))
    assert (refused.reason, refused.metadata["reserved"]) == ("BUDGET_EXHAUSTED", "5")
    sidecar.clock.advance(60.5)  # past its expiry, within the second in which it is still held
    await sidecar.tool("AbandonAction", grant_token=token, op_id="o-2")
    sidecar.clock.advance(10)
    assert await standing(sidecar) == (0, 0, 10)


@pytest.mark.parametrize("method", ["PrepareAction", "PerformAction"])
async def test_perform_and_prepare_ask_alike(sidecar: Served, method: str) -> None:
    """What is held for one action is not there for another, by whichever verb."""
    token = await a_grant(sidecar)
    await sidecar.tool("PrepareAction", **costing(token, "o-1", 6))
    refused = await sidecar.tool.refused(method, **costing(token, "o-2", 5))
    assert refused.reason == "BUDGET_EXHAUSTED"
    await sidecar.tool(method, **costing(token, "o-3", 4))
    assert (await sidecar.tool.refused(method, **costing(token, "o-4", 1))).reason == "BUDGET_EXHAUSTED"


async def test_a_hundred_at_once_take_no_more_than_there_is(sidecar: Served) -> None:
    """By perform, by prepare and commit, and by spending, from a grant and its children."""
    token = await a_grant(sidecar)
    child = (await sidecar.delegate(token, child_run={})).grant_token

    async def one(number: int) -> int:
        mine = (token, child)[number % 2]
        try:
            if number % 3 == 0:
                await sidecar.tool("PerformAction", **costing(mine, f"o-{number}", 1))
            elif number % 3 == 1:
                await sidecar.tool("PrepareAction", **costing(mine, f"o-{number}", 1))
                await sidecar.tool("CommitAction", **commit(mine, f"o-{number}"))
            else:
                spending = {"op_id": f"s-{number}", "budget": "usd", "amount": 1}
                await sidecar.tool("SpendBudget", grant_token=mine, **spending)
        except Exception:
            return 0
        return 1

    assert sum(await asyncio.gather(*map(one, range(100)))) == 10
    assert await standing(sidecar) == (10, 0, 0)


@pytest.mark.parametrize("usd", [10**15 + 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1])
async def test_no_cost_overflows(sidecar: Served, usd: int) -> None:
    """What no store could add up is refused by every verb; what is too much is too much."""
    token = await a_grant(sidecar)
    for method in ("PrepareAction", "PerformAction"):
        assert (await sidecar.tool.refused(method, **costing(token, "o-1", usd))).reason == "INVALID_REQUEST"
    told = {"grant_token": token, "op_id": "s-1", "budget": "usd", "amount": usd}
    for incurred in (False, True):
        refused = await sidecar.tool.refused("SpendBudget", **told, incurred=incurred)
        assert refused.reason == "INVALID_REQUEST"
    assert await standing(sidecar) == (0, 0, 10)


async def test_no_sum_overflows(sidecar: Served) -> None:
    """What was used up already is taken again and again: the number stops somewhere, nothing comes round."""
    token = await a_grant(sidecar)
    for number in range(40):
        told = {"op_id": f"s-{number}", "budget": "usd", "amount": 10**15, "incurred": True}
        assert (await sidecar.tool("SpendBudget", grant_token=token, **told)).remaining == 0
    taken, held, left = await standing(sidecar)
    assert 10**15 <= taken < 2**53
    assert (held, left) == (0, 0)
    assert (
        await sidecar.tool.refused("PerformAction", **costing(token, "o-1", 1))
    ).reason == "BUDGET_EXHAUSTED"
    assert (await sidecar.cancel()).report.complete


async def test_many_costs_are_not_a_way_around_one(sidecar: Served) -> None:
    """Each name is asked; one that is short refuses all of it, and nothing of the others is taken."""
    budgets = [USD, {"name": "tokens", "limit": 5, "on_exhausted": 2}]
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=budgets)
    token = await sidecar.grant_for("r-1")
    told = {"grant_token": token, "intent": intent("o-1", costs={"usd": 1, "tokens": 6})}
    for method in ("PrepareAction", "PerformAction"):
        assert (await sidecar.tool.refused(method, **told)).metadata["budget"] == "tokens"
    standings = (await sidecar.auditor("GetRun", run_id="r-1")).run.budgets
    assert [(one.taken, one.reserved) for one in standings] == [(0, 0), (0, 0)]


async def test_a_cost_named_twice_on_the_wire_is_one(sidecar: Served) -> None:
    """A map has a name once: the last one counts, for the budget and for what is on record."""
    token = await a_grant(sidecar)
    cheap = request("PerformAction", **costing(token, "o-1", 0)).SerializeToString()
    dear = request("PerformAction", intent={"costs": {"usd": 11}}).SerializeToString()
    call = sidecar.tool.rpc("PerformAction", raw=True)
    for message, code in ((cheap + dear, "PERMISSION_DENIED"), (dear + cheap, "OK")):
        sent = call(message)
        assert (await sent.code()).name == code
    costs = [entry.data.get("costs") for entry in await sidecar.journal() if entry.kind == "PREPARED"]
    assert costs == ["usd=0"]


async def test_every_action_counts_as_a_call_unless_its_tool_says_otherwise(sidecar: Served) -> None:
    """The tool says what an action costs; it is trusted for that as it is for the action itself."""
    budgets = [{"name": "tool_calls", "limit": 2, "on_exhausted": 2}]
    await sidecar.issuer("OpenRun", run_id="r-1", budgets=budgets)
    token = await sidecar.grant_for("r-1")
    await sidecar.tool("PerformAction", grant_token=token, intent=intent("o-1", costs={"tool_calls": 0}))
    for number in (2, 3):
        await sidecar.tool("PerformAction", grant_token=token, intent=intent(f"o-{number}"))
    refused = await sidecar.tool.refused("PerformAction", grant_token=token, intent=intent("o-4"))
    assert (refused.reason, refused.metadata["budget"]) == ("BUDGET_EXHAUSTED", "tool_calls")


async def test_a_new_grant_or_run_brings_no_new_money(sidecar: Served) -> None:
    """A budget is its run's: what children, their grants, and grants issued later take is taken from it."""
    token = await a_grant(sidecar)
    await sidecar.issuer("OpenRun", run_id="r-2", parent_run_id="r-1", budgets=[USD | {"limit": 1000}])
    grants = [
        token,
        await sidecar.grant_for("r-1"),
        await sidecar.grant_for("r-2", budgets=[USD | {"limit": 500}]),
    ]
    grants.append((await sidecar.delegate(grants[2], child_run={})).grant_token)
    for number, one in enumerate(grants):
        told = costing(one, f"o-{number}", 3)
        if number < 3:
            await sidecar.tool("PerformAction", **told)
        else:
            assert (await sidecar.tool.refused("PerformAction", **told)).metadata["owner"] == "run r-1"


async def test_a_run_that_spent_itself_to_death_stays_dead(sidecar: Served) -> None:
    """With all that is below it, and what was prepared before."""
    token = await a_grant(sidecar, on_exhausted=1)
    child = (await sidecar.delegate(token, child_run={})).grant_token
    await sidecar.tool("PrepareAction", **costing(child, "o-1", 4))
    assert (await sidecar.tool.refused("PerformAction", **costing(child, "o-2", 11))).metadata[
        "ended_run"
    ] == "r-1"
    for one in (token, child):
        assert (await sidecar.tool.refused("PerformAction", **costing(one, "o-3", 0))).reason == "REVOKED"
    assert (await sidecar.tool.refused("CommitAction", **commit(child, "o-1"))).reason == "REVOKED"
    report = (await sidecar.auditor("GetReport", run_id="r-1")).report
    assert [one.op_id for one in report.interrupted] == ["o-1"]


async def test_holding_much_ends_nobody(sidecar: Served) -> None:
    """What is only held may come back: another one is refused, but the run goes on."""
    token = await a_grant(sidecar, on_exhausted=1)
    await sidecar.tool("PrepareAction", **costing(token, "o-1", 10))
    refused = await sidecar.tool.refused("PerformAction", **costing(token, "o-2", 1))
    assert (refused.reason, "ended_run" in refused.metadata) == ("BUDGET_EXHAUSTED", False)
    await sidecar.tool("AbandonAction", grant_token=token, op_id="o-1")
    await sidecar.tool("PerformAction", **costing(token, "o-2", 1))
