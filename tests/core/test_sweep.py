"""The sweep: what a fence stands over is counted run by run, and a count that broke off says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from grant_service.core.action import ActionState
from grant_service.core.budget import Budget
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.fence import selector_of
from grant_service.core.run import RECENT_MS
from grant_service.core.scope import Reversibility, Scope
from grant_service.core.sweep import Hit, count
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, refused
from tests.store.rigs import MemoryRig

Numbers = tuple[int, int, int, int]


@pytest.fixture
async def play() -> Player:
    """Somebody to play on the model."""
    return Player(await MemoryRig.start())


async def hit(play: Player, *marks: str, action: str = "", root_seq: int = 0) -> Hit:
    """Count what a selector names; there is time enough."""
    found = await count(play.store, selector_of(marks, action), root_seq, 10)
    assert found.complete
    assert found.time == play.rig.time
    return found


def numbers(found: Hit) -> Numbers:
    """Runs, grants, prepared, in flight."""
    rows = found.rows.values()
    flying, prepared = sum(row.in_flight for row in rows), sum(row.prepared for row in rows)
    assert sum(one.in_flight for one in found.samples()) <= flying
    return found.run_count, found.grant_count, prepared, flying


async def test_nothing_is_hit_where_nothing_is(play: Player) -> None:
    """An empty store, and a run without a grant."""
    assert numbers(await hit(play)) == (0, 0, 0, 0)
    await play.open()
    assert numbers(await hit(play)) == (0, 0, 0, 0)


async def test_what_is_alive_is_counted_and_what_is_over_is_not(play: Player) -> None:
    """Prepared, waiting and in flight count; settled, given up, denied, lapsed and expired do not."""
    careful = (Scope("*", approval_from=Reversibility.IRREVERSIBLE),)
    grant = await play.ready()
    waits = await play.issue(scopes=careful, grant="careful")
    for op in ("settled", "flying"):
        await play.permit(grant, op, use_ms=60 * SECOND)
    await play.permit(grant, "silent", use_ms=SECOND)
    done(await play.settle(grant, "settled", ActionState.UNKNOWN))
    for op in ("prepared", "given up"):
        done(await play.prepare(grant, op))
    done(await play.prepare(grant, "expired", ttl_ms=SECOND))
    done(await play.abandon(grant, "given up"))
    for op in ("waiting", "denied", "agreed", "too late"):
        done(await play.prepare(waits, op))
    done(await play.deny("denied"))
    done(await play.approve("agreed"))
    done(await play.approve("too late", ttl_ms=SECOND))
    await play.rig.advance(SECOND)
    assert numbers(await hit(play)) == (1, 2, 3, 1)


@pytest.mark.parametrize("end", ["cancel", "finish", "epoch", "above", "budget"])
async def test_of_runs_that_ended_only_what_may_still_land_is_counted(play: Player, end: str) -> None:
    """However they ended: grants and what was prepared are dead, but a permit lasts until its use-by."""
    await play.open("top")
    await play.open(parent="top", budgets=(Budget("usd", 1),))
    grant = await play.issue()
    await play.permit(grant, "brief", use_ms=20 * SECOND)
    await play.permit(grant, "flying", use_ms=60 * SECOND)
    await play.permit(grant, "settled", use_ms=60 * SECOND)
    done(await play.settle(grant, "settled"))
    done(await play.prepare(grant, "prepared"))
    assert numbers(await hit(play)) == (1, 1, 1, 2)
    match end:
        case "cancel":
            await play.cancel()
        case "finish":
            await play.finish()
        case "epoch":
            await play.rig.renew_epoch("epoch-2")
        case "above":
            await play.cancel("top")
        case "budget":
            refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
    assert numbers(await hit(play)) == (1, 0, 0, 2)
    assert (await hit(play, "run=run", action="email.send")).rows.keys() == {("", "email.send")}
    assert numbers(await hit(play, action="file.*")) == (0, 0, 0, 0)
    await play.rig.advance(20 * SECOND)
    assert numbers(await hit(play)) == (1, 0, 0, 1)
    await play.rig.advance(40 * SECOND)
    assert numbers(await hit(play)) == (0, 0, 0, 0)


async def test_a_deadline_leaves_nothing_to_land(play: Player) -> None:
    """No permit lasts longer than it."""
    await play.open(ttl_ms=HOUR)
    await play.rig.advance(HOUR - SECOND)
    await play.permit(await play.issue(), use_ms=60 * SECOND)
    assert numbers(await hit(play)) == (1, 1, 0, 1)
    await play.rig.advance(SECOND)
    assert numbers(await hit(play)) == (0, 0, 0, 0)


def journals_read(play: Player, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the runs whose journals are read from now on."""
    read: list[str] = []
    journal = play.store.journal

    async def reading(run_id: str, *told: int) -> Any:
        read.append(run_id)
        return await journal(run_id, *told)

    monkeypatch.setattr(play.store, "journal", reading)
    return read


