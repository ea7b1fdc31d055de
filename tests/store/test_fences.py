"""Fences: a revoke kills what is there, a freeze blocks what comes too; neither misses whom it names."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from grant_service.core import verbs
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.fence import FENCES, Fence, FenceKind, Selector
from grant_service.core.grant import GrantRef
from grant_service.core.run import RunState, StopReason
from grant_service.core.scope import Scope
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, ref, refused
from tests.store.rigs import START

FENCED = ErrorReason.FENCED


async def test_a_revoke_kills_what_was_issued_before_and_nothing_after(play: Player) -> None:
    """Its run goes on: a grant issued later works."""
    before = await play.ready()
    done(await play.revoke("run=run"))
    refused(await play.perform(before, "1"), FENCED)
    after = await play.issue(grant="after")
    done(await play.perform(after, "2"))
    assert (await play.read()).state is RunState.ACTIVE


async def test_a_fence_refuses_every_call_that_needs_authority(play: Player) -> None:
    """Prepare, commit, perform, spend and delegate are refused; what was prepared before is not committed."""
    grant = await play.ready()
    done(await play.prepare(grant, "1"))
    done(await play.revoke("run=run"))
    answers = {
        "prepare": await play.prepare(grant, "2"),
        "commit": await play.commit(grant, "1"),
        "perform": await play.perform(grant, "3"),
        "spend": await play.spend(grant, 1),
        "delegate": await play.try_delegate(grant),
    }
    for answer in answers.values():
        refused(answer, FENCED)
    refusals = [entry.data for entry in await play.journal() if entry.kind == "REFUSED"]
    assert [entry["verb"] for entry in refusals] == list(answers)
    assert all(entry["reason"] == "FENCED" and entry["fence"] == "fence" for entry in refusals)


async def test_a_fence_keeps_nobody_from_saying_what_happened(play: Player) -> None:
    """Settle and abandon are information and go through."""
    grant = await play.ready()
    await play.permit(grant, "1")
    done(await play.prepare(grant, "2"))
    done(await play.freeze())
    done(await play.settle(grant, "1"))
    done(await play.abandon(grant, "2"))


async def test_a_refusal_says_which_fence_it_was(play: Player) -> None:
    """Its id, kind, selector, reason, actor and note, its number and how long it has stood."""
    grant = await play.ready()
    fence = done(await play.revoke("run=run", action="email.*", reason=StopReason.POLICY, note="why")).fence
    await play.rig.advance(3 * SECOND)
    details = refused(await play.perform(grant), FENCED)
    asked = {"run": "run", "grant": "grant", "op": "op", "action": "email.send"}
    asked["resource"] = "mailto:team@example.com"
    stands = {"fence": "fence", "kind": "REVOKE", "selector": "run=run action=email.*", "actor": "op-1"}
    stands |= {"note": "why", "stop_reason": "POLICY", "seq": str(fence.seq)}
    assert details == asked | stands | {"ended_ago_ms": str(3 * SECOND), "ended_time": str(START)}


async def test_a_fence_is_kept_as_it_was_set(play: Player) -> None:
    """Its times are the store's, its number that of its line in the fences' own journal."""
    await play.rig.advance(SECOND)
    fenced = done(await play.freeze("tenant=t-1", "run=r", action="email.*", ttl_ms=HOUR, kill_ms=DAY))
    assert fenced == verbs.Fenced(
        Fence(
            fence_id="fence",
            kind=FenceKind.FREEZE,
            selector=Selector(("run=r", "tenant=t-1"), "email.*"),
            reason="INCIDENT",
            actor="op-1",
            note="",
            seq=1,
            time=START + SECOND,
            kill_until=START + SECOND + DAY,
            ttl_ms=HOUR,
            block_until=START + SECOND + HOUR,
        ),
        replayed=False,
    )
    assert await play.store.fences() == [fenced.fence]


async def test_fences_are_told_in_a_journal_of_their_own(play: Player) -> None:
    """One line for each that is set or lifted, in the order of the decisions; repetitions leave none."""
    done(await play.revoke("run=r", fence="r", reason=StopReason.POLICY, note="why"))
    done(await play.freeze(fence="f", ttl_ms=HOUR, actor=""))
    done(await play.freeze("label=a=b", action="sms.*", fence="l"))
    for _ in range(2):
        done(await play.lift("l", note="fine"))
    done(await play.freeze(fence="f", ttl_ms=HOUR))
    entries = await play.journal(FENCES)
    assert [(entry.seq, entry.kind.value, dict(entry.data)) for entry in entries] == [
        (
            1,
            "REVOKED",
            {"fence": "r", "selector": "run=r", "reason": "POLICY", "actor": "op-1", "note": "why"},
        ),
        (
            2,
            "FROZEN",
            {"fence": "f", "selector": "all", "reason": "INCIDENT", "expire": str(START + HOUR)},
        ),
        (
            3,
            "FROZEN",
            {"fence": "l", "selector": "label=a=b action=sms.*", "reason": "INCIDENT", "actor": "op-1"},
        ),
        (4, "LIFTED", {"fence": "l", "actor": "op-2", "note": "fine"}),
    ]


async def family(play: Player) -> dict[str, GrantRef]:
    """A run and one below it, each with marks of its own; a grant for the first, handed on to the second."""
    await play.open("top", subject="u-7", agent="planner", tenant="t-1", labels={"team": "x"})
    above = await play.issue("top", grant="above")
    child = verbs.Open("low", 0, DAY, agent="writer", labels={"step": "2", "team": "x=y"})
    return {"above": above, "child": await play.delegate(above, "child", child=child)}


@pytest.mark.parametrize(
    ("marks", "action", "hit"),
    [
        (["run=top"], "", ["above", "child"]),
        (["run=low"], "", ["child"]),
        (["run=to"], "", []),
        (["grant=above"], "", ["above", "child"]),
        (["grant=child"], "", ["child"]),
        (["subject=u-7"], "", ["above", "child"]),
        (["subject=u-8"], "", []),
        (["agent=planner"], "", ["above", "child"]),
        (["agent=writer"], "", ["child"]),
        (["agent=u-7"], "", []),
        (["tenant=t-1"], "", ["above", "child"]),
        (["label=team=x"], "", ["above", "child"]),
        (["label=team=x=y"], "", ["child"]),
        (["label=step=2"], "", ["child"]),
        (["label=step="], "", []),
        ([], "email.send", ["above", "child"]),
        ([], "email.*", ["above", "child"]),
        ([], "*", ["above", "child"]),
        ([], "email", []),
        ([], "email.send.*", []),
        ([], "emails.*", []),
        ([], "", ["above", "child"]),
        (["tenant=t-1", "agent=writer"], "", ["child"]),
        (["run=top", "run=low"], "", ["child"]),
        (["grant=above", "label=step=2"], "", ["child"]),
        (["tenant=t-1", "agent=editor"], "", []),
        (["tenant=t-2", "agent=writer"], "", []),
        (["tenant=t-1"], "email.*", ["above", "child"]),
        (["tenant=t-1"], "sms.*", []),
        (
            ["subject=u-7", "tenant=t-1", "label=team=x", "label=step=2", "agent=writer"],
            "email.send",
            ["child"],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["revoke", "freeze"])
async def test_a_fence_stands_over_exactly_what_it_names(
    play: Player, kind: str, marks: list[str], action: str, hit: list[str]
) -> None:
    """All of its marks must be there, each on the run or the grant itself or on any above, and its action."""
    grants = await family(play)
    done(await getattr(play, kind)(*marks, action=action))
    for name, grant in grants.items():
        answer = await play.perform(grant, f"op-{name}")
        assert isinstance(answer, Refusal) == (name in hit), answer
        if name in hit:
            refused(answer, FENCED)


async def test_a_fence_over_an_action_leaves_other_calls_alone(play: Player) -> None:
    """Another action, a spending and a delegation are not what it names."""
    grant = await play.ready()
    done(await play.freeze("run=run", action="email.*"))
    refused(await play.perform(grant, "1"), FENCED)
    refused(await play.perform(grant, intent("2", "email.draft.new")), FENCED)
    done(await play.perform(grant, intent("3", "email")))
    done(await play.perform(grant, intent("4", "sms.send")))
    done(await play.spend(grant, 1))
    done(await play.try_delegate(grant))


async def test_a_commit_is_fenced_by_the_action_it_was_prepared_for(play: Player) -> None:
    """The action's name comes from the record, not from the call."""
    grant = await play.ready()
    done(await play.prepare(grant, intent("1", "email.send")))
    done(await play.prepare(grant, intent("2", "sms.send")))
    done(await play.revoke(action="email.send"))
    refused(await play.commit(grant, "1"), FENCED)
    done(await play.commit(grant, "2"))
    refused(await play.commit(grant, "3"), ErrorReason.ACTION_UNKNOWN)


