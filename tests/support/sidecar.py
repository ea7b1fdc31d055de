"""The real sidecar for tests: a process of its own, listening in a short home, ended by its process id.

Everything started here is known here: `left_behind()` names what still runs, and whatever a failed test
forgot is killed when the test process ends.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("issuer", "tool", "operator", "auditor", "compensator")
SERVICE = ("-m", "grant_service")
#: A start takes 0.3 s on an idle machine; a stop waits for calls under way for 10 s at the most.
START_SECONDS, STOP_SECONDS = 20.0, 15.0

#: A channel of a test shares no connection with any other, remembers no failed one, and repeats nothing.
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))

_running: set["SidecarProcess"] = set()
_homes: list[Path] = []


class NotReady(AssertionError):
    """The sidecar ended, or did not become ready; the message holds what it said."""


class SidecarProcess:
    """One sidecar. Its home stays from one start to the next; `close` takes it away if it was made here."""

    def __init__(
        self, home: Path | None = None, program: Sequence[str] = SERVICE, **settings: object
    ) -> None:
        """Take a home or make one; `settings` by their names; `program` is what Python is told to run."""
        self._made = home is None
        self.home = home or make_home()
        self._program, self._settings = tuple(program), settings
        self._said = Path(tempfile.mkdtemp(prefix="cm-said-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process, while it runs."""
        assert self._process, "the sidecar is not running"
        return self._process.pid

    @property
    def out(self) -> str:
        """What it said on standard output, over all its starts."""
        return self._read("out")

    @property
    def err(self) -> str:
        """What it said on standard error, over all its starts."""
        return self._read("err")

    def _read(self, name: str) -> str:
        path = self._said / name
        return path.read_text("utf-8") if path.exists() else ""

    def socket(self, role: str) -> Path:
        """Where it listens for a role."""
        return self.home / "run" / f"{role}.sock"

    def target(self, role: str) -> str:
        """The same, as gRPC writes it."""
        return f"unix:{self.socket(role)}"

    def channel(self, role: str) -> grpc.aio.Channel:
        """Connect in a role; for a `with` block of the event loop that is running."""
        return grpc.aio.insecure_channel(self.target(role), options=CHANNEL_OPTIONS)

    def launch(self, **settings: object) -> None:
        """Start the process and return at once; `settings` count for this start only."""
        assert not self._process, "the sidecar is already running"
        environment = {name: value for name, value in os.environ.items() if "COUNTERMAND" not in name}
        told = {"home": self.home, **self._settings, **settings}
        environment |= {f"COUNTERMAND_{name.upper()}": str(value) for name, value in told.items()}
        command = [sys.executable, *self._program]
        with (self._said / "out").open("ab") as out, (self._said / "err").open("ab") as err:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        _running.add(self)

    def start(self, **settings: object) -> None:
        """Start it and wait until it is ready."""
        self.launch(**settings)
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it listens for every role and says that it is well, or raise NotReady."""
        end = time.monotonic() + seconds
        while not (all(_listens(self.socket(role)) for role in ROLES) and self.health() == "SERVING"):
            self._require_life()
            if time.monotonic() > end:
                raise NotReady(f"not ready after {seconds:g} s: {self.err}")
            time.sleep(0.01)

    def _require_life(self) -> None:
        assert self._process
        code = self._process.poll()
        if code is not None:
            raise NotReady(f"it ended with {code}: {self.err}")

    def health(self, service: str = "", role: str = "auditor") -> str:
        """Ask how it is: SERVING, NOT_SERVING, or SILENT if nobody answers."""
        with grpc.insecure_channel(self.target(role), options=CHANNEL_OPTIONS) as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=2)
            except grpc.RpcError:
                return "SILENT"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def wait_health(self, wanted: str, service: str = "", seconds: float = 10.0) -> None:
        """Wait until it says this of itself: it looks at its store once a second."""
        end = time.monotonic() + seconds
        while (found := self.health(service)) != wanted:
            assert time.monotonic() < end, (
                f"health of {service!r} is {found} after {seconds:g} s, not {wanted}"
            )
            time.sleep(0.05)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it ends by itself, and answer its exit code."""
        assert self._process, "the sidecar is not running"
        code = self._process.wait(seconds)
        self._process = None
        _running.discard(self)
        return code

    def wait_said(self, *words: str, seconds: float = 5.0) -> str:
        """Wait for a line of its log with all these words, and answer it: it writes in its own time."""
        end = time.monotonic() + seconds
        while True:
            for line in self.err.splitlines():
                if all(word in line for word in words):
                    return line
            assert time.monotonic() < end, f"it never said {words}: {self.err}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """End it as its operator would (SIGTERM), and answer its exit code."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process, "the sidecar is not running"
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        """False before its start and after its end, whoever ended it."""
        return self._process is not None and self._process.poll() is None

    def restart(self, **settings: object) -> None:
        """Crash it and start it again on the data it left."""
        if self._process:
            self.kill()
        self.start(**settings)

    def close(self) -> None:
        """End it if it runs, and remove what was made for it."""
        if self._process:
            self.kill()
        shutil.rmtree(self._said, ignore_errors=True)
        if self._made:
            shutil.rmtree(self.home, ignore_errors=True)


def make_home() -> Path:
    """Make a home with a path so short that sockets fit below it; whoever makes it removes it."""
    _homes.append(Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp")))
    return _homes[-1]


def start_sidecar(
    home: Path | None = None, program: Sequence[str] = SERVICE, **settings: object
) -> SidecarProcess:
    """Start a sidecar and wait until it is ready; `close()` it afterwards."""
    sidecar = SidecarProcess(home, program, **settings)
    try:
        sidecar.start()
    except BaseException:
        sidecar.close()
        raise
    return sidecar


@contextmanager
def sidecar_running(
    home: Path | None = None, program: Sequence[str] = SERVICE, **settings: object
) -> Iterator[SidecarProcess]:
    """Start a sidecar for a `with` block."""
    sidecar = start_sidecar(home, program, **settings)
    try:
        yield sidecar
    finally:
        sidecar.close()


@contextmanager
def twin_running(first: SidecarProcess, **settings: object) -> Iterator[SidecarProcess]:
    """Start a second sidecar with the keys of the first, as on another host, for a `with` block."""
    second = SidecarProcess(None, SERVICE, **settings)
    try:
        shutil.copytree(first.home / "keys", second.home / "keys")
        second.start()
        yield second
    finally:
        second.close()


def left_behind() -> list[str]:
    """Name every sidecar that was started here and still runs, and every home that is still there."""
    return [f"pid {one.pid} in {one.home}" for one in _running if one.running] + [
        str(home) for home in _homes if home.exists()
    ]


@atexit.register
def _kill_what_is_left() -> None:
    for one in list(_running):
        one.close()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
