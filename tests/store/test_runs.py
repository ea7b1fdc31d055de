"""Runs: opened once, below others, ended for good."""

import pytest

from grant_service.core.budget import Budget
from grant_service.core.errors import ErrorReason
from grant_service.core.run import MAX_DEPTH, RECENT_MS, RunState, StopReason
from tests.store.player import DAY, HOUR, SECOND, Player, done, refused
from tests.store.rigs import EPOCH, START, Rig

ASKED = {"subject": "u-7", "agent": "mailer", "tenant": "t-1", "labels": {"b": "2", "a": "\u00e4 \U0001f600"}}


async def test_an_opened_run_is_kept_as_it_was_asked_for(play: Player) -> None:
    """What open answers and what reading answers is one and the same run."""
    run = await play.open("run", ttl_ms=HOUR, **ASKED)
    assert run == await play.read("run")
    assert (run.subject, run.agent, run.tenant, run.labels) == tuple(ASKED.values())
    assert (run.state, run.epoch, run.ancestors, run.parent) == (RunState.ACTIVE, EPOCH, (), "")
    assert (run.open_time, run.deadline, run.keep_until) == (START, START + HOUR, START + HOUR + DAY)
    assert (run.open_seq, run.actions, run.refusals, run.end_seq) == (1, 0, 0, 0)


async def test_opening_again_answers_the_same_run(play: Player) -> None:
    """A repeated open changes nothing and says so, also later and with the labels in another order."""
    first = await play.open(**ASKED)
    await play.rig.advance(SECOND)
    again = done(await play.try_open(**ASKED | {"labels": dict(reversed(ASKED["labels"].items()))}))
    assert again.replayed
    assert again.run == first
    assert await play.kinds() == ["OPENED"]


@pytest.mark.parametrize(
    "other", [{"subject": "u-8"}, {"agent": ""}, {"tenant": "t-2"}, {"labels": {"a": "1"}}, {"ttl_ms": 1}]
)
async def test_a_run_id_is_not_opened_for_another_run(play: Player, other: dict[str, object]) -> None:
    """The same id with other content is refused."""
    await play.open(**ASKED)
    assert refused(await play.try_open(**ASKED | other), ErrorReason.RUN_EXISTS) == {"run": "run"}


async def test_a_run_does_not_move_below_another(play: Player) -> None:
    """The same id with another parent is refused."""
    await play.open("a")
    await play.open("b")
    await play.open("run", parent="a")
    refused(await play.try_open("run", parent="b"), ErrorReason.RUN_EXISTS)
    refused(await play.try_open("run"), ErrorReason.RUN_EXISTS)


async def test_a_child_stands_below_its_parent_in_both_journals(play: Player) -> None:
    """The parent's journal names the child, the child's record names the whole path above it."""
    await play.open("a")
    await play.open("b", parent="a")
    child = await play.open("c", parent="b")
    assert child.ancestors == ("a", "b")
    assert [(e.kind, dict(e.data)) for e in await play.journal("b")][1] == ("CHILD_OPENED", {"child": "c"})
    assert await play.kinds("a") == ["OPENED", "CHILD_OPENED"]


async def test_opening_a_child_again_names_it_once(play: Player) -> None:
    """A repeated open leaves one line in the parent's journal."""
    await play.open("a")
    await play.open("b", parent="a")
    assert done(await play.try_open("b", parent="a")).replayed
    assert await play.kinds("a") == ["OPENED", "CHILD_OPENED"]


async def test_a_child_of_nobody_is_refused(play: Player) -> None:
    """The parent must be known, and is named in the refusal."""
    assert refused(await play.try_open("b", parent="a"), ErrorReason.RUN_UNKNOWN) == {"run": "a"}
    assert refused(await play.try_open("b", parent="b"), ErrorReason.RUN_UNKNOWN) == {"run": "b"}
    assert await play.store.runs(["b"]) == [None]


