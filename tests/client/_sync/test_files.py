# Derived from tests/client/_async/test_files.py by scripts/unasync.py. Do not edit.
"""Files: whole, under a permit, or not at all."""

import os
from pathlib import Path

import pytest

import countermand.sync as countermand
from countermand._files import Staged
from countermand.testing import ManualClock, Sidecar


def test_a_file_is_there_and_on_record(real: Sidecar, tmp_path: Path) -> None:
    """Its resource is where it is, its receipt is what it holds."""
    there = tmp_path / "a report.txt"
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=[f"file.write file:{tmp_path.resolve()}/*"]):
            receipt = countermand.write_file(there, "hello")
            assert (there.read_text(), there.stat().st_mode & 0o777) == ("hello", 0o600)
            there.chmod(0o640)
            with countermand.staged_file(there) as file:
                file.write(b"by ")
                assert there.read_text() == "hello"
                file.write(b"and by")
        first, second = (run.report()).done

    assert (there.read_text(), there.stat().st_mode & 0o777) == ("by and by", 0o640)
    assert first.resource == second.resource == f"file:{tmp_path.resolve()}/a%20report.txt"
    assert (first.action, first.receipt) == ("file.write", receipt)
    assert receipt.startswith("sha256:2cf24d")
    assert os.listdir(tmp_path) == ["a report.txt"]


def test_a_refused_file_leaves_no_trace(real: Sidecar, tmp_path: Path) -> None:
    """Of a cancel that came while it was written, of another place, of no grant, of an exception."""
    there = tmp_path / "here" / "a"
    there.parent.mkdir()
    there.write_text("old")
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with pytest.raises(countermand.NoGrant):
            countermand.write_file(there, "new")
        with run.grant(scopes=[f"file.write file:{tmp_path.resolve()}/here/*"]):
            with pytest.raises(countermand.OutOfScope):
                countermand.write_file(tmp_path / "here/../elsewhere", "new")
            with pytest.raises(KeyError):
                with countermand.staged_file(there) as file:
                    file.write(b"new")
                    raise KeyError
            with pytest.raises(countermand.Revoked):
                with countermand.staged_file(there) as file:
                    file.write(b"new")
                    run.cancel()
        report = cm.auditor.report(run.run_id)

    assert (report.done, report.unknown, len(report.late_attempts)) == ((), (), 1)
    assert there.read_text() == "old"
    assert os.listdir(tmp_path) == ["here"]
    assert os.listdir(there.parent) == ["a"]


