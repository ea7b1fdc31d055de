"""What both kinds of guarded streams keep: the chunks that came, and how it ended."""

from typing import Any, Generic, Protocol, TypeVar

from countermand._errors import CountermandError, FixTheCall, Stopped
from countermand.streams.text import text_of
from countermand.streams.usage import Usage, usage_of
from countermand.work.stop import Stop

T = TypeVar("T")

#: How long a stop waits for a read that does not end, and any end for the provider's close, in seconds.
PATIENCE, CLOSING = 1.0, 5.0


class Metered(Protocol):
    """What counts the tokens of a stream."""

    #: Why no budget of the run may have what it took; None if they have.
    failure: CountermandError | None

    @property
    def took(self) -> Usage: ...

    def see(self, chunk: object, /) -> Stop | None: ...


class Partial(Generic[T]):
    """What is known of a stream that is or was read."""

    def __init__(self, stream: object, metered: Metered | None) -> None:
        #: What came, in order; also after a stop or a failure.
        self.partial: list[T] = []
        #: Why it was stopped; None if it was not.
        self.stop: Stop | None = None
        #: Whether it came to its own end: `partial` is all of it.
        self.is_complete = False
        #: Why its connection may still be open; empty if it is closed, and before.
        self.not_closed = ""
        self._stream: Any = stream
        self._metered = metered
        self._is_read = False

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else f"stopped: {self.stop}" if self.stop else "open"
        return f"<{type(self).__name__} of {self._kind}, {len(self.partial)} chunks, {state}>"

    @property
    def text(self) -> str:
        """The text of the chunks, for chunks of a known shape."""
        return "".join(map(text_of, self.partial))

    @property
    def usage(self) -> Usage | None:
        """The tokens it took, as far as the provider said so; None if it did not."""
        return usage_of(self.partial)

    @property
    def took(self) -> Usage | None:
        """The tokens it was counted with, and how many are an estimate; None where no budget counts it."""
        return self._metered.took if self._metered else None

    @property
    def not_told(self) -> str:
        """Why no budget of the run may have all that it took; empty if they have, and before."""
        return str(self._metered.failure or "") if self._metered else ""

    def _keep(self, chunk: T) -> None:
        """Keep a chunk and count it; that may stop the stream."""
        self.partial.append(chunk)
        short = self._metered.see(chunk) if self._metered else None
        self.stop = self.stop or short

    @property
    def _kind(self) -> str:
        return type(self._stream).__name__

    def _tell(self, stopped: Stopped) -> None:
        """Say with the stop what it could not do."""
        if self.not_closed:
            stopped.add_note(f"countermand: the connection may still be open: {self.not_closed}")
        if self.not_told:
            stopped.add_note(f"countermand: what it took may be in no budget: {self.not_told}")

    def _fail_untold(self) -> None:
        """A whole stream that could not be accounted for is not passed off as fine."""
        if self._metered and self._metered.failure:
            raise self._metered.failure

    def _read_once(self) -> None:
        if self._is_read:
            raise FixTheCall(f"this {self._kind} was read already, and closed: what came is in its `partial`")
        self._is_read = True
