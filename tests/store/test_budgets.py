"""Budgets: never more than the limit is given out, and what ran out ends what it limits."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.budget import MAX_AMOUNT, Budget, Costs, Exhaustion
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.grant import GrantRef
from grant_service.core.run import RunState, StopReason
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, ref, refused
from tests.store.rigs import START

CANCEL, REFUSE = Exhaustion.CANCEL, Exhaustion.REFUSE
EXHAUSTED = ErrorReason.BUDGET_EXHAUSTED
USD = (Budget("usd", 10, REFUSE),)


def paid(op: str, usd: int, **more: Any) -> Any:
    """An action that costs this much and, as one without a price does, one tool call."""
    return intent(op, costs=(("usd", usd),), **more)


async def ready(play: Player, *budgets: Budget) -> GrantRef:
    """A run with budgets, and a grant for it."""
    await play.open(budgets=budgets or USD)
    return await play.issue()


async def test_a_budget_is_kept_as_it_was_asked_for(play: Player) -> None:
    """On a run and on a grant: name, limit and what happens when it runs out; nothing is taken yet."""
    budgets = (Budget("usd", 10, REFUSE), Budget("tool_calls", 3))
    run = await play.open(budgets=budgets)
    grant = done(await play.try_issue(budgets=budgets[::-1])).grant
    assert (run.budgets, grant.budgets) == (budgets, budgets[::-1])
    assert [entry.data["budgets"] for entry in await play.journal()] == [
        "usd 10 REFUSE;tool_calls 3 CANCEL",
        "tool_calls 3 CANCEL;usd 10 REFUSE",
    ]


async def test_opening_and_issuing_again_compare_the_budgets_asked_for(play: Player) -> None:
    """What was held and taken since makes no other content; another limit, policy or order does."""
    budgets = (Budget("usd", 10, REFUSE), Budget("eur", 1))
    await play.open(budgets=budgets)
    grant = await play.issue(budgets=budgets)
    done(await play.prepare(grant, paid("1", 2)))
    done(await play.spend(grant, 3))
    assert done(await play.try_open(budgets=budgets)).replayed
    assert done(await play.try_issue(budgets=budgets)).replayed
    others = [(), budgets[::-1], budgets[:1], (Budget("usd", 9, REFUSE), Budget("eur", 1))]
    for other in [*others, (Budget("usd", 10), Budget("eur", 1))]:
        refused(await play.try_open(budgets=other), ErrorReason.RUN_EXISTS)
        refused(await play.try_issue(budgets=other), ErrorReason.GRANT_EXISTS)


async def test_prepare_holds_commit_takes_and_abandon_gives_back(play: Player) -> None:
    """At each step the run and the grant show the same: taken, held, left; so does the answer."""
    await play.open(budgets=USD)
    grant = await play.issue(budgets=(Budget("usd", 20),))

    async def amounts() -> Sequence[tuple[int, int, int]]:
        return list((await play.budgets("run", "grant")).values())

    assert done(await play.prepare(grant, paid("1", 3))).remaining == {"usd": 7}
    assert await amounts() == [(0, 3, 7), (0, 3, 17)]
    assert done(await play.prepare(grant, paid("2", 4))).remaining == {"usd": 3}
    assert await amounts() == [(0, 7, 3), (0, 7, 13)]
    assert done(await play.commit(grant, "1")).remaining == {"usd": 3}
    assert await amounts() == [(3, 4, 3), (3, 4, 13)]
    assert done(await play.settle(grant, "1")).remaining == {"usd": 3}
    assert await amounts() == [(3, 4, 3), (3, 4, 13)]
    assert done(await play.abandon(grant, "2")).remaining == {"usd": 7}
    assert await amounts() == [(3, 0, 7), (3, 0, 17)]
    assert done(await play.perform(grant, paid("3", 5))).remaining == {"usd": 2}
    assert await amounts() == [(8, 0, 2), (8, 0, 12)]
    assert done(await play.spend(grant, 2)).remaining == {"usd": 0}
    assert await amounts() == [(10, 0, 0), (10, 0, 10)]


async def test_repetitions_hold_and_take_nothing(play: Player) -> None:
    """Each verb that is asked again answers what is left and changes nothing."""
    grant = await ready(play)
    done(await play.prepare(grant, paid("1", 3)))
    before = await play.rig.dump()
    assert done(await play.prepare(grant, paid("1", 3))).remaining == {"usd": 7}
    assert (await play.rig.dump()).differences(before) == []
    done(await play.commit(grant, "1"))
    done(await play.perform(grant, paid("2", 2)))
    done(await play.spend(grant, 1))
    done(await play.prepare(grant, paid("3", 4)))
    done(await play.abandon(grant, "3"))
    before = await play.rig.dump()
    answers = [await play.commit(grant, "1"), await play.perform(grant, paid("2", 2))]
    assert [done(answer).remaining for answer in answers] == [{"usd": 4}, {"usd": 4}]
    assert done(await play.spend(grant, 1)).remaining == {"usd": 4}
    assert done(await play.abandon(grant, "3")).remaining == {"usd": 4}
    assert (await play.rig.dump()).differences(before) == []
    done(await play.settle(grant, "2"))
    before = await play.rig.dump()
    assert done(await play.settle(grant, "2")).remaining == {"usd": 4}
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize(
    ("costs", "left"),
    [
        ((), 4),
        ((("usd", 3),), 4),
        ((("tool_calls", 3),), 2),
        ((("tool_calls", 0),), 5),
        ((("tool_calls", 5),), 0),
    ],
)
async def test_every_action_costs_one_tool_call_unless_it_says_otherwise(
    play: Player, costs: Costs, left: int
) -> None:
    """Prepared, committed or performed; a spending costs none."""
    grant = await ready(play, Budget("tool_calls", 5))
    done(await play.spend(grant, 1))
    assert done(await play.prepare(grant, intent("1", costs=costs))).remaining == {"tool_calls": left}
    assert done(await play.commit(grant, "1")).remaining == {"tool_calls": left}


async def test_what_no_budget_is_set_for_costs_nothing(play: Player) -> None:
    """It is on record all the same."""
    grant = await ready(play)
    done(await play.perform(grant, intent("1", costs=(("eur", MAX_AMOUNT),))))
    assert done(await play.spend(grant, MAX_AMOUNT, budget="eur")).remaining == {"usd": 10}
    entry = (await play.journal())[-1]
    data = {"op": "spent", "grant": "grant", "budget": "eur", "amount": str(MAX_AMOUNT)}
    assert (entry.kind, dict(entry.data)) == ("SPENT", data)


async def test_the_least_of_a_name_is_what_is_left(play: Player) -> None:
    """Of all runs above and all grants above, in the order of the names."""
    await play.open("a", budgets=(Budget("usd", 9), Budget("eur", 5)))
    await play.open("b", parent="a", budgets=(Budget("usd", 7), Budget("tokens", 1)))
    above = await play.issue("b", budgets=(Budget("usd", 8), Budget("eur", 6)))
    child = await play.delegate(above, child="c", budgets=(Budget("eur", 4),))
    remaining = done(await play.prepare(child, paid("1", 2))).remaining
    assert list(remaining.items()) == [("eur", 4), ("tokens", 1), ("usd", 5)]


async def test_what_is_issued_is_told_what_it_may_use(play: Player) -> None:
    """The least of its own budgets and those of all runs above, as they are when it is told: again, too."""
    await play.open("a", budgets=(Budget("usd", 9), Budget("eur", 5)))
    await play.open("b", parent="a", budgets=(Budget("usd", 20), Budget("tokens", 1)))
    first = done(await play.try_issue("b", budgets=(Budget("usd", 8), Budget("calls", 3))))
    assert list(first.remaining.items()) == [("calls", 3), ("eur", 5), ("tokens", 1), ("usd", 8)]
    done(await play.prepare(ref(first), paid("1", 4)))
    done(await play.spend(ref(first), 2, budget="eur"))
    again = done(await play.try_issue("b", budgets=(Budget("usd", 8), Budget("calls", 3))))
    assert (again.replayed, again.remaining) == (True, {"calls": 3, "eur": 3, "tokens": 1, "usd": 4})
    second = done(await play.try_issue("b", grant="other", budgets=(Budget("usd", 8),)))
    assert second.remaining == {"eur": 3, "tokens": 1, "usd": 5}
    await play.open("free")
    assert done(await play.try_issue("free", grant="free")).remaining == {}


@pytest.mark.parametrize("child", [None, verbs.Open("c", 0, DAY, budgets=(Budget("tokens", 2),))])
async def test_what_is_delegated_is_told_what_it_may_use(play: Player, child: verbs.Open | None) -> None:
    """The least of its own budgets, those of the grants it comes from, and those of all its runs."""
    await play.open("a", budgets=(Budget("usd", 9), Budget("tokens", 5)))
    above = await play.issue("a", budgets=(Budget("usd", 8),))
    done(await play.spend(above, 5))
    asked = {"child": child, "budgets": (Budget("usd", 6), Budget("eur", 7))}
    first = done(await play.try_delegate(above, **asked))
    assert list(first.remaining.items()) == [("eur", 7), ("tokens", 2 if child else 5), ("usd", 3)]
    done(await play.spend(ref(first), 1, "handed on"))
    done(await play.spend(above, 4, "below", budget="tokens"))
    again = done(await play.try_delegate(above, **asked))
    assert (again.replayed, again.remaining) == (True, {"eur": 7, "tokens": 1, "usd": 2})


@pytest.mark.parametrize("ending", ["cancel", "finish", "revoke", "deadline", "epoch", "exhausted"])
async def test_what_is_told_after_the_end_still_tells_what_is_left(play: Player, ending: str) -> None:
    """A settle and an abandon are never refused for an end; the numbers are as the records have them."""
    await play.open("a", budgets=USD)
    above = await play.issue("a", grant="above", budgets=(Budget("usd", 8),))
    child = await play.delegate(above, "child", child="b", budgets=(Budget("usd", 7),))
    done(await play.perform(child, paid("1", 2)))
    done(await play.prepare(child, paid("2", 3), ttl_ms=2 * DAY))
    match ending:
        case "cancel":
            await play.cancel("a")
        case "finish":
            done(await play.finish("b"))
        case "revoke":
            done(await play.revoke("run=a"))
        case "deadline":
            await play.rig.advance(DAY)
        case "epoch":
            await play.rig.renew_epoch("another")
        case "exhausted":
            refused(await play.spend(child, 9), EXHAUSTED)
    lapsed = ending == "deadline"  # what was held is free by then
    assert done(await play.settle(child, "1")).remaining == {"usd": 5 if lapsed else 2}
    assert done(await play.abandon(child, "2")).remaining == {"usd": 5}
    for answer in (await play.settle(child, "1"), await play.abandon(child, "2")):
        assert (done(answer).replayed, done(answer).remaining) == (True, {"usd": 5})


@pytest.mark.parametrize(("ttl_ms", "until"), [(1, SECOND), (SECOND, SECOND), (1500, 2 * SECOND)])
async def test_what_is_held_is_free_at_the_second_in_which_the_action_expires(
    play: Player, ttl_ms: int, until: int
) -> None:
    """By itself, without anybody sweeping, and not a millisecond earlier."""
    grant = await ready(play)
    done(await play.prepare(grant, paid("1", 10), ttl_ms=ttl_ms))
    await play.rig.advance(until - 1)
    refused(await play.perform(grant, paid("2", 1)), EXHAUSTED)
    await play.rig.advance(1)
    assert done(await play.perform(grant, paid("2", 10))).remaining == {"usd": 0}
    assert await play.budgets("run") == {"run.usd": (10, 0, 0)}


async def test_amounts_of_several_seconds_are_free_one_after_the_other(play: Player) -> None:
    """Each is held to its own time; those of one second share one number."""
    grant = await ready(play)
    for op, ttl_ms in (("1", 500), ("2", 900), ("3", 1001), ("4", 60 * SECOND)):
        done(await play.prepare(grant, paid(op, 2), ttl_ms=ttl_ms))
    slots = ((START + SECOND, 4), (START + 2 * SECOND, 2), (START + 60 * SECOND, 2))
    assert (await play.read()).budgets[0].reserved == slots
    for ms, held in ((999, 8), (1, 4), (999, 4), (1, 2), (57_999, 2), (1, 0)):
        await play.rig.advance(ms)
        assert (await play.budgets("run"))["run.usd"] == (0, held, 10 - held)


async def test_what_is_given_back_after_its_second_is_not_given_twice(play: Player) -> None:
    """An expired action that is abandoned gives back what is still held, and nothing of another's."""
    grant = await ready(play)
    done(await play.prepare(grant, paid("1", 4), ttl_ms=500))
    done(await play.prepare(grant, paid("2", 3), ttl_ms=1000))
    done(await play.prepare(grant, paid("3", 2), ttl_ms=1500))
    await play.rig.advance(600)
    done(await play.abandon(grant, "1"))
    assert (await play.budgets("run"))["run.usd"] == (0, 5, 5)
    await play.rig.advance(400)
    done(await play.abandon(grant, "2"))
    assert (await play.budgets("run"))["run.usd"] == (0, 2, 8)


