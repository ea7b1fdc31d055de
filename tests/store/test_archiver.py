"""The archiver: what is over goes, what is needed stays, and a report does not notice."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from grant_service.archive.archiver import Archiver
from grant_service.archive.blocks import Block
from grant_service.archive.files import ArchiveFiles
from grant_service.archive.reading import reading
from grant_service.core.budget import Budget
from grant_service.core.compile import compile_report
from grant_service.core.errors import ErrorReason, Refusal, Refused, StoreFailed
from grant_service.core.grant import GrantRef
from grant_service.core.journal import Kind
from grant_service.core.report import Report
from grant_service.core.scope import Reversibility
from grant_service.core.verbs import Open, Perform, Release
from grant_service.core.why import Why, why
from tests.archive.support import SEALS
from tests.store.player import DAY, HOUR, SECOND, Player, done, intent, refused
from tests.store.rigs import Rig

AFTER = 2 * HOUR


class Archive:
    """A player, an archiver at hand, and the store as reports see it."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig, self.play, self.files = rig, Player(rig), ArchiveFiles(directory, SEALS.doubt)
        self.archiver = Archiver(rig.store, self.files, SEALS.block, AFTER, 0)
        self.reading = reading(rig.store, self.files)

    async def report(self, run: str = "run") -> Report:
        """Tell a run's report."""
        report = await compile_report(self.reading, run)
        assert isinstance(report, Report)
        return report


@pytest.fixture
def archive(rig: Rig, tmp_path: Path) -> Archive:
    """An empty store and an empty archive."""
    return Archive(rig, tmp_path / "archive")


async def perform_mail(play: Player, grant: GrantRef) -> None:
    """Do what can be undone for twelve hours."""
    mail = intent("mail", reversibility=Reversibility.COMPENSABLE, compensation="email.unsend")
    command = Perform(grant, "tool", mail, 5 * SECOND, 1000, HOUR, 12 * HOUR)
    done(await play.store.perform(command))
    done(await play.settle(grant, "mail"))


async def story(play: Player) -> GrantRef:
    """A run with a run below it, and something of every kind in both; then it is stopped."""
    grant = await play.ready()
    await play.open("child", parent="run")
    below = await play.issue("child", grant="below")
    await play.permit(grant, "done")
    done(await play.settle(grant, "done", receipt="<1@example.com>"))
    done(await play.prepare(grant, "prepared"))
    await play.permit(below, "unknown")
    await play.cancel()
    refused(await play.prepare(grant, "late"), ErrorReason.REVOKED)
    return grant


def told(report: Report) -> object:
    """A report but for the moment at which it was told."""
    return report.actions, report.late_attempts, report.descendants, report.gaps, report.cut_seq, report.run


async def test_a_report_is_the_same_from_the_archive(archive: Archive) -> None:
    """Every action, attempt and run of it."""
    await story(archive.play)
    await archive.play.rig.advance(AFTER)
    before = await archive.report()
    assert await archive.archiver.look() == 2
    assert await archive.play.store.journal("run", 0, 10) == []
    assert told(await archive.report()) == told(before)
    assert (await archive.report()).gaps == ()


async def test_without_the_archive_a_report_says_what_is_missing(archive: Archive) -> None:
    """The negative control: it is the archive that the report is told from."""
    await story(archive.play)
    await archive.play.rig.advance(AFTER)
    await archive.archiver.look()
    bare = await compile_report(archive.play.store, "run")
    assert isinstance(bare, Report)
    assert bare.actions == ()
    assert bare.gaps


@pytest.mark.parametrize("wait", [0, AFTER - 1])
async def test_what_ended_lately_stays(archive: Archive, wait: int) -> None:
    """Nothing of a recently cancelled run is trimmed."""
    await story(archive.play)
    await archive.play.rig.advance(wait)
    assert await archive.archiver.look() == 0
    assert len(await archive.play.store.journal("run", 0, 100)) > 5


async def test_what_is_alive_stays(archive: Archive) -> None:
    """However old it is."""
    await archive.play.ready()
    await archive.play.rig.advance(DAY - 1)
    assert await archive.archiver.look() == 0


async def test_finished_runs_go_and_so_do_those_whose_deadline_passed(archive: Archive) -> None:
    """A run nobody ended ends by its deadline."""
    await archive.play.open("finished")
    done(await archive.play.finish("finished"))
    await archive.play.open("forgotten", ttl_ms=HOUR)
    await archive.play.rig.advance(HOUR + AFTER)
    assert await archive.archiver.look() == 2


