"""A way to a server that can be cut at a chosen moment: before a command arrives or before its reply does."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Act = Callable[[], None]


class Proxy:
    """Passes bytes between a Unix socket of its own and that of a server. One trap at a time may be set."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._folder = Path(tempfile.mkdtemp(prefix="cm-proxy-"))
        self.socket = self._folder / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen()
        self._trap: tuple[bytes, str, Act] | None = None
        self._held: socket.socket | None = None
        self._replied = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.sprung = threading.Event()
        self._start(self._accept)

    @property
    def url(self) -> str:
        """Where it listens, as the service writes it."""
        return f"unix://{self.socket}"

    def trap(self, marker: str, when: str, act: Act = lambda: None) -> None:
        """Cut the connection on which `marker` is sent: `before` it arrives, or `after`, before its reply.

        `act` is done at that moment. The server has not seen the command then, or has answered to nobody.
        """
        assert when in ("before", "after")
        self.sprung.clear()
        self._trap = (marker.encode(), when, act)

    def close(self) -> None:
        """Cut everything and go."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            _hang_up(one)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        for one in self._open:
            one.close()
        shutil.rmtree(self._folder)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._open += [near, far]
            try:
                far.connect(str(self._upstream))
            except OSError:
                _hang_up(near)
                continue
            self._start(self._pass_on, near, far)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        self._start(self._pass_back, near, far)
        with suppress(OSError):
            while data := near.recv(65536):
                if self._trap and self._trap[0] in data:
                    self._spring(data, far)
                    break
                far.sendall(data)
        _hang_up(near)
        _hang_up(far)

    def _pass_back(self, near: socket.socket, far: socket.socket) -> None:
        """Pass replies back, but for the one that the trap is waiting for."""
        with suppress(OSError):
            while data := far.recv(65536):
                if self._held is far:
                    self._replied.set()
                    break
                near.sendall(data)

    def _spring(self, data: bytes, far: socket.socket) -> None:
        assert self._trap
        _, when, act = self._trap
        self._trap = None
        if when == "after":
            self._held, self._replied = far, threading.Event()
            far.sendall(data)
            assert self._replied.wait(5), "nobody answered"
        act()
        self.sprung.set()


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_running(upstream: Path) -> Iterator[Proxy]:
    """Run a proxy for a `with` block."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
