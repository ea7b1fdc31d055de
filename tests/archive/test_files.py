"""Archive files: whole or not there, found again, and never believed when damaged."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from grant_service.archive.blocks import Block
from grant_service.archive.files import ArchiveFiles
from grant_service.core.errors import ErrorReason, StoreFailed
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run, RunState
from tests.archive.support import SEALS, STANDING, archive_files


def block(run_id: str, count: int = 3, note: str = "") -> Block:
    """A run that was cancelled."""
    run = Run(run_id, subject="u-7", state=RunState.CANCELLED, epoch="e", open_seq=1, end_seq=9)
    entries = tuple(
        Entry(seq, 1000 + seq, run_id, Kind.OPENED, {"note": note}) for seq in range(1, count + 1)
    )
    return SEALS.block(run, entries, STANDING)


@pytest.fixture
def files(tmp_path: Path) -> ArchiveFiles:
    """An empty archive."""
    return archive_files(tmp_path)


def only_file(tmp_path: Path) -> Path:
    """The one archive file."""
    (path,) = (tmp_path / "archive").glob("*.jsonl")
    return path


def test_a_run_comes_back_as_it_was(files: ArchiveFiles) -> None:
    """The record, every entry, and the head."""
    told = [block("a"), block("b", note='a "quote", a \u2028 line\nand an ümlaut'), block("c", count=0)]
    files.write(told, 5)
    assert [files.read(one) for one in "abc"] == told
    assert files.read("d") is None


def test_the_newest_block_of_a_run_counts(files: ArchiveFiles) -> None:
    """A crash between writing and letting go makes a run be written twice."""
    files.write([block("a", 2)], 5)
    files.write([block("a", 3)], 6)
    assert files.read("a") == block("a", 3)


def test_the_index_is_made_again(files: ArchiveFiles, tmp_path: Path) -> None:
    """It holds nothing that the files do not."""
    told = [block("a"), block("b", 0), block("c", 7)]
    files.write(told, 5)
    files.close()
    (tmp_path / "archive" / "index.db").unlink()
    again = archive_files(tmp_path)
    assert [again.read(one.run.run_id) for one in told] == told


def test_files_may_be_put_there_and_taken_away(files: ArchiveFiles, tmp_path: Path) -> None:
    """Two sidecars may share a directory, and an operator may move files to a colder place."""
    files.write([block("a")], 5)
    other = archive_files(tmp_path)
    path = only_file(tmp_path)
    other.write([block("b")], 6)
    files.look_for_files()
    assert files.read("b") == block("b")
    path.unlink()
    files.look_for_files()
    assert (files.read("a"), files.read("b")) == (None, block("b"))


def test_what_another_one_archives_is_found_at_once(files: ArchiveFiles, tmp_path: Path) -> None:
    """Sidecars that share a directory need not be started again. The index may be of each its own."""
    (tmp_path / "elsewhere").mkdir()
    other = archive_files(tmp_path / "elsewhere")
    assert files.read("a") is None
    name = other.write([block("a")], 5)
    (tmp_path / "elsewhere" / "archive" / name).rename(tmp_path / "archive" / name)
    assert files.read("a") == block("a")
    (tmp_path / "archive" / name).unlink()
    assert files.read("a") is None


def test_a_directory_that_has_not_changed_is_not_read_again(
    files: ArchiveFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for runs nobody knows must not make it read the directory each time."""
    long_ago = 1_000_000_000
    os.utime(tmp_path / "archive", (long_ago, long_ago))
    files.look_for_files()
    looked: list[None] = []
    monkeypatch.setattr(files, "look_for_files", lambda: looked.append(None))
    assert files.read("a") is None
    assert not looked
    os.utime(tmp_path / "archive", (long_ago, long_ago + 1))
    assert files.read("a") is None
    assert looked


def test_a_file_that_is_still_being_copied_is_refused_and_then_believed(
    files: ArchiveFiles, tmp_path: Path
) -> None:
    """Until it is whole nobody knows what it holds, so what is asked for may be in it."""
    name = files.write([block("a")], 5)
    path = tmp_path / "archive" / name
    whole = path.read_bytes()
    path.unlink()
    assert files.read("a") is None
    path.write_bytes(whole[:100])
    files.write([block("b")], 6)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            files.read("a")
    assert files.read("b") == block("b")
    path.write_bytes(whole)
    assert files.read("a") == block("a")


