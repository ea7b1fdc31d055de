"""Delegation: what is handed on is never more than there was, and dies with everything it comes from."""

from dataclasses import replace
from typing import Any

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState
from grant_service.core.budget import Budget
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason
from grant_service.core.grant import MAX_CHAIN, GrantRef
from grant_service.core.run import MAX_DEPTH
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, ref, refused
from tests.store.rigs import EPOCH, START

READ_ONLY, REVERSIBLE, COMPENSABLE, IRREVERSIBLE = Reversibility
WIDE = (Scope("email.*", "mailto:*", 5, COMPENSABLE), Scope("calendar.*"))
TO_TEAM = Scope("email.send", "mailto:*@example.com")


async def test_a_grant_is_handed_on_as_it_was_narrowed(play: Player) -> None:
    """The new grant has the scopes asked for, within those above, and says where each of them comes from."""
    await play.open(subject="u-7")
    above = await play.issue(scopes=WIDE)
    await play.rig.advance(SECOND)
    delegated = done(await play.try_delegate(above, scopes=(Scope("calendar.read"), TO_TEAM), ttl_ms=SECOND))
    grant = delegated.grant
    assert (grant.grant_id, grant.run_id, grant.ancestors, grant.audience) == ("child", "run", (), "tool")
    assert grant.scopes == (Scope("calendar.read"), replace(TO_TEAM, max_uses=5, ceiling=COMPENSABLE))
    assert (grant.chain, grant.narrows, grant.used) == (("grant",), (1, 0), (0, 0))
    assert (grant.issue_seq, grant.root_seq, grant.epoch) == (3, 2, EPOCH)
    assert (grant.issue_time, grant.expire_time) == (START + SECOND, START + 2 * SECOND)
    assert (delegated.subject, delegated.run, delegated.replayed) == ("u-7", None, False)
    assert [grant] == await play.store.grants(["child"])


async def test_a_delegation_is_told_in_the_journal(play: Player) -> None:
    """Its line has the chain, what the authority goes back to, and everything an issued grant's line has."""
    above = await play.ready()
    child = await play.delegate(above, "one", sealed=False)
    budgets = (Budget("usd", 5), Budget("tool_calls", 2))
    await play.delegate(child, "two", (TO_TEAM,), SECOND, audience="mailer", budgets=budgets, sealed=True)
    entry = (await play.journal())[-1]
    assert (entry.kind, dict(entry.data)) == (
        "DELEGATED",
        {
            "grant": "two",
            "chain": "grant,one",
            "root": "2",
            "audience": "mailer",
            "scopes": '[["email.send","mailto:*@example.com",0,"IRREVERSIBLE",""]]',
            "expire": str(START + SECOND),
            "budgets": "usd 5 CANCEL;tool_calls 2 CANCEL",
            "sealed": "1",
        },
    )


async def test_a_scope_narrows_the_first_one_that_covers_it(play: Player) -> None:
    """Scopes above are asked in their order, as an action would be."""
    above = await play.ready(scopes=(Scope("email.*", "x/*"), Scope("email.*", max_uses=2), Scope("*")))
    asked = (Scope("email.send"), Scope("email.send", "x/1"), Scope("sms.send"))
    grant = done(await play.try_delegate(above, scopes=asked)).grant
    assert grant.narrows == (1, 0, 2)
    assert [scope.max_uses for scope in grant.scopes] == [2, 0, 0]


@pytest.mark.parametrize(
    ("above", "asked", "got"),
    [
        (COMPENSABLE, IRREVERSIBLE, COMPENSABLE),
        (COMPENSABLE, READ_ONLY, READ_ONLY),
        (IRREVERSIBLE, IRREVERSIBLE, IRREVERSIBLE),
    ],
)
async def test_the_stricter_ceiling_holds(
    play: Player, above: Reversibility, asked: Reversibility, got: Reversibility
) -> None:
    """Who asks for more than the ceiling above gets that ceiling."""
    wide = await play.ready(scopes=(Scope("*", ceiling=above),))
    grant = done(await play.try_delegate(wide, scopes=(Scope("*", ceiling=asked),))).grant
    assert grant.scopes[0].ceiling is got