async def test_what_can_still_be_undone_stays_until_it_cannot(archive: Archive) -> None:
    """Letting go of a run would let go of the right to clean up after it."""
    play = archive.play
    grant = await play.ready()
    await perform_mail(play, grant)
    await play.cancel()
    await play.rig.advance(AFTER)
    assert await archive.archiver.look() == 0
    await play.rig.advance(10 * HOUR)
    assert await archive.archiver.look() == 1


async def test_a_late_word_stays_the_run(archive: Archive) -> None:
    """What came in after the files were written must not be lost with the journal."""
    await story(archive.play)
    await archive.play.rig.advance(AFTER)
    entries = await archive.play.store.journal("run", 0, 1000)
    stale = Release("run", entries[-2].seq, ("grant",))
    assert not await archive.play.store.release(stale)
    assert await archive.play.store.journal("run", 0, 1000) == entries


async def test_a_run_that_goes_on_is_not_let_go(archive: Archive) -> None:
    """Whatever the archiver thinks."""
    await archive.play.ready()
    (entry, *_, last) = await archive.play.store.journal("run", 0, 1000)
    assert not await archive.play.store.release(Release("run", last.seq))
    assert entry.run_id == "run"


async def test_what_was_archived_can_never_act_or_be_opened_again(archive: Archive) -> None:
    """P1 and P5 hold for it for ever."""
    play = archive.play
    grant = await story(play)
    await play.rig.advance(AFTER)
    await archive.archiver.look()
    refused(await play.commit(grant, "prepared"), ErrorReason.GRANT_UNKNOWN)
    refused(await play.try_open("run"), ErrorReason.REVOKED)
    refused(await play.try_open("new", parent="run"), ErrorReason.REVOKED)
    cancelled = await play.cancel()
    assert cancelled.replayed
    assert cancelled.known


async def test_it_is_off_the_list(archive: Archive) -> None:
    """The list of runs is of those the store has."""
    await story(archive.play)
    await archive.play.open("other")
    await archive.play.rig.advance(AFTER)
    await archive.archiver.look()
    assert [run_id for _, run_id in await archive.play.store.run_ids(0, 10)] == ["other"]
    assert [run_id for _, run_id in await archive.play.store.oldest_run_ids(0, 10)] == ["other"]


async def test_a_tree_goes_whole_or_not_at_all(archive: Archive) -> None:
    """A report of the root must not be told half from here and half from nowhere."""
    play = archive.play
    await play.ready()
    await play.open("child", parent="run")
    below = await play.issue("child", grant="below")
    await perform_mail(play, below)
    await play.cancel()
    await play.rig.advance(AFTER)
    assert await archive.archiver.look() == 0


