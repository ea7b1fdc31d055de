"""Approvals: what a person must agree to happens once they did: with those arguments, once, in time."""

import asyncio
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from grant_service.core import verbs
from grant_service.core.action import ActionState, Approval
from grant_service.core.clock import CLOCK_TOLERANCE_MS
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.grant import GrantRef
from grant_service.core.scope import Reversibility, Scope
from tests.store.player import HOUR, SECOND, Player, digest, done, intent, refused
from tests.store.rigs import START

READ_ONLY, REVERSIBLE, COMPENSABLE, IRREVERSIBLE = Reversibility
AWAITING = ErrorReason.AWAITING_APPROVAL
MINUTE = 60 * SECOND


async def ready(play: Player, max_uses: int = 0, ttl_ms: int = HOUR) -> GrantRef:
    """A run, and a grant under which a person is asked about everything."""
    return await play.ready(scopes=(Scope("*", max_uses=max_uses, approval_from=READ_ONLY),), ttl_ms=ttl_ms)


async def waiting(play: Player) -> GrantRef:
    """A grant under which one action waits for a person, for an hour at most."""
    grant = await ready(play, ttl_ms=2 * HOUR)
    done(await play.prepare(grant))
    return grant


@pytest.mark.parametrize("demand", [None, *Reversibility])
@pytest.mark.parametrize("asked", list(Reversibility))
async def test_a_person_is_asked_from_the_class_the_scope_names(
    play: Player, demand: Reversibility | None, asked: Reversibility
) -> None:
    """What is easier to take back, and everything where nothing is named, needs nobody."""
    grant = await play.ready(scopes=(Scope("*", approval_from=demand),))
    waits = demand is not None and asked.rank >= demand.rank
    prepared = done(await play.prepare(grant, intent("1", reversibility=asked)))
    assert prepared.state is (ActionState.AWAITING_APPROVAL if waits else ActionState.PREPARED)
    performed = await play.perform(grant, intent("2", reversibility=asked))
    assert isinstance(performed, Refusal) == waits
    if waits:
        refused(performed, AWAITING)
        refused(await play.commit(grant, "1"), AWAITING)
    else:
        done(await play.commit(grant, "1"))


async def test_the_scope_that_allows_it_decides_whether_a_person_is_asked(play: Player) -> None:
    """Scopes are asked in their order: the first that allows the action counts."""
    strict = Scope("email.*", approval_from=READ_ONLY)
    grant = await play.ready(scopes=(Scope("email.*", "a/*"), strict, Scope("*")))
    states = {
        resource: done(await play.prepare(grant, intent(f"op-{number}", resource=resource))).state
        for number, resource in enumerate(["a/1", "b/1"])
    }
    assert states == {"a/1": ActionState.PREPARED, "b/1": ActionState.AWAITING_APPROVAL}
    done(await play.perform(grant, intent("other", "sms.send")))


@pytest.mark.parametrize("verb", ["prepare", "perform"])
async def test_an_action_that_waits_is_on_record(play: Player, verb: str) -> None:
    """With the time it may wait, which is not the time to commit; perform is refused, with no more lines."""
    grant = await ready(play)
    answer = await getattr(play, verb)(grant, intent(summary="to all"), wait_ms=30 * SECOND)
    if verb == "prepare":
        assert (answer.state, answer.approval, answer.replayed) == (
            *(ActionState.AWAITING_APPROVAL, None),
            False,
        )
        assert (answer.seq, answer.expire_time) == (3, START + 30 * SECOND)
    else:
        details = refused(answer, AWAITING)
        assert (details["op"], details["action"]) == ("op", "email.send")
    action = await play.read_action()
    assert (action.state, action.expire_time) == (ActionState.AWAITING_APPROVAL, START + 30 * SECOND)
    assert await play.store.awaiting() == [("run", "op")]
    assert await play.kinds() == ["OPENED", "ISSUED", "PREPARED"]
    line = (await play.journal())[-1].data
    assert (line["awaits"], line["summary"]) == ("1", "to all")
    assert ((await play.read()).actions, (await play.read()).refusals) == (1, 0)