@pytest.mark.parametrize(
    ("above", "asked", "got"),
    [
        (None, None, None),
        (None, COMPENSABLE, COMPENSABLE),
        (COMPENSABLE, None, COMPENSABLE),
        (COMPENSABLE, IRREVERSIBLE, COMPENSABLE),
        (COMPENSABLE, READ_ONLY, READ_ONLY),
    ],
)
async def test_the_stricter_demand_for_approval_holds(
    play: Player, above: Reversibility | None, asked: Reversibility | None, got: Reversibility | None
) -> None:
    """A person who has to be asked above has to be asked below, whatever the child asks for."""
    wide = await play.ready(scopes=(Scope("*", approval_from=above),))
    grant = done(await play.try_delegate(wide, scopes=(Scope("*", approval_from=asked),))).grant
    assert grant.scopes[0].approval_from is got


@pytest.mark.parametrize(
    ("scope", "rule"),
    [
        (Scope("*"), "is for actions no scope of it covers"),
        (Scope("sms.send"), "is for actions no scope of it covers"),
        (Scope("email"), "is for actions no scope of it covers"),
        (Scope("emails.*"), "is for actions no scope of it covers"),
        (Scope("email.*"), "is for resources no scope of it covers"),
        (Scope("email.send", "https://example.com/"), "is for resources no scope of it covers"),
        (Scope("email.send", "mailto:*", 6), "is for more uses than it has"),
    ],
)
async def test_what_is_wider_than_all_above_is_refused(play: Player, scope: Scope, rule: str) -> None:
    """More actions, resources or uses are refused with the scope and the rule it broke."""
    above = await play.ready(scopes=WIDE)
    details = refused(await play.try_delegate(above, scopes=(TO_TEAM, scope)), ErrorReason.GRANT_TOO_WIDE)
    assert details == {"run": "run", "grant": "grant", "field": "scopes[1]", "rule": rule}
    assert await play.store.grants(["child"]) == [None]
    assert await play.kinds() == ["OPENED", "ISSUED", "REFUSED"]


async def test_scopes_above_are_not_added_up(play: Player) -> None:
    """A scope must lie in one above; two that cover it together do not."""
    above = await play.ready(scopes=(Scope("*", "a/*"), Scope("*", "b/*")))
    refused(await play.try_delegate(above, scopes=(Scope("*"),)), ErrorReason.GRANT_TOO_WIDE)


@pytest.mark.parametrize(("usd", "eur", "field"), [(6, 1, "budgets[usd]"), (5, 2, "budgets[eur]")])
async def test_a_larger_budget_than_the_one_above_is_refused(
    play: Player, usd: int, eur: int, field: str
) -> None:
    """The least limit of a name above is the most that may be handed on; another name is free."""
    await play.open("root", budgets=(Budget("usd", 9), Budget("eur", 1)))
    await play.open("run", parent="root", budgets=(Budget("usd", 5),))
    above = await play.issue(budgets=(Budget("usd", 6), Budget("eur", 7)))

    def asked(usd: int, eur: int) -> dict[str, Any]:
        child = verbs.Open("below", 0, DAY, budgets=(Budget("eur", eur),))
        return {"budgets": (Budget("usd", usd), Budget("tokens", 10**9)), "child": child}

    details = refused(await play.try_delegate(above, **asked(usd, eur)), ErrorReason.GRANT_TOO_WIDE)
    assert (details["field"], details["rule"]) == (field, "is larger than the one above")
    assert await play.store.runs(["below"]) == [None]
    await play.delegate(above, **asked(5, 1))


