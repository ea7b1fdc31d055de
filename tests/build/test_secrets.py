"""Nothing secret and nothing of one machine is published."""

import subprocess
from pathlib import Path

import pytest

from tests.build.support import script, write

# Written in pieces, so that this file is not a finding itself.
PLANTED = {
    "a private key": "-----BEGIN " + "PRIVATE KEY-----",
    "an old private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a JSON Web Token": "token = 'eyJhbGciOiJFZERTQSJ9" + ".eyJzdWIiOiJ1LTcifQ.c2ln'",
    "a home folder": "see /home" + "/jo/notes",
    "root's folder": "cd /root" + "/x",
    "a package index": "https://" + "pypi" + ".org/simple",
    "an index option": "--extra-index" + "-url https://mirror.example",
}


def checkout(folder: Path, name: str, text: str) -> Path:
    """A git checkout with one new file."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    write(folder, name, text)
    return folder


def test_this_tree_holds_no_secret() -> None:
    """Every file that git would publish passes."""
    assert script("check_secrets.py").stderr == ""


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_a_planted_secret_is_named_but_not_repeated(tmp_path: Path, text: str) -> None:
    """The finding says where; it does not carry the secret into a build log."""
    done = script("check_secrets.py", checkout(tmp_path, "a.txt", f"\n{text}\n"))
    assert done.returncode == 1
    assert done.stderr.startswith("check_secrets: a.txt:2: ")
    assert text not in done.stderr


def test_a_key_file_is_refused_by_its_name(tmp_path: Path) -> None:
    """A key in a binary form has no text to find."""
    assert script("check_secrets.py", checkout(tmp_path, "signing.key", "")).returncode == 1


def test_ignored_files_are_not_looked_at(tmp_path: Path) -> None:
    """What git does not publish is nobody's business."""
    write(checkout(tmp_path, ".gitignore", "*.txt\n"), "a.txt", PLANTED["a private key"])
    assert script("check_secrets.py", tmp_path).returncode == 0
