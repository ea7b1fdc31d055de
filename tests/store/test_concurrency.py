"""Many callers at once: every call is one step, and all see the steps in one order."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from grant_service.core import verbs
from grant_service.core.errors import ErrorReason, Refusal
from grant_service.core.scope import Scope
from tests.store.player import Player, done, ref, refused

T = TypeVar("T")


async def together(calls: Sequence[Awaitable[T]]) -> list[T]:
    """Make all calls in one turn of the event loop."""
    return await asyncio.gather(*calls)


async def test_a_thousand_commits_on_ten_uses_are_ten(play: Player) -> None:
    """Of 1,000 concurrent commits (100 on the fake server) on max_uses 10 exactly ten are permitted."""
    grant = await play.ready(scopes=(Scope("*", max_uses=10),))
    ops = [f"op-{n}" for n in range(play.rig.many)]
    assert all(map(done, await together([play.prepare(grant, op) for op in ops])))
    answers = await together([play.commit(grant, op) for op in ops])
    permits = [answer for answer in answers if isinstance(answer, verbs.Permitted)]
    assert len(permits) == 10
    assert len({permit.fence for permit in permits}) == 10
    for answer in answers:
        if isinstance(answer, Refusal):
            refused(answer, ErrorReason.USES_EXHAUSTED)
    assert (await play.kinds()).count("PERMITTED") == 10


async def test_many_commits_of_one_op_id_are_one_decision(play: Player) -> None:
    """One is new, all others are its replays, with the same fencing number."""
    grant = await play.ready()
    done(await play.prepare(grant))
    permits = list(map(done, await together([play.commit(grant) for _ in range(100)])))
    assert [permit.replayed for permit in permits].count(False) == 1
    assert len({permit.fence for permit in permits}) == 1
    assert (await play.kinds()).count("PERMITTED") == 1


async def test_many_performs_of_one_op_id_are_one_decision(play: Player) -> None:
    """The same without a prepare before."""
    grant = await play.ready(scopes=(Scope("*", max_uses=1),))
    permits = list(map(done, await together([play.perform(grant) for _ in range(100)])))
    assert [permit.replayed for permit in permits].count(False) == 1
    assert await play.kinds() == ["OPENED", "ISSUED", "PREPARED", "PERMITTED"]


async def test_a_cancel_among_commits_cuts_them_in_two(play: Player) -> None:
    """Accepted are exactly those whose number is below the cut; they are all in the journal, no other is."""
    grant = await play.ready()
    ops = [f"op-{n}" for n in range(100)]
    await together([play.prepare(grant, op) for op in ops])
    commits = [asyncio.ensure_future(play.commit(grant, op)) for op in ops[:50]]
    cancel = asyncio.ensure_future(play.cancel())
    commits += [asyncio.ensure_future(play.commit(grant, op)) for op in ops[50:]]
    cut, answers = await cancel, await together(commits)
    accepted = {a.op_id: a.fence for a in answers if isinstance(a, verbs.Permitted)}
    assert all(fence < cut.seq for fence in accepted.values())
    listed = {entry.op_id: entry.seq for entry in await play.journal() if entry.kind == "PERMITTED"}
    assert listed == accepted
    late = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(accepted) + len(late) == 100
    for answer in late:
        refused(answer, ErrorReason.REVOKED)
    refusals = [entry.seq for entry in await play.journal() if entry.kind == "REFUSED"]
    assert len(refusals) == len(late)
    assert all(seq > cut.seq for seq in refusals)


async def test_calls_of_one_turn_are_decided_in_their_order(play: Player) -> None:
    """What is asked first is decided first: a run can be opened, used and cancelled in one turn."""
    grant = await play.ready()
    answers = await together(
        [
            play.prepare(grant, "a"),
            play.commit(grant, "a"),
            play.cancel(),
            play.commit(grant, "a"),
            play.perform(grant, "b"),
        ]
    )
    assert [type(answer) for answer in answers[:3]] == [verbs.Prepared, verbs.Permitted, verbs.Cancelled]
    assert refused(answers[3], ErrorReason.REVOKED)["prior_decision"] == "PERMITTED"
    refused(answers[4], ErrorReason.REVOKED)


async def test_children_opened_around_a_cancel_are_dead_or_refused(play: Player) -> None:
    """Nothing below the cancelled run is active afterwards, whichever came first."""
    await play.open("a")
    children = [f"c-{n}" for n in range(50)]
    opens = [asyncio.ensure_future(play.try_open(run, parent="a")) for run in children[:25]]
    cancel = asyncio.ensure_future(play.cancel("a"))
    opens += [asyncio.ensure_future(play.try_open(run, parent="a")) for run in children[25:]]
    cut, answers = await cancel, await together(opens)
    for run, answer in zip(children, answers, strict=True):
        if isinstance(answer, Refusal):
            refused(answer, ErrorReason.REVOKED)
            assert await play.store.runs([run]) == [None]
        else:
            assert answer.run.open_seq < cut.seq
            refused(await play.try_issue(run), ErrorReason.REVOKED)


async def test_grants_issued_around_a_cancel_are_dead_or_refused(play: Player) -> None:
    """No grant that got out gives authority after the cancel."""
    await play.open()
    issues = [asyncio.ensure_future(play.try_issue(grant=f"g-{n}")) for n in range(20)]
    cancel = asyncio.ensure_future(play.cancel())
    issues += [asyncio.ensure_future(play.try_issue(grant=f"g-{n}")) for n in range(20, 40)]
    await cancel
    for answer in await together(issues):
        if isinstance(answer, Refusal):
            refused(answer, ErrorReason.REVOKED)
        else:
            refused(await play.perform(ref(answer), "late"), ErrorReason.REVOKED)


async def test_two_cancels_at_once_have_one_cut(play: Player) -> None:
    """One is first, the other its replay."""
    await play.open()
    one, two = await together([play.cancel(note="one"), play.cancel(note="two")])
    assert one.seq == two.seq
    assert {one.replayed, two.replayed} == {True, False}


async def test_cancel_and_finish_at_once_agree(play: Player) -> None:
    """Whoever comes second is told what the first one did."""
    await play.open()
    cut, finished = await together([play.cancel(), play.finish()])
    run = await play.read()
    assert cut.seq == run.end_seq
    if isinstance(finished, Refusal):
        refused(finished, ErrorReason.REVOKED)
    else:
        assert cut.replayed
        assert finished.run == run


async def test_a_caller_that_goes_away_does_not_take_the_decision_with_it(play: Player) -> None:
    """A cancelled call is decided all the same, or not at all; asking again tells."""
    grant = await play.ready()
    calls = [asyncio.ensure_future(play.perform(grant, f"op-{n}")) for n in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    again = [done(await play.perform(grant, f"op-{n}")) for n in range(20)]
    assert all(permit.replayed for permit in again[1::2])
    assert len({permit.fence for permit in again}) == 20
    assert (await play.kinds()).count("PERMITTED") == 20