async def test_a_wait_is_never_longer_than_the_grant(play: Player) -> None:
    """It ends with the grant under which it would be committed."""
    grant = await ready(play, ttl_ms=MINUTE)
    assert done(await play.prepare(grant, wait_ms=HOUR)).expire_time == START + MINUTE


async def test_asking_again_while_it_waits_changes_nothing(play: Player) -> None:
    """A poll is answered as the first call was, and leaves no line."""
    grant = await waiting(play)
    before = await play.rig.dump()
    again = done(await play.prepare(grant))
    assert (again.replayed, again.state) == (True, ActionState.AWAITING_APPROVAL)
    refused(await play.perform(grant), AWAITING)
    refused(await play.commit(grant), AWAITING)
    assert (await play.rig.dump()).differences(before) == []


async def test_what_a_person_agreed_to_can_be_committed(play: Player) -> None:
    """The next poll tells what they said; the commit then is one like any other."""
    grant = await waiting(play)
    approved = done(await play.approve(actor="u-7", note="go on"))
    assert approved == verbs.Approved("op", 4, START + MINUTE, replayed=False)
    polled = done(await play.prepare(grant))
    said = Approval(actor="u-7", note="go on", seq=4, until=START + MINUTE, ttl_ms=MINUTE)
    assert (polled.state, polled.approval) == (ActionState.PREPARED, said)
    assert await play.store.awaiting() == []
    permit = done(await play.commit(grant))
    assert permit.replayed is False
    assert await play.kinds() == ["OPENED", "ISSUED", "PREPARED", "APPROVED", "PERMITTED"]
    line = {"op": "op", "actor": "u-7", "note": "go on", "until": str(START + MINUTE), "digest": digest()}
    assert (await play.journal())[3].data == line
    done(await play.settle(grant))


async def test_perform_asked_again_gets_the_permit(play: Player) -> None:
    """Who began with perform goes on with it."""
    grant = await ready(play)
    refused(await play.perform(grant), AWAITING)
    done(await play.approve())
    assert done(await play.perform(grant)).replayed is False
    assert done(await play.perform(grant)).replayed is True
    assert await play.kinds() == ["OPENED", "ISSUED", "PREPARED", "APPROVED", "PERMITTED"]


async def test_an_approval_is_used_once(play: Player) -> None:
    """The same action a second time is another op_id, and waits again."""
    grant = await waiting(play)
    done(await play.approve())
    done(await play.commit(grant))
    assert done(await play.commit(grant)).replayed
    refused(await play.perform(grant, "op-2"), AWAITING)
    refused(await play.prepare(grant), ErrorReason.ALREADY_PERMITTED)


async def test_an_approval_lasts_no_longer_than_it_was_given_for(play: Player) -> None:
    """At that very millisecond it has lapsed, and cannot be given anew."""
    grant = await waiting(play)
    done(await play.approve(ttl_ms=10 * SECOND))
    await play.rig.advance(10 * SECOND - 1)
    done(await play.prepare(grant))
    await play.rig.advance(1)
    for answer in (await play.prepare(grant), await play.commit(grant), await play.perform(grant)):
        details = refused(answer, ErrorReason.DENIED)
        assert (details["cause"], details["actor"]) == ("the approval was not used in time", "u-7")
    for again in (HOUR, 10 * SECOND):
        assert refused(await play.approve(ttl_ms=again), ErrorReason.NOT_AWAITING)["state"] == "DENIED"


async def test_an_approval_lasts_no_longer_than_the_action_could_wait(play: Player) -> None:
    """It is cut to the time until which the action can be committed."""
    grant = await waiting(play)
    await play.rig.advance(HOUR - SECOND)
    assert done(await play.approve(ttl_ms=HOUR)).until == START + HOUR
    await play.rig.advance(SECOND)
    refused(await play.commit(grant), ErrorReason.PREPARE_EXPIRED)


