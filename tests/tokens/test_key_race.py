"""Two first starts at once make one set of keys."""

import subprocess
import sys
from pathlib import Path

START = """
import fcntl, os, sys, time
from pathlib import Path
from grant_service.tokens import keys
from grant_service.tokens.private_dir import PrivateDir

directory, how, patience = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if how == "unlocked":
    fcntl.flock = lambda fd, operation: None
put = PrivateDir.put

def slow_put(self, name, content):
    # Hold the gap between "there is no key" and "here is one" open until the other process is in it, too,
    # or has shown by not coming that it cannot be.
    Path(f"{directory}.{os.getpid()}").touch()
    until = time.monotonic() + patience
    while len(list(directory.parent.glob("keys.*"))) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    PrivateDir.put = put
    put(self, name, content)

PrivateDir.put = slow_put
print("ready", flush=True)
sys.stdin.readline()
keyring = keys.load_or_create(directory)
print(keyring.signing.kid, *sorted(keyring.verifying), flush=True)
"""


def race(directory: Path, how: str, patience: float) -> list[tuple[int, str]]:
    """Let two processes start for the first time at once; how each ended, and the keys it found."""
    command = [sys.executable, "-c", START, str(directory), how, str(patience)]
    pipe = subprocess.PIPE
    starts = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    try:
        for start in starts:
            assert start.stdout is not None
            assert start.stdout.readline() == "ready\n"
        for start in starts:
            assert start.stdin is not None
            start.stdin.write("go\n")
            start.stdin.flush()
        found = [start.communicate(timeout=30)[0] for start in starts]
        return [(start.returncode, keys) for start, keys in zip(starts, found, strict=True)]
    finally:
        for start in starts:
            start.kill()


def agree(found: list[tuple[int, str]]) -> bool:
    """Whether both started, and with the same keys."""
    first, second = found
    return first == second and first[0] == 0


def test_two_first_starts_at_once_make_one_set_of_keys(tmp_path: Path) -> None:
    """One makes the key, the other waits and finds it; both sign and verify with the same."""
    assert agree(race(tmp_path / "keys", "locked", patience=0.3))
    assert len(list((tmp_path / "keys").glob("*.pem"))) == 1


def test_without_the_lock_they_would_not_agree(tmp_path: Path) -> None:
    """Control: the same two starts with the lock taken out are caught by the check above."""
    assert not agree(race(tmp_path / "keys", "unlocked", patience=10))
