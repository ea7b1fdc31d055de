"""A guarded stream that blocks: it is read in a thread of its own, so that a stop need not wait for it."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self, TypeVar

from countermand._errors import FixTheCall, Stopped
from countermand._world import log
from countermand.streams.closing import SHARED, Close, closers_of, cut, is_shared
from countermand.streams.listening import Heard, Until, listen
from countermand.streams.partial import Metered, Partial
from countermand.streams.reader import Reader
from countermand.work.stop import Stop

T = TypeVar("T")

_NAMES = ("close",)


class BlockingMetered(Metered, Protocol):
    """What counts a stream that blocks."""

    def begin(self, stops: Heard, /) -> None: ...

    def settle(self) -> None: ...


class Guarded(Partial[T]):
    """Hands on a stream's chunks until the stop. However its loop is left, the connection is closed.

    A read that waits is broken by cutting the connection. Where there is none to cut, and the stream's own
    `close` does not end the read, the thread that reads is left behind, and `not_closed` says so.
    """

    def __init__(
        self,
        stream: Iterable[T],
        until: Until | None,
        close: Close | None,
        meter: BlockingMetered | None = None,
    ) -> None:
        if not hasattr(stream, "__iter__"):
            raise FixTheCall(
                f"{type(stream).__name__} is no iterator: an async one is guarded by countermand.guard"
            )
        super().__init__(stream, meter)
        self._meter = meter
        self._until, self._closers = until, closers_of(stream, close, _NAMES)
        self._may_cut, self._is_shared = close is None, close is None and is_shared(stream)
        self._deaf: Callable[[], None] | None = None
        self._reader: Reader[T] = Reader(stream)
        self._lock = threading.RLock()  # a signal handler may cancel while this thread is here
        self._is_closed = False

    def __enter__(self) -> Self:
        try:
            self._listen()
        except BaseException:  # nobody will leave the block, and so close it
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        self._read_once()
        return self._chunks()

    def _chunks(self) -> Generator[T, None, None]:
        try:
            self._listen()
            if self._meter is not None:
                self._meter.begin(self._heard)
            while True:
                self._check()
                self._take()
                if self.is_complete:
                    self.close()
                    self._fail_untold()
                    return
                self._check()
                yield self.partial[-1]
        except Stopped as stopped:
            self.stop = self.stop or stopped.stop
            self.close()
            self._tell(stopped)
            raise
        finally:
            self.close()

    def _take(self) -> None:
        """Wait for the next chunk, and keep it."""
        told = self._reader.next()
        if told.waits and self.stop is not None:
            told = self._reader.late()
        if told.error is not None and self.stop is not None:
            raise Stopped(self.stop) from told.error  # what it says of a connection that we cut is no news
        if told.error is not None:
            raise told.error
        if told.has_chunk:
            self._keep(told.chunk)
        elif not told.waits:
            self.is_complete = self.stop is None and not self._is_closed

    def _check(self) -> None:
        if self.stop is not None:
            raise Stopped(self.stop)
        if self._is_closed:
            raise FixTheCall(f"this {self._kind} was closed while its loop went on")

    # -- the stop

    def _listen(self) -> None:
        if self._deaf is None:
            self._deaf = listen(self._until, self._heard)

    def _heard(self, stop: Stop) -> None:
        """Break the read, from whichever thread the stop comes; that one waits for nothing."""
        with self._lock:
            if self._is_closed or self.stop is not None:
                return
            self.stop = stop
        self._break()
        self._reader.wake()

    def _break(self) -> None:
        """End the read from outside. One of a shared connection can only be waited for."""
        if not self._is_shared and not (self._may_cut and cut(self._stream)):
            threading.Thread(target=self._close_all, name="countermand-stream-close", daemon=True).start()

    # -- the close

    def close(self) -> None:
        """Close the provider's connection, and wait until it is; what came is kept."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        if self._deaf is not None:
            self._deaf()
        if self._reader.is_busy and self.stop is None:  # whoever waited was interrupted, as by Ctrl-C
            self._break()
            self._reader.late()
        failure = self._reader.end(self._close_all)
        self._reader.wake()  # if another thread waits for a chunk, we may have taken what would have woken it
        if failure and not self.is_complete:
            self.not_closed = failure
            log.warning("the connection of %s may still be open: %s", self._kind, self.not_closed)
        if self._meter is not None:
            self._meter.settle()

    def _close_all(self) -> str:
        """Close it, and answer why it may still be open; empty if it is closed."""
        failures = [failure for closer in self._closers if (failure := _failure_of(closer))]
        if len(failures) < len(self._closers):  # one that worked is enough
            return SHARED if self._is_shared else ""
        return "; ".join(failures) or f"{self._kind} has no close: pass close="


def _failure_of(closer: Close) -> str:
    try:
        closer()
    except Exception as error:
        return f"its close failed: {type(error).__qualname__}: {error}"
    return ""