@pytest.mark.parametrize(
    ("ttl_ms", "run_ttl_ms", "expire", "deadline"),
    [
        (DAY, 0, HOUR, 2 * HOUR),
        (DAY, DAY, HOUR, 2 * HOUR),
        (DAY, 60 * SECOND, 60 * SECOND, 60 * SECOND),
        (30 * SECOND, 60 * SECOND, 30 * SECOND, 60 * SECOND),
    ],
)
async def test_a_child_outlives_nothing_of_its_parent(
    play: Player, ttl_ms: int, run_ttl_ms: int, expire: int, deadline: int
) -> None:
    """Its expiry is cut to the grant's above and its run's deadline; that is cut to the run's above."""
    await play.open(ttl_ms=2 * HOUR)
    above = await play.issue(ttl_ms=HOUR)
    child = verbs.Open("below", run_ttl_ms, DAY)
    delegated = done(await play.try_delegate(above, ttl_ms=ttl_ms, child=child))
    assert delegated.run
    assert (delegated.grant.expire_time, delegated.run.deadline) == (START + expire, START + deadline)
    assert delegated.run.keep_until == delegated.run.deadline + DAY


async def test_a_child_expires_with_its_parent(play: Player) -> None:
    """From the instant in which the grant above expires nothing new is given out below."""
    above = await play.ready(ttl_ms=10 * SECOND)
    child = await play.delegate(above)
    await play.rig.advance(10 * SECOND - 1)
    done(await play.perform(child, "1"))
    await play.rig.advance(1)
    refused(await play.perform(child, "2"), ErrorReason.GRANT_EXPIRED)
    refused(await play.try_delegate(above, "late"), ErrorReason.GRANT_EXPIRED)


async def test_a_run_is_opened_in_the_same_step(play: Player) -> None:
    """It is below the grant's run, for its subject and tenant, with an agent and labels of its own."""
    await play.open(subject="u-7", agent="planner", tenant="t-1", labels={"team": "x"})
    above = await play.issue()
    child = verbs.Open("below", 0, DAY, "elsewhere", "u-8", "writer", "t-2", {"step": "2"})
    delegated = done(await play.try_delegate(above, child=child))
    run = delegated.run
    assert run == await play.read("below")
    assert (run.parent, run.ancestors, run.subject) == ("run", ("run",), "u-7")
    assert (run.agent, run.tenant, run.labels) == ("writer", "t-1", {"step": "2"})
    assert (delegated.grant.run_id, delegated.grant.ancestors) == ("below", ("run",))
    assert set(run.marks) == {
        *("run=run", "subject=u-7", "agent=planner", "tenant=t-1", "label=team=x"),
        *("run=below", "agent=writer", "label=step=2"),
    }
    assert await play.kinds() == ["OPENED", "ISSUED", "CHILD_OPENED"]
    assert await play.kinds("below") == ["OPENED", "DELEGATED"]


async def test_the_audience_is_the_one_above_unless_another_is_named(play: Player) -> None:
    """A grant may be handed on to another tool, and then only that one can use it."""
    above = await play.ready()
    mailer = await play.delegate(above, "m", audience="mailer")
    refused(await play.perform(mailer, "1"), ErrorReason.WRONG_AUDIENCE)
    done(await play.perform(mailer, "1", peer="mailer"))
    same = done(await play.try_delegate(mailer, "n", peer="mailer")).grant
    assert same.audience == "mailer"


async def test_only_its_own_audience_hands_a_grant_on(play: Player) -> None:
    """Another tool is refused; whoever may hand on everybody's grants comes without a name."""
    above = await play.ready()
    details = refused(await play.try_delegate(above, peer="thief"), ErrorReason.WRONG_AUDIENCE)
    assert (details["audience"], details["peer"]) == ("tool", "thief")
    await play.delegate(above, peer="")