async def test_runs_go_eight_deep_and_no_deeper(play: Player) -> None:
    """The eighth level works in full; the ninth is refused and leaves nothing."""
    path = [f"r{level}" for level in range(1, MAX_DEPTH + 1)]
    for parent, run in zip(["", *path], path, strict=False):
        await play.open(run, parent=parent)
    grant = await play.issue(path[-1])
    assert grant.ancestors == tuple(path[:-1])
    await play.permit(grant)
    details = refused(await play.try_open("r9", parent=path[-1]), ErrorReason.RUN_TOO_DEEP)
    assert details == {"run": "r9", "depth": "9", "limit": "8"}
    assert await play.store.runs(["r9"]) == [None]
    assert await play.kinds(path[-1]) == ["OPENED", "ISSUED", "PREPARED", "PERMITTED"]


async def test_a_deadline_is_never_later_than_the_parents(play: Player) -> None:
    """A child that asks for longer gets the parent's end; one that asks for less gets less."""
    await play.open("a", ttl_ms=HOUR)
    await play.rig.advance(SECOND)
    assert (await play.open("b", parent="a", ttl_ms=HOUR)).deadline == START + HOUR
    assert (await play.open("c", parent="a", ttl_ms=SECOND)).deadline == START + 2 * SECOND
    assert (await play.open("d", parent="b", ttl_ms=DAY)).deadline == START + HOUR


async def test_a_replay_is_recognised_by_what_was_asked_not_by_what_was_got(play: Player) -> None:
    """A child whose deadline was cut to the parent's can be opened again with the same words."""
    await play.open("a", ttl_ms=HOUR)
    first = await play.open("b", parent="a", ttl_ms=DAY)
    await play.rig.advance(SECOND)
    assert done(await play.try_open("b", parent="a", ttl_ms=DAY)).run == first


async def test_a_run_is_over_at_its_deadline(play: Player) -> None:
    """The last millisecond counts, the deadline itself does not: no child, no grant, no action."""
    await play.open("run", ttl_ms=HOUR)
    grant = await play.issue(ttl_ms=DAY)
    await play.rig.advance(HOUR - 1)
    done(await play.perform(grant, "in-time"))
    await play.rig.advance(1)
    details = refused(await play.perform(grant, "late"), ErrorReason.RUN_DEADLINE)
    assert (details["ended_run"], details["ended_ago_ms"]) == ("run", "0")
    for late in (
        play.try_open("b", parent="run"),
        play.try_issue(grant="g2"),
        play.try_open("run", ttl_ms=HOUR),
    ):
        refused(await late, ErrorReason.RUN_DEADLINE)
    assert (await play.read()).state is RunState.ACTIVE


async def test_the_deadline_of_a_run_above_ends_the_run(play: Player) -> None:
    """Even where records were written by hand, the path is asked from the root."""
    await play.open("a", ttl_ms=HOUR)
    await play.open("b", parent="a", ttl_ms=HOUR)
    grant = await play.issue("b")
    await play.rig.advance(HOUR + SECOND)
    details = refused(await play.perform(grant), ErrorReason.RUN_DEADLINE)
    assert (details["run"], details["ended_run"], details["ended_ago_ms"]) == ("b", "a", "1000")


async def test_finish_ends_a_run_with_its_actor_and_note(play: Player) -> None:
    """A finished run says who ended it and when; it was not cancelled."""
    await play.open()
    await play.rig.advance(SECOND)
    finished = done(await play.finish(actor="mailer", note="all sent"))
    run = await play.read()
    assert finished.run == run
    assert not finished.replayed
    assert (run.state, run.end_reason, run.end_actor) == (
        RunState.FINISHED,
        StopReason.RUN_FINISHED,
        "mailer",
    )
    assert (run.end_note, run.end_time, run.end_seq) == ("all sent", START + SECOND, 2)


async def test_finishing_again_changes_nothing(play: Player) -> None:
    """The first finish stands, with its words and its time."""
    await play.open()
    first = done(await play.finish(actor="mailer"))
    await play.rig.advance(SECOND)
    again = done(await play.finish(actor="somebody"))
    assert again.replayed
    assert again.run == first.run
    assert await play.kinds() == ["OPENED", "FINISHED"]


