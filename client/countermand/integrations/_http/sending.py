"""One write on its way out: what its permit adds to it, when it begins, and what became of it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from countermand._errors import AlreadyPermitted, FixTheCall, PermitLapsed
from countermand._grant import held_grant
from countermand._models.actions import Permit
from countermand._span import Span
from countermand._text import kind_of
from countermand._tool import refuse_work_to_do
from countermand._words import Outcome, Reversibility
from countermand._world import log
from countermand.integrations._http.call import Call
from countermand.integrations._http.deadline import REQUEST_TIMEOUT, time_left
from countermand.integrations._http.outcome import outcome_of, receipt_of

#: Names the effect, the same for every attempt at it, to a target that knows it twice.
KEY = "idempotency-key"
#: The permit's number: a target that remembers the highest can refuse a late writer.
FENCE = "countermand-fence"


class Write(TypedDict, total=False):
    """What `perform` is to be told of a request; what is not said is as it is without a mapping."""

    name: str
    resource: str
    args: Mapping[str, object]
    op_id: str
    reversibility: Reversibility
    compensation: str
    compensation_args: Mapping[str, object]
    probe: str
    costs: Mapping[str, int]
    summary: str
    use_within: Span
    approval_timeout: Span | None
    timeout: float


class Act(Protocol):
    """An action that has its permit, of either client."""

    permit: Permit | None
    receipt: object

    def failed(self, note: str = "") -> None:
        """Say that it certainly did not happen."""

    def unknown(self, note: str = "") -> None:
        """Say that nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the target answered, as soon as its status and headers are there."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]


Mapper = Callable[[Call], Write]
Knows = Callable[[Call], bool]
Settler = Callable[[Any, Answer], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an adapter was told: how to describe a request, what asks, and who reads the answer."""

    action: Mapper | None = None
    reads: bool = False
    #: Who knows of other requests that change nothing. Only True is a yes: a slip must not let a write out.
    also_reads: Knows | None = None
    settle: Settler | None = None

    def sending(self, call: Call, is_read: bool | None = None, name: str = "") -> "Sending | None":
        """Answer how to send it under a permit; None if it needs none."""
        if is_read is None:
            is_read = call.is_read or (self.also_reads is not None and self.also_reads(call) is True)
        if is_read and not self.reads:
            return None
        told: Write = {
            "name": name or f"http.{call.method.lower()}",
            "resource": call.resource,
            "args": call.args,
        }
        if is_read:
            told["reversibility"] = Reversibility.READ_ONLY
        mapped = self.action(call) if self.action else {}
        if call.is_for_another_host and "resource" not in mapped:
            raise FixTheCall(
                f"the request to {call.resource} names another host in its Host header, so its URL is not "
                "what it acts on: leave the header out, or name the resource in a mapping"
            )
        return Sending(call, {**told, **mapped}, self.settle)


class Sending:
    """One request that needs a permit."""

    def __init__(self, call: Call, told: Mapping[str, Any], settle: Settler | None) -> None:
        #: What `perform` is told.
        self.told = told
        self.method = call.method
        #: The first byte may have left.
        self.begun = False
        #: The library tells of its steps, so one that it did not tell of was not taken.
        self.watched = False
        self._asked = call.headers
        self._wanted = time_left((n.encode(), v.encode()) for n, v in call.headers.items())
        self._settle = settle
        self._act: Act | None = None

    @contextmanager
    def under(self, act: Act, unsent: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
        """Send it in this block; `unsent` is what the library raises only where nothing was sent."""
        self._act = act
        try:
            yield
        except BaseException as error:
            if not self.begun and (self.watched or isinstance(error, unsent)):
                act.failed(f"not sent: {kind_of(error)}")
            raise

    @property
    def fence(self) -> str:
        """The number of its permit."""
        return str(self._permitted().permit.fence)

    def headers(self, key: str = "") -> dict[str, str]:
        """Answer the headers to add; a key that the caller has set stays theirs."""
        act = self._permitted()
        told = {FENCE: self.fence}
        waits = [left for left in (self._wanted, _authority_left(act.permit)) if left is not None]
        if waits:
            told[REQUEST_TIMEOUT] = f"{math.floor(min(waits) * 1000) / 1000:.3f}"  # in seconds, rounded down
        if KEY not in self._asked:
            told[KEY] = key or act.op_id
        return told

    def begin(self) -> None:
        """Look a last time, where the first byte is about to leave: is the permit still good, and unused?"""
        act = self._permitted()
        if self.begun:
            raise AlreadyPermitted(
                f"action {act.op_id} was sent under its permit, and the HTTP client repeats it by itself: do "
                "not act; have the client repeat no writes, and repeat them as new requests",
                metadata={"op": act.op_id},
            )
        self.look()
        self.begun = True

    def look(self) -> None:
        """Raise if the permit has lapsed."""
        act = self._permitted()
        if act.permit.remaining <= 0:
            raise PermitLapsed(
                f"the permit of action {act.op_id} lapsed before its request could be sent: it did not "
                "happen; send it again as a new request",
                metadata={"op": act.op_id},
            )

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Note what the target said. Its body may still be on the way; it changes nothing of this."""
        act = self._permitted()
        outcome, note = outcome_of(status)
        if outcome is Outcome.FAILED:
            act.failed(note)
        elif outcome is Outcome.UNKNOWN:
            act.unknown(note)
        act.receipt = receipt_of(status, headers.items())
        if self._settle:
            told = {name.lower(): value for name, value in headers.items()}
            try:
                said = self._settle(act, Answer(status=status, headers=told))
                refuse_work_to_do(self._settle, said, act)
            except Exception as error:
                # The caller must see the answer all the same: who sees a failure repeats what was done.
                act.unknown(f"its answer was not understood: {kind_of(error)}")
                log.exception("the answer to action %s was not understood", act.op_id)

    def _permitted(self) -> Any:
        if self._act is None or self._act.permit is None:
            raise RuntimeError("a write was about to be sent without its permit")
        return self._act


def _authority_left(permit: Permit) -> float | None:
    """Answer for how many seconds the grant lasts; None if that is not known here, or it is extended.

    It is not the permit's use-by, by which the work only has to begin.
    """
    authority = held_grant().authority
    ends = authority.grant.expire_time if authority.grant and authority.asked.extend is None else None
    if ends is None or permit.use_by_time is None:
        return None
    # Both ends are by the store's clock, what remains is by ours: no two clocks are compared.
    return permit.remaining + (ends - permit.use_by_time).total_seconds()