@pytest.mark.parametrize("run", [None, "below"])
async def test_delegating_again_answers_the_same_grant(play: Player, run: str | None) -> None:
    """A repeated call changes nothing, with a run of its own or without, also when uses were taken since."""
    above = await play.ready(scopes=(Scope("*", max_uses=3),))
    first = done(await play.try_delegate(above, child=run))
    done(await play.perform(ref(first)))
    before = await play.rig.dump()
    again = done(await play.try_delegate(above, child=run))
    assert (again.replayed, again.grant) == (True, replace(first.grant, used=(1,)))
    assert again.run == (replace(first.run, actions=1) if first.run else None)
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize(
    "other",
    [
        {"scopes": (Scope("email.send"),)},
        {"scopes": (TO_TEAM, TO_TEAM)},
        {"ttl_ms": HOUR + 1},
        {"audience": "mailer"},
        {"sealed": True},
        {"budgets": (Budget("usd", 5),)},
        {"child": None},
        {"child": verbs.Open("below", 0, DAY, agent="writer")},
        {"child": verbs.Open("below", SECOND, DAY)},
        {"child": verbs.Open("elsewhere", 0, DAY)},
        {"above": "other"},
    ],
)
async def test_a_grant_id_is_not_handed_on_as_another_grant(play: Player, other: dict[str, Any]) -> None:
    """The same id with other content, from another grant or into another run is refused."""
    above = {"grant": await play.ready(), "other": await play.issue(grant="other")}
    asked: dict[str, Any] = {"above": "grant", "scopes": (TO_TEAM,), "child": "below"}
    await play.delegate(above["grant"], scopes=(TO_TEAM,), child="below")
    asked |= other
    chosen = above[asked.pop("above")]
    details = refused(await play.try_delegate(chosen, **asked), ErrorReason.GRANT_EXISTS)
    assert details == {"run": "run", "grant": "child"}


async def test_an_issued_and_a_delegated_grant_are_never_the_same(play: Player) -> None:
    """The id of one is refused for the other, with all the same content."""
    above = await play.ready()
    await play.delegate(above, "d")
    await play.issue(grant="i")
    refused(await play.try_issue(grant="d"), ErrorReason.GRANT_EXISTS)
    refused(await play.try_delegate(above, "i"), ErrorReason.GRANT_EXISTS)


async def test_a_run_that_is_there_is_not_opened_again_for_another_grant(play: Player) -> None:
    """The run must be new with the grant; nothing is written if it is not, and a tombstone stays one."""
    above = await play.ready()
    await play.open("below", parent="run")
    await play.cancel("never")
    for run in ("below", "never", "run"):
        details = refused(await play.try_delegate(above, child=run), ErrorReason.RUN_EXISTS)
        assert details == {"run": run, "grant": "grant"}
    assert await play.store.grants(["child"]) == [None]


async def test_eight_grants_may_hang_on_each_other_and_not_nine(play: Player) -> None:
    """A chain has at most MAX_CHAIN grants, the issued one included."""
    assert MAX_CHAIN == 8
    grant = await play.ready(grant="g1")
    for depth in range(2, MAX_CHAIN + 1):
        grant = await play.delegate(grant, f"g{depth}")
    assert len(grant.links) == MAX_CHAIN
    done(await play.perform(grant))
    details = refused(await play.try_delegate(grant, "g9"), ErrorReason.GRANT_TOO_DEEP)
    assert (details["depth"], details["limit"], details["grant"]) == ("9", "8", "g9")


async def test_a_run_below_is_no_deeper_than_runs_may_be(play: Player) -> None:
    """As deep as runs may be, the same grant can still be handed on within its run."""
    path = [f"r{level}" for level in range(1, MAX_DEPTH + 1)]
    for parent, run in zip(["", *path], path, strict=False):
        await play.open(run, parent=parent)
    above = await play.issue(path[-1])
    details = refused(await play.try_delegate(above, child="r9"), ErrorReason.RUN_TOO_DEEP)
    assert (details["run"], details["depth"], details["limit"]) == ("r9", "9", "8")
    await play.delegate(above)