async def test_what_expired_cannot_be_committed_on_what_is_still_held(play: Player) -> None:
    """Between its expiry and the end of that second the action is over, though its amount is held."""
    grant = await ready(play)
    done(await play.prepare(grant, paid("1", 4), ttl_ms=500))
    await play.rig.advance(500)
    refused(await play.commit(grant, "1"), ErrorReason.PREPARE_EXPIRED)
    assert (await play.budgets("run"))["run.usd"] == (0, 4, 6)


async def test_an_action_of_a_grant_that_ends_early_is_held_for_no_longer(play: Player) -> None:
    """Its time to commit is cut to the grant's, and so is what is held."""
    await play.open(budgets=USD)
    grant = await play.issue(ttl_ms=SECOND)
    done(await play.prepare(grant, paid("1", 4), ttl_ms=HOUR))
    await play.rig.advance(SECOND)
    assert (await play.budgets("run"))["run.usd"] == (0, 0, 10)


@pytest.mark.parametrize("verb", ["prepare", "perform", "spend"])
async def test_more_than_is_left_is_refused(play: Player, verb: str) -> None:
    """With the numbers that led to it; only the refusal is on record, and the op_id can be used again."""
    grant = await ready(play)
    done(await play.spend(grant, 2, "s"))
    done(await play.prepare(grant, paid("p", 3)))
    if verb == "spend":
        answer: Any = await play.spend(grant, 6, "op")
    else:
        answer = await getattr(play, verb)(grant, paid("op", 6))
    details = refused(answer, EXHAUSTED)
    numbers = {"limit": "10", "taken": "2", "reserved": "3", "remaining": "5", "asked": "6"}
    wanted = {"budget": "usd", "owner": "run run", "op": "op"} | numbers
    assert {name: details[name] for name in wanted} == wanted
    assert (await play.budgets("run"))["run.usd"] == (2, 3, 5)
    assert await play.store.actions([("run", "op")]) == [None]
    assert (await play.read()).actions == 1
    entry = (await play.journal())[-1]
    assert (entry.kind, entry.data["verb"], entry.data["budget"]) == ("REFUSED", verb, "usd")
    done(await play.perform(grant, paid("op", 5)))
    done(await play.spend(grant, 1, "op", budget="eur"))


