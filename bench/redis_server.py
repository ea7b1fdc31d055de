"""A redis-server of the bench's own: on a unix socket, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SETTINGS = ("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction")


@contextmanager
def redis_server(sync: str) -> Iterator[Path]:
    """Run a Redis that syncs its writes `always` or `everysec`; yield the path of its socket."""
    directory = Path(tempfile.mkdtemp(prefix="cm-bench-redis-"))
    socket = directory / "redis.sock"
    place = ("--port", "0", "--unixsocket", str(socket), "--dir", str(directory))
    command = [_server(), *place, *_SETTINGS, "--appendfsync", sync]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("bench: redis-server did not start")
            time.sleep(0.05)
        yield socket
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(directory)


def _server() -> str:
    """Find the server: `make bench` says where it is, through scripts/ensure_redis."""
    return os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or "valkey-server"