def test_an_older_file_that_is_put_back_does_not_hide_a_newer_one(
    files: ArchiveFiles, tmp_path: Path
) -> None:
    """Of the blocks of a run the one that goes furthest counts, and the other is there without it."""
    old = files.write([block("a", 2)], 5)
    path = tmp_path / "archive" / old
    aside = path.rename(tmp_path / old)
    new = files.write([block("a", 3)], 6)
    aside.rename(path)
    files.look_for_files()
    assert files.read("a") == block("a", 3)
    (tmp_path / "archive" / new).unlink()
    assert files.read("a") == block("a", 2)


def test_an_unfinished_file_is_nothing(files: ArchiveFiles, tmp_path: Path) -> None:
    """What a crash left half-written is removed: the store still has it all."""
    files.close()
    left = tmp_path / "archive" / "000000000000005-abcd.jsonl.new-1"
    left.write_text('{"countermand":"archive/2","time":5}\n')
    os.utime(left, (0, 0))
    assert archive_files(tmp_path).read("a") is None
    assert not left.exists()


def test_an_unfinished_file_of_another_sidecar_is_left_alone(files: ArchiveFiles, tmp_path: Path) -> None:
    """It may be at work on it this very moment."""
    other = tmp_path / "archive" / "000000000000005-abcd.jsonl.new-1"
    other.write_text('{"countermand":"archive/2","time":5}\n')
    files.close()
    archive_files(tmp_path)
    assert other.exists()


def test_an_index_of_an_earlier_version_is_made_again(files: ArchiveFiles, tmp_path: Path) -> None:
    """It can always be."""
    files.write([block("a")], 5)
    files.close()
    index = sqlite3.connect(tmp_path / "archive" / "index.db")
    index.executescript(
        "DROP TABLE runs; CREATE TABLE runs (run_id TEXT PRIMARY KEY); PRAGMA user_version = 0"
    )
    index.close()
    assert archive_files(tmp_path).read("a") == block("a")


@pytest.mark.parametrize("place", [10, 200, 400, -20])
def test_a_damaged_file_is_not_believed(files: ArchiveFiles, tmp_path: Path, place: int) -> None:
    """One byte is enough, wherever it is."""
    files.write([block("a"), block("b")], 5)
    files.close()
    (tmp_path / "archive" / "index.db").unlink()
    path = only_file(tmp_path)
    text = bytearray(path.read_bytes())
    text[place] ^= 1
    path.write_bytes(bytes(text))
    with pytest.raises(StoreFailed) as failed:
        archive_files(tmp_path)
    assert failed.value.refusal.reason is ErrorReason.STORE_UNFIT
    assert path.name in failed.value.refusal.details["cause"]


def test_a_cut_off_file_is_not_believed(files: ArchiveFiles, tmp_path: Path) -> None:
    """Nor is one with more behind its end."""
    files.write([block("a"), block("b")], 5)
    files.close()
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for changed in (whole[: len(whole) // 2], whole[: whole.rindex(b'{"sha256"')], whole + b"{}\n"):
        (tmp_path / "archive" / "index.db").unlink()
        path.write_bytes(changed)
        with pytest.raises(StoreFailed):
            archive_files(tmp_path)


def test_a_block_that_was_cut_after_it_was_indexed_is_not_believed(
    files: ArchiveFiles, tmp_path: Path
) -> None:
    """The index does not hide what became of the file since."""
    files.write([block("a", 5)], 5)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for changed in (b"".join([*lines[:2], *lines[3:]]), whole.replace(b"1002", b"1003"), whole[:100]):
        path.write_bytes(changed)
        with pytest.raises(StoreFailed):
            files.read("a")


def test_nobody_else_can_read_it(files: ArchiveFiles, tmp_path: Path) -> None:
    """It holds what agents did for people."""
    files.write([block("a")], 5)
    directory = tmp_path / "archive"
    assert directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.iterdir())


def test_old_files_go(files: ArchiveFiles, tmp_path: Path) -> None:
    """By the time they were written."""
    old = files.write([block("a")], 5)
    files.write([block("b")], 50)
    assert files.remove_older(50) == [old]
    assert (files.read("a"), files.read("b")) == (None, block("b"))
    assert [path.name for path in (tmp_path / "archive").glob("*.jsonl")] != [old]


def test_every_line_is_json(files: ArchiveFiles, tmp_path: Path) -> None:
    """With the tools everybody has."""
    files.write([block("a")], 5)
    told = [json.loads(line) for line in only_file(tmp_path).read_text().splitlines()]
    assert told[0] == {"countermand": "archive/2", "time": 5}
    assert told[1]["run"] == "a"
    assert set(told[-1]) == {"sha256"}