async def test_exactly_what_is_left_is_given(play: Player) -> None:
    """The limit itself is within the limit, and nothing is ended by reaching it."""
    grant = await ready(play, Budget("usd", 10))
    done(await play.perform(grant, paid("1", 10)))
    done(await play.perform(grant, paid("2", 0)))
    assert (await play.read()).state is RunState.ACTIVE


async def test_a_limit_of_nothing_allows_nothing(play: Player) -> None:
    """And still allows what costs none of it."""
    grant = await ready(play, Budget("usd", 0, REFUSE))
    refused(await play.prepare(grant, paid("1", 1)), EXHAUSTED)
    done(await play.prepare(grant, paid("2", 0)))


async def test_a_budget_that_refuses_ends_nothing(play: Player) -> None:
    """It refuses again and again, and what is within it still works."""
    grant = await ready(play, Budget("usd", 3, REFUSE))
    for op in ("1", "2"):
        refused(await play.perform(grant, paid(op, 4)), EXHAUSTED)
    assert (await play.read()).state is RunState.ACTIVE
    done(await play.perform(grant, paid("3", 3)))


async def test_a_run_whose_budget_ran_out_is_cancelled(play: Player) -> None:
    """By the budget, with a line before the refusal's; from then on everybody hears of the cancel."""
    grant = await ready(play, Budget("usd", 10))
    done(await play.prepare(grant, paid("1", 3)))
    done(await play.spend(grant, 5))
    details = refused(await play.perform(grant, paid("2", 6)), EXHAUSTED)
    assert (details["ended_run"], details["owner"]) == ("run", "run run")
    run = await play.read()
    assert (run.state, run.end_reason, run.end_actor) == (RunState.CANCELLED, "BUDGET", "budget")
    assert (run.end_tag, run.end_note) == ("usd", "budget usd of 10 ran out")
    cut = {"reason": "BUDGET", "actor": "budget", "note": "budget usd of 10 ran out", "tag": "usd"}
    cancelled, refusal = (await play.journal())[-2:]
    assert (cancelled.kind, cancelled.seq, dict(cancelled.data)) == ("CANCELLED", run.end_seq, cut)
    assert (refusal.kind, refusal.data["reason"]) == ("REFUSED", "BUDGET_EXHAUSTED")
    stopped = refused(await play.commit(grant, "1"), ErrorReason.REVOKED)
    assert (stopped["stop_reason"], stopped["actor"], stopped["tag"]) == ("BUDGET", "budget", "usd")
    refused(await play.spend(grant, 1, "more"), ErrorReason.REVOKED)
    assert (await play.cancel()).replayed