async def test_a_sealed_grant_is_not_handed_on(play: Player) -> None:
    """Whether it was issued or delegated as such; it can be used all the same."""
    await play.ready(grant="g", sealed=True)
    sealed = await play.issue(grant="s", sealed=True)
    open_one = await play.issue(grant="o")
    child = await play.delegate(open_one, "c", sealed=True)
    for grant in (sealed, child):
        refused(await play.try_delegate(grant, "d"), ErrorReason.GRANT_SEALED)
        done(await play.perform(grant, f"op-{grant.grant_id}"))


async def test_a_tree_has_only_so_many_delegated_grants(play: Player) -> None:
    """They are counted on the root run, for all runs below it; a repetition neither counts nor is refused."""
    above = await play.ready()
    child = await play.delegate(above, "a", child="below", max_delegations=2)
    await play.delegate(child, "b", max_delegations=2)
    for grant in (above, child):
        details = refused(await play.try_delegate(grant, "c", max_delegations=2), ErrorReason.TREE_FULL)
        assert details["limit"] == "2"
    assert done(await play.try_delegate(child, "b", max_delegations=2)).replayed
    assert ((await play.read()).delegations, (await play.read("below")).delegations) == (2, 0)
    await play.open("elsewhere")
    await play.delegate(await play.issue("elsewhere", grant="e"), "f", max_delegations=1)


async def test_a_use_of_the_child_is_a_use_of_the_parent(play: Player) -> None:
    """Every commit counts in the scope it was made under, and in each scope that one narrows."""
    above = await play.ready(scopes=(Scope("sms.*", max_uses=9), Scope("email.*", max_uses=2)))
    child = await play.delegate(above, "c", (Scope("email.send"), Scope("sms.send", max_uses=1)))
    last = await play.delegate(child, "l", (Scope("email.send", max_uses=2),))
    done(await play.perform(last, "1"))
    assert [(await play.read_grant(one)).used for one in ("grant", "c", "l")] == [(0, 1), (1, 0), (1,)]
    done(await play.perform(child, intent("2", "sms.send")))
    assert [(await play.read_grant(one)).used for one in ("grant", "c", "l")] == [(1, 1), (1, 1), (1,)]
    done(await play.perform(above, "3"))
    for grant in (last, child, above):
        refused(await play.perform(grant, "4"), ErrorReason.USES_EXHAUSTED)
    refused(await play.perform(child, intent("5", "sms.send")), ErrorReason.USES_EXHAUSTED)


async def test_a_child_has_no_more_uses_than_its_parent_has_left(play: Player) -> None:
    """Two children of one grant share its uses; whoever commits first has them."""
    above = await play.ready(scopes=(Scope("*", max_uses=1),))
    one, two = await play.delegate(above, "one"), await play.delegate(above, "two")
    done(await play.prepare(one, "1"))
    done(await play.prepare(two, "2"))
    done(await play.commit(two, "2"))
    refused(await play.commit(one, "1"), ErrorReason.USES_EXHAUSTED)
    refused(await play.prepare(one, "3"), ErrorReason.USES_EXHAUSTED)
    assert (await play.read_grant("one")).used == (0,)


async def test_a_child_may_have_fewer_uses_than_its_parent(play: Player) -> None:
    """When they are gone the parent still has its own."""
    above = await play.ready()
    child = await play.delegate(above, scopes=(Scope("*", max_uses=1),))
    done(await play.perform(child, "1"))
    refused(await play.perform(child, "2"), ErrorReason.USES_EXHAUSTED)
    done(await play.perform(above, "3"))


async def test_a_child_allows_only_what_it_was_given(play: Player) -> None:
    """What the grant above allows and the child does not is out of the child's scope."""
    above = await play.ready()
    child = await play.delegate(above, scopes=(replace(TO_TEAM, ceiling=COMPENSABLE),))
    tries = {
        "action": intent("1", "sms.send"),
        "resource": intent("2", resource="mailto:x@example.org"),
        "ceiling": intent("3", reversibility=IRREVERSIBLE),
    }
    for rule, wanted in tries.items():
        assert refused(await play.prepare(child, wanted), ErrorReason.OUT_OF_SCOPE)["rule"] == rule
        done(await play.prepare(above, wanted))
    done(await play.perform(child, intent("4", reversibility=COMPENSABLE)))