async def test_a_delegated_grant_goes_back_to_the_one_that_was_issued(play: Player) -> None:
    """A revoke by action reaches it even when it was handed on after the revoke, from a wider grant."""
    wide = await play.ready()
    done(await play.revoke(action="email.*"))
    child = await play.delegate(wide, "c", (Scope("email.*"),), child="below")
    last = await play.delegate(child, "l", (Scope("email.send"),))
    for grant in (wide, child, last):
        refused(await play.perform(grant, f"op-{grant.grant_id}"), FENCED)
    done(await play.perform(wide, intent("other", "sms.send")))
    new = await play.issue(grant="new")
    done(await play.perform(await play.delegate(new, "n"), "new"))


async def test_a_run_opened_after_a_revoke_is_reached_through_its_grant(play: Player) -> None:
    """A new run does not wash an old grant."""
    await play.open(tenant="t-1")
    above = await play.issue()
    done(await play.revoke("tenant=t-1", action="email.*"))
    child = await play.delegate(above, child="below")
    refused(await play.perform(child), FENCED)


async def test_a_freeze_kills_what_was_before_and_blocks_what_comes(play: Player) -> None:
    """No grant is issued under it, and a run below is open but without authority."""
    grant = await play.ready()
    done(await play.freeze("run=run"))
    refused(await play.perform(grant, "1"), FENCED)
    details = refused(await play.try_issue(grant="later"), FENCED)
    assert (details["run"], details["fence"], details["kind"]) == ("run", "fence", "FREEZE")
    await play.open("below", parent="run")
    refused(await play.try_issue("below", grant="below"), FENCED)
    await play.open("beside")
    await play.issue("beside", grant="beside")


