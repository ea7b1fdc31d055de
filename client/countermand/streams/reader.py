"""The thread that reads a stream that blocks, one chunk whenever one is asked for."""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from countermand.streams.partial import CLOSING, PATIENCE

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told:
    """What came of asking for a chunk: one, the end, an error, or nothing yet."""

    chunk: Any = None
    has_chunk: bool = False
    error: BaseException | None = None
    #: Whoever asked was woken before the answer came.
    waits: bool = False


class Reader(Generic[T]):
    """Reads nothing ahead: while nobody asks, its thread sleeps."""

    def __init__(self, stream: Iterable[T]) -> None:
        self._stream = stream
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._step: Callable[[], Told]
        #: It was asked for a chunk, and has not answered.
        self.is_busy = False

    def next(self) -> Told:
        """Ask for the next chunk and wait for it, or until somebody wakes us."""
        if self._thread is None:
            run = contextvars.copy_context().run
            self._thread = threading.Thread(
                target=run, args=(_serve, self._asked, self._told), name="countermand-stream", daemon=True
            )
            self._thread.start()
            self._step = _stepper(self._stream)
        self.is_busy = True
        self._asked.put(self._step)
        return self._answer(None)

    def late(self) -> Told:
        """Give the answer a last chance to come: the connection has been cut."""
        return self._answer(PATIENCE)

    def _answer(self, timeout: float | None) -> Told:
        try:
            told = self._told.get(timeout=timeout)
        except queue.Empty:
            return Told(waits=True)
        self.is_busy = told.waits
        return told

    def wake(self) -> None:
        """Wake whoever waits for a chunk; from any thread."""
        self._told.put(Told(waits=True))

    def end(self, close: Callable[[], str]) -> str:
        """Close the stream where it is read, and end the thread; answer why it may still be open."""
        if self._thread is None:
            return close()
        name = self._thread.name
        if self.is_busy:
            self._asked.put(None)  # should the read end one day, so does the thread
            return f"thread {name} still reads it, and nothing it has ends that: pass close="
        done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._asked.put(lambda: done.put(close()))
        self._asked.put(None)
        try:
            return done.get(timeout=CLOSING)
        except queue.Empty:
            return f"its close was not done in {CLOSING:g}s; thread {name} is at it"


def _serve(asked: "queue.SimpleQueue[Callable[[], Any] | None]", told: "queue.SimpleQueue[Told]") -> None:
    while (step := asked.get()) is not None:
        answer = step()
        if answer is not None:
            told.put(answer)
        del step, answer  # keep nothing alive while asleep


def _stepper(stream: Iterable[Any]) -> Callable[[], Told]:
    """Answer what reads one chunk. It also begins in the thread: some streams connect only then."""
    source: Iterator[Any] | None = None

    def step() -> Told:
        nonlocal source
        try:
            source = iter(stream) if source is None else source
            return Told(next(source), has_chunk=True)
        except StopIteration:
            return Told()
        except BaseException as error:  # whoever asked waits for an answer
            return Told(error=error)

    return step