async def test_a_finished_run_gives_no_more_authority(play: Player) -> None:
    """After finish there is no commit, no grant, no child, no opening again."""
    grant = await play.ready()
    done(await play.prepare(grant))
    done(await play.finish(actor="mailer"))
    details = refused(await play.commit(grant), ErrorReason.RUN_FINISHED)
    assert (details["ended_run"], details["actor"], details["stop_reason"]) == (
        "run",
        "mailer",
        "RUN_FINISHED",
    )
    for late in (play.try_issue(grant="g2"), play.try_open("b", parent="run"), play.try_open()):
        refused(await late, ErrorReason.RUN_FINISHED)


async def test_a_finished_parent_ends_its_children(play: Player) -> None:
    """Finishing reaches down as cancelling does."""
    await play.open("a")
    await play.open("b", parent="a")
    grant = await play.issue("b")
    done(await play.finish("a"))
    assert refused(await play.perform(grant), ErrorReason.RUN_FINISHED)["ended_run"] == "a"


async def test_nobody_finishes_an_unknown_run(play: Player) -> None:
    """Finish leaves no tombstone."""
    assert refused(await play.finish("nobody"), ErrorReason.RUN_UNKNOWN) == {"run": "nobody"}
    assert await play.store.runs(["nobody"]) == [None]
    await play.open("nobody")


async def test_runs_are_listed_youngest_first_in_pages(play: Player) -> None:
    """Each page ends where the next begins; tombstones are not listed."""
    for run in ("a", "b", "c", "d"):
        await play.open(run)
        await play.cancel(f"tombstone-of-{run}")
    assert [run for _, run in await play.store.run_ids(0, 10)] == ["d", "c", "b", "a"]
    page = await play.store.run_ids(0, 3)
    assert [run for _, run in page] == ["d", "c", "b"]
    assert [run for _, run in await play.store.run_ids(page[-1][0], 3)] == ["a"]
    assert [(await play.read(run)).open_seq for _, run in page] == [seq for seq, _ in page]


async def test_runs_that_ended_are_listed_as_recent_for_a_while(play: Player) -> None:
    """However they ended; what they were permitted may still land. A run that nobody ended stays."""

    async def recent(before: int = 0, limit: int = 10) -> list[str]:
        now = (await play.store.standing()).now
        rows = await play.store.recent_run_ids(before, limit, now)
        assert rows == [row for row in await play.store.run_ids(before, 10) if row in rows]
        return [run for _, run in rows]

    for run in ("cancelled", "finished", "active", "spent"):
        await play.open(run, budgets=(Budget("usd", 1),))
    below = await play.open("below", parent="cancelled")
    await play.cancel("tombstone")
    await play.cancel("cancelled")
    done(await play.finish("finished"))
    grant = await play.issue("spent")
    refused(await play.spend(grant, 2), ErrorReason.BUDGET_EXHAUSTED)
    assert (await play.read("spent")).state is RunState.CANCELLED
    everything = ["below", "spent", "active", "finished", "cancelled"]
    for step in (0, RECENT_MS - 1):
        await play.rig.advance(step)
        assert await recent() == everything
        assert await recent(below.open_seq, 2) == ["spent", "active"]
    await play.rig.advance(1)
    for _ in range(2):
        assert await recent() == ["below", "active"]
        assert await recent(below.open_seq) == ["active"]


async def test_runs_are_read_in_the_order_asked_for(play: Player) -> None:
    """Unknown ones are None in their place; the same one may be asked for twice."""
    await play.open("a")
    await play.open("b")
    found = await play.store.runs(["b", "nobody", "a", "b"])
    assert [run and run.run_id for run in found] == ["b", None, "a", "b"]
    assert await play.store.runs([]) == []


async def test_a_new_store_is_empty(rig: Rig) -> None:
    """Nothing is there before somebody did something."""
    standing = await rig.store.standing()
    assert (standing.epoch, standing.last_seq, standing.now) == (EPOCH, 0, START)
    assert await rig.store.run_ids(0, 10) == []
    assert await rig.store.journal("run", 0, 10) == []
