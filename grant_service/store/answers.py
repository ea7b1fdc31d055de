"""What Redis answers, turned into the answers of the verbs.

A reply is trusted only in the shape that was agreed: anything else is an error (ValueError, KeyError,
TypeError), never a default.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from grant_service.core import verbs
from grant_service.core.action import Action, ActionState
from grant_service.core.duty import Duty, DutyKind, DutyState
from grant_service.core.errors import ErrorReason, Refusal, StoreFailed
from grant_service.core.fence import Fence
from grant_service.core.grant import Grant
from grant_service.core.journal import Entry, Kind
from grant_service.core.run import Run, RunState
from grant_service.core.store import Durability, Standing
from grant_service.store.records import (
    action_from,
    approval_from,
    duty_from,
    fence_from,
    grant_from,
    path_from,
    run_from,
)

A = TypeVar("A")

#: The word by which each script says that it did what it was asked to.
_WORDS = {
    "open": "OPENED",
    "issue": "ISSUED",
    "delegate": "DELEGATED",
    "extend": "EXTENDED",
    "prepare": "PREPARED",
    "commit": "PERMITTED",
    "perform": "PERMITTED",
    "settle": "SETTLED",
    "abandon": "ABANDONED",
    "cancel": "CANCELLED",
    "finish": "FINISHED",
    "release": "RELEASED",
    "spend": "SPENT",
    "revoke": "REVOKED",
    "freeze": "FROZEN",
    "lift": "LIFTED",
    "approve": "APPROVED",
    "deny": "DENIED",
    "resolve": "RESOLVED",
    "undo": "UNDO_ASKED",
    "withdraw": "WITHDRAWN",
    "claim": "CLAIMED",
    "renew": "RENEWED",
    "complete": "COMPLETED",
    "fail": "FAILED",
    "prune": "PRUNED",
    "present": "PRESENT",
    "stopped": "STOPPED",
    "call_off": "CALLED_OFF",
    "standing": "STANDING",
    "standing_when_full": "STANDING",
}


@dataclass(frozen=True, slots=True)
class OtherPath:
    """Nothing was decided: the path asked with is not the run's; this one is."""

    path: tuple[str, ...]


def read(reply: Any, verb: str, nonce: str, make: Callable[[bool, list[str]], A]) -> A | Refusal | OtherPath:
    """Read a script's answer to the call with this nonce; `make` gets `replayed` and what follows it."""
    if not isinstance(reply, list) or not all(isinstance(part, str) for part in reply):
        raise TypeError("the reply is no list of texts")
    word, echo, *rest = reply
    check_echo(echo, nonce)
    if word == "REFUSED":
        return Refusal(ErrorReason(rest[0]), fields(rest[1:]))
    if word == "PATH":
        return OtherPath(path_from(rest[0]))
    if word == "UNFIT":
        remedy = "point the store's URL at the primary"
        raise StoreFailed(ErrorReason.STORE_UNFIT, cause="it is a replica", remedy=remedy)
    if word != _WORDS[verb]:
        raise ValueError("the reply has an unknown word")
    return make(_flag(rest[0]), rest[1:])


def check_echo(echo: Any, nonce: str) -> None:
    """Make sure that a reply belongs to the call that sent the nonce."""
    if echo != nonce:
        raise ValueError("the reply belongs to another call")


def opened(replayed: bool, rest: list[str]) -> verbs.Opened:
    """Read the answer of open."""
    return verbs.Opened(run_from(fields(rest)), replayed)


def issued(replayed: bool, rest: list[str]) -> verbs.Issued:
    """Read the answer of issue."""
    subject, left, *grant = rest
    return verbs.Issued(grant_from(fields(grant)), subject, replayed, _remaining(left))