async def test_a_cancel_by_exhaustion_is_in_the_report(play: Player) -> None:
    """It reads like any other stop: why, by whom, what was interrupted."""
    grant = await ready(play, Budget("usd", 10))
    done(await play.prepare(grant, paid("1", 3)))
    refused(await play.spend(grant, 11), EXHAUSTED)
    refused(await play.commit(grant, "1"), ErrorReason.REVOKED)
    report = done(await compile_report(play.store, "run"))
    assert report.end
    assert (report.end.reason, report.end.actor, report.end.tag) == (StopReason.BUDGET, "budget", "usd")
    assert (report.cut_seq, report.quiesced) == ((await play.read()).end_seq, True)
    assert [action.op_id for action in report.in_state(ActionState.INTERRUPTED)] == ["1"]
    assert [late.op_id for late in report.late_attempts] == ["1"]


async def test_what_is_only_held_ends_nothing(play: Player) -> None:
    """As long as giving back could help, more is refused and the run goes on; then it has its effect."""
    grant = await ready(play, Budget("usd", 10))
    done(await play.prepare(grant, paid("1", 8)))
    details = refused(await play.perform(grant, paid("2", 10)), EXHAUSTED)
    assert "ended_run" not in details
    assert (await play.read()).state is RunState.ACTIVE
    done(await play.abandon(grant, "1"))
    done(await play.perform(grant, paid("2", 10)))
    assert refused(await play.perform(grant, paid("3", 1)), EXHAUSTED)["ended_run"] == "run"