async def three_links(play: Player) -> dict[str, GrantRef]:
    """A chain of three grants, each in a run of its own below the one before, the first two with a budget."""
    one = await play.ready("a", grant="first", budgets=(Budget("usd", 9),))
    two = await play.delegate(one, "middle", child="b", budgets=(Budget("usd", 5),))
    return {"first": one, "middle": two, "last": await play.delegate(two, "last", child="c")}


@pytest.mark.parametrize(("link", "amount"), [("first", 10), ("middle", 6)])
async def test_a_grant_that_its_budget_ended_kills_what_hangs_below(
    play: Player, link: str, amount: int
) -> None:
    """Everything delegated from it is refused with its name, and nothing is handed on any more."""
    chain = await three_links(play)
    done(await play.spend(chain[link], amount, incurred=True))
    for answer in (await play.perform(chain["last"]), await play.try_delegate(chain["last"], "more")):
        details = refused(answer, ErrorReason.GRANT_ENDED)
        assert (details["ended_grant"], details["budget"]) == (link, "usd")
        assert details["ended_ago_ms"] == "0"


async def test_a_grant_that_ended_alone_leaves_the_one_above_alive(play: Player) -> None:
    """Only what was delegated from the ended grant dies with it."""
    above = await play.ready()
    child = await play.delegate(above, "c", budgets=(Budget("usd", 5),))
    last = await play.delegate(child, "l")
    refused(await play.spend(last, 6), ErrorReason.BUDGET_EXHAUSTED)
    details = refused(await play.perform(last, "1"), ErrorReason.GRANT_ENDED)
    assert details["ended_grant"] == "c"
    refused(await play.perform(child, "2"), ErrorReason.GRANT_ENDED)
    done(await play.perform(above, "3"))


@pytest.mark.parametrize("link", ["first", "middle"])
async def test_a_fenced_grant_kills_what_hangs_below(play: Player, link: str) -> None:
    """A fence over a grant stands over everything that was delegated from it."""
    chain = await three_links(play)
    done(await play.revoke(f"grant={link}"))
    details = refused(await play.perform(chain["last"]), ErrorReason.FENCED)
    assert details["selector"] == f"grant={link}"


@pytest.mark.parametrize("link", ["first", "middle"])
async def test_a_lost_grant_kills_what_hangs_below(play: Player, link: str) -> None:
    """A chain with a gap is no authority: the missing grant may have been the one that ended."""
    chain = await three_links(play)
    await play.rig.lose_grant(link)
    details = refused(await play.perform(chain["last"]), ErrorReason.GRANT_UNKNOWN)
    assert details["grant"] == link
    assert await play.kinds("c") == ["OPENED", "DELEGATED"]


async def test_a_chain_ends_with_its_epoch(play: Player) -> None:
    """What was handed on in another epoch of the store gives no authority."""
    chain = await three_links(play)
    await play.rig.renew_epoch("epoch-2")
    for grant in chain.values():
        refused(await play.perform(grant, "late"), ErrorReason.STORE_EPOCH)
        refused(await play.try_delegate(grant, "late"), ErrorReason.STORE_EPOCH)


@pytest.mark.parametrize("run", ["a", "b", "c"])
async def test_a_cancel_reaches_every_grant_below(play: Player, run: str) -> None:
    """A run that was opened by delegation hangs on the runs above it like any other."""
    chain = await three_links(play)
    await play.cancel(run)
    details = refused(await play.perform(chain["last"]), ErrorReason.REVOKED)
    assert details["ended_run"] == run
    if run != "a":
        done(await play.perform(chain["first"], "above"))