async def test_many_runs_are_looked_through_in_turn(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The young ones do not hide behind the old ones that stay."""
    monkeypatch.setattr("grant_service.archive.archiver._PASS", 3)
    for number in range(7):
        await archive.play.open(f"old{number}")
    await archive.play.open("over")
    done(await archive.play.finish("over"))
    await archive.play.rig.advance(AFTER + SECOND)
    assert [await archive.archiver.look() for _ in range(4)] == [0, 0, 1, 0]


async def test_a_run_cancelled_only_after_it_was_archived_keeps_its_story(archive: Archive) -> None:
    """It had ended by its deadline; the late cancel adds its line and hides nothing."""
    play = archive.play
    await play.open(ttl_ms=HOUR)
    grant = await play.issue()
    await play.permit(grant, "done")
    done(await play.settle(grant, "done", receipt="<1@example.com>"))
    await play.rig.advance(HOUR + AFTER)
    before = await archive.report()
    assert await archive.archiver.look() == 1
    await play.cancel()
    report = await archive.report()
    assert report.actions == before.actions
    assert report.run.end_seq > before.last_seq
    assert report.last_seq == report.run.end_seq
    assert report.gaps == ()


async def why_of(archive: Archive) -> list[Why]:
    """Why each action of the story is refused; since when changes with the time."""
    asked = [("run", "done"), ("run", "prepared"), ("run", "late"), ("child", "unknown")]
    found = []
    for run_id, op_id in asked:
        try:
            told = await why(archive.reading, run_id, "", op_id)
        except Refused as unknown:
            found.append(Why(unknown.refusal, None, 0))
            continue
        assert told.refusal is not None
        details = {name: value for name, value in told.refusal.details.items() if name != "ended_ago_ms"}
        found.append(replace(told, refusal=Refusal(told.refusal.reason, details), now=0))
    return found


async def test_why_an_action_is_refused_is_told_from_the_archive(archive: Archive) -> None:
    """The rule, whether it had a permit, and its story with what killed it, as before."""
    play = archive.play
    grant = await play.ready(budgets=(Budget("usd", 1),))
    below = await play.delegate(grant, "below", child=Open("child", HOUR, DAY))
    await play.permit(grant, "done")
    done(await play.settle(grant, "done"))
    done(await play.prepare(grant, "prepared"))
    await play.permit(below, "unknown")
    done(await play.spend(grant, 1))
    refused(await play.spend(grant, 1, op="more"), ErrorReason.BUDGET_EXHAUSTED)
    done(await play.revoke("run=run"))
    await play.cancel()
    refused(await play.prepare(grant, "late"), ErrorReason.REVOKED)
    await play.rig.advance(AFTER)
    before = await why_of(archive)
    assert await archive.archiver.look() == 2
    assert await play.store.actions([("run", "done")]) == [None]
    assert await why_of(archive) == before
    kinds = [entry.kind for entry in before[3].story]
    assert kinds[-3:] == [Kind.EXHAUSTED, Kind.REVOKED, Kind.CANCELLED]
    assert [one.refusal.reason for one in before if one.refusal] == [
        ErrorReason.REVOKED,
        ErrorReason.REVOKED,
        ErrorReason.ACTION_UNKNOWN,
        ErrorReason.REVOKED,
    ]


async def late_cancel(archive: Archive) -> Report:
    """Archive a run that ended by its deadline, and cancel it only then; answer its report from before."""
    play = archive.play
    await play.open(ttl_ms=HOUR)
    grant = await play.issue()
    await play.permit(grant, "done")
    done(await play.settle(grant, "done"))
    await play.rig.advance(HOUR + AFTER)
    before = await archive.report()
    assert await archive.archiver.look()
    await play.cancel()
    return before


async def test_a_late_end_does_not_put_a_run_back_on_the_list(archive: Archive) -> None:
    """Nothing of it is there to be listed, whichever store it is."""
    await archive.play.open("forgotten", ttl_ms=HOUR)
    await late_cancel(archive)
    done(await archive.play.finish("forgotten"))
    store = archive.play.store
    now = (await store.standing()).now
    assert await store.run_ids(0, 10) == []
    assert await store.oldest_run_ids(0, 10) == []
    assert await store.recent_run_ids(0, 10, now) == []


async def test_what_comes_late_is_archived_too_when_it_is_as_old(archive: Archive) -> None:
    """The line moves behind the others; the store is left with the end alone."""
    before = await late_cancel(archive)
    report = await archive.report()
    await archive.play.rig.advance(AFTER - 1)
    assert await archive.archiver.look() == 0
    assert await archive.play.store.journal("run", 0, 10)
    await archive.play.rig.advance(1)
    assert await archive.archiver.look() == 1
    assert await archive.play.store.journal("run", 0, 10) == []
    after = await archive.report()
    assert after.actions == before.actions
    assert (after.run, after.last_seq, after.gaps) == (report.run, report.last_seq, ())
    assert [head.hash for head in after.heads] == [head.hash for head in report.heads]
    assert await archive.archiver.look() == 0
    assert (await archive.play.cancel()).replayed


async def test_all_that_was_archived_is_looked_through_in_turn(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is, what came late is found."""
    for name in ("a", "b", "c", "d", "e"):
        await archive.play.open(name, ttl_ms=HOUR)
    await archive.play.rig.advance(HOUR + AFTER)
    assert await archive.archiver.look() == 5
    await archive.play.cancel("c")
    await archive.play.cancel("e")
    await archive.play.rig.advance(AFTER)
    monkeypatch.setattr("grant_service.archive.archiver._PASS", 2)
    assert [await archive.archiver.look() for _ in range(4)] == [0, 1, 1, 0]


async def test_a_grant_of_the_same_name_outlives_what_is_archived_late(archive: Archive) -> None:
    """Its id is free once the run is gone, and may be another run's when the late line goes."""
    await late_cancel(archive)
    await archive.play.rig.advance(AFTER)
    grant = await archive.play.ready("other")
    assert await archive.archiver.look() == 1
    done(await archive.play.prepare(grant))


async def test_a_run_that_is_not_believed_holds_up_no_other(archive: Archive) -> None:
    """Its late line stays; the log says why."""
    await late_cancel(archive)
    await archive.play.open("forgotten", ttl_ms=HOUR)
    await archive.play.rig.advance(HOUR + AFTER)
    (path,) = archive.files._directory.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"<1@", b"<2@").replace(b'"op":"done"', b'"op":"gone"'))
    with capture_logs() as logged:
        assert await archive.archiver.look() == 1
    assert [one["run"] for one in logged if one["log_level"] == "error"] == ["run"]
    assert await archive.play.store.journal("run", 0, 10)
    assert await archive.play.store.journal("forgotten", 0, 10) == []