async def test_nobody_who_agrees_in_time_is_a_no(play: Player) -> None:
    """From the millisecond on in which the wait is over it is denied, and agreeing comes too late."""
    grant = await waiting(play)
    await play.rig.advance(HOUR - 1)
    refused(await play.perform(grant), AWAITING)
    await play.rig.advance(1)
    for answer in (await play.prepare(grant), await play.commit(grant), await play.perform(grant)):
        assert refused(answer, ErrorReason.DENIED)["cause"] == "nobody agreed in time"
    details = refused(await play.approve(), ErrorReason.NOT_AWAITING)
    assert details == {"run": "run", "op": "op", "state": "DENIED"}


async def test_a_person_who_says_no_is_told_with_their_words(play: Player) -> None:
    """Every call for the action is refused with who said it and why; it waits no more."""
    grant = await waiting(play)
    assert done(await play.deny(actor="u-8", note="too many")) == verbs.Denied("op", 4, replayed=False)
    for answer in (await play.prepare(grant), await play.commit(grant), await play.perform(grant)):
        details = refused(answer, ErrorReason.DENIED)
        assert details["cause"] == "a person said no"
        assert (details["actor"], details["note"]) == ("u-8", "too many")
    assert (await play.read_action()).state is ActionState.DENIED
    assert await play.store.awaiting() == []
    line = (await play.journal())[3]
    assert (line.kind, line.data) == ("DENIED", {"op": "op", "actor": "u-8", "note": "too many"})
    refused(await play.settle(grant), ErrorReason.NEVER_PERMITTED)


async def test_a_person_may_think_again_until_the_commit(play: Player) -> None:
    """An approval is taken back by a deny, up to the very call before its use, and not after."""
    grant = await waiting(play)
    done(await play.approve())
    done(await play.deny(note="no, wait"))
    assert refused(await play.commit(grant), ErrorReason.DENIED)["note"] == "no, wait"
    refused(await play.approve(), ErrorReason.NOT_AWAITING)
    done(await play.prepare(grant, "2"))
    done(await play.approve("2"))
    done(await play.commit(grant, "2"))
    assert refused(await play.deny("2"), ErrorReason.ALREADY_PERMITTED) == {"run": "run", "op": "2"}
    done(await play.settle(grant, "2"))
    assert refused(await play.deny("2"), ErrorReason.NOT_AWAITING)["state"] == "SUCCEEDED"


async def test_a_lapsed_approval_and_a_wait_that_is_over_can_still_be_denied(play: Player) -> None:
    """Then it is said by a person, too."""
    grant = await waiting(play)
    done(await play.prepare(grant, "2"))
    done(await play.approve(ttl_ms=SECOND))
    await play.rig.advance(HOUR)
    for op in ("op", "2"):
        done(await play.deny(op))
        assert refused(await play.commit(grant, op), ErrorReason.DENIED)["cause"] == "a person said no"


async def test_saying_the_same_again_answers_the_same(play: Player) -> None:
    """A repeated yes or no changes nothing, not even who said it first."""
    grant = await waiting(play)
    done(await play.prepare(grant, "2"))
    yes = done(await play.approve(amended="less"))
    no = done(await play.deny("2"))
    before = await play.rig.dump()
    assert done(await play.approve(amended="less", actor="u-9", note="x")) == replace(yes, replayed=True)
    assert done(await play.deny("2", actor="u-9", note="x")) == replace(no, replayed=True)
    assert (await play.rig.dump()).differences(before) == []


@pytest.mark.parametrize(
    "other", [{"ttl_ms": 1}, {"amended": "less"}, {"amended": None, "arguments": "x"}], ids=str
)
async def test_a_second_yes_with_other_content_is_refused(play: Player, other: dict[str, Any]) -> None:
    """The first one stands."""
    await waiting(play)
    done(await play.approve())
    details = refused(await play.approve(**other), ErrorReason.NOT_AWAITING)
    assert details == {"run": "run", "op": "op", "state": "PREPARED"}