@pytest.mark.parametrize("end", ["cancel", "deadline", "above"])
async def test_the_journals_of_runs_that_ended_long_ago_are_not_read(
    play: Player, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Nothing of theirs can land any more; nor of one that ended just now and did nothing."""
    await play.open("idle")
    await play.cancel("idle")
    await play.open("top")
    await play.open(parent="top", ttl_ms=HOUR if end == "deadline" else DAY)
    await play.rig.advance(HOUR - SECOND)
    await play.permit(await play.issue())
    await play.rig.advance(SECOND)
    if end != "deadline":
        await play.cancel("run" if end == "cancel" else "top")
    read = journals_read(play, monkeypatch)
    await play.rig.advance(RECENT_MS - 1)
    await hit(play, "run=run")
    assert read == ["run"]
    await play.rig.advance(1)
    await hit(play, "run=run")
    assert read == ["run"]


async def test_grants_that_ended_are_not_counted_but_their_permits_are(play: Player) -> None:
    """Expired, or ended by their budget, with what hung below them; an effect may still be under way."""
    await play.open()
    short = await play.issue(grant="short", ttl_ms=SECOND)
    done(await play.prepare(short, "lapses"))
    spent = await play.issue(grant="spent", budgets=(Budget("usd", 1),))
    below = await play.delegate(spent, "below")
    done(await play.prepare(spent, "dead"))
    done(await play.prepare(below, "dead below"))
    await play.permit(spent, "flying", use_ms=HOUR)
    far = await play.delegate(below, "far", child="child")
    done(await play.prepare(far, "dead far below"))
    assert numbers(await hit(play)) == (2, 4, 4, 1)
    refused(await play.spend(spent, 2), ErrorReason.BUDGET_EXHAUSTED)
    await play.rig.advance(SECOND)
    assert numbers(await hit(play)) == (1, 0, 0, 1)


async def test_delegated_grants_are_found_by_every_link(play: Player) -> None:
    """A fence over a grant stands over what hangs below it, in every run; not over what is above it."""
    grant = await play.ready()
    middle = await play.delegate(grant, "middle", child="child")
    await play.delegate(middle, "low", child="grandchild")
    await play.delegate(grant, "beside")
    assert numbers(await hit(play, "grant=grant"))[:2] == (3, 4)
    assert numbers(await hit(play, "grant=middle"))[:2] == (2, 2)
    assert numbers(await hit(play, "grant=low"))[:2] == (1, 1)
    assert numbers(await hit(play, "grant=beside"))[:2] == (1, 1)
    assert numbers(await hit(play, "grant=nothing"))[:2] == (0, 0)
    assert numbers(await hit(play, "grant=middle", "run=run"))[:2] == (2, 2)
    assert numbers(await hit(play, "grant=beside", "run=child"))[:2] == (0, 0)


async def test_a_grant_is_looked_for_only_where_it_can_be(
    play: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own run and in those below, where what hangs below it is; all of that is counted."""
    await play.open("top")
    above = await play.issue("top", grant="above")
    grant = await play.delegate(above, "grant", child="run")
    low = await play.delegate(grant, "low", child="low")
    await play.permit(await play.delegate(low, "lowest", child="lowest"))
    await play.open("issued", parent="low")
    await play.issue("issued", grant="of its own")
    for other in ("other", "another"):
        await play.ready(other, grant=f"g-{other}")
    read = journals_read(play, monkeypatch)
    assert numbers(await hit(play, "grant=grant")) == (3, 3, 0, 1)
    assert sorted(read) == ["issued", "low", "lowest", "run"]
    read.clear()
    assert numbers(await hit(play, "grant=grant", "grant=low")) == (2, 2, 0, 1)
    assert sorted(read) == ["issued", "low", "lowest"]
    read.clear()
    assert numbers(await hit(play, "grant=g-other")) == (1, 1, 0, 0)
    assert read == ["other"]


async def test_what_a_lost_grant_was_permitted_is_still_counted(play: Player) -> None:
    """Nobody knows its run any more, so it is looked for everywhere."""
    grant = await play.ready()
    await play.permit(await play.delegate(grant, "child", child="child"))
    await play.ready("other", grant="other")
    whole = numbers(await hit(play, "grant=grant"))
    assert whole == (2, 2, 0, 1)
    await play.rig.lose_grant("grant")
    assert numbers(await hit(play, "grant=grant")) == (1, 0, 0, 1)


async def test_marks_come_from_above(play: Player) -> None:
    """A run is hit by what any run above it is; the tenant of a row is the nearest."""
    await play.open("top", tenant="acme", agent="a", labels={"k": "v"})
    await play.open("low", parent="top", agent="b")
    await play.open("other", parent="top", tenant="umbra")
    for run in ("top", "low", "other"):
        done(await play.prepare(await play.issue(run, grant=f"g-{run}")))
    for marks in (["tenant=acme"], ["agent=a"], ["label=k=v"], ["run=top", "label=k=v"]):
        assert numbers(await hit(play, *marks)) == (3, 3, 3, 0)
    assert numbers(await hit(play, "agent=b")) == (1, 1, 1, 0)
    rows = (await hit(play, "tenant=acme")).rows
    assert {key: row.prepared for key, row in rows.items()} == {
        ("acme", "email.send"): 2,
        ("umbra", "email.send"): 1,
    }


@pytest.mark.parametrize(
    ("action", "grants", "prepared"),
    [
        ("", 4, 3),
        ("email.*", 3, 2),
        ("email.send", 3, 1),
        ("email.draft", 2, 1),
        ("email", 1, 0),
        ("file.*", 2, 1),
        ("file.delete.all", 1, 0),
        ("calendar.*", 1, 0),
    ],
)
async def test_a_grant_is_hit_if_it_could_do_something_of_that(
    play: Player, action: str, grants: int, prepared: int
) -> None:
    """Its patterns and the selector's meet either way; of its actions only those that are named count."""
    await play.open()
    anything = await play.issue(grant="anything", scopes=(Scope("*"),))
    mail = await play.issue(grant="mail", scopes=(Scope("email.*"),))
    await play.issue(grant="send", scopes=(Scope("email.send"),))
    files = await play.issue(grant="files", scopes=(Scope("file.delete"),))
    done(await play.prepare(anything, intent("o-1", "email.send")))
    done(await play.prepare(mail, intent("o-2", "email.draft")))
    done(await play.prepare(files, intent("o-3", "file.delete")))
    found = await hit(play, action=action)
    assert (found.grant_count, numbers(found)[2]) == (grants, prepared)


async def test_only_what_goes_back_to_before_the_fence_is_counted(play: Player) -> None:
    """What was issued afterwards is alive; a child is as old as the first grant of its chain."""
    grant = await play.ready(grant="old")
    done(await play.prepare(grant, "o-old"))
    fence = done(await play.revoke("grant=nothing")).fence
    await play.delegate(grant, "child of old", child="child")
    young = await play.issue(grant="young")
    done(await play.prepare(young, "o-young"))
    assert numbers(await hit(play)) == (2, 3, 2, 0)
    assert numbers(await hit(play, root_seq=fence.seq)) == (2, 2, 1, 0)
    assert numbers(await hit(play, root_seq=1)) == (0, 0, 0, 0)


async def test_every_page_of_runs_and_of_a_journal_is_read(play: Player) -> None:
    """More than fifty runs, and a journal of more than a thousand lines, each action counted once."""
    await play.open("busy")
    grant = await play.issue("busy", grant="g-busy")
    for number in range(1100):
        done(await play.prepare(grant, f"o-{number}", ttl_ms=HOUR, max_actions=10_000))
    for number in range(300):
        done(await play.commit(grant, f"o-{number}", use_ms=HOUR))
    for number in range(130):
        await play.open(f"run-{number}", subject=f"u-{number % 2}")
        await play.issue(f"run-{number}", grant=f"g-{number}")
    found = await hit(play)
    assert numbers(found) == (131, 131, 800, 300)
    assert numbers(await hit(play, "subject=u-1")) == (65, 65, 0, 0)
    samples = found.samples()
    assert (len(samples), samples[0].run.run_id) == (10, "busy")
    assert (samples[0].in_flight, samples[0].prepared) == (300, 800)


async def test_the_samples_are_the_ten_with_most_in_flight(play: Player) -> None:
    """In whatever order they were opened."""
    for number in (3, 11, 0, 7, 1, 9, 4, 12, 2, 8, 5, 10, 6):
        grant = await play.ready(f"run-{number}", grant=f"g-{number}")
        for op in range(number):
            await play.permit(grant, f"o-{op}")
    samples = (await hit(play)).samples()
    assert [one.in_flight for one in samples] == list(range(12, 2, -1))


@pytest.mark.parametrize("read", ["standing", "recent_run_ids", "runs", "journal"])
@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_count_that_broke_off_keeps_what_it_has_and_says_so(
    play: Player, monkeypatch: pytest.MonkeyPatch, read: str, how: str
) -> None:
    """A lower bound, marked as such; it is never an error."""
    for number in range(60):
        await play.open(f"run-{number}")
        await play.issue(f"run-{number}", grant=f"g-{number}")
    whole = numbers(await hit(play))
    asked = {"standing": 0, "recent_run_ids": 1, "runs": 1, "journal": 50}[read]
    monkeypatch.setattr(play.store, read, _failing(getattr(play.store, read), asked, how))
    found = await count(play.store, selector_of(()), 0, 0.2)
    assert not found.complete
    assert found.run_count == (0 if read == "standing" else 50)
    assert all(few <= many for few, many in zip(numbers(found), whole, strict=True))


def _failing(works: Callable[..., Any], times: int, how: str) -> Callable[..., Any]:
    """A read that works so many times and then no more."""
    calls = 0

    async def read(*told: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= times:
            return await works(*told)
        if how == "hangs":
            await asyncio.sleep(60)
        raise StoreFailed(ErrorReason.STORE_UNAVAILABLE, cause="it is gone")

    return read


async def test_counting_writes_nothing(play: Player) -> None:
    """And two counts are the same."""
    grant = await play.ready()
    await play.permit(grant)
    before = await play.rig.dump()
    assert numbers(await hit(play)) == numbers(await hit(play))
    assert (await play.rig.dump()).differences(before) == []