async def test_a_grant_whose_budget_ran_out_is_ended_and_its_run_is_not(play: Player) -> None:
    """A line says so; another grant of the run works on."""
    await play.open()
    grant = await play.issue(budgets=(Budget("usd", 10),))
    other = await play.issue(grant="other")
    await play.rig.advance(SECOND)
    details = refused(await play.perform(grant, paid("1", 11)), EXHAUSTED)
    assert (details["owner"], details["ended_grant"]) == ("grant grant", "grant")
    exhausted = (await play.journal())[-2]
    assert (exhausted.kind, dict(exhausted.data)) == ("EXHAUSTED", {"grant": "grant", "budget": "usd"})
    stored = await play.read_grant()
    assert (stored.end_seq, stored.end_time, stored.end_budget) == (exhausted.seq, START + SECOND, "usd")
    await play.rig.advance(2 * SECOND)
    ended = refused(await play.perform(grant, "2"), ErrorReason.GRANT_ENDED)
    assert (ended["ended_grant"], ended["budget"]) == ("grant", "usd")
    assert (ended["ended_ago_ms"], ended["seq"]) == (str(2 * SECOND), str(exhausted.seq))
    done(await play.perform(other, "3"))


async def test_a_budget_ends_the_run_that_set_it(play: Player) -> None:
    """The root's ends the whole tree, a child's the child."""
    await play.open("root", budgets=(Budget("usd", 20), Budget("eur", 5)))
    above = await play.issue("root", grant="above")
    children = {}
    for name in ("a", "b"):
        child = verbs.Open(name, 0, DAY, budgets=(Budget("usd", 10),))
        children[name] = await play.delegate(above, f"g-{name}", child=child)
    assert refused(await play.spend(children["a"], 11), EXHAUSTED)["ended_run"] == "a"
    assert refused(await play.spend(children["a"], 1), ErrorReason.REVOKED)["ended_run"] == "a"
    done(await play.spend(children["b"], 1))
    details = refused(await play.spend(children["b"], 6, "2", budget="eur"), EXHAUSTED)
    assert (details["ended_run"], details["owner"]) == ("root", "run root")
    assert refused(await play.spend(children["b"], 1, "3"), ErrorReason.REVOKED)["ended_run"] == "root"
    refused(await play.perform(above), ErrorReason.REVOKED)
    assert (await play.kinds("root"))[-2:] == ["CANCELLED", "REFUSED"]
    assert (await play.kinds("b"))[-2:] == ["REFUSED", "REFUSED"]


async def test_the_nearest_budget_that_is_short_is_named(play: Player) -> None:
    """The own grant, those above it, the own run, those above it; whoever has little ends nothing above."""
    await play.open("a", budgets=(Budget("usd", 4),))
    await play.open("b", parent="a", budgets=(Budget("usd", 3, REFUSE),))
    above = await play.issue("b", budgets=(Budget("usd", 2, REFUSE),))
    child = await play.delegate(above, budgets=(Budget("usd", 1, REFUSE),))
    free = await play.issue("b", grant="free")
    for number, (grant, owner) in enumerate(
        [(child, "grant child"), (above, "grant grant"), (free, "run b")]
    ):
        assert refused(await play.spend(grant, 5, f"{number}"), EXHAUSTED)["owner"] == owner
    assert (await play.read("a")).state is RunState.ACTIVE
    top = await play.issue("a", grant="top")
    assert refused(await play.spend(top, 5, "5"), EXHAUSTED)["owner"] == "run a"
    assert (await play.read("a")).state is RunState.CANCELLED


async def test_a_use_of_the_child_draws_from_everything_above(play: Player) -> None:
    """Every grant of the chain and every run of the path pays, whatever beside them does not."""
    await play.open("a", budgets=USD)
    above = await play.issue("a", grant="above", budgets=USD)
    run = verbs.Open("b", 0, DAY, budgets=USD)
    child = await play.delegate(above, "child", child=run, budgets=USD)
    beside = await play.delegate(above, "beside", child=verbs.Open("c", 0, DAY, budgets=USD), budgets=USD)
    done(await play.perform(child, paid("1", 1)))
    done(await play.spend(beside, 2))
    done(await play.prepare(above, paid("2", 4)))
    budgets = await play.budgets("a", "b", "c", "above", "child", "beside")
    assert budgets == {
        "a.usd": (3, 4, 3),
        "above.usd": (3, 4, 3),
        "b.usd": (1, 0, 9),
        "child.usd": (1, 0, 9),
        "c.usd": (2, 0, 8),
        "beside.usd": (2, 0, 8),
    }
    refused(await play.perform(child, paid("3", 4)), EXHAUSTED)