async def test_a_damaged_file_does_not_concern_runs_that_are_there(archive: Archive) -> None:
    """Only of what the store does not have nobody knows whether it was in that file."""
    await archive.play.ready()
    (archive.files._directory / "000000000000001-a.jsonl").write_text("nothing")
    for after in (0, 1, 2, 9):
        entries = await archive.reading.journal("run", after, 10)
        assert [one.seq for one in entries] == [seq for seq in (1, 2) if seq > after]
    assert (await archive.report()).gaps == ()
    with pytest.raises(StoreFailed):
        await archive.reading.journal("gone", 0, 10)
    with pytest.raises(StoreFailed):
        await archive.reading.runs(["gone"])


def names(archive: Archive) -> list[str]:
    """The archive's files."""
    return sorted(path.name for path in archive.files._directory.glob("*.jsonl"))


async def test_what_is_written_already_is_not_written_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may refuse to let go for long, on a full disk: the files must not fill another."""
    await story(archive.play)
    await archive.play.rig.advance(AFTER)

    async def refuse(_: Release) -> bool:
        raise RuntimeError("full")

    with monkeypatch.context() as full:
        full.setattr(archive.play.store, "release", refuse)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await archive.archiver.look()
    (name,) = names(archive)
    assert await archive.archiver.look() == 2
    assert names(archive) == [name]
    assert await archive.play.store.journal("run", 0, 10) == []


async def test_a_run_that_was_written_to_since_is_written_again(archive: Archive) -> None:
    """The control: what is there already is told by its last entry."""
    grant = await story(archive.play)
    await archive.play.rig.advance(AFTER)
    standing = await archive.play.store.standing()
    blocks = await archive.archiver._tree((await archive.play.store.runs(["run"]))[0], standing)
    archive.files.write(blocks, standing.now)
    refused(await archive.play.prepare(grant, "later"), ErrorReason.REVOKED)
    before = await archive.report()
    assert await archive.archiver.look() == 2
    assert len(names(archive)) == 2
    assert told(await archive.report()) == told(before)


@pytest.mark.parametrize("late", ["run", "child", "grandchild"])
async def test_a_run_written_to_while_its_tree_goes_goes_next(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """It stays with its late word, and is archived at the next look, whatever of the tree has gone."""
    play = archive.play
    grants = {"run": await play.ready()}
    for run_id, parent in (("child", "run"), ("grandchild", "child")):
        await play.open(run_id, parent=parent)
        grants[run_id] = await play.issue(run_id, grant=f"of-{run_id}")
    await play.cancel()
    await play.rig.advance(AFTER)
    release = play.store.release

    async def after_a_late_word(command: Release) -> bool:
        if command.run_id == late:
            refused(await play.prepare(grants[late], "late"), ErrorReason.REVOKED)
        return await release(command)

    with monkeypatch.context() as busy:
        busy.setattr(play.store, "release", after_a_late_word)
        assert await archive.archiver.look() == 3
    assert len(await play.store.journal(late, 0, 100)) > 1
    before = await archive.report()
    assert [one.run_id for one in before.late_attempts] == [late]
    assert await archive.archiver.look() == 1
    assert await play.store.journal(late, 0, 100) == []
    assert told(await archive.report()) == told(before)
    assert await archive.archiver.look() == 0


async def test_whoever_stops_the_archiver_waits_for_its_thread(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It uses the index, which is closed next."""
    await story(archive.play)
    await archive.play.rig.advance(AFTER)
    begun, go_on, write = threading.Event(), threading.Event(), archive.files.write

    def slow(blocks: list[Block], time: int) -> str:
        begun.set()
        assert go_on.wait(10)
        return write(blocks, time)

    monkeypatch.setattr(archive.files, "write", slow)
    work = asyncio.create_task(archive.archiver.work())
    await asyncio.to_thread(begun.wait, 10)
    work.cancel()
    await asyncio.sleep(0.05)
    assert not work.done()
    go_on.set()
    await asyncio.wait([work])
    archive.files.close()
    assert len(names(archive)) == 1
