"""A crash at any step on the key directory leaves one that a start can load."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grant_service.tokens.keys import load_or_create, rotate
from grant_service.tokens.private_dir import KeysUnfit

PROGRAM = Path(__file__).with_name("key_crashes.py")


def crashes(verb: str, directory: Path, *more: str) -> list[Any]:
    """What a start finds after a kill at each step."""
    command = [sys.executable, str(PROGRAM), verb, str(directory), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    findings: list[Any] = json.loads(done.stdout)
    return findings


def test_a_crash_in_a_first_start_leaves_a_first_start_or_a_key(tmp_path: Path) -> None:
    """At every step; then one key signs, and a rotation works."""
    findings = crashes("load_or_create", tmp_path / "keys")
    assert len(findings) > 10
    assert {json.dumps(finding) for finding in findings} == {"[1, false]"}


def test_a_crash_in_a_rotation_loses_no_key(tmp_path: Path) -> None:
    """The old key signs alone, then with a new one beside it, then the new one: no other state is seen."""
    findings = crashes("rotate", tmp_path / "keys")
    stages = [
        finding for finding, before in zip(findings, [None, *findings], strict=False) if finding != before
    ]
    assert stages == [[1, False], [2, False], [2, True]]


@pytest.mark.parametrize("verb", ["load_or_create", "rotate"])
def test_files_written_in_place_would_be_found_broken(tmp_path: Path, verb: str) -> None:
    """Control: without the renaming, some step leaves a directory that cannot be loaded."""
    findings = crashes(verb, tmp_path / "keys", "careless")
    assert any("must hold" in str(finding) or "must name" in str(finding) for finding in findings)


def test_what_a_crash_left_unfinished_is_written_over(tmp_path: Path) -> None:
    """Also a link that somebody put there: nothing is written through it."""
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / ".unfinished").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("precious")
    rotate(tmp_path / "keys")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not os.path.lexists(tmp_path / "keys" / ".unfinished")


def test_nothing_is_written_through_what_appears_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or link put where the unfinished file goes, just after that place was cleared, is refused."""
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / ".unfinished").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("precious")
    monkeypatch.setattr(os, "unlink", lambda *_, **__: None)
    with pytest.raises(KeysUnfit, match="File exists"):
        rotate(tmp_path / "keys")
    assert (tmp_path / "victim").read_text() == "precious"


def test_content_is_on_disk_before_its_name_and_the_name_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut needs beyond what a kill does: file synced, renamed, directory synced, each time."""
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def watched_sync(fd: int) -> None:
        steps.append("sync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file")
        sync(fd)

    def watched_rename(source: str, target: str, **fds: int) -> None:
        steps.append("rename")
        rename(source, target, **fds)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "rename", watched_rename)
    load_or_create(tmp_path / "keys")
    rotate(tmp_path / "keys")
    assert steps == ["sync file", "rename", "sync directory"] * 7