def delegated(replayed: bool, rest: list[str]) -> verbs.Delegated:
    """Read the answer of delegate."""
    subject, left, size, *words = rest
    child, grant = words[: int(size)], words[int(size) :]
    run = run_from(fields(child)) if child else None
    return verbs.Delegated(grant_from(fields(grant)), subject, run, replayed, _remaining(left))


def extended(replayed: bool, rest: list[str]) -> verbs.Extended:
    """Read the answer of extend."""
    subject, left, *grant = rest
    return verbs.Extended(grant_from(fields(grant)), subject, replayed, _remaining(left))


def prepared(op_id: str, replayed: bool, rest: list[str]) -> verbs.Prepared:
    """Read the answer of prepare."""
    seq, expire_time, undo_until, state, left, *said = rest
    approval = approval_from(fields(said)) if said else None
    when = (int(seq), int(expire_time))
    left_of = _remaining(left)
    return verbs.Prepared(op_id, *when, replayed, ActionState(state), approval, left_of, int(undo_until))


def permitted(op_id: str, replayed: bool, rest: list[str]) -> verbs.Permitted:
    """Read the answer of commit and perform."""
    *numbers, left = rest
    fence, use_by, left_ms = map(int, numbers)
    return verbs.Permitted(op_id, fence, use_by, left_ms, replayed, _remaining(left))


def spent(op_id: str, replayed: bool, rest: list[str]) -> verbs.Spent:
    """Read the answer of spend."""
    seq, left = rest
    return verbs.Spent(op_id, int(seq), replayed, _remaining(left))


def released(_: bool, rest: list[str]) -> bool:
    """Read the answer of release."""
    (done,) = rest
    return _flag(done)


def settled(op_id: str, replayed: bool, rest: list[str]) -> verbs.Settled:
    """Read the answer of settle."""
    seq, state, after_cut, left, why_not = rest
    stands = (ActionState(state), _flag(after_cut))
    return verbs.Settled(op_id, int(seq), *stands, replayed, _remaining(left), why_not)


def abandoned(op_id: str, replayed: bool, rest: list[str]) -> verbs.Abandoned:
    """Read the answer of abandon."""
    seq, left = rest
    return verbs.Abandoned(op_id, int(seq), replayed, _remaining(left))


def cancelled(run_id: str, replayed: bool, rest: list[str]) -> verbs.Cancelled:
    """Read the answer of cancel."""
    state, seq, time, known = rest
    return verbs.Cancelled(run_id, RunState(state), int(seq), int(time), _flag(known), replayed)


def finished(replayed: bool, rest: list[str]) -> verbs.Finished:
    """Read the answer of finish."""
    return verbs.Finished(run_from(fields(rest)), replayed)


def fenced(replayed: bool, rest: list[str]) -> verbs.Fenced:
    """Read the answer of revoke and freeze."""
    return verbs.Fenced(fence_from(fields(rest)), replayed)


def lifted(replayed: bool, rest: list[str]) -> verbs.Lifted:
    """Read the answer of lift."""
    return verbs.Lifted(fence_from(fields(rest)), replayed)


def approved(op_id: str, replayed: bool, rest: list[str]) -> verbs.Approved:
    """Read the answer of approve."""
    seq, until = map(int, rest)
    return verbs.Approved(op_id, seq, until, replayed)


def denied(op_id: str, replayed: bool, rest: list[str]) -> verbs.Denied:
    """Read the answer of deny."""
    (seq,) = rest
    return verbs.Denied(op_id, int(seq), replayed)


def resolved(op_id: str, replayed: bool, rest: list[str]) -> verbs.Resolved:
    """Read the answer of resolve."""
    seq, state = rest
    return verbs.Resolved(op_id, int(seq), ActionState(state), replayed)


def undo_asked(op_id: str, replayed: bool, rest: list[str]) -> verbs.UndoAsked:
    """Read the answer of undo."""
    seq, state = rest
    return verbs.UndoAsked(op_id, int(seq), DutyState(state), replayed)