async def test_a_revoke_blocks_no_grant(play: Player) -> None:
    """Revoke everything, and issue anew."""
    await play.open()
    done(await play.revoke())
    done(await play.perform(await play.issue()))


async def test_a_freeze_blocks_a_repeated_issue_too(play: Player) -> None:
    """The token of a grant from before is not handed out again."""
    await play.ready()
    done(await play.freeze("run=run"))
    refused(await play.try_issue(), FENCED)


@pytest.mark.parametrize(
    ("frozen", "scopes", "refused_at"),
    [
        ("email.*", ("email.send",), "issue"),
        ("email.*", ("email.*",), "issue"),
        ("email.*", ("email.draft.*",), "issue"),
        ("email.send", ("email.send",), "issue"),
        ("*", ("sms.*",), "issue"),
        ("email.*", ("sms.*", "email.send"), "issue"),
        ("email.*", ("*",), "prepare"),
        ("email.send", ("email.*",), "prepare"),
        ("email.send.*", ("email.*",), None),
        ("email", ("email.*",), None),
        ("sms.*", ("email.*",), None),
    ],
)
async def test_a_scope_that_lies_wholly_in_what_is_frozen_is_not_given_out(
    play: Player, frozen: str, scopes: tuple[str, ...], refused_at: str | None
) -> None:
    """A wider scope is, and the frozen action is refused when it is to be used; so is a delegation."""
    above = await play.ready(grant="above")
    done(await play.freeze("run=run", action=frozen))
    asked = tuple(Scope(action) for action in scopes)
    issued, delegated = await play.try_issue(scopes=asked), await play.try_delegate(above, scopes=asked)
    if refused_at == "issue":
        refused(issued, FENCED)
        refused(delegated, FENCED)
        return
    done(delegated)
    answer = await play.prepare(ref(done(issued)))
    assert isinstance(answer, Refusal) == (refused_at == "prepare"), answer


