"""Why a call is refused, and the one place that puts it in words."""
# ruff: noqa: E501, S105 - the table of explanations reads best with a row a line; its TOKEN_ names are no secrets

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class ErrorReason(StrEnum):
    """Names every refusal; the contract's enum of the same name has the same members."""

    INVALID_REQUEST = "INVALID_REQUEST"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    VERB_NOT_SERVED = "VERB_NOT_SERVED"
    TOKEN_MISSING = "TOKEN_MISSING"
    TOKEN_TOO_LARGE = "TOKEN_TOO_LARGE"
    TOKEN_MALFORMED = "TOKEN_MALFORMED"
    TOKEN_UNTRUSTED = "TOKEN_UNTRUSTED"
    WRONG_AUDIENCE = "WRONG_AUDIENCE"
    WRONG_GRANT = "WRONG_GRANT"
    RUN_UNKNOWN = "RUN_UNKNOWN"
    RUN_EXISTS = "RUN_EXISTS"
    RUN_TOO_DEEP = "RUN_TOO_DEEP"
    GRANT_EXISTS = "GRANT_EXISTS"
    ACTION_UNKNOWN = "ACTION_UNKNOWN"
    OP_ID_CONFLICT = "OP_ID_CONFLICT"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    ALREADY_PERMITTED = "ALREADY_PERMITTED"
    ALREADY_SETTLED = "ALREADY_SETTLED"
    ACTION_ABANDONED = "ACTION_ABANDONED"
    NEVER_PERMITTED = "NEVER_PERMITTED"
    PREPARE_EXPIRED = "PREPARE_EXPIRED"
    ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
    GRANT_TOO_WIDE = "GRANT_TOO_WIDE"
    GRANT_TOO_DEEP = "GRANT_TOO_DEEP"
    GRANT_SEALED = "GRANT_SEALED"
    FENCE_EXISTS = "FENCE_EXISTS"
    FENCE_UNKNOWN = "FENCE_UNKNOWN"
    FENCE_NOT_LIFTABLE = "FENCE_NOT_LIFTABLE"
    NOT_AWAITING = "NOT_AWAITING"
    RUN_ACTIVE = "RUN_ACTIVE"
    NOT_UNDOABLE = "NOT_UNDOABLE"
    IN_FLIGHT = "IN_FLIGHT"
    DUTY_UNKNOWN = "DUTY_UNKNOWN"
    DUTY_NOT_DUE = "DUTY_NOT_DUE"
    DUTY_TAKEN = "DUTY_TAKEN"
    DUTY_OVER = "DUTY_OVER"
    LEASE_LOST = "LEASE_LOST"
    TOOL_MISMATCH = "TOOL_MISMATCH"

    REVOKED = "REVOKED"
    RUN_FINISHED = "RUN_FINISHED"
    RUN_DEADLINE = "RUN_DEADLINE"
    STORE_EPOCH = "STORE_EPOCH"
    GRANT_UNKNOWN = "GRANT_UNKNOWN"
    GRANT_EXPIRED = "GRANT_EXPIRED"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    USES_EXHAUSTED = "USES_EXHAUSTED"
    RUN_FULL = "RUN_FULL"
    FENCED = "FENCED"
    GRANT_ENDED = "GRANT_ENDED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    DENIED = "DENIED"
    TREE_FULL = "TREE_FULL"

    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    TIMED_OUT = "TIMED_OUT"
    OVERLOADED = "OVERLOADED"
    DRAINING = "DRAINING"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"

    STORE_FULL = "STORE_FULL"
    CLOCK_UNSURE = "CLOCK_UNSURE"
    STORE_UNFIT = "STORE_UNFIT"
    INTERNAL = "INTERNAL"