def test_only_a_plain_file_is_replaced(real: Sidecar, tmp_path: Path) -> None:
    """A link is neither followed nor replaced; a link to a folder counts as where it leads."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("secret")
    (tmp_path / "way").symlink_to("folder")
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            for name in ("link", "folder", "way", "folder/.."):
                with pytest.raises(countermand.InvalidRequest):
                    countermand.write_file(tmp_path / name, "new")
            with pytest.raises(countermand.InvalidRequest):  # a resource has no second spelling
                countermand.write_file(tmp_path / "a\\b", "new")
            countermand.write_file(tmp_path / "way" / "a", "new")
        [done] = (run.report()).done

    assert done.resource == f"file:{tmp_path.resolve()}/folder/a"
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "way"]


def test_a_file_that_is_there_can_be_left_alone(real: Sidecar, tmp_path: Path) -> None:
    """Also if it came in between: that is decided on the disk, in one step."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            countermand.write_file(tmp_path / "a", "first", replace=False, mode=0o4755)
            with pytest.raises(FileExistsError):
                with countermand.staged_file(tmp_path / "b", replace=False):
                    (tmp_path / "b").write_text("somebody else's")
        report = run.report()

    assert (len(report.done), [one.note for one in report.not_done]) == (
        1,
        ["not put in place: FileExistsError"],
    )
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("first", "somebody else's")
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_what_is_written_too_late_is_refused(
    real: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a task that the block left behind: the permit is asked for what was there at its end."""
    complete = Staged.complete

    def and_more(staged: Staged, data: bytes) -> str:
        content = complete(staged, data)
        with pytest.raises(ValueError, match="closed"):
            staged.file.write(b", and more")
            staged.file.flush()
        return content

    monkeypatch.setattr(Staged, "complete", and_more)
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            countermand.write_file(tmp_path / "a", "agreed")

    assert (tmp_path / "a").read_text() == "agreed"


def test_what_the_disk_does_not_say_is_unknown(
    real: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and nobody knows whether a power cut would leave it there."""

    def broken(staged: Staged) -> None:
        raise OSError("no answer from the disk")

    monkeypatch.setattr(Staged, "sync_place", broken)
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(OSError, match="no answer"):
            countermand.write_file(tmp_path / "a", "new")
        [unknown] = (run.report()).unknown

    assert (tmp_path / "a").read_text() == "new"
    assert unknown.note.startswith("in its place, and a power cut may undo that")


def test_what_is_in_its_place_has_not_failed(
    real: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised right behind the rename."""
    put = Staged.put

    def interrupted(staged: Staged, replace: bool) -> None:
        put(staged, replace)
        raise InterruptedError

    monkeypatch.setattr(Staged, "put", interrupted)
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(InterruptedError):
            countermand.write_file(tmp_path / "a", "new")
        [unknown] = (run.report()).unknown

    assert ((tmp_path / "a").read_text(), unknown.note) == ("new", "left by InterruptedError")


def test_a_folder_that_is_swapped_while_it_is_named_is_refused(
    real: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permit would be for another folder than the one that is open."""
    (tmp_path / "in").mkdir()
    find = os.path.realpath

    def swapping(folder: str) -> str:
        (tmp_path / "in").rename(tmp_path / "moved")
        (tmp_path / "in").mkdir()
        return find(folder)

    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), monkeypatch.context() as patched:
            patched.setattr("countermand._files.os.path.realpath", swapping)
            with pytest.raises(countermand.InvalidRequest, match="stays where it is"):
                countermand.write_file(tmp_path / "in" / "a", "new")

    assert os.listdir(tmp_path / "in") == os.listdir(tmp_path / "moved") == []


def test_a_rename_that_failed_did_nothing(real: Sidecar, tmp_path: Path) -> None:
    """A folder has taken its place meanwhile."""
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(IsADirectoryError):
            with countermand.staged_file(tmp_path / "a"):
                (tmp_path / "a").mkdir()
        [failed] = (run.report()).not_done

    assert (failed.state, failed.note) == ("FAILED", "not put in place: IsADirectoryError")
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_was_swapped_takes_nothing(real: Sidecar, tmp_path: Path) -> None:
    """The file goes into the folder that was named in the resource, wherever that is by now."""
    (tmp_path / "in").mkdir()
    with countermand.connect(real.home) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]):
            with countermand.staged_file(tmp_path / "in" / "a") as file:
                file.write(b"new")
                (tmp_path / "in").rename(tmp_path / "moved")
                (tmp_path / "trap").mkdir()
                (tmp_path / "in").symlink_to("trap")

    assert os.listdir(tmp_path / "trap") == []
    assert (tmp_path / "moved" / "a").read_text() == "new"


def test_a_permit_that_lapsed_puts_nothing_in_place(
    real: Sidecar, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it lapsed between the answer and the rename."""
    enter = countermand.Performance.__enter__

    def slow(act: countermand.Performance) -> countermand.Performance:
        entered = enter(act)
        clock.advance("6s")
        return entered

    monkeypatch.setattr(countermand.Performance, "__enter__", slow)
    with countermand.connect(real.home, clock=clock.elapsed) as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(countermand.PermitLapsed):
            countermand.write_file(tmp_path / "a", "new")
        [failed] = (run.report()).not_done

    assert failed.note == "not put in place: PermitLapsed"
    assert os.listdir(tmp_path) == []