@pytest.mark.parametrize(
    ("marks", "action", "blocked"),
    [
        (["agent=writer"], "", True),
        (["label=step=2"], "email.*", True),
        (["run=below"], "", True),
        (["agent=writer", "tenant=t-1"], "", True),
        (["grant=above"], "email.*", True),
        (["grant=first"], "email.send", True),
        (["agent=writer"], "sms.*", False),
        (["agent=editor"], "", False),
        (["agent=writer", "tenant=t-2"], "", False),
        (["grant=child"], "", False),
    ],
)
async def test_nothing_is_handed_on_into_what_is_frozen(
    play: Player, marks: list[str], action: str, blocked: bool
) -> None:
    """A freeze that names the run to be opened, or a grant above, with what it blocks, refuses it."""
    await play.open(tenant="t-1")
    above = await play.delegate(await play.issue(grant="first"), "above")
    done(await play.freeze(*marks, action=action))
    child = verbs.Open("below", 0, DAY, agent="writer", labels={"step": "2"})
    answer = await play.try_delegate(above, scopes=(Scope("email.send"),), child=child)
    if blocked:
        refused(answer, FENCED)
        assert await play.store.runs(["below"]) == [None]
    else:
        done(answer)


async def test_a_lifted_freeze_blocks_nothing_and_resurrects_nothing(play: Player) -> None:
    """New grants are issued again; what was issued before it stays dead."""
    before = await play.ready()
    done(await play.freeze("run=run"))
    await play.rig.advance(SECOND)
    lifted = done(await play.lift(actor="op-2", note="fine"))
    fence = lifted.fence
    assert (fence.lift_actor, fence.lift_note, lifted.replayed) == ("op-2", "fine", False)
    assert (fence.lift_time, fence.lift_seq) == (START + SECOND, 4)
    assert [fence] == await play.store.fences()
    refused(await play.perform(before, "1"), FENCED)
    done(await play.perform(await play.issue(grant="after"), "2"))


async def test_what_was_issued_before_the_freeze_ended_is_told_by_number(play: Player) -> None:
    """A grant handed on after the lift still goes back to before the freeze."""
    before = await play.ready()
    done(await play.freeze(action="email.*"))
    done(await play.lift())
    refused(await play.perform(await play.delegate(before, "c"), "1"), FENCED)


