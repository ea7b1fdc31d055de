"""A real PostgreSQL for tests: on a Unix socket in a folder of its own, ended by its process id."""

import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.build.support import run

#: Data that end with the test need not survive a power cut.
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=16MB")
START_SECONDS = 60.0
SOCKET = ".s.PGSQL.5432"


@functools.cache
def programs() -> Path:
    """Find the server's programs the way `make test-integrations` does."""
    if named := os.environ.get("POSTGRES_BIN"):
        return Path(named)
    found = run("scripts/ensure_postgres")
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


class PostgresServer:
    """One server process, with one user, `test`, and one database, `postgres`."""

    def __init__(self) -> None:
        # A socket's path has about 100 characters at most; a test's own folder may be deeper than that.
        self.folder = Path(tempfile.mkdtemp(prefix="cm-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, driver: str = "psycopg", folder: Path | None = None) -> str:
        """Where it listens, as SQLAlchemy writes it; `folder` is that of another socket which leads to it."""
        return f"postgresql+{driver}://test@/postgres?host={folder or self.folder}"

    @property
    def socket(self) -> Path:
        """The socket itself."""
        return self.folder / SOCKET

    def start(self) -> None:
        """Make its data and start it; it answers when this returns."""
        data, log = self.folder / "data", self.folder / "log"
        who = _not_root(self.folder)
        initdb = [programs() / "initdb", "-D", data, "-U", "test", "--auth=trust", "--no-sync", "-E", "UTF8"]
        done = subprocess.run(initdb, capture_output=True, check=False, cwd=self.folder, **who)
        assert done.returncode == 0, done.stderr
        said = [one for setting in (*FAST, "listen_addresses=") for one in ("-c", setting)]
        command = [programs() / "postgres", "-D", data, "-k", self.folder, *said]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, **who
            )
        self._wait(log)

    def close(self) -> None:
        """End it, cutting its connections, and remove its folder."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, log: Path) -> None:
        assert self._process
        ends = time.monotonic() + START_SECONDS
        while b"ready to accept connections" not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(log.read_text()[-2000:])
            time.sleep(0.05)


def _not_root(folder: Path) -> Mapping[str, int]:
    """PostgreSQL refuses to run as root; another user gets its folder then."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}  # type: ignore[dict-item]


@contextmanager
def postgres_running() -> Iterator[PostgresServer]:
    """Start a server for a `with` block."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
