"""Real Redis servers for tests: each on its own Unix socket in its own folder, killed by its process id."""

import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.build.support import run

#: What the service asks of a server; later arguments win over these.
FIT = (
    *("--port", "0"),
    *("--save", ""),
    *("--daemonize", "no"),
    *("--appendonly", "yes"),
    *("--appendfsync", "always"),
    *("--maxmemory-policy", "noeviction"),
)
START_SECONDS = 10.0


@functools.cache
def server_program() -> str:
    """Find redis-server the way `make test` does: REDIS_SERVER, or what scripts/ensure_redis finds."""
    if named := os.environ.get("REDIS_SERVER"):
        return named
    found = run("scripts/ensure_redis")
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


class RedisServer:
    """One server process. Its data stay in `folder` from one start to the next."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self._arguments = folder, arguments
        # A socket's path has about 100 characters at most; a test's own folder may be deeper than that.
        self._sockets = Path(tempfile.mkdtemp(prefix="cm-redis-"))
        self.socket = self._sockets / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, as redis-py and the service write it."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process, "the server is not running"
        return self._process.pid

    def start(self, *more: str) -> None:
        """Start it and wait until it answers; `more` arguments count for this start only."""
        assert not self._process, "the server is already running"
        self.folder.mkdir(parents=True, exist_ok=True)
        place = ("--dir", str(self.folder), "--unixsocket", str(self.socket))
        log = (self.folder / "redis.log").open("ab")
        with log:
            command = [server_program(), *FIT, *place, *self._arguments, *more]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as its operator would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def restart(self, *more: str) -> None:
        """Crash it and start it again on the data it left."""
        self.kill()
        self.start(*more)

    def wipe(self) -> None:
        """Take the data of a server that does not run."""
        assert not self._process, "stop the server first"
        shutil.rmtree(self.folder)

    def client(self) -> redis.Redis:
        """A plain client to look at the server from the side; close it, or use it as a context."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def close(self) -> None:
        """End it, and remove its socket."""
        if self._process:
            self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        assert self._process, "the server is not running"
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)
        self._process = None
        self.socket.unlink(missing_ok=True)

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process
            gone = self._process.poll() is not None
            if gone or time.monotonic() > end:
                self._process.kill()
                self._process = None
                raise RuntimeError((self.folder / "redis.log").read_text()[-2000:])
            time.sleep(0.005)

    def _answers(self) -> bool:
        """Anything but silence or LOADING counts: a server that asks for a password is up."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return not probe.recv(64).startswith((b"-LOADING", b"-MASTERDOWN"))
            except OSError:
                return False


def start_redis(tmp: Path, *arguments: str) -> RedisServer:
    """Start a server whose data live in `tmp`; `close()` it afterwards."""
    server = RedisServer(tmp, *arguments)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server


@contextmanager
def redis_running(tmp: Path, *arguments: str) -> Iterator[RedisServer]:
    """Start a server for a `with` block."""
    server = start_redis(tmp, *arguments)
    try:
        yield server
    finally:
        server.close()