async def test_a_freeze_ends_by_itself_at_its_time(play: Player) -> None:
    """At that very millisecond grants are issued again; what it killed stays dead."""
    before = await play.ready()
    done(await play.freeze("run=run", ttl_ms=HOUR // 2))
    await play.rig.advance(HOUR // 2 - 1)
    refused(await play.try_issue(grant="early"), FENCED)
    await play.rig.advance(1)
    done(await play.perform(await play.issue(grant="later"), "1"))
    refused(await play.perform(before, "2"), FENCED)


async def test_a_freeze_without_a_time_lasts_until_it_is_lifted(play: Player) -> None:
    """Nothing else ends it."""
    await play.open(ttl_ms=10 * DAY)
    done(await play.freeze("run=run"))
    await play.rig.advance(9 * DAY)
    refused(await play.try_issue(), FENCED)
    done(await play.lift())
    await play.issue()


async def test_a_freeze_blocks_a_grant_that_was_issued_under_another_that_was_lifted(play: Player) -> None:
    """Of two freezes both have to be lifted."""
    await play.open(tenant="t-1")
    done(await play.freeze("run=run", fence="one"))
    done(await play.freeze("tenant=t-1", fence="two"))
    done(await play.lift("one"))
    assert refused(await play.try_issue(), FENCED)["fence"] == "two"
    done(await play.lift("two"))
    await play.issue()


async def test_the_oldest_fence_is_named(play: Player) -> None:
    """Of several that stand over a call the first that was set is told, whatever it is kept under."""
    await play.open(tenant="t-1", labels={"a": "b"})
    grant = await play.issue()
    fences = {"1": ["tenant=t-1"], "2": ["label=a=b"], "3": [], "4": ["run=run"], "5": ["grant=grant"]}
    for name, marks in fences.items():
        done(await play.freeze(*marks, fence=name))
    for name in "1234":
        assert refused(await play.perform(grant), FENCED)["fence"] == "1"
        assert refused(await play.try_issue(grant="new"), FENCED)["fence"] == name
        done(await play.lift(name))
    done(await play.perform(await play.issue(grant="new")))


@pytest.mark.parametrize("kind", ["revoke", "freeze"])
async def test_setting_a_fence_again_answers_the_same_fence(play: Player, kind: str) -> None:
    """Who asks again, with other words for it, gets the fence as it stands; nothing is written."""
    await play.open()
    first = done(await getattr(play, kind)("run=run"))
    await play.rig.advance(SECOND)
    before = await play.rig.dump()
    words: dict[str, Any] = {"actor": "op-9", "note": "again", "reason": StopReason.POLICY, "kill_ms": DAY}
    again = done(await getattr(play, kind)("run=run", **words))
    assert again == replace(first, replayed=True)
    assert (await play.rig.dump()).differences(before) == ["/now: 4000000001000 != 4000000000000"]


@pytest.mark.parametrize(
    ("kind", "marks", "more"),
    [
        ("revoke", ["run=run"], {}),
        ("freeze", ["run=other"], {}),
        ("freeze", [], {}),
        ("freeze", ["run=run", "tenant=t-1"], {}),
        ("freeze", ["run=run"], {"action": "email.*"}),
        ("freeze", ["run=run"], {"ttl_ms": HOUR}),
    ],
)
async def test_a_fence_id_is_not_set_for_another_fence(
    play: Player, kind: str, marks: list[str], more: dict[str, Any]
) -> None:
    """The same id with another kind, selector or length is refused."""
    done(await play.freeze("run=run"))
    assert refused(await getattr(play, kind)(*marks, **more), ErrorReason.FENCE_EXISTS) == {"fence": "fence"}
    assert len(await play.store.fences()) == 1


async def test_only_a_freeze_that_is_there_can_be_lifted(play: Player) -> None:
    """An unknown id and a revoke are refused."""
    done(await play.revoke("run=run"))
    assert refused(await play.lift("nothing"), ErrorReason.FENCE_UNKNOWN) == {"fence": "nothing"}
    assert refused(await play.lift("fence"), ErrorReason.FENCE_NOT_LIFTABLE) == {"fence": "fence"}


async def test_lifting_again_answers_the_first_lift(play: Player) -> None:
    """The first one stands, with who did it; its id freezes nothing any more, and is refused for another."""
    await play.open()
    done(await play.freeze("run=run"))
    lifted = done(await play.lift(actor="op-2"))
    again = done(await play.lift(actor="op-3", note="me too"))
    assert again == replace(lifted, replayed=True)
    refused(await play.freeze("run=run"), ErrorReason.FENCE_EXISTS)
    await play.issue()


async def test_a_freeze_whose_time_is_over_is_not_answered_as_one_that_stands(play: Player) -> None:
    """Repeated in time it is the same fence; afterwards its id is used up."""
    await play.open()
    first = done(await play.freeze("run=run", ttl_ms=SECOND))
    assert done(await play.freeze("run=run", ttl_ms=SECOND)).fence == first.fence
    await play.rig.advance(SECOND)
    refused(await play.freeze("run=run", ttl_ms=SECOND), ErrorReason.FENCE_EXISTS)


async def test_a_freeze_that_ended_by_itself_can_still_be_lifted(play: Player) -> None:
    """Then it is only said that it is over."""
    done(await play.freeze(ttl_ms=SECOND))
    await play.rig.advance(DAY)
    assert not done(await play.lift()).fence.standing


async def test_fences_are_listed_the_oldest_first_and_for_ever(play: Player) -> None:
    """Also those that are lifted, over, or superseded."""
    for name in ("c", "a", "b"):
        done(await play.freeze(fence=name, kill_ms=1))
        await play.rig.advance(SECOND)
    done(await play.lift("a"))
    assert [fence.fence_id for fence in await play.store.fences()] == ["c", "a", "b"]


async def standing(play: Player) -> set[str]:
    """Which fences a commit still looks for."""
    return {fence for under in (await play.rig.dump()).standing.values() for fence in under}


async def test_a_revoke_that_is_over_is_not_looked_for_any_more(play: Player) -> None:
    """When the next fence is set, those whose victims have all expired since are let go."""
    done(await play.revoke("run=a", fence="short", kill_ms=SECOND))
    done(await play.revoke("run=b", fence="long", kill_ms=SECOND + 1))
    await play.rig.advance(SECOND)
    assert await standing(play) == {"short", "long"}
    done(await play.revoke("run=c", fence="new"))
    assert await standing(play) == {"long", "new"}
    assert [one.standing for one in await play.store.fences()] == [False, True, True]


async def test_a_freeze_is_looked_for_as_long_as_it_blocks(play: Player) -> None:
    """Its victims may have expired; it is let go when it ends by itself or is lifted, and not before."""
    await play.open(ttl_ms=10 * DAY)
    done(await play.freeze("run=run", fence="for ever", kill_ms=1))
    done(await play.freeze("run=b", fence="for a day", kill_ms=1, ttl_ms=DAY))
    await play.rig.advance(DAY - 1)
    done(await play.revoke("run=x", fence="x", kill_ms=1))
    assert await standing(play) == {"for ever", "for a day", "x"}
    await play.rig.advance(1)
    done(await play.revoke("run=y", fence="y"))
    assert await standing(play) == {"for ever", "y"}
    refused(await play.try_issue(), FENCED)
    done(await play.lift("for ever"))
    assert await standing(play) == {"y"}
    await play.issue()


async def test_a_lifted_freeze_is_looked_for_while_its_victims_may_live(play: Player) -> None:
    """It still kills what was before it."""
    done(await play.freeze(kill_ms=HOUR))
    done(await play.lift())
    assert await standing(play) == {"fence"}
    await play.rig.advance(HOUR)
    done(await play.revoke("run=x", fence="x"))
    assert await standing(play) == {"x"}


async def test_a_freeze_that_was_let_go_is_not_looked_for_again_when_it_is_lifted(play: Player) -> None:
    """Lifting only says that it is over."""
    done(await play.freeze("run=run", ttl_ms=SECOND, kill_ms=HOUR))
    await play.rig.advance(SECOND)
    done(await play.freeze("run=run", fence="next", kill_ms=HOUR))
    assert await standing(play) == {"next"}
    assert not done(await play.lift()).fence.standing
    assert await standing(play) == {"next"}


async def test_a_fence_that_a_new_one_covers_is_not_looked_for_any_more(play: Player) -> None:
    """Revoking the same thing every minute does not pile up; whatever the new one lacks is kept."""
    grant = await play.ready(ttl_ms=HOUR)
    done(await play.freeze("run=run", fence="frozen", kill_ms=1))
    done(await play.revoke("run=run", fence="longer", kill_ms=DAY))
    done(await play.revoke("run=run", action="email.*", fence="other"))
    done(await play.revoke("run=run", fence="same"))
    assert await standing(play) == {"frozen", "longer", "other", "same"}
    done(await play.revoke("run=run", fence="again"))
    assert await standing(play) == {"frozen", "longer", "other", "again"}
    done(await play.lift("frozen"))
    done(await play.revoke("run=run", fence="last", kill_ms=DAY))
    assert await standing(play) == {"other", "last"}
    refused(await play.perform(grant), FENCED)


async def test_a_fence_is_told_with_the_decision_from_before(play: Player) -> None:
    """A tool that asks again for its permit learns that it had one."""
    grant = await play.ready()
    await play.permit(grant, "1")
    done(await play.perform(grant, "2"))
    done(await play.revoke("grant=grant"))
    for answer in (await play.commit(grant, "1"), await play.perform(grant, "2")):
        assert refused(answer, FENCED)["prior_decision"] == "PERMITTED"
    assert "prior_decision" not in refused(await play.perform(grant, "3"), FENCED)


async def test_an_end_of_the_run_is_told_before_a_fence(play: Player) -> None:
    """The run asked first: who is cancelled and fenced hears of the cancel."""
    grant = await play.ready()
    done(await play.freeze())
    await play.cancel()
    refused(await play.perform(grant), ErrorReason.REVOKED)
    refused(await play.try_issue(grant="new"), ErrorReason.REVOKED)


async def test_a_fence_is_set_and_lifted_by_any_clock_and_in_any_epoch(play: Player) -> None:
    """Nothing refuses it, and it outlives the epoch it was set in."""
    await play.open("old")
    done(await play.freeze("tenant=t-1", fence="old"))
    await play.rig.renew_epoch("epoch-2")
    await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
    done(await play.revoke("run=a", fence="r"))
    done(await play.freeze("run=b", fence="f"))
    done(await play.lift("f"))
    await play.rig.advance(CLOCK_TOLERANCE_MS + 1)
    await play.open("new", tenant="t-1")
    assert refused(await play.try_issue("new"), FENCED)["fence"] == "old"


async def test_a_revoke_among_commits_cuts_them_in_two(play: Player) -> None:
    """Accepted are exactly those whose number is below the fence's."""
    grant = await play.ready()
    ops = [f"op-{number}" for number in range(60)]
    await asyncio.gather(*(play.prepare(grant, op) for op in ops))
    commits = [asyncio.ensure_future(play.commit(grant, op)) for op in ops[:30]]
    revoke = asyncio.ensure_future(play.revoke("run=run"))
    commits += [asyncio.ensure_future(play.commit(grant, op)) for op in ops[30:]]
    fence = done(await revoke).fence
    answers = await asyncio.gather(*commits)
    permits = [answer for answer in answers if isinstance(answer, verbs.Permitted)]
    assert all(permit.fence < fence.seq for permit in permits)
    late = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(permits) + len(late) == len(ops)
    assert late
    for answer in late:
        refused(answer, FENCED)


async def test_grants_handed_on_around_a_freeze_are_dead_or_refused(play: Player) -> None:
    """No grant that got out gives authority afterwards, whichever came first."""
    above = await play.ready()
    calls = [asyncio.ensure_future(play.try_delegate(above, f"c-{number}")) for number in range(20)]
    freeze = asyncio.ensure_future(play.freeze("run=run"))
    calls += [asyncio.ensure_future(play.try_delegate(above, f"c-{number}")) for number in range(20, 40)]
    await freeze
    for answer in await asyncio.gather(*calls):
        if isinstance(answer, Refusal):
            refused(answer, FENCED)
        else:
            refused(await play.perform(ref(answer), "late"), FENCED)


async def test_an_approval_does_not_get_past_a_fence(play: Player) -> None:
    """What a person agreed to is still refused when a fence stands over it."""
    grant = await play.ready(scopes=(Scope("*", approval_from=intent().reversibility),))
    done(await play.prepare(grant))
    done(await play.revoke("run=run"))
    done(await play.approve())
    refused(await play.commit(grant), FENCED)