def withdrawn(op_id: str, replayed: bool, rest: list[str]) -> verbs.Withdrawn:
    """Read the answer of withdraw."""
    seq, lease_until = map(int, rest)
    return verbs.Withdrawn(op_id, seq, lease_until, replayed)


#: A duty: its run, its op_id, its kind and its job.
Which = tuple[str, str, DutyKind, int]


def claimed(which: Which, replayed: bool, rest: list[str]) -> verbs.Claimed:
    """Read the answer of claim and renew."""
    left_ms, *flat = rest
    found = duty(*which, flat)
    if found is None:
        raise ValueError("the answer has no duty")
    return verbs.Claimed(found, int(left_ms), replayed)


def completed(op_id: str, replayed: bool, rest: list[str]) -> verbs.Completed:
    """Read the answer of complete."""
    seq, state = rest
    return verbs.Completed(op_id, int(seq), DutyState(state), replayed)


def failed(op_id: str, replayed: bool, rest: list[str]) -> verbs.Failed:
    """Read the answer of fail."""
    seq, state, due = rest
    return verbs.Failed(op_id, int(seq), DutyState(state), int(due), replayed)


def pruned(_: bool, rest: list[str]) -> None:
    """Read the answer of prune, which is no more than that it was done."""
    if rest:
        raise ValueError("the answer says more than was agreed")


def stopped(_: bool, rest: list[str]) -> list[tuple[str, list[str]]]:
    """Read the answer of stopped: paths of runs, each with jobs at or below it."""
    found, words = list[tuple[str, list[str]]](), iter(rest)
    for path in words:
        found.append((path, [next(words) for _ in range(int(next(words)))]))
    return found


def called_off(_: bool, rest: list[str]) -> int:
    """Read the answer of call_off: how many jobs are due now."""
    (count,) = rest
    return int(count)


def standing(durability: Callable[[], Durability], trouble: str, _: bool, rest: list[str]) -> Standing:
    """Read the answer of standing."""
    epoch, now, seq = rest
    return Standing(epoch, durability(), int(now), int(seq), trouble)


def run(run_id: str, flat: list[str]) -> Run | None:
    """Read a run's hash."""
    found = run_from(fields(flat)) if flat else None
    return _of(found, found and found.run_id, run_id)


def grant(grant_id: str, flat: list[str]) -> Grant | None:
    """Read a grant's hash."""
    found = grant_from(fields(flat)) if flat else None
    return _of(found, found and found.grant_id, grant_id)


def action(run_id: str, op_id: str, flat: list[str]) -> Action | None:
    """Read an action's hash."""
    found = action_from(fields(flat)) if flat else None
    return _of(found, found and (found.run_id, found.intent.op_id), (run_id, op_id))


def duty(run_id: str, op_id: str, kind: DutyKind, job: int, flat: list[str]) -> Duty | None:
    """Read a duty's hash."""
    found = duty_from(fields(flat)) if flat else None
    return _of(
        found, found and (found.run_id, found.op_id, found.kind, found.job), (run_id, op_id, kind, job)
    )


def _of(record: A | None, named: object, asked: object) -> A | None:
    if record is not None and named != asked:
        raise ValueError("the record belongs to another one")
    return record


def fence(kept: str) -> Fence:
    """Read a fence."""
    return fence_from(json.loads(kept))


def entry(run_id: str, row: list[Any]) -> Entry:
    """Read a journal entry."""
    number, flat = row
    data = fields(flat)
    return Entry(int(number.removesuffix("-0")), int(data.pop("time")), run_id, Kind(data.pop("kind")), data)


def fields(flat: list[str]) -> dict[str, str]:
    """Read names and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _flag(text: str) -> bool:
    return {"0": False, "1": True}[text]


def _remaining(text: str) -> dict[str, int]:
    pairs = (one.split("=") for one in sorted(text.split(",")) if one)
    return {name: int(amount) for name, amount in pairs}