async def test_a_person_agrees_to_these_very_arguments(play: Player) -> None:
    """Whoever saw other arguments than the action has agrees to nothing."""
    grant = await waiting(play)
    details = refused(await play.approve(arguments="other"), ErrorReason.NOT_AWAITING)
    assert details["state"] == "AWAITING_APPROVAL"
    refused(await play.perform(grant), AWAITING)
    done(await play.approve())
    refused(await play.commit(grant, arguments="other"), ErrorReason.DIGEST_MISMATCH)


async def test_a_person_may_agree_to_other_arguments(play: Player) -> None:
    """Then those, and only those, can be committed, and by nobody who does not know them."""
    grant = await waiting(play)
    done(await play.approve(amended="only to the team"))
    said = done(await play.prepare(grant)).approval
    assert said
    assert (said.amendment, said.digest) == ('"only to the team"', digest("only to the team"))
    assert (await play.journal())[-1].data["digest"] == digest("only to the team")
    refused(await play.commit(grant), ErrorReason.DIGEST_MISMATCH)
    refused(await play.perform(grant), ErrorReason.DIGEST_MISMATCH)
    done(await play.commit(grant, arguments="only to the team"))
    refused(await play.perform(grant), ErrorReason.DIGEST_MISMATCH)
    assert done(await play.commit(grant, arguments="only to the team")).replayed


async def test_an_amended_action_is_still_the_one_that_was_prepared(play: Player) -> None:
    """A poll describes it as before; described with the amended arguments it is another action."""
    grant = await waiting(play)
    done(await play.approve(amended="less"))
    done(await play.prepare(grant))
    refused(await play.prepare(grant, intent(arguments="less")), ErrorReason.OP_ID_CONFLICT)
    done(await play.approve(amended="less"))
    refused(await play.approve(arguments="less"), ErrorReason.NOT_AWAITING)


async def test_taking_back_an_amended_approval_leaves_nothing_of_it(play: Player) -> None:
    """The amended arguments are no longer good for anything."""
    grant = await waiting(play)
    done(await play.approve(amended="less"))
    done(await play.deny())
    refused(await play.commit(grant, arguments="less"), ErrorReason.DIGEST_MISMATCH)
    refused(await play.commit(grant), ErrorReason.DENIED)


async def test_a_use_is_taken_by_the_commit_and_not_by_the_approval(play: Player) -> None:
    """Two approved actions on one use: the first commit has it."""
    grant = await ready(play, max_uses=1)
    for op in ("1", "2"):
        done(await play.prepare(grant, op))
        done(await play.approve(op))
    done(await play.commit(grant, "2"))
    refused(await play.commit(grant, "1"), ErrorReason.USES_EXHAUSTED)


async def test_a_child_needs_the_agreement_its_parent_needs(play: Player) -> None:
    """Handing a grant on does not get around the person."""
    above = await ready(play)
    child = await play.delegate(above, child="below")
    refused(await play.perform(child), AWAITING)
    assert await play.store.awaiting() == [("below", "op")]
    done(await play.approve(run="below"))
    done(await play.commit(child))


async def test_what_needs_nobody_can_be_neither_approved_nor_denied(play: Player) -> None:
    """The answer says how the action stands."""
    grant = await play.ready()
    done(await play.prepare(grant))
    states = []
    for after in (None, play.commit, play.settle):
        if after:
            done(await after(grant))
        approval = await play.approve()
        states.append(refused(approval, ErrorReason.NOT_AWAITING)["state"])
    assert states == ["PREPARED", "PERMITTED", "SUCCEEDED"]
    done(await play.prepare(grant, "2"))
    assert refused(await play.deny("2"), ErrorReason.NOT_AWAITING)["state"] == "PREPARED"