async def test_a_child_gives_back_everywhere(play: Player) -> None:
    """What was held above is free when the child's action is abandoned, and taken when it is committed."""
    await play.open("a", budgets=USD)
    above = await play.issue("a", grant="above", budgets=USD)
    child = await play.delegate(above, "child", child="b")
    done(await play.prepare(child, paid("1", 4)))
    done(await play.prepare(child, paid("2", 5)))
    assert set((await play.budgets("a", "above")).values()) == {(0, 9, 1)}
    done(await play.abandon(child, "1"))
    done(await play.commit(child, "2"))
    assert set((await play.budgets("a", "above")).values()) == {(5, 0, 5)}


async def test_giving_back_skips_what_is_gone(play: Player) -> None:
    """An abandon is never refused for a lost grant above; what is there is given back."""
    await play.open("a", budgets=USD)
    above = await play.issue("a", grant="above", budgets=USD)
    child = await play.delegate(above, "child", child="b")
    done(await play.prepare(child, paid("1", 4)))
    done(await play.perform(child, paid("2", 1)))
    await play.rig.lose_grant("above")
    assert done(await play.abandon(child, "1")).remaining == {"usd": 9}
    assert done(await play.settle(child, "2")).remaining == {"usd": 9}
    assert await play.budgets("a") == {"a.usd": (1, 0, 9)}


async def test_giving_back_goes_on_after_the_end(play: Player) -> None:
    """An action of a cancelled child that is abandoned frees what the tree above held for it."""
    await play.open("a", budgets=USD)
    above = await play.issue("a", grant="above")
    child = await play.delegate(above, "child", child="b")
    done(await play.prepare(child, paid("1", 10)))
    await play.cancel("b")
    refused(await play.perform(above, paid("2", 1)), EXHAUSTED)
    done(await play.abandon(child, "1"))
    done(await play.perform(above, paid("2", 1)))


@pytest.mark.parametrize("stop", ["cancel", "revoke", "expiry", "exhausted"])
async def test_what_was_incurred_by_the_time_of_a_stop_is_on_record(play: Player, stop: str) -> None:
    """It is refused and no budget counts it; the line of the refusal says how much of what it was."""
    await play.open(budgets=USD)
    grant = await play.issue(budgets=(Budget("eur", 1),))
    match stop:
        case "cancel":
            await play.cancel()
        case "revoke":
            done(await play.revoke("run=run"))
        case "expiry":
            await play.rig.advance(HOUR)
        case "exhausted":
            refused(await play.spend(grant, 2, "more", budget="eur"), EXHAUSTED)
    answer = await play.spend(grant, 7, incurred=True)
    assert isinstance(answer, Refusal)
    line = (await play.journal())[-1]
    asked = {"op": "spent", "grant": "grant", "budget": "usd", "amount": "7", "incurred": "1"}
    assert line.kind == "REFUSED"
    assert line.data.items() >= asked.items() | {("verb", "spend"), ("reason", answer.reason)}
    assert answer.details.get("budget") == ("eur" if stop == "exhausted" else None)
    assert await play.budgets("run") == {"run.usd": (0, 0, 10)}
    assert isinstance(await play.spend(grant, 3, "wished"), Refusal)
    line = (await play.journal())[-1]
    assert (line.data["amount"], "incurred" in line.data) == ("3", False)


async def test_what_was_incurred_is_taken_whatever_is_left(play: Player) -> None:
    """It is a fact: it is told as spent, and a budget that cancels then ends what set it."""
    await play.open(budgets=(Budget("usd", 10), Budget("eur", 5, REFUSE)))
    grant = await play.issue(budgets=(Budget("usd", 4), Budget("eur", 9)))
    spent = done(await play.spend(grant, 7, "1", budget="eur", incurred=True))
    assert spent.remaining == {"eur": 0, "usd": 4}
    refused(await play.spend(grant, 1, "2", budget="eur"), EXHAUSTED)
    assert (await play.kinds())[-2:] == ["SPENT", "REFUSED"]
    done(await play.spend(grant, 4, "3", incurred=True))
    done(await play.perform(grant, "alive"))
    spent = done(await play.spend(grant, 7, "4", incurred=True))
    assert spent.remaining == {"eur": 0, "usd": 0}
    assert (await play.kinds())[-3:] == ["SPENT", "EXHAUSTED", "CANCELLED"]
    assert (await play.read()).end_reason == "BUDGET"
    assert (await play.read_grant()).end_budget == "usd"
    assert await play.budgets("run", "grant") == {
        "run.usd": (11, 0, 0),
        "run.eur": (7, 0, 0),
        "grant.usd": (11, 0, 0),
        "grant.eur": (7, 0, 2),
    }


async def test_what_was_incurred_up_to_the_limit_ends_nothing(play: Player) -> None:
    """Nor does what is only held by others."""
    grant = await ready(play, Budget("usd", 10))
    done(await play.prepare(grant, paid("1", 8)))
    done(await play.spend(grant, 10, incurred=True))
    assert (await play.budgets("run"))["run.usd"] == (10, 8, 0)
    assert (await play.read()).state is RunState.ACTIVE
    done(await play.commit(grant, "1"))
    assert (await play.budgets("run"))["run.usd"] == (18, 0, 0)


