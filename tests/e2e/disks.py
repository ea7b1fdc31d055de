"""Small disks to fill: a real file system of a few megabytes below the data of a sidecar.

Root mounts one. Others mount one where only the sidecar sees it, in a user namespace of its own. And for
machines that allow neither there is a sidecar that counts pages: `python -m tests.e2e.disks` is that one, and
the one that mounts for itself.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.sidecar import SERVICE, SidecarProcess

#: Room for the reserve twice, which is when the sidecar makes one, and for the data.
SIZE = 32 * 1024 * 1024
_MOUNT = ("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "small")
_BALLAST, _LIMIT = "ballast", "pages-left"
_UNLIMITED = 4_294_967_294


@dataclass
class Disk:
    """A small disk under a sidecar that is not started yet."""

    sidecar: SidecarProcess
    fill: Callable[[int], None]
    free: Callable[[], None]


@contextmanager
def mounted() -> Iterator[Disk]:
    """Mount one below the sidecar's home."""
    sidecar = SidecarProcess()
    data = _data(sidecar)
    subprocess.run([*_MOUNT, data], check=True)
    try:
        yield Disk(sidecar, lambda left: _fill(data, left), lambda: _free(data))
    finally:
        if sidecar.running:
            sidecar.kill()
        subprocess.run(["umount", data], check=True)
        sidecar.close()


@contextmanager
def namespaced() -> Iterator[Disk]:
    """Let the sidecar mount one for itself; we reach it through the process."""
    sidecar = SidecarProcess(None, ("-m", "tests.e2e.disks", "mount"))
    data = _data(sidecar)

    def seen() -> Path:
        return Path(f"/proc/{sidecar.pid}/root{data}")

    try:
        yield Disk(sidecar, lambda left: _fill(seen(), left), lambda: _free(seen()))
    finally:
        sidecar.close()


@contextmanager
def pretended() -> Iterator[Disk]:
    """Start a sidecar whose file may not grow while it is told so: no real disk, but the same error."""
    sidecar = SidecarProcess(None, ("-m", "tests.e2e.disks", "pretend"))
    limit = _data(sidecar) / _LIMIT
    try:
        yield Disk(sidecar, lambda left: _put(limit, left // 4096), lambda: limit.unlink())
    finally:
        sidecar.close()


def _can(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _data(sidecar: SidecarProcess) -> Path:
    data = sidecar.home / "data"
    data.mkdir(mode=0o700)
    return data


def _fill(data: Path, left: int) -> None:
    """Take all room but a little; for real, so that nothing else finds any."""
    with (data / _BALLAST).open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(data).free - left)


def _free(data: Path) -> None:
    (data / _BALLAST).unlink()


def _put(limit: Path, pages: int) -> None:
    before = limit.with_suffix(".new")
    before.write_text(str(pages))
    before.rename(limit)


def _mount_and_serve() -> None:
    data = Path(os.environ["COUNTERMAND_HOME"], "data")
    serve = " ".join(["exec", sys.executable, *SERVICE])
    command = ["unshare", "-rm", "sh", "-c", f"{' '.join(_MOUNT)} {data} && {serve}"]
    os.execvp(command[0], command)  # noqa: S606 - a shell is in the command


def _pretend_and_serve() -> None:
    from grant_service.__main__ import main
    from grant_service.store import headroom
    from grant_service.store.sqlite_state import SqliteState

    data = Path(os.environ["COUNTERMAND_HOME"], "data")
    transact, usage = SqliteState.transact, shutil.disk_usage

    def within_limit(self: SqliteState, *told: object, **more: object) -> object:
        most = _UNLIMITED
        if (data / _LIMIT).exists():
            most = _room(data / _LIMIT, self)
        self._db.execute(f"PRAGMA max_page_count = {most}")
        return transact(self, *told, **more)  # type: ignore[arg-type]

    def _room(limit: Path, state: SqliteState) -> int:
        """The pages of the file when the limit was first met, those left then, those of a freed reserve."""
        first = limit.with_suffix(".first")
        if not first.exists() or first.stat().st_mtime_ns < limit.stat().st_mtime_ns:
            first.write_text(str(state._db.execute("PRAGMA page_count").fetchone()[0]))
        reserve = 0 if (data / "headroom").exists() else headroom.SIZE // 4096
        return int(first.read_text()) + int(limit.read_text()) + reserve

    SqliteState.transact = within_limit  # type: ignore[method-assign,assignment]
    full = usage(data)._replace(free=0)
    headroom.shutil.disk_usage = lambda path: full if (data / _LIMIT).exists() else usage(path)  # type: ignore[attr-defined]
    sys.exit(main([]))


#: Which disks this machine lets us have; one always.
KINDS: list[Callable[[], AbstractContextManager[Disk]]] = [pretended]
if _can(["unshare", "-rm", *_MOUNT, "/mnt"]):
    KINDS.insert(0, namespaced)
if _can(["unshare", "-m", *_MOUNT, "/mnt"]):
    KINDS.insert(0, mounted)

#: Those that outlive the process on them.
LASTING = [kind for kind in KINDS if kind is not namespaced]


if __name__ == "__main__":
    {"mount": _mount_and_serve, "pretend": _pretend_and_serve}[sys.argv[1]]()