async def test_an_abandoned_action_waits_no_more(play: Player) -> None:
    """Neither yes nor no has an effect then, and the tool's own no is the answer."""
    grant = await waiting(play)
    done(await play.abandon(grant))
    assert await play.store.awaiting() == []
    for answer in (await play.approve(), await play.deny()):
        assert refused(answer, ErrorReason.NOT_AWAITING)["state"] == "ABANDONED"
    refused(await play.perform(grant), ErrorReason.ACTION_ABANDONED)


async def test_an_approved_action_can_be_abandoned(play: Player) -> None:
    """The approval goes with it."""
    grant = await waiting(play)
    done(await play.approve())
    done(await play.abandon(grant))
    refused(await play.commit(grant), ErrorReason.ACTION_ABANDONED)
    refused(await play.deny(), ErrorReason.NOT_AWAITING)


async def test_a_denied_action_stays_denied(play: Player) -> None:
    """To abandon it is refused with what the person said, so that the report goes on saying it."""
    grant = await waiting(play)
    done(await play.deny(note="no"))
    details = refused(await play.abandon(grant), ErrorReason.DENIED)
    assert (details["cause"], details["note"]) == ("a person said no", "no")
    assert (await play.read_action()).state is ActionState.DENIED
    assert done(await play.deny()).replayed


async def test_a_run_that_is_cancelled_waits_for_nobody(play: Player) -> None:
    """Agreeing is refused with the cancel, and so is a commit of what was agreed to before; a no is taken."""
    grant = await waiting(play)
    done(await play.prepare(grant, "2"))
    done(await play.approve("2"))
    await play.cancel()
    assert refused(await play.approve(), ErrorReason.REVOKED)["ended_run"] == "run"
    refused(await play.approve("2"), ErrorReason.REVOKED)
    for op in ("op", "2"):
        refused(await play.commit(grant, op), ErrorReason.REVOKED)
        done(await play.deny(op))
    assert await play.store.awaiting() == []


async def test_a_cancel_above_reaches_what_waits_below(play: Player) -> None:
    """The whole path is asked before an approval."""
    above = await ready(play)
    child = await play.delegate(above, child="below")
    refused(await play.perform(child), AWAITING)
    await play.cancel("run")
    assert refused(await play.approve(run="below"), ErrorReason.REVOKED)["ended_run"] == "run"


@pytest.mark.parametrize("end", ["finish", "deadline", "epoch", "clock"])
async def test_nobody_agrees_for_a_run_without_authority(play: Player, end: str) -> None:
    """A finished run, a deadline that has passed, another epoch or an unsure clock: refused, a no is not."""
    await play.open(ttl_ms=HOUR)
    grant = await play.issue(scopes=(Scope("*", approval_from=READ_ONLY),))
    done(await play.prepare(grant))
    reason = ErrorReason.RUN_FINISHED
    match end:
        case "finish":
            done(await play.finish())
        case "deadline":
            await play.rig.advance(HOUR)
            reason = ErrorReason.RUN_DEADLINE
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
            reason = ErrorReason.STORE_EPOCH
        case "clock":
            await play.rig.advance(-CLOCK_TOLERANCE_MS - 1)
            reason = ErrorReason.CLOCK_UNSURE
    refused(await play.approve(), reason)
    done(await play.deny())


async def test_only_what_is_known_can_be_agreed_to(play: Player) -> None:
    """An unknown run, or an unknown action of a known one, is refused; so is an unknown action to deny."""
    await play.ready()
    assert refused(await play.approve(run="nobody"), ErrorReason.RUN_UNKNOWN) == {"run": "nobody"}
    unknown = {"run": "run", "op": "nothing"}
    assert refused(await play.approve("nothing"), ErrorReason.ACTION_UNKNOWN) == unknown
    assert refused(await play.deny("nothing"), ErrorReason.ACTION_UNKNOWN) == unknown
    assert refused(await play.deny(run="nobody"), ErrorReason.ACTION_UNKNOWN) == {"run": "nobody", "op": "op"}