async def test_what_was_taken_is_a_number_every_store_can_hold(play: Player) -> None:
    """However much more is told as used up, the count stops where all stores still count alike."""
    grant = await ready(play, Budget("usd", 1, REFUSE))
    for op in range(6):
        done(await play.spend(grant, MAX_AMOUNT, f"{op}", incurred=True))
    assert (await play.budgets("run"))["run.usd"] == (4 * MAX_AMOUNT, 0, 0)


async def test_a_spending_is_on_record(play: Player) -> None:
    """Its line has the grant, budget and amount; incurred is told."""
    grant = await ready(play)
    first = done(await play.spend(grant, 2, "1"))
    second = done(await play.spend(grant, 3, "2", incurred=True))
    lines = [(entry.seq, dict(entry.data)) for entry in await play.journal() if entry.kind == "SPENT"]
    told = {"grant": "grant", "budget": "usd"}
    assert lines == [
        (first.seq, told | {"op": "1", "amount": "2"}),
        (second.seq, told | {"op": "2", "amount": "3", "incurred": "1"}),
    ]
    assert ((await play.read()).spendings, (await play.read()).actions) == (2, 0)


async def test_spending_again_answers_the_same(play: Player) -> None:
    """A repeated spending gets its number and what is left now, also when the grant has expired since."""
    await play.open(budgets=USD)
    grant = await play.issue(ttl_ms=SECOND)
    first = done(await play.spend(grant, 2))
    done(await play.spend(grant, 3, "other"))
    await play.rig.advance(SECOND)
    again = done(await play.spend(grant, 2, max_spendings=1))
    assert (again.seq, again.replayed, again.remaining) == (first.seq, True, {"usd": 5})
    refused(await play.spend(grant, 2, "late"), ErrorReason.GRANT_EXPIRED)
    assert (await play.kinds()).count("SPENT") == 2


@pytest.mark.parametrize(
    "other", [{"amount": 3}, {"budget": "eur"}, {"incurred": True}, {"grant": "other"}], ids=str
)
async def test_an_op_id_of_a_spending_is_not_used_for_another(play: Player, other: dict[str, Any]) -> None:
    """Another amount, budget, kind or grant is refused."""
    await play.open(budgets=USD)
    grants = {"grant": await play.issue(), "other": await play.issue(grant="other")}
    done(await play.spend(grants["grant"], 2))
    asked = {"grant": "grant", "amount": 2} | other
    refused(await play.spend(grants[asked.pop("grant")], **asked), ErrorReason.OP_ID_CONFLICT)
    assert (await play.budgets("run"))["run.usd"] == (2, 0, 8)


async def test_a_spending_and_an_action_may_have_the_same_op_id(play: Player) -> None:
    """What a call to a model cost can be told under the name of the action it was for."""
    grant = await ready(play)
    done(await play.spend(grant, 2, "same"))
    done(await play.perform(grant, paid("same", 3)))
    assert done(await play.spend(grant, 2, "same")).replayed


async def test_a_run_has_only_so_many_spendings(play: Player) -> None:
    """They are counted apart from its actions."""
    grant = await ready(play)
    done(await play.perform(grant, "a", max_actions=1))
    done(await play.spend(grant, 1, "1", max_spendings=1))
    details = refused(await play.spend(grant, 1, "2", max_spendings=1), ErrorReason.RUN_FULL)
    assert details["limit"] == "1"
    assert done(await play.spend(grant, 1, "1", max_spendings=1)).replayed


@pytest.mark.parametrize("end", ["cancel", "thief", "epoch"])
async def test_nothing_is_spent_without_authority(play: Player, end: str) -> None:
    """After the end, by another tool or in another epoch, incurred or not, repeated or not."""
    grant = await ready(play)
    done(await play.spend(grant, 1))
    peer, reason = "tool", ErrorReason.REVOKED
    match end:
        case "cancel":
            await play.cancel()
        case "thief":
            peer, reason = "thief", ErrorReason.WRONG_AUDIENCE
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
            reason = ErrorReason.STORE_EPOCH
    for op, incurred in (("spent", False), ("new", False), ("fact", True)):
        refused(await play.spend(grant, 1, op, incurred=incurred, peer=peer), reason)
    assert (await play.budgets("run"))["run.usd"] == (1, 0, 9)


WAITS = (Scope("*", approval_from=Reversibility.READ_ONLY),)


@pytest.mark.parametrize("verb", ["prepare", "perform"])
async def test_what_waits_for_a_person_holds_what_it_will_need(play: Player, verb: str) -> None:
    """As long as it may wait; when it is committed that is taken."""
    await play.open(budgets=USD)
    grant = await play.issue(scopes=WAITS)
    await getattr(play, verb)(grant, paid("1", 4), wait_ms=60 * SECOND)
    assert (await play.budgets("run"))["run.usd"] == (0, 4, 6)
    done(await play.approve("1"))
    assert (await play.budgets("run"))["run.usd"] == (0, 4, 6)
    done(await play.commit(grant, "1"))
    assert (await play.budgets("run"))["run.usd"] == (4, 0, 6)