#: What a run's end looks like from below: a call refused for one of these came after the stop.
AFTER_THE_STOP = frozenset(
    {
        ErrorReason.REVOKED,
        ErrorReason.RUN_FINISHED,
        ErrorReason.RUN_DEADLINE,
        ErrorReason.STORE_EPOCH,
        ErrorReason.FENCED,
        ErrorReason.GRANT_ENDED,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer no, with its reason; `details` holds every dynamic value, as text."""

    reason: ErrorReason
    details: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Carries a refusal out of code that cannot return one: decoding, tokens, the store's driver."""

    def __init__(self, reason: ErrorReason, **details: str) -> None:
        super().__init__(reason.value)
        self.refusal = Refusal(reason, details)


class StoreFailed(Refused):
    """The store could not decide; nothing is known of what it did, unless the reason says so."""


def granted(answer: T | Refusal) -> T:
    """Take a verb's answer, or raise its refusal."""
    if isinstance(answer, Refusal):
        raise Refused(answer.reason, **answer.details)
    return answer


_EXPLANATIONS = {
    ErrorReason.INVALID_REQUEST: "{field} {rule}; correct the call",
    ErrorReason.ROLE_NOT_ALLOWED: "the {role} socket may not call {rpc}; call it on the socket of: {allowed}",
    ErrorReason.VERB_NOT_SERVED: "{rpc} is in the contract but this sidecar does not serve it yet",
    ErrorReason.TOKEN_MISSING: "the call carries no grant token; issue a grant and pass its token",
    ErrorReason.TOKEN_TOO_LARGE: "the grant token has {size} characters, more than {limit}; pass the token unchanged",
    ErrorReason.TOKEN_MALFORMED: "the grant token is not well-formed: {rule}; pass the token as it was issued",
    ErrorReason.TOKEN_UNTRUSTED: "no key of this sidecar signed the grant token; issue the grant here",
    ErrorReason.WRONG_AUDIENCE: "grant {grant} is for {audience}, not for {peer}; issue one for {peer}",
    ErrorReason.WRONG_GRANT: "action {op} was prepared under another grant of run {run}; use that grant",
    ErrorReason.RUN_UNKNOWN: "run {run} is not known here; open it first, or check the id",
    ErrorReason.RUN_EXISTS: "run {run} was opened before with other content; choose another run id",
    ErrorReason.RUN_TOO_DEEP: "run {run} would be {depth} levels deep, more than {limit}; open it higher up",
    ErrorReason.GRANT_EXISTS: "grant {grant} was issued before with other content; choose another request id",
    ErrorReason.ACTION_UNKNOWN: "no action {op} was prepared in run {run}; prepare it first",
    ErrorReason.OP_ID_CONFLICT: "op_id {op} of run {run} names another action; choose a new op_id for a new effect",
    ErrorReason.DIGEST_MISMATCH: "the arguments of action {op} changed since it was prepared: do not act; prepare again",
    ErrorReason.ALREADY_PERMITTED: "action {op} already has its permit, its effect may have happened: do not act again",
    ErrorReason.ALREADY_SETTLED: "action {op} is already settled as {state}; do not act again",
    ErrorReason.ACTION_ABANDONED: "action {op} was abandoned: do not act; prepare again under a new op_id",
    ErrorReason.NEVER_PERMITTED: "action {op} never got a permit, so it cannot be settled; find out what the tool did",
    ErrorReason.PREPARE_EXPIRED: "action {op} was not committed in time: do not act; prepare again under a new op_id",
    ErrorReason.ANSWER_TOO_LARGE: "the answer has {size} bytes, more than {limit} ({cause}); read the journal in pages",
    ErrorReason.GRANT_TOO_WIDE: "grant {grant} has less than is asked for: {field} {rule}; ask for less",
    ErrorReason.GRANT_TOO_DEEP: "grant {grant} would be {depth} grants deep, more than {limit}; delegate from one higher up",
    ErrorReason.GRANT_SEALED: "grant {grant} may not be handed on; ask the run's owner to issue one",
    ErrorReason.FENCE_EXISTS: "fence {fence} was set before with other content, or blocks no more: choose another "
    "request id",
    ErrorReason.FENCE_UNKNOWN: "fence {fence} is not known here; see 'countermand fences'",
    ErrorReason.FENCE_NOT_LIFTABLE: "fence {fence} is a revoke: what it killed stays dead; issue new grants",
    ErrorReason.NOT_AWAITING: "action {op} of run {run} does not wait for a person with this digest (it is {state}); "
    "see 'countermand approvals'",
    ErrorReason.RUN_ACTIVE: "run {run} is still at work; cancel or finish it first",
    ErrorReason.NOT_UNDOABLE: "action {op} of run {run} cannot be undone: {rule}; see 'countermand report {run}'",
    ErrorReason.IN_FLIGHT: "the permit of action {op} can still be used for {left_ms} ms, so nobody can know; ask again then",
    ErrorReason.DUTY_UNKNOWN: "there is no {duty} of action {op} of run {run}; claim one that is offered",
    ErrorReason.DUTY_NOT_DUE: "the {duty} of action {op} of run {run} is not to be done now: {rule}; claim another",
    ErrorReason.DUTY_TAKEN: "{worker} is at the {duty} of action {op} of run {run} for another {left_ms} ms; claim another",
    ErrorReason.DUTY_OVER: "the {duty} of action {op} of run {run} is over ({state}); do nothing more about it",
    ErrorReason.LEASE_LOST: "the {duty} of action {op} of run {run} is no longer yours: stop; whoever has it now finishes it",
    ErrorReason.TOOL_MISMATCH: "{action} is called otherwise than it is registered: its {field} {rule}; correct the call, or the tools file",
    ErrorReason.REVOKED: "run {run} was cancelled{cause}: do not act; see 'countermand report {run}'",
    ErrorReason.RUN_FINISHED: "run {run} has finished{cause}: do not act; open a new run for new work",
    ErrorReason.RUN_DEADLINE: "run {run} is past its deadline{cause}: do not act; open a new run for new work",
    ErrorReason.STORE_EPOCH: "run {run} belongs to an earlier epoch of the store, which may have lost facts since: "
    "do not act; open a new run",
    ErrorReason.GRANT_UNKNOWN: "the store has no grant {grant}: do not act; issue a new grant",
    ErrorReason.GRANT_EXPIRED: "grant {grant} has expired: do not act; extend it, or issue a new one, if the run goes on",
    ErrorReason.OUT_OF_SCOPE: "no scope of grant {grant} allows {action} on '{resource}' ({rule}): do not act; "
    "ask the run's owner for a wider grant",
    ErrorReason.USES_EXHAUSTED: "grant {grant} has no uses left for {action}: do not act; ask for a new grant",
    ErrorReason.RUN_FULL: "run {run} already has {limit} actions, as many as a run may have: do not act; open a new run",
    ErrorReason.FENCED: "fence {fence} ({selector}) stands over run {run}{cause}: do not act; see 'countermand why {run}'",
    ErrorReason.GRANT_ENDED: "grant {ended_grant} was ended{cause}, its budget {budget} ran out: do not act; "
    "ask for a new grant",
    ErrorReason.BUDGET_EXHAUSTED: "budget {budget} of {owner} has {remaining} left of {limit}, {asked} were asked for: "
    "do not act; ask for less, or for a larger budget",
    ErrorReason.DENIED: "action {op} may not happen, {cause}: do not act",
    ErrorReason.TREE_FULL: "the tree of run {run} already has {limit} delegated grants, as many as it may have: do not act; "
    "use the grants there are",
    ErrorReason.STORE_UNAVAILABLE: "the store did not answer ({cause}): do not act; ask again with the same op_id",
    ErrorReason.TIMED_OUT: "the call ran out of time: do not act; ask again with the same op_id",
    ErrorReason.OVERLOADED: "too many calls are under way: do not act; ask again with the same op_id",
    ErrorReason.DRAINING: "the sidecar is shutting down: do not act; ask again with the same op_id",
    ErrorReason.AWAITING_APPROVAL: "action {op} waits for a person to agree: do not act; ask again with the same op_id, "
    "see 'countermand approvals'",
    ErrorReason.STORE_FULL: "the store has no room left ({cause}): do not act; make room, cancel still works",
    ErrorReason.CLOCK_UNSURE: "the store's clock is {behind_ms} ms behind what it has shown before: do not act; "
    "set the clock right, cancel still works",
    ErrorReason.STORE_UNFIT: "the store is not fit to decide: {cause}; {remedy}",
    ErrorReason.INTERNAL: "the sidecar failed: do not act; see its log (incident {incident})",
}


def explain(refusal: Refusal) -> str:
    """Say in one line what is refused, by which rule, and what to do about it."""
    values = _Gaps({"resource": ""} | dict(refusal.details))  # empty values are left out of details
    values["cause"] = refusal.details.get("cause", "") or _cause(refusal.details)
    text = _EXPLANATIONS[refusal.reason].format_map(values)
    if refusal.reason is ErrorReason.ALREADY_SETTLED and refusal.details.get("rule"):
        text += f" ({refusal.details['rule']})"  # of most there is none: they are too late, and that is all
    return text


class _Gaps(dict[str, str]):
    """Shows a missing value as `?`: an explanation never fails."""

    def __missing__(self, key: str) -> str:
        return "?"


def _cause(details: Mapping[str, str]) -> str:
    """Tell who ended the run, why and since when: ` by its user 3s ago (USER_STOP)`."""
    words = []
    if "ended_run" in details and details["ended_run"] != details.get("run"):
        words.append(f"through run {details['ended_run']} above it")
    if details.get("actor"):
        words.append(f"by {details['actor']}")
    if (ago_ms := details.get("ended_ago_ms", "")).isdecimal():
        words.append(f"{int(ago_ms) // 1000}s ago")
    if "stop_reason" in details:
        words.append(f"({details['stop_reason']})")
    return "".join(f" {word}" for word in words)