async def test_a_refused_yes_or_no_leaves_no_trace(play: Player) -> None:
    """It is not the tool's attempt, so it is not in the run's journal."""
    await waiting(play)
    before = await play.rig.dump()
    refused(await play.approve(arguments="other"), ErrorReason.NOT_AWAITING)
    refused(await play.approve("nothing"), ErrorReason.ACTION_UNKNOWN)
    refused(await play.deny("nothing"), ErrorReason.ACTION_UNKNOWN)
    assert (await play.rig.dump()).differences(before) == []


async def test_those_who_wait_are_listed_the_oldest_first(play: Player) -> None:
    """Over all runs; whoever got an answer is no longer there."""
    for run in ("b", "a"):
        await play.open(run)
        grant = await play.issue(run, (Scope("*", approval_from=READ_ONLY),), grant=f"g-{run}")
        for op in ("2", "1", "3"):
            refused(await play.perform(grant, op), AWAITING)
    done(await play.approve("1", "b"))
    done(await play.deny("2", "a"))
    await play.cancel("b")
    assert await play.store.awaiting() == [("b", "2"), ("b", "3"), ("a", "1"), ("a", "3")]


@pytest.mark.parametrize("order", list(permutations(["approve", "deny", "commit", "cancel"])), ids="-".join)
async def test_whatever_comes_in_what_order_is_decided_in_that_order(
    play: Player, order: tuple[str, ...]
) -> None:
    """A permit is given exactly if the yes came before the commit, and neither a no nor a cancel did."""
    grant = await waiting(play)
    answers: dict[str, Any] = {}
    for name in order:
        match name:
            case "approve":
                answers[name] = await play.approve()
            case "deny":
                answers[name] = await play.deny()
            case "commit":
                answers[name] = await play.commit(grant)
            case "cancel":
                answers[name] = await play.cancel()
    before = set(order[: order.index("commit")])
    assert isinstance(answers["commit"], verbs.Permitted) == (before == {"approve"})
    assert ("PERMITTED" in await play.kinds()) == (before == {"approve"})
    denied_late = before == {"approve"}
    assert isinstance(answers["deny"], Refusal) == denied_late
    approved = not {"deny", "cancel"} & set(order[: order.index("approve")])
    assert isinstance(answers["approve"], verbs.Approved) == approved


async def test_yes_no_and_commit_at_once_agree(play: Player) -> None:
    """Of many calls at once each sees what came before it: one answer stands, and no permit follows a no."""
    grant = await ready(play)
    ops = [f"op-{number}" for number in range(20)]
    for op in ops:
        done(await play.prepare(grant, op))
    calls = [call(op) for op in ops for call in (play.approve, lambda op: play.commit(grant, op), play.deny)]
    answers = await asyncio.gather(*calls)
    for op, yes, permit, no in zip(ops, answers[::3], answers[1::3], answers[2::3], strict=True):
        kinds = [entry.kind for entry in await play.journal() if entry.op_id == op]
        assert ("PERMITTED" in kinds) == isinstance(permit, verbs.Permitted)
        assert ("DENIED" in kinds) == isinstance(no, verbs.Denied)
        assert ("APPROVED" in kinds) == isinstance(yes, verbs.Approved)
        assert not {"PERMITTED", "DENIED"} <= set(kinds)


async def test_many_who_agree_at_once_are_one_approval(play: Player) -> None:
    """One is first; the others are told what the first one said."""
    grant = await waiting(play)
    answers = await asyncio.gather(*(play.approve(actor=f"u-{number}") for number in range(20)))
    assert [done(answer).replayed for answer in answers].count(False) == 1
    assert len({done(answer).seq for answer in answers}) == 1
    assert (await play.kinds()).count("APPROVED") == 1
    done(await play.commit(grant))