async def test_what_waited_in_vain_is_free_when_its_time_is_over(play: Player) -> None:
    """Nobody has to sweep it."""
    await play.open(budgets=USD)
    grant = await play.issue(scopes=WAITS)
    done(await play.prepare(grant, paid("1", 4), ttl_ms=SECOND, wait_ms=60 * SECOND))
    await play.rig.advance(60 * SECOND - 1)
    assert (await play.budgets("run"))["run.usd"] == (0, 4, 6)
    await play.rig.advance(1)
    assert (await play.budgets("run"))["run.usd"] == (0, 0, 10)


async def test_what_was_denied_is_held_until_it_expires(play: Player) -> None:
    """A person's no is told without asking what it is a no to; the amount comes back by itself."""
    await play.open(budgets=USD)
    grant = await play.issue(scopes=WAITS)
    done(await play.prepare(grant, paid("1", 4), wait_ms=60 * SECOND))
    done(await play.deny("1"))
    refused(await play.abandon(grant, "1"), ErrorReason.DENIED)
    assert (await play.budgets("run"))["run.usd"] == (0, 4, 6)
    await play.rig.advance(60 * SECOND)
    assert (await play.budgets("run"))["run.usd"] == (0, 0, 10)


async def tree(play: Player) -> list[GrantRef]:
    """Grants all over a tree whose root has a budget of ten: issued, delegated, in runs below."""
    await play.open("root", budgets=(Budget("usd", 10, REFUSE),))
    above = await play.issue("root", grant="above")
    grants = [above, await play.delegate(above, "plain")]
    for number in range(3):
        child = await play.delegate(above, f"child-{number}", child=f"run-{number}")
        grants += [child, await play.delegate(child, f"last-{number}", child=f"low-{number}")]
    return grants


@pytest.mark.parametrize("verb", ["spend", "perform"])
async def test_a_thousand_takers_of_ten_get_exactly_ten(play: Player, verb: str) -> None:
    """Of 1,000 calls at once (100 on the fake server) all over a tree ten get one each, all others none."""
    grants = await tree(play)
    calls: list[Any] = []
    for number in range(play.rig.many):
        grant, op = grants[number % len(grants)], f"op-{number}"
        asked = play.spend(grant, 1, op) if verb == "spend" else play.perform(grant, paid(op, 1))
        calls.append(asked)
    answers = await asyncio.gather(*calls)
    given = [answer for answer in answers if not isinstance(answer, Refusal)]
    assert len(given) == 10
    assert sorted(answer.remaining["usd"] for answer in given) == list(range(10))
    for answer in answers:
        if isinstance(answer, Refusal):
            assert refused(answer, EXHAUSTED)["owner"] == "run root"
    assert (await play.budgets("root"))["root.usd"] == (10, 0, 0)


async def test_a_thousand_preparers_of_ten_hold_exactly_ten(play: Player) -> None:
    """What is held is held against everybody; what is given back can be held anew, and is then taken once."""
    grants = await tree(play)
    wanted = [(grants[number % len(grants)], f"op-{number}") for number in range(play.rig.many)]
    answers = await asyncio.gather(*(play.prepare(grant, paid(op, 1)) for grant, op in wanted))
    held = [pair for pair, answer in zip(wanted, answers, strict=True) if isinstance(answer, verbs.Prepared)]
    assert len(held) == 10
    assert (await play.budgets("root"))["root.usd"] == (0, 10, 0)
    ends = [play.commit(*pair) if number % 2 else play.abandon(*pair) for number, pair in enumerate(held)]
    for answer in await asyncio.gather(*ends):
        done(answer)
    assert (await play.budgets("root"))["root.usd"] == (5, 0, 5)


async def test_the_taker_who_finds_nothing_left_cancels_the_tree_once(play: Player) -> None:
    """Of many at once exactly the limit is taken, one call runs it out, all later ones come after the cut."""
    await play.open("root", budgets=(Budget("usd", 10),))
    above = await play.issue("root", grant="above")
    child = await play.delegate(above, child="low")
    answers = await asyncio.gather(
        *(play.spend((above, child)[number % 2], 1, f"op-{number}") for number in range(60))
    )
    reasons = [answer.reason if isinstance(answer, Refusal) else "spent" for answer in answers]
    assert sorted(set(reasons)) == ["BUDGET_EXHAUSTED", "REVOKED", "spent"]
    assert [reasons.count(word) for word in ("spent", EXHAUSTED, ErrorReason.REVOKED)] == [10, 1, 49]
    assert (await play.kinds("root")).count("CANCELLED") == 1
    assert (await play.budgets("root"))["root.usd"] == (10, 0, 0)