async def test_a_dead_link_is_told_with_the_decision_from_before(play: Player) -> None:
    """A tool that asks again for its permit learns that it had one, and settles what became of it."""
    above = await play.ready(budgets=(Budget("usd", 5),))
    child = await play.delegate(above)
    await play.permit(child)
    done(await play.spend(above, 6, incurred=True))
    details = refused(await play.commit(child), ErrorReason.GRANT_ENDED)
    assert details["prior_decision"] == "PERMITTED"
    assert (await play.journal())[-1].data["prior_decision"] == "PERMITTED"
    assert done(await play.settle(child)).state is ActionState.SUCCEEDED


async def test_what_a_dead_link_left_prepared_can_be_abandoned(play: Player) -> None:
    """Giving up needs no authority, even with a gap in the chain."""
    above = await play.ready(budgets=(Budget("usd", 5),))
    child = await play.delegate(above)
    done(await play.prepare(child))
    await play.rig.lose_grant("grant")
    done(await play.abandon(child))


@pytest.mark.parametrize(
    "chain", [(), ("first",), ("middle",), ("middle", "first"), ("first", "middle", "x")]
)
async def test_a_token_with_another_chain_points_to_nothing(play: Player, chain: tuple[str, ...]) -> None:
    """The chain the token tells must be the record's, link by link; the attempt leaves no line."""
    last = (await three_links(play))["last"]
    wrong = replace(last, chain=chain)
    before = await play.journal("c")
    refused(await play.perform(wrong), ErrorReason.GRANT_UNKNOWN)
    refused(await play.try_delegate(wrong, "x"), ErrorReason.GRANT_UNKNOWN)
    refused(await play.spend(wrong, 1), ErrorReason.GRANT_UNKNOWN)
    refused(await play.settle(wrong), ErrorReason.GRANT_UNKNOWN)
    assert await play.journal("c") == before


async def test_an_issued_grant_has_no_chain(play: Player) -> None:
    """A token of an issued grant that tells one is refused."""
    above = await play.ready()
    await play.issue(grant="other")
    refused(await play.perform(replace(above, chain=("other",))), ErrorReason.GRANT_UNKNOWN)


@pytest.mark.parametrize("end", ["cancel", "finish", "deadline", "epoch", "clock"])
async def test_nothing_is_handed_on_without_authority(play: Player, end: str) -> None:
    """After the run's end, in another epoch or by an unsure clock; a repetition is refused as well."""
    await play.open(ttl_ms=HOUR)
    above = await play.issue()
    await play.delegate(above, "before")
    reason = ErrorReason.REVOKED
    match end:
        case "cancel":
            await play.cancel()
        case "finish":
            done(await play.finish())
            reason = ErrorReason.RUN_FINISHED
        case "deadline":
            await play.rig.advance(HOUR)
            reason = ErrorReason.RUN_DEADLINE
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
            reason = ErrorReason.STORE_EPOCH
        case "clock":
            await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
            reason = ErrorReason.CLOCK_UNSURE
    for grant in ("before", "after"):
        refused(await play.try_delegate(above, grant, child=None), reason)
    assert await play.store.grants(["after"]) == [None]


async def test_a_refused_delegation_is_on_record(play: Player) -> None:
    """The run of the grant that was to be handed on gets a line, without an op_id."""
    above = await play.ready()
    refused(await play.try_delegate(above, peer="thief"), ErrorReason.WRONG_AUDIENCE)
    entry = (await play.journal())[-1]
    assert (entry.kind, dict(entry.data)) == (
        "REFUSED",
        {"verb": "delegate", "reason": "WRONG_AUDIENCE", "grant": "grant", "peer": "thief"},
    )
    assert (await play.read()).refusals == 1


async def test_an_action_belongs_to_the_grant_it_was_prepared_under(play: Player) -> None:
    """Neither the grant above nor one beside it commits what the child prepared."""
    above = await play.ready()
    child, other = await play.delegate(above, "c"), await play.delegate(above, "d")
    done(await play.prepare(child))
    for grant in (above, other):
        refused(await play.commit(grant), ErrorReason.WRONG_GRANT)
        refused(await play.settle(grant), ErrorReason.WRONG_GRANT)
    done(await play.commit(child))
