"""Who hangs up stops all seven layers, here and on the other machine, and the report names each."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar

import pytest
from sqlalchemy import select

import countermand
from countermand import ActionState, ErrorReason
from tests.integrations.web.servers import answer, hang_up
from tests.integrations.web.unbound import without_boundary
from tests.queues.layers import job, rows
from tests.queues.layers.agent import MAIL
from tests.queues.layers.play import LAYERS, Play
from tests.queues.layers.world import World, world_of
from tests.queues.support.bench import Bench, kind_of, until

LEFT = "CLIENT_DISCONNECTED"
ENQUEUE, POST = "queue.enqueue", "http.post"
#: All mails and rows, each once; what the jobs do has their names.
WHOLE = {
    "mails": Counter(["mail-1", "mail-2", "mail-3", "mail-4", "sub-1", "sub-2", "job", "job-2"]),
    "rows": Counter(["books", "row", "job", "job-2"]),
}


class LayerChecks:
    """For one queue, with its worker."""

    bench: ClassVar[type[Bench]]
    #: Whether gateway and worker ask one sidecar, on SQLite, or each its own, on a Redis.
    sidecars: ClassVar[int] = 1

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
        """One for all three."""
        folder = tmp_path_factory.mktemp("store")
        with world_of(cls.bench, sidecars=cls.sidecars, folder=folder) as world:
            yield world

    async def test_who_hangs_up_stops_all_layers(self, world: World) -> None:
        """Nothing more is written, billed, mailed or enqueued, by nobody; and it is all on record."""
        play = Play("cut", model="chatty", second="lose")
        world.bench.worker.pause()
        try:
            await _hung_up_on(world, play)
            await until(lambda: world.why(play.run_id) == LEFT)
            _has_one_mail_in_flight(world, play)
            world.go_on(play)
            await until(lambda: play.over.is_set() and play.ran_away.is_set())
            assert play.at_work == set()
            await until(lambda: [one.closed.is_set() for one in world.streams(play)] == [True, True])
            before = world.landed(play)
        finally:
            world.bench.worker.resume()
        with pytest.raises(BaseException) as told:
            world.on_loop(world.bench.result(play.jobs[0]))
        assert (kind_of(told.value), LEFT in str(told.value)) == ("Revoked", True)
        refused = dict.fromkeys(("writer", "mailer", "enqueuer"), f"Revoked: {LEFT}")
        assert play.told == {"thread": f"Stopped: {LEFT}", **refused}
        await until(lambda: _is_fenced(world, play))

        assert world.landed(play) == before
        assert before["mails"] == Counter(["mail-1", "mail-2", "sub-1"])
        assert (before["rows"], before["jobs"]) == (Counter(), 1)
        _names_each(world, play)

    async def test_who_waits_gets_all_of_it_once(self, world: World) -> None:
        """The same request, to its end."""
        play = Play("whole", model="brief", second="ok")
        play.released.set()
        with world.ask(play) as line:
            status, body = answer(line)
        assert (status, b"[DONE]" in body) == (200, True)
        _all_landed_once(world, play)
        report = world.report(play.run_id)
        assert (report.late_attempts, report.unknown, report.interrupted, report.not_done) == ((), (), (), ())
        assert _what(play, report.done) == _done_in_full(play, world.bench)

    async def test_control_without_the_boundary_it_all_lands(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same gateway with plain runs goes on for nobody, on all layers: the first test can fail."""
        without_boundary(monkeypatch)
        play = Play("free", model="chatty", second="stall")
        world.bench.worker.pause()
        try:
            await _hung_up_on(world, play)
            most, looks = max(world.landed(play)["tokens"]), play.looks
            await until(lambda: min(world.landed(play)["tokens"]) > most + 50 and play.looks > looks + 5)
            world.go_on(play)
        finally:
            world.bench.worker.resume()
        monkeypatch.setattr(world.fake, "talks", 0)
        await until(lambda: world.why(play.run_id))
        _all_landed_once(world, play)


async def _hung_up_on(world: World, play: Play) -> None:
    """Ask, wait until everybody is in the middle of it, and leave."""
    line = world.ask(play)
    await until(lambda: play.at_work == LAYERS and play.jobs and play.looks > 3)
    await until(lambda: len(world.report(play.run_id).pending) == 3)
    await until(lambda: world.mails.of(play.name("mail-2")))
    await until(lambda: min(world.landed(play)["tokens"]) > 10)
    assert line.recv(65536)
    hang_up(line)


def _has_one_mail_in_flight(world: World, play: Play) -> None:
    """The second one: whether it is sent, nobody can tell yet."""
    at_cut = world.report(play.run_id)
    assert _what(play, at_cut.in_flight) == [(POST, "mail-2")]
    assert not at_cut.quiesced


def _names_each(world: World, play: Play) -> None:
    """The report has the whole tree, and all of it for one reason."""
    report = world.report(play.run_id)
    enqueued = (ENQUEUE, f"{world.bench.name}:")
    staged = {(rows.ACTION, "row"), (rows.ACTION, "books"), (MAIL, "sub-2")}

    assert report.descendant_run_ids == (play.child_id,)
    assert [world.why(one) for one in (play.run_id, play.child_id)] == [LEFT, LEFT]
    assert _what(play, report.done) == sorted([(POST, "mail-1"), (POST, "sub-1"), enqueued])
    [lost] = report.unknown
    assert (_what(play, [lost]), lost.settled_after_cut) == ([(POST, "mail-2")], True)
    # Those who listen may have let go of it before the sidecar took it from them.
    assert (rows.ACTION, "row") in _what(play, report.interrupted)
    assert {one.state for one in report.not_done} <= {ActionState.ABANDONED}
    assert _what(play, [*report.interrupted, *report.not_done]) == sorted(staged)
    assert (report.in_flight, report.pending, report.quiesced) == ((), (), True)

    late = report.late_attempts
    tried = [("commit", rows.ACTION), ("perform", POST), ("perform", job.ACTION), ("prepare", ENQUEUE)]
    assert sorted((one.verb, one.action) for one in late) == tried
    assert {one.reason for one in late} == {ErrorReason.REVOKED}


def _all_landed_once(world: World, play: Play) -> None:
    landed = world.landed(play)
    assert {kind: landed[kind] for kind in WHOLE} == WHOLE
    assert (landed["jobs"], play.told, play.at_work) == (2, {}, set())
    assert world.why(play.run_id) == "RUN_FINISHED"


def _done_in_full(play: Play, bench: Bench) -> list[tuple[str, str]]:
    """What is on record as done of a request that came to its end."""
    posted = [(POST, key) for key in WHOLE["mails"] if key != "sub-2"]
    written = [(rows.ACTION, key) for key in WHOLE["rows"]]
    carried_out = [(job.ACTION, key) for key in ("job", "job-2")]
    return sorted([*posted, (MAIL, "sub-2"), *written, *carried_out, *[(ENQUEUE, f"{bench.name}:")] * 2])


def _what(play: Play, actions: Iterable[countermand.ReportedAction]) -> list[tuple[str, str]]:
    """Tell actions by what they are and on what, without the play's name and the places."""
    return sorted((one.action, _short(play, one.resource)) for one in actions)


def _short(play: Play, resource: str) -> str:
    _, ours, name = resource.rpartition(play.name(""))
    return name if ours else f"{resource.partition(':')[0]}:"


def _is_fenced(world: World, play: Play) -> bool:
    """Whether the database knows of the stop, too."""
    with world.agent.engine.connect() as connection:
        return play.run_id in connection.scalars(
            select(rows.FENCES.table.c.run_id).where(rows.FENCES.table.c.fence > 0)
        )
