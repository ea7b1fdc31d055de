"""The desk of a session: where those wait who asked over one stream, until it answers or ends."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import InvalidStateError
from dataclasses import dataclass
from typing import Any

from countermand._errors import CLASSES, AskOperator, CountermandError, TimedOut, Unavailable
from countermand._rpcs import Sealed
from countermand._words import ErrorReason
from countermand.v1 import errors_pb2
from countermand.v1 import session_service_pb2 as pb

#: A sidecar takes 64 KiB and 512 calls in one message. Messages one after the other are one message, so calls
#: are written by joining them, as many as fit; one that is longer goes alone.
MOST_BYTES, MOST_CALLS = 48 * 1024, 256

#: What is said to whoever has waited long enough.
LATE = "no answer came in time: nothing is known of the decision"

#: Hears once why something stopped.
Heard = Callable[[CountermandError], None]


@dataclass(eq=False, slots=True)
class Watched:
    """What is watched for as long as somebody wants to hear of it."""

    request: Sealed[Any]
    heard: Heard
    #: What the stream there is calls it; 0 before it was answered.
    number: int = 0
    over: bool = False
    #: As of where it was last told to go on.
    position: pb.Position | None = None


@dataclass(eq=False, slots=True)
class Asked:
    """A call without an answer."""

    name: str
    future: Any
    watched: Watched | None
    part: bytes
    #: When its caller has waited long enough, by the loop's clock, where nobody else sees to that.
    until: float


def refused(told: pb.RefusedCall) -> CountermandError:
    """Translate a refusal that came with others; a reason of a later sidecar's is for an operator to read."""
    number = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number.get(told.reason)
    name = number.name.removeprefix("ERROR_REASON_") if number else ""
    reason = ErrorReason.__members__.get(name, ErrorReason.UNSPECIFIED)
    if reason is ErrorReason.UNSPECIFIED:
        return AskOperator(told.message, metadata=dict(told.metadata))
    return CLASSES[reason](told.message, reason=reason, metadata=dict(told.metadata))


def joined(parts: list[bytes]) -> Iterator[bytes]:
    """Put parts together to messages that a sidecar takes."""
    first = size = 0
    for index, part in enumerate(parts):
        if index > first and (size + len(part) > MOST_BYTES or index - first == MOST_CALLS):
            yield b"".join(parts[first:index])
            first, size = index, 0
        size += len(part)
    if first < len(parts):
        yield b"".join(parts[first:])


#: Tells why something stopped; or that what was told of it is older than what is known.
Tell = Callable[[Watched, CountermandError | None], None]


class Desk:
    """Where those wait who asked over one stream."""

    def __init__(self, put: Callable[[Asked], None]) -> None:
        self._put = put
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Asked] = {}
        self.watched: dict[int, Watched] = {}
        self.heard_at = time.monotonic()
        self.is_over = False

    def ask(
        self,
        name: str,
        sealed: Sealed[Any],
        timeout: float,
        future: Any,
        watched: Watched | None = None,
        until: float = math.inf,
    ) -> None:
        """Send a call, and write down who waits for its answer."""
        number = next(self._numbers)
        asked = Asked(name, future, watched, Sealed.write_call(sealed, name, number, timeout), until)
        self._waiting[number] = asked
        self._put(asked)
        if self.is_over:  # it ended just now, and may not have known of this one
            self.fail()

    def take(self, frame: bytes, tell: "Tell") -> None:
        """Give everybody what a message has for them: first of all what stopped."""
        self.heard_at = time.monotonic()
        told = pb.OpenSessionResponse.FromString(frame)
        asked = [(self._waiting.pop(answer.call_id, None), answer) for answer in told.answers]
        for one, answer in asked:
            if one and one.watched and answer.WhichOneof("answer") == one.name:
                self._begin(one.watched, answer.watch, tell)
        for stop in told.stops:
            if watched := self.watched.pop(stop.watch_id, None):
                tell(watched, None if _is_before(stop, watched) else refused(stop.refusal))
        for one, answer in asked:
            if one:
                _answer(one, answer)

    def _begin(self, watched: Watched, told: pb.WatchRunResponse, tell: "Tell") -> None:
        """Take note of a watch; its stop may be in this same message."""
        if told.HasField("refusal"):
            tell(watched, refused(told.refusal))
            return
        watched.number, watched.position = told.watch_id, told.position
        self.watched[told.watch_id] = watched

    def pass_over(self, now: float) -> tuple[bool, float]:
        """Give up on those whose time is over; say whether there were any, and when the next one's is."""
        waiting = [one for one in self._waiting.values() if not one.future.done()]
        late = [one for one in waiting if one.until <= now]
        for asked in late:
            _fail(asked.future, TimedOut(LATE))
        return bool(late), min((one.until for one in waiting if one.until > now), default=math.inf)

    def fail(self) -> None:
        """Tell everybody who waits that no answer comes any more."""
        self.is_over = True
        while self._waiting:
            with contextlib.suppress(KeyError):  # somebody else was here
                _, asked = self._waiting.popitem()
                _fail(asked.future, Unavailable(f"the session ended before {asked.name} was answered"))


def _answer(asked: Asked, answer: pb.SessionAnswer) -> None:
    """Give an answer to whoever waits for it."""
    kind = answer.WhichOneof("answer")
    if kind == asked.name:
        _give(asked.future, getattr(answer, asked.name))
    elif kind == "refusal":
        _fail(asked.future, refused(answer.refusal))
    else:
        _fail(asked.future, AskOperator(f"the sidecar answered {asked.name} with {kind}: do not act"))


def _is_before(stop: pb.Stop, watched: Watched) -> bool:
    """Say whether a stop is older than what is known: what stopped then may go on by now."""
    told, known = stop.position, watched.position
    return known is not None and told.store_epoch == known.store_epoch and told.seq < known.seq


def _give(future: Any, answer: Any) -> None:
    """Answer somebody who may have stopped waiting, in this very moment too."""
    with contextlib.suppress(InvalidStateError, asyncio.InvalidStateError):
        future.set_result(answer)


def _fail(future: Any, error: CountermandError) -> None:
    """The same with a refusal."""
    with contextlib.suppress(InvalidStateError, asyncio.InvalidStateError):
        future.set_exception(error)
