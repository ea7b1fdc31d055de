"""A real sidecar inside your tests: its rules, its sockets, its answers, with a store that forgets.

    def test_the_mailer_stops_when_told():
        with countermand.testing.sidecar() as sidecar:
            with sidecar.connect_sync() as cm, cm.open_run(agent="mailer") as run:
                run.cancel()
                with pytest.raises(countermand.Revoked), run.grant(scopes=["email.*"]):
                    send_mail()

It runs in a thread and on an event loop of its own, so tests may be async or not. With pytest, the fixtures
of `countermand.pytest_plugin` do the same and set COUNTERMAND_HOME. Needs the extra `service`.
"""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import countermand
import countermand.sync
from countermand._clock import elapsing
from countermand._span import Span, seconds

__all__ = ["ManualClock", "Sidecar", "sidecar"]

_START = 1_750_000_000_000  # milliseconds since 1970: any moment will do


class ManualClock:
    """A clock that moves when told: the sidecar's store and the permits of its clients both go by it."""

    def __init__(self) -> None:
        self._now = _START

    def advance(self, span: Span) -> None:
        """Let time pass: `clock.advance("61s")`."""
        self._now += round(seconds(span) * 1000)

    def milliseconds(self) -> int:
        """Answer the store's time."""
        return self._now

    def elapsed(self) -> float:
        """Answer the client's time, in seconds."""
        return self._now / 1000


def sidecar(*, clock: ManualClock | None = None, home: Path | None = None, **settings: Any) -> "Sidecar":
    """Answer a sidecar for a `with` or `async with` block; `settings` are those of `countermand serve`.

    A `home` that is given stays when it stops; with `store="sqlite"`, what it knows stays in there.
    """
    return Sidecar(clock, settings, home)


class Sidecar:
    """A sidecar in this process. Its `home` is where `countermand.connect` finds it."""

    def __init__(self, clock: ManualClock | None, settings: dict[str, Any], home: Path | None = None) -> None:
        self.home = home or Path()
        self.clock = clock
        self._given = home is not None
        self._settings = {"store": "memory", "drain_timeout": 1, **settings}
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None
        self._hang: Callable[[], None] = lambda: None
        self._going_on = threading.Event()

    def start(self) -> None:
        """Start it; it listens when this returns."""
        _service()  # where it is missing, say so here and not in a thread
        if not self._given:
            self.home = short_folder()
        ready = threading.Event()
        failures: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(ready, failures), name="countermand-sidecar", daemon=True
        )
        self._thread.start()
        ready.wait()
        if failures:
            self.stop()
            raise failures[0]

    def pause(self) -> None:
        """Have it hang: it is there, and answers nobody until `resume`."""
        self._going_on.clear()
        self._hang()

    def resume(self) -> None:
        """Have it go on, with what it was asked meanwhile."""
        self._going_on.set()

    def stop(self) -> None:
        """Stop it and remove its home, if that was made here."""
        self.resume()
        self._stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            if not self._given:
                shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, ready: threading.Event, failures: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as failure:
            failures.append(failure)
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        service = await _service()(self.home, self._settings, self.clock)
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: _call_in(loop, stopped.set)
        self._hang = lambda: _hang_in(loop, self._going_on)
        ready.set()
        await stopped.wait()
        await service.stop()

    def connect(self, **options: Any) -> countermand.Client:
        """Answer an async client of it, by its clock."""
        return countermand.connect(self.home, clock=self._elapsing, **options)

    def connect_sync(self, **options: Any) -> countermand.sync.Client:
        """Answer a blocking client of it, by its clock."""
        return countermand.sync.connect(self.home, clock=self._elapsing, **options)

    @property
    def _elapsing(self) -> Callable[[], float]:
        return self.clock.elapsed if self.clock else elapsing

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def short_folder() -> Path:
    """Make a folder for a sidecar: a socket's path must be short, and some temporary directories are not."""
    return Path(tempfile.mkdtemp(prefix="cm-", dir="/tmp"))


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)


def _hang_in(loop: asyncio.AbstractEventLoop, going_on: threading.Event) -> None:
    """Block a loop until the event; it is blocked when this returns."""
    hangs = threading.Event()

    def hang() -> None:
        hangs.set()
        going_on.wait()

    loop.call_soon_threadsafe(hang)
    hangs.wait()


def _service() -> Callable[[Path, dict[str, Any], ManualClock | None], Any]:
    """Answer what starts the service; it is imported only here, and only if it is asked for."""
    try:
        from grant_service.app import Sidecar as Service
        from grant_service.core.clock import system_clock
        from grant_service.log import pass_on
        from grant_service.settings import Settings
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"countermand.testing runs the real sidecar, and {missing.name} is not installed: "
            "pip install 'countermand[service]'",
            name=missing.name,
        ) from missing

    async def start(home: Path, settings: dict[str, Any], clock: ManualClock | None) -> Any:
        pass_on()
        time = clock.milliseconds if clock else system_clock
        return await Service.start(Settings(home=home, **settings), clock=time)

    return start
